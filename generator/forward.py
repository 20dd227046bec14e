"""The reader's forward passes: each passage once, and then the words of answers, read on from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from generator.beams import Indices
from generator.marginal import Array
from generator.reading import Reading

LOGITS_AT_ONCE = 64  # positions; each costs a row as long as the vocabulary


@dataclass(frozen=True, slots=True)
class Prefix:
    """The readings after one forward pass: keys and values per layer, and who may be looked at."""

    layers: tuple[tuple[Tensor, Tensor], ...]  # (P, heads, T, D) each
    mask: Tensor  # (P, T), 1 where there is a token
    log_first: Tensor  # (P, V), of the answer's first token


@torch.inference_mode()
def read(model: Any, readings: Sequence[Reading], pad: int) -> Prefix:
    """One pass over all passages, padded on the left so that every answer begins in the same column."""
    width = max(len(r.ids) for r in readings)
    ids = torch.tensor([[*([pad] * (width - len(r.ids))), *r.ids] for r in readings])  # (P, T)
    mask = torch.tensor([[0] * (width - len(r.ids)) + [1] * len(r.ids) for r in readings])
    out = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=(mask.cumsum(1) - 1).clamp(min=0),
        use_cache=True,
        logits_to_keep=1,
    )
    layers = tuple((layer.keys, layer.values) for layer in out.past_key_values.layers)
    return Prefix(layers, mask, out.logits[:, -1].float().log_softmax(-1))


def read_on(model: Any, prefix: Prefix, rows: Sequence[int], tokens: Tensor) -> Tensor:
    """Hidden states (N, L, D) after each of the tokens (N, L), read on from the prefix of each row.

    All runs of one passage lie side by side in one row, blind to each other, so that the keys and values of the passage
    are there once (tree attention: Miao et al. 2023, arXiv:2305.09781).
    """
    from transformers import DynamicCache

    passages = sorted(set(rows))
    members = [[n for n, row in enumerate(rows) if row == passage] for passage in passages]
    length, width = tokens.shape[1], max(map(len, members))
    order = torch.tensor([[*group, *group[:1] * (width - len(group))] for group in members])  # (P, W), padded
    chosen = torch.tensor(passages)
    past = DynamicCache()
    for index, (keys, values) in enumerate(prefix.layers):
        past.update(keys[chosen], values[chosen], index)
    seen = prefix.mask[chosen].bool()  # (P, T)
    own = torch.kron(torch.eye(width), torch.ones(length, length).tril()).bool()  # (W * L, W * L): each run sees itself
    mask = torch.cat([seen[:, None, :].expand(-1, len(own), -1), own.expand(len(passages), -1, -1)], dim=2)
    out = model.model(
        input_ids=tokens[order].flatten(1),
        attention_mask=mask[:, None],
        position_ids=seen.sum(1, keepdim=True) + torch.arange(length).repeat(width),
        past_key_values=past,
    )
    packed: Tensor = out.last_hidden_state.unflatten(1, (width, length))  # (P, W, L, D)
    hidden = packed.new_empty(len(rows), length, packed.shape[-1])
    for group, states in zip(members, packed, strict=True):
        hidden[group] = states[: len(group)]
    return hidden


def walk(
    model: Any, prefix: Prefix, rows: Sequence[int], runs: Sequence[Sequence[int]], end: int
) -> tuple[list[list[float]], list[list[float]]]:
    """For every run of tokens: log-probability of its first 1, 2, ... tokens, and of ending after each of them."""
    width = max(len(run) for run in runs)
    tokens = torch.tensor([[*run, *([end] * (width - len(run)))] for run in runs])  # (N, L)
    hidden = read_on(model, prefix, rows, tokens)  # (N, L, D)
    lengths = [len(run) for run in runs]
    flat = torch.cat([hidden[n, :length] for n, length in enumerate(lengths)])  # (S, D)
    following = torch.tensor([token for run in runs for token in (*run[1:], end)])  # (S,)
    own, ends = [], []
    # In parts: all S times V numbers would be hundreds of megabytes, and each part reads the whole head.
    for states, after in zip(torch.split(flat, LOGITS_AT_ONCE), torch.split(following, LOGITS_AT_ONCE), strict=True):
        logs = model.lm_head(states).float().log_softmax(-1)  # (s, V)
        own.append(logs.gather(1, after[:, None])[:, 0])
        ends.append(logs[:, end])
    log_p = []
    for n, steps in enumerate(torch.split(torch.cat(own), lengths)):
        first = float(prefix.log_first[rows[n], runs[n][0]])
        log_p.append([first, *(first + more for more in steps[:-1].cumsum(0).tolist())])
    return log_p, [part.tolist() for part in torch.split(torch.cat(ends), lengths)]


class Branches:
    """Answers that grow from every passage, one token a step. What they have in common is never computed twice.

    Each step only adds its own keys and values; a mask says which of them a branch descends from, so that no cache is
    copied when beams change places (tree attention, as in `read_on`).
    """

    def __init__(self, model: Any, prefix: Prefix) -> None:
        from transformers import DynamicCache

        self._model = model
        self._past = DynamicCache()
        for index, (keys, values) in enumerate(prefix.layers):
            self._past.update(keys, values, index)
        self._seen = prefix.mask.bool()[:, None, :]  # (P, B, T): the columns that each branch sees

    def grow(self, parents: Indices, tokens: Indices) -> Array:
        """(P, B) branches of the step before, (P, B) tokens after them -> (P, B, V) log-probabilities of the next."""
        chosen = torch.from_numpy(parents)[:, :, None].expand(-1, -1, self._seen.shape[2])
        own = torch.eye(tokens.shape[1], dtype=torch.bool).expand(len(tokens), -1, -1)
        self._seen = torch.cat([self._seen.gather(1, chosen), own], dim=2)
        out = self._model.model(
            input_ids=torch.from_numpy(tokens),
            attention_mask=self._seen[:, None],
            position_ids=self._seen.sum(2) - 1,
            past_key_values=self._past,
        )
        logs: Array = self._model.lm_head(out.last_hidden_state).float().log_softmax(-1).numpy()
        return logs

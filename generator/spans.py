"""Which span of which passage answers a question: copy-constrained decoding, scored exactly.

A span copies its passage, so once its first token is chosen every next token is known. Instead of sampling token by
token, the candidates' tokens are fed in one forward pass and every end point is scored at once: the probability of
each span is the language model's own, `p(t1..tk, end of turn | question, passage)`, with no beam and no length limit
other than the window. An answer that ends before it begins is the reader's "not in this passage".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from generator.choice import Span, Verdict
from generator.reading import Reading

ROWS = 3  # passages whose spans are scored: those the reader is least likely to decline
FIRST_TOKENS = 4  # distinct first tokens tried in each of them
STARTS = 6  # start positions scored to the end in each of them
FIRST_LOOK = 10  # tokens after which most starts are out of the race
WINDOW = 32  # the longest span, in tokens
LOGITS_AT_ONCE = 64  # positions; each costs a row as long as the vocabulary


@dataclass(frozen=True, slots=True)
class _Prefix:
    """The readings after one forward pass: keys and values per layer, and who may be looked at."""

    layers: tuple[tuple[Tensor, Tensor], ...]  # (P, heads, T, D) each
    mask: Tensor  # (P, T), 1 where there is a token
    log_first: Tensor  # (P, V), of the answer's first token


@torch.inference_mode()
def read_spans(model: Any, readings: Sequence[Reading], end: int) -> Verdict:
    """Score the passages and the best spans of the most promising ones. `end` is the end-of-turn token."""
    prefix = _read(model, readings, end)
    log_decline = prefix.log_first[:, end]
    rows = log_decline.argsort()[:ROWS].tolist()
    starts = _starts(model, prefix, readings, rows, end)
    spans = _score(model, prefix, readings, starts, end) if starts else []
    return Verdict(tuple(log_decline.tolist()), tuple(sorted(spans, key=lambda s: (-s.log_p, s.row, s.start))))


def _read(model: Any, readings: Sequence[Reading], pad: int) -> _Prefix:
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
    return _Prefix(layers, mask, out.logits[:, -1].float().log_softmax(-1))


def _continue(model: Any, prefix: _Prefix, rows: Sequence[int], tokens: Tensor) -> Tensor:
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


def _starts(
    model: Any, prefix: _Prefix, readings: Sequence[Reading], rows: Sequence[int], end: int
) -> list[tuple[int, int]]:
    """The (row, position) pairs that look best by their first two tokens.

    Two, because all numbers begin with the same token, and words like "the" stand everywhere.
    """
    tried: list[tuple[int, int]] = []  # (row, first token)
    for row in rows:
        firsts = sorted({readings[row].token(p) for p in readings[row].starts})
        scores = prefix.log_first[row, firsts]
        tried += [(row, firsts[i]) for i in scores.argsort(descending=True)[:FIRST_TOKENS].tolist()]
    if not tried:
        return []
    hidden = _continue(model, prefix, [row for row, _ in tried], torch.tensor([[token] for _, token in tried]))
    seconds = model.lm_head(hidden[:, 0]).float().log_softmax(-1)  # (N, V)
    best: list[tuple[int, int]] = []
    for row in rows:
        scored: list[tuple[float, int]] = []
        for n, (other, token) in enumerate(tried):
            if other == row:
                scored += _by_two_tokens(readings[row], token, float(prefix.log_first[row, token]), seconds[n], end)
        best += [(row, position) for _, position in sorted(scored, key=lambda s: (-s[0], s[1]))[:STARTS]]
    return best


def _by_two_tokens(reading: Reading, first: int, log_first: float, second: Tensor, end: int) -> list[tuple[float, int]]:
    """(score, position) of every start with this first token; a span of one token counts as well as a longer one."""
    scored = []
    for position in reading.starts:
        if reading.token(position) == first:
            more = float(second[reading.token(position + 1)]) if position + 1 < len(reading.bounds) else -99.0
            stop = float(second[end]) if position in reading.ends else -99.0
            scored.append((log_first + max(more, stop), position))
    return scored


def _score(
    model: Any, prefix: _Prefix, readings: Sequence[Reading], starts: Sequence[tuple[int, int]], end: int
) -> list[Span]:
    """The best span from every start: all of its ends are scored in one pass.

    A short look comes first. Words only lose probability as they get more, so a start goes on to the full window only
    if its first words are still more probable than the best span that ended among them.
    """
    found: dict[tuple[int, int], Span] = {}
    going = list(starts)
    for window in (FIRST_LOOK, WINDOW):
        if not going:
            break
        runs = [[readings[row].token(p) for p in _reach(readings[row], start, window)] for row, start in going]
        log_p, log_end = _walk(model, prefix, [row for row, _ in going], runs, end)
        still: list[tuple[int, int]] = []
        for n, (row, start) in enumerate(going):
            best = _best_end(readings[row], row, start, log_p[n], log_end[n])
            if best:
                found[row, start] = best
            if len(runs[n]) == window < WINDOW and (best is None or log_p[n][-1] > best.log_p):
                still.append((row, start))
        going = still
    return list(found.values())


def _walk(
    model: Any, prefix: _Prefix, rows: Sequence[int], runs: Sequence[Sequence[int]], end: int
) -> tuple[list[list[float]], list[list[float]]]:
    """For every run of tokens: log-probability of its first 1, 2, ... tokens, and of ending after each of them."""
    width = max(len(run) for run in runs)
    tokens = torch.tensor([[*run, *([end] * (width - len(run)))] for run in runs])  # (N, L)
    hidden = _continue(model, prefix, rows, tokens)  # (N, L, D)
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


def _best_end(reading: Reading, row: int, start: int, log_p: Sequence[float], log_end: Sequence[float]) -> Span | None:
    ended = [
        (log_p[k] + log_end[k], -k, *reading.span(start, start + k))
        for k in range(len(log_p))
        if start + k in reading.ends
    ]
    # A span of nothing but punctuation answers nothing.
    ended = [e for e in ended if any(c.isalnum() for c in reading.text[e[2] : e[3]])]
    if not ended:
        return None
    best, shorter, low, high = max(ended)
    return Span(row, low, high, best, 1 - shorter)


def _reach(reading: Reading, start: int, window: int) -> range:
    """Positions that a span from `start` may cover: up to the window, the line's end and the passage's end."""
    stop = min(start + window, len(reading.bounds))
    line = reading.text.find("\n", reading.bounds[start][1])
    if line >= 0:
        stop = min(stop, next((p for p in range(start, stop) if reading.bounds[p][1] > line), stop))
    return range(start, max(stop, start + 1))

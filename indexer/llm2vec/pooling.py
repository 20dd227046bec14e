"""One vector from a text's token states, as the official llm2vec package (0.2.3) defines each way."""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

Pooling = Literal["mean", "weighted_mean", "eos_token", "last_token", "bos_token"]
POOLINGS: tuple[Pooling, ...] = ("mean", "weighted_mean", "eos_token", "last_token", "bos_token")
SHORT_NAMES: dict[str, Pooling] = {"eos": "last_token", "bos": "bos_token"}


def pool(
    states: "torch.Tensor", own: "torch.Tensor", pooling: Pooling, seen: "torch.Tensor | None" = None
) -> "torch.Tensor":
    """Pool `states` (B, T, D) over the positions where `own` (B, T) is true, in float32: (B, D).

    `last_token` takes the state where the text ends. So does `eos_token`, whose texts have an end mark put after them
    (see tokens.Frame). `bos_token` takes the first state that attention has `seen` (B, T; None for all): that of the
    start mark if the tokenizer gives one, else of the instruction or the text, where the official package has no
    vector at all.
    """
    import torch

    rows = torch.arange(len(states), device=states.device)
    if pooling == "bos_token":
        first = 0 if seen is None else seen.int().argmax(dim=1)
        return states[rows, first].float()
    if pooling in ("last_token", "eos_token"):
        positions = torch.arange(own.shape[1], device=own.device)
        return states[rows, (positions * own).argmax(dim=1)].float()
    weights = own.float()
    if pooling == "weighted_mean":  # the n-th token of the text weighs n (Muennighoff, 2022)
        weights = weights.cumsum(dim=1) * weights
    weights = weights / weights.sum(dim=1, keepdim=True)
    return (states.float() * weights.unsqueeze(-1)).sum(dim=1)

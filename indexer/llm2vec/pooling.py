"""One vector from a text's token states, as the official llm2vec package defines each way."""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

Pooling = Literal["mean", "weighted_mean", "eos", "bos"]
POOLINGS: tuple[Pooling, ...] = ("mean", "weighted_mean", "eos", "bos")


def pool(states: "torch.Tensor", own: "torch.Tensor", pooling: Pooling) -> "torch.Tensor":
    """Pool `states` (B, T, D) over the positions where `own` (B, T) is true, in float32: (B, D).

    `eos` takes the text's last token and `bos` the first the model saw, instruction or not.
    """
    import torch

    states = states.float()
    if pooling == "bos":
        return states[:, 0]
    if pooling == "eos":
        positions = torch.arange(own.shape[1], device=own.device)
        last = (positions * own).argmax(dim=1)
        return states[torch.arange(len(states), device=own.device), last]
    weights = own.float()
    if pooling == "weighted_mean":  # the n-th token of the text weighs n (Muennighoff, 2022)
        weights = weights.cumsum(dim=1) * weights
    weights = weights / weights.sum(dim=1, keepdim=True)
    return (states * weights.unsqueeze(-1)).sum(dim=1)

"""Texts of like length together, so that little of a batch is padding; and a batch on each core."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from indexer.llm2vec.tokens import TokenizedText

if TYPE_CHECKING:
    import torch

# A processor is fastest where a layer's activations stay in its second-level cache; a GPU needs much at once.
_CPU_BATCH_TOKENS, _GPU_BATCH_TOKENS = 1024, 16384
_Made = TypeVar("_Made")


def pick_batch_tokens(device: "torch.device") -> int:
    """How many tokens one forward pass should take."""
    return _CPU_BATCH_TOKENS if device.type == "cpu" else _GPU_BATCH_TOKENS


def batches_by_length(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Group row numbers, longest first, so that rows times longest row stays within `batch_tokens`.

    Neighbours in length share a batch, so little is padded; the longest first shows a lack of memory at once.
    """
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    start = 0
    while start < len(order):
        size = max(1, batch_tokens // max(1, lengths[order[start]]))
        yield order[start : start + size]
        start += size


def map_batches(
    encode: Callable[[list[int]], _Made], batches: Sequence[list[int]], device: "torch.device"
) -> Iterator[tuple[list[int], _Made]]:
    """Yield each batch with what `encode` makes of it, in order; a processor's cores take a batch each.

    Cores that share every multiplication of a small model wait for each other at each of them, for long where another
    program has one of them; apart, they never do.
    """
    import torch

    threads = torch.get_num_threads()
    workers = min(threads, len(batches))
    if device.type != "cpu" or workers < 2:
        yield from ((batch, encode(batch)) for batch in batches)
        return
    try:
        with ThreadPoolExecutor(workers, "encode", torch.set_num_threads, (threads // workers,)) as pool:
            yield from zip(batches, pool.map(encode, batches), strict=True)
    finally:
        torch.set_num_threads(threads)  # some libraries below torch keep one number for all threads


def pad_right(
    batch: Sequence[TokenizedText], device: "torch.device"
) -> tuple["torch.Tensor", "torch.Tensor | None", "torch.Tensor"]:
    """Pad to one length: ids (B, T), which positions attention sees or None for all, which belong to the text."""
    import torch

    length = max(len(text.ids) for text in batch)
    ids = torch.zeros((len(batch), length), dtype=torch.long)
    seen = torch.zeros((len(batch), length), dtype=torch.bool)
    own = torch.zeros((len(batch), length), dtype=torch.bool)
    for row, text in enumerate(batch):
        ids[row, : len(text.ids)] = torch.tensor(text.ids)
        seen[row, : len(text.ids)] = True
        own[row, len(text.ids) - text.own : len(text.ids)] = True
    # Without a mask, attention takes its faster path.
    mask = None if bool(seen.all()) else seen.to(device)
    return ids.to(device), mask, own.to(device)

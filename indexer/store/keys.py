"""Ranges of chunk keys: a document's chunks are written in one transaction, so their keys are one range."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
KeyRanges = tuple[tuple[int, int], ...]  # both ends included, in order, apart


def merge_ranges(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join the ranges that touch or overlap, in order."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged


def intersection(one: KeyRanges, other: KeyRanges) -> KeyRanges:
    """The ranges of the keys that lie in both."""
    met: list[tuple[int, int]] = []
    mine, theirs = 0, 0
    while mine < len(one) and theirs < len(other):
        first, last = max(one[mine][0], other[theirs][0]), min(one[mine][1], other[theirs][1])
        if first <= last:
            met.append((first, last))
        if one[mine][1] < other[theirs][1]:
            mine += 1
        else:
            theirs += 1
    return tuple(met)


def inside(keys: Keys, ranges: Iterable[tuple[int, int]]) -> Mask:
    """Tell which keys (n,) lie in one of the ranges, which do not overlap."""
    bounds = np.array(sorted(ranges), np.int64).reshape(-1, 2)
    at = np.searchsorted(bounds[:, 0], keys, side="right") - 1
    return (at >= 0) & (keys <= bounds[at, 1]) if len(bounds) else np.zeros(len(keys), bool)

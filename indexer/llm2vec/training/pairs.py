"""Anchor/positive pairs: reading, holding out, and batches of one source with similar anchors."""

import gzip
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from indexer.encoder import Vectors
from indexer.errors import DatasetError


@dataclass(frozen=True, slots=True)
class Pair:
    """A text to search with, a text to find, and where both come from."""

    anchor: str
    positive: str
    source: str


def read_pairs(path: Path) -> list[Pair]:
    """Read {anchor, positive[, source]} lines from JSONL, gzipped if the name ends in .gz.

    Raises:
        DatasetError: the file is missing, a line does not parse, or a text is blank.
    """
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
            return [_parse(path, number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    except OSError as error:
        raise DatasetError(f"Cannot read the pairs in {path}: {error}", "Name a JSONL file of pairs.") from error


def _parse(path: Path, number: int, line: str) -> Pair:
    try:
        row = json.loads(line)
        pair = Pair(row["anchor"].strip(), row["positive"].strip(), row.get("source", path.stem))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(
            f"{path}, line {number}: {error!r}", 'Each line is {"anchor": ..., "positive": ...}.'
        ) from error
    if not pair.anchor or not pair.positive:
        raise DatasetError(f"{path}, line {number}: a text is blank.", "Leave the pair out.")
    return pair


def cap_sources(pairs: Sequence[Pair], caps: Mapping[str, int], seed: int) -> list[Pair]:
    """Keep at most `caps[source]` pairs of each source named there, drawn under the seed."""
    kept = []
    for source, group in by_source(pairs).items():
        limit = caps.get(source, len(group))
        order = np.random.default_rng([seed, len(group)]).permutation(len(group))[:limit]
        kept += [group[index] for index in sorted(order)]
    return kept


def hold_out(pairs: Sequence[Pair], count: int, seed: int) -> tuple[list[Pair], list[Pair]]:
    """Split off `count` pairs for choosing; no text of theirs stays in the training part."""
    order = np.random.default_rng([seed, count]).permutation(len(pairs))
    dev: list[Pair] = []
    seen: set[str] = set()
    for index in order:
        if len(dev) == count:
            break
        pair = pairs[index]
        if pair.anchor not in seen and pair.positive not in seen:
            dev.append(pair)
            seen |= {pair.anchor, pair.positive}
    train = [pair for pair in pairs if pair.anchor not in seen and pair.positive not in seen]
    return train, dev


def by_source(pairs: Sequence[Pair]) -> dict[str, list[Pair]]:
    """Group pairs by source, sources in order of name."""
    groups: defaultdict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[pair.source].append(pair)
    return dict(sorted(groups.items()))


def batches(
    groups: Mapping[str, Sequence[Pair]],
    vectors: Mapping[str, Vectors],
    *,
    batch_pairs: int,
    neighbourhoods: int,
    seed: int,
) -> Iterator[list[Pair]]:
    """Give batches without end, each of one source drawn in proportion to its pairs.

    The order depends on the arguments alone, so a run resumes by skipping as many batches as it had taken.
    `vectors` holds unit rows for the anchors of a source; a source without them is batched at random.
    """
    names = [name for name, group in groups.items() if len(group) >= 2]
    if not names:
        raise DatasetError("No source has two pairs, so there is nothing to contrast.", "Give more pairs.")
    shares = np.array([len(groups[name]) for name in names], dtype=np.float64)
    draw = np.random.default_rng([seed, 1])
    passes: dict[str, Iterator[list[int]]] = {}
    epochs = dict.fromkeys(names, 0)
    while True:
        chosen = int(draw.choice(len(names), p=shares / shares.sum()))
        name = names[chosen]
        rows = next(passes[name], None) if name in passes else None
        if rows is None:
            rng = np.random.default_rng([seed, 2, chosen, epochs[name]])
            epochs[name] += 1
            passes[name] = one_pass(len(groups[name]), vectors.get(name), batch_pairs, neighbourhoods, rng)
            rows = next(passes[name])
        yield [groups[name][row] for row in rows]


def one_pass(
    count: int, vectors: Vectors | None, batch_pairs: int, neighbourhoods: int, rng: np.random.Generator
) -> Iterator[list[int]]:
    """Use a row at most once: each batch is a few random rows with their nearest rows that are still unused.

    A rest of less than half a batch has too few negatives and waits for the next pass, which draws other rows.
    """
    order = rng.permutation(count)
    least = min(count, (batch_pairs + 1) // 2)
    if vectors is None or neighbourhoods < 1:
        for start in range(0, count - least + 1, batch_pairs):
            yield order[start : start + batch_pairs].tolist()
        return
    neighbourhoods = min(neighbourhoods, batch_pairs)
    free = np.ones(count, dtype=bool)
    while free.sum() >= least:
        batch: list[int] = []
        for seat in range(neighbourhoods):
            size = (batch_pairs - len(batch)) // (neighbourhoods - seat)
            seeds = order[free[order]]
            if len(seeds) == 0:
                break
            scores = np.where(free, vectors @ vectors[seeds[0]], -np.inf)
            scores[seeds[0]] = np.inf
            near = np.argsort(-scores, kind="stable")[: min(size, len(seeds))]
            free[near] = False
            batch += near.tolist()
        yield batch

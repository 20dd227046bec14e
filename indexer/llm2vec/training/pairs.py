"""Anchor/positive pairs: reading, holding out, and batches of one source with similar anchors."""

import gzip
import hashlib
import itertools
import json
import math
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from indexer.encoder import Vectors
from indexer.errors import ConfigError, DatasetError

PAIR_REMEDY = 'Each line is {"anchor": ..., "positive": ...}, with "negatives": [...] if there are any.'


@dataclass(frozen=True, slots=True)
class Pair:
    """A text to search with, a text to find, and where both come from."""

    anchor: str
    positive: str
    source: str
    negatives: tuple[str, ...] = ()  # texts that look right and are wrong
    scores: tuple[float, ...] = ()  # a cross-encoder's logits: the positive's, then one for each negative


def read_pairs(path: Path) -> list[Pair]:
    """Read {anchor, positive[, source][, negatives][, scores]} lines from JSONL, gzipped if the name ends in .gz.

    Raises:
        DatasetError: the file is missing or holds no pair, a line does not parse, or a text is blank.
    """
    pairs = [_parse(path, number, row) for number, row in read_rows(path)]
    if not pairs:
        raise DatasetError(f"{path} holds no pair.", PAIR_REMEDY)
    return pairs


def read_rows(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield (line number, value) of the lines of a JSONL file that are not blank, gzipped if the name ends in .gz.

    Raises:
        DatasetError: the file cannot be read or a line is not JSON.
    """
    number = 0
    try:
        with _open_text(path, path.suffix == ".gz", "rt") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield number, json.loads(line)
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not UTF-8: {error}", "Save it as UTF-8.") from error
    except ValueError as error:
        raise DatasetError(f"{path}, line {number}: {error}", "Each line is one JSON object.") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(f"Cannot read {path}: {error}", "Name a JSONL file, or JSONL.gz.") from error


def _parse(path: Path, number: int, row: Any) -> Pair:
    try:
        negatives, scores = row.get("negatives") or [], row.get("scores") or []
        if not isinstance(negatives, list) or not isinstance(scores, list):
            raise TypeError("negatives and scores are lists")
        if scores and len(scores) != 1 + len(negatives):
            raise TypeError("scores are the positive's and one for each negative")
        pair = Pair(
            row["anchor"].strip(),
            row["positive"].strip(),
            str(row.get("source") or path.stem),
            tuple(text.strip() for text in negatives),
            tuple(float(score) for score in scores),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DatasetError(f"{path}, line {number}: {error!r}", PAIR_REMEDY) from error
    if not all((pair.anchor, pair.positive, *pair.negatives)):
        raise DatasetError(f"{path}, line {number}: a text is blank.", "Leave it out.")
    if not all(map(math.isfinite, pair.scores)):
        raise DatasetError(f"{path}, line {number}: a score is no number.", "Leave the scores out.")
    return pair


def write_pairs(path: Path, pairs: Iterable[Pair]) -> None:
    """Write pairs as `read_pairs` reads them, the whole file or none of it; gzipped if the name ends in .gz.

    Raises:
        ConfigError: the file cannot be written.
    """
    scratch = path.with_name(f".{path.name}.part")
    try:
        with _open_text(scratch, path.suffix == ".gz", "wt") as stream:
            for pair in pairs:
                row = {key: value for key, value in asdict(pair).items() if value}
                stream.write(json.dumps(row, ensure_ascii=True) + "\n")
        scratch.replace(path)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}.", "Name a file in a folder of yours."
        ) from error


def _open_text(path: Path, gzipped: bool, mode: Literal["rt", "wt"]) -> IO[str]:
    return gzip.open(path, mode, encoding="utf-8") if gzipped else path.open(mode, encoding="utf-8")


def drop_negatives(pair: Pair, keep: Sequence[int]) -> Pair:
    """Keep the negatives at these places, with their scores."""
    scores = (pair.scores[0], *(pair.scores[1 + place] for place in keep)) if pair.scores else ()
    return replace(pair, negatives=tuple(pair.negatives[place] for place in keep), scores=scores)


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
    train = [
        drop_negatives(pair, [place for place, text in enumerate(pair.negatives) if text not in seen])
        for pair in pairs
        if pair.anchor not in seen and pair.positive not in seen
    ]
    return train, dev


def fingerprint(rows: Iterable[Any]) -> str:
    """Hash of texts, or of pairs as tuples, in their order."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row).encode())
    return digest.hexdigest()


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


def row_batches(count: int, batch_rows: int, seed: int) -> Iterator[list[int]]:
    """Give batches of random row numbers without end, each row at most once a pass."""
    if not count:
        raise DatasetError("There is nothing to train on.", "Give more text.")
    for epoch in itertools.count():
        yield from one_pass(count, None, batch_rows, 0, np.random.default_rng([seed, 2, 0, epoch]))


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

"""Pairs of answers that people compared, for measuring a judge.

A data set is a folder with one JSON or JSONL file. Our own layout has an object for each pair:
{"_id", "question", "reference", "a": {"model", "text"}, "b": {"model", "text"}, "labels": [whole numbers]}, a label for
each person, from -2 (a is much better) to 2 (b is). The layout of RAGChecker's meta evaluation (Ru et al. 2024,
arXiv:2408.08067: an object for each person, with model1, model2 and overall_label) is read too.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from eval.judge import Pair
from indexer.errors import DatasetError

_LAYOUT = 'One .json or .jsonl file of {"_id", "question", "reference", "a", "b", "labels"}; see docs/evaluation.md.'


@dataclass(frozen=True, slots=True)
class Compared:
    """A pair with what each person said of it, from -2 (a is much better) to 2."""

    pair: Pair
    model_a: str
    model_b: str
    labels: tuple[int, ...]

    @property
    def value(self) -> float:
        """The mean label."""
        return fmean(self.labels)

    @property
    def preference(self) -> int:
        """Which answer people prefer: -1, 0 or 1."""
        return (self.value > 0) - (self.value < 0)

    @property
    def b_is_longer_by(self) -> int:
        """Words that b has more than a."""
        return len(self.pair.b.split()) - len(self.pair.a.split())


def load_compared(folder: Path) -> tuple[Compared, ...]:
    """Read and check a data set of compared answers.

    Raises:
        DatasetError: there is no such file, or it is malformed; the message names the place.
    """
    file = _file(folder)
    rows = list(enumerate(_rows(file), start=1))
    if not rows:
        raise DatasetError(f"{file} is empty.", _LAYOUT)
    if "overall_label" in rows[0][1]:
        return _ragchecker(file, rows)
    compared = [_compared(file, number, row) for number, row in rows]
    ids = [item.pair.id for item in compared]
    if len(set(ids)) < len(ids):
        twice = next(id_ for id_ in ids if ids.count(id_) > 1)
        raise DatasetError(f'{file} has the pair "{twice}" twice.', "Give each pair an _id of its own.")
    return tuple(compared)


def _file(folder: Path) -> Path:
    found = (
        [folder] if folder.is_file() else sorted(p for p in folder.glob("*.json*") if p.suffix in (".json", ".jsonl"))
    )
    if len(found) != 1:
        what = "has several data files" if found else "has no data file"
        raise DatasetError(f"{folder} {what}.", _LAYOUT)
    return found[0]


def _rows(file: Path) -> list[dict[str, Any]]:
    try:
        text = file.read_text(encoding="utf-8-sig")
        lines = [line for line in text.splitlines() if line.strip()]
        rows = [json.loads(line) for line in lines] if file.suffix == ".jsonl" else json.loads(text)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{file} cannot be read: {error}", _LAYOUT) from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DatasetError(f"{file} is no list of objects.", _LAYOUT)
    return rows


def _compared(file: Path, number: int, row: Mapping[str, Any]) -> Compared:
    try:
        a, b = row["a"], row["b"]
        pair = Pair(str(row["_id"]), str(row["question"]), str(row["reference"]), str(a["text"]), str(b["text"]))
        labels = tuple(int(label) for label in row["labels"])
        models = str(a.get("model", "")), str(b.get("model", ""))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DatasetError(f"{file}, pair {number}: {error!r}", _LAYOUT) from error
    if not labels or not all(-2 <= label <= 2 for label in labels):
        raise DatasetError(f"{file}, pair {number}: labels must be from -2 to 2, and there must be one.", _LAYOUT)
    return Compared(pair, *models, labels)


def _ragchecker(file: Path, rows: list[tuple[int, dict[str, Any]]]) -> tuple[Compared, ...]:
    """Join the rows of the people who compared the same two answers."""
    joined: dict[str, dict[str, Any]] = {}
    for number, row in rows:
        try:
            one, two = row["model1"], row["model2"]
            key = f"{row['dataset']}/{row['query_id']}/{one['model_name']}/{two['model_name']}"
            pair = {
                "_id": key,
                "question": row["query"],
                "reference": row["gt_answer"],
                "a": {"model": one["model_name"], "text": one["response"]},
                "b": {"model": two["model_name"], "text": two["response"]},
                "labels": [],
            }
            joined.setdefault(key, pair)["labels"].append(row["overall_label"])
        except (KeyError, TypeError) as error:
            raise DatasetError(f"{file}, object {number}: {error!r}", _LAYOUT) from error
    return tuple(_compared(file, number, row) for number, row in enumerate(joined.values(), start=1))

"""Encoder tasks on disk, of MTEB's types (Muennighoff et al. 2023, arXiv:2210.07316), checked when they are read.

A task is a folder with a task.toml, whose `type` says what the JSONL files beside it hold:

- sts: data.jsonl {sentence1, sentence2, score}
- pair_classification: data.jsonl {sentence1, sentence2, label}, the label 0 or 1
- reranking: data.jsonl {query, positive: [...], negative: [...]}
- classification: train.jsonl and test.jsonl {text, label}
- clustering: data.jsonl {text, label}
- retrieval: a BEIR folder (see eval/dataset.py), which needs no task.toml

Every line may have an `_id`, else its number is its name.
"""

import hashlib
import math
import tomllib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from eval.dataset import CORPUS, load_dataset, rows_of
from indexer.errors import DatasetError

TASK = "task.toml"
SIMILARITY = ("sts", "pair_classification")
LABELLED = ("classification", "clustering")
TYPES = (*SIMILARITY, "reranking", *LABELLED, "retrieval")
MAIN = {  # the one figure of a task that MTEB shows
    "sts": "spearman",
    "pair_classification": "ap",
    "reranking": "map",
    "classification": "accuracy",
    "clustering": "v_measure",
    "retrieval": "ndcg@10",
}
_LAYOUT = f"docs/evaluation.md says what a task's folder holds; its type is one of {', '.join(TYPES)}."


@dataclass(frozen=True, slots=True)
class Pair:
    """Two sentences and how alike they are: a score, or a label of 0 or 1."""

    id: str
    first: str
    second: str
    score: float


@dataclass(frozen=True, slots=True)
class Candidates:
    """A query with texts that answer it and texts that do not."""

    id: str
    query: str
    positive: tuple[str, ...]
    negative: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Labelled:
    """A text and its class."""

    id: str
    text: str
    label: str


Row = TypeVar("Row", Pair, Candidates, Labelled)


@dataclass(frozen=True, slots=True)
class Task:
    """A task in memory; only what belongs to its type is filled. `sha256` is of its type and its data files."""

    name: str
    type: str
    folder: Path
    sha256: str
    pairs: tuple[Pair, ...] = ()  # sts, pair_classification
    candidates: tuple[Candidates, ...] = ()  # reranking
    labelled: tuple[Labelled, ...] = ()  # clustering; of classification those that are tested
    train: tuple[Labelled, ...] = ()  # classification


def load_tasks(paths: Sequence[Path]) -> tuple[Task, ...]:
    """Read tasks: each path is a task's folder or a folder of such folders.

    Raises:
        DatasetError: a folder is no task, two have one name, or a file is missing, empty or malformed. The message
            names the file and the line.
    """
    tasks = tuple(load_task(folder) for path in paths for folder in _folders(path))
    for name, number in Counter(task.name for task in tasks).items():
        if number > 1:
            raise DatasetError(f"{number} tasks are called {name}.", "Give each folder a name of its own.")
    return tasks


def load_task(folder: Path) -> Task:
    """Read and check one task.

    Raises:
        DatasetError: as `load_tasks` does.
    """
    told = _read_toml(folder)
    type_, name = told.pop("type"), folder.resolve().name
    if type_ == "retrieval":
        _refuse_keys(folder, told, ())
        return Task(name, type_, folder, _hash(type_, load_dataset(folder).sha256.encode()))
    parts = ("train", "test") if type_ == "classification" else ("data",)
    _refuse_keys(folder, told, parts)
    files = {part: folder / told.get(part, f"{part}.jsonl") for part in parts}
    task = _filled(Task(name, type_, folder, ""), files)
    return replace(task, sha256=_hash(type_, *(file.read_bytes() for file in files.values())))


def _filled(task: Task, files: Mapping[str, Path]) -> Task:
    if task.type in SIMILARITY:
        return replace(task, pairs=_pairs(files["data"], task.type))
    if task.type == "reranking":
        return replace(task, candidates=_read(files["data"], _candidates))
    if task.type == "clustering":
        rows = _read(files["data"], _labelled)
        _check_labels(files["data"], rows)
        return replace(task, labelled=rows)
    train, test = _read(files["train"], _labelled), _read(files["test"], _labelled)
    _check_labels(files["train"], train)
    _check_known(files["test"], test, {row.label for row in train})
    return replace(task, labelled=test, train=train)


def _folders(path: Path) -> list[Path]:
    if not path.is_dir():
        raise DatasetError(f"There is no folder {path}.", _LAYOUT)
    if _is_task(path):
        return [path]
    folders = sorted(folder for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    if not folders:
        raise DatasetError(f"{path} holds neither a {TASK} nor a {CORPUS}, nor folders that do.", _LAYOUT)
    for folder in folders:
        if not _is_task(folder):
            raise DatasetError(f"{folder} holds neither a {TASK} nor a {CORPUS}.", _LAYOUT)
    return folders


def _is_task(folder: Path) -> bool:
    return (folder / TASK).is_file() or (folder / CORPUS).is_file()


def _read_toml(folder: Path) -> dict[str, Any]:
    path = folder / TASK
    if not path.is_file():
        return {"type": "retrieval"}
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read: {error}", _LAYOUT) from error
    if told.get("type") not in TYPES:
        what = f"of the unknown type {told['type']!r}" if "type" in told else "without a type"
        raise DatasetError(f"{path} is {what}.", f"Choose from: {', '.join(TYPES)}.")
    return told


def _refuse_keys(folder: Path, told: Mapping[str, Any], known: Collection[str]) -> None:
    for key, value in told.items():
        if key not in known or not isinstance(value, str):
            may = f"beside type it may hold {', '.join(known)}: names of files" if known else "it holds a type alone"
            raise DatasetError(f"{folder / TASK}: {key} = {value!r} is not understood.", f"Here {may}.")


def _read(path: Path, parse: Callable[[Path, int, str, Mapping[str, Any]], Row]) -> tuple[Row, ...]:
    rows = tuple(parse(path, line, id_, row) for line, id_, row in _named_rows(path))
    if not rows:
        raise DatasetError(f"{path} is empty.", _LAYOUT)
    return rows


def _named_rows(path: Path) -> Iterator[tuple[int, str, Mapping[str, Any]]]:
    first_line: dict[str, int] = {}
    for line, row in rows_of(path):
        id_ = row.get("_id", str(line))
        if not isinstance(id_, str) or not id_:
            raise _wrong(path, line, "_id must be a string")
        if id_ in first_line:
            raise _wrong(path, line, f'the id "{id_}" is already on line {first_line[id_]}')
        first_line[id_] = line
        yield line, id_, row


def _pairs(path: Path, type_: str) -> tuple[Pair, ...]:
    graded = type_ == "sts"
    pairs = _read(path, _graded if graded else _alike)
    commonest = Counter(pair.score for pair in pairs).most_common(1)[0][1]
    if graded and commonest > len(pairs) - 2:
        raise DatasetError(f"{path}: all scores but one are equal, and a rank correlation needs others.", _LAYOUT)
    positive = sum(pair.score for pair in pairs)
    if not graded and (positive < 2 or positive == len(pairs)):
        raise DatasetError(f"{path} needs at least two pairs with the label 1 and one with 0.", _LAYOUT)
    return pairs


def _graded(path: Path, line: int, id_: str, row: Mapping[str, Any]) -> Pair:
    score = _column(path, line, row, "score")
    if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
        raise _wrong(path, line, f"score must be a finite number, and is {score!r}")
    return Pair(id_, _text(path, line, row, "sentence1"), _text(path, line, row, "sentence2"), float(score))


def _alike(path: Path, line: int, id_: str, row: Mapping[str, Any]) -> Pair:
    label = _column(path, line, row, "label")
    if label not in (0, 1):
        raise _wrong(path, line, f"label must be 0 or 1, and is {label!r}")
    return Pair(id_, _text(path, line, row, "sentence1"), _text(path, line, row, "sentence2"), float(label))


def _candidates(path: Path, line: int, id_: str, row: Mapping[str, Any]) -> Candidates:
    return Candidates(
        id_,
        _text(path, line, row, "query"),
        _texts(path, line, row, "positive"),
        _texts(path, line, row, "negative"),
    )


def _labelled(path: Path, line: int, id_: str, row: Mapping[str, Any]) -> Labelled:
    label = _column(path, line, row, "label")
    if isinstance(label, bool) or not isinstance(label, str | int) or not str(label).strip():
        raise _wrong(path, line, f"label must be a name or a whole number, and is {label!r}")
    return Labelled(id_, _text(path, line, row, "text"), str(label))


def _check_labels(path: Path, rows: Sequence[Labelled]) -> None:
    labels = {row.label for row in rows}
    if len(labels) == 1:
        raise DatasetError(f"{path} has one class only: {labels.pop()}.", "At least two are needed.")
    if len(labels) == len(rows):
        raise DatasetError(f"{path} has a class of its own for every text.", "Classes must have several texts.")


def _check_known(path: Path, rows: Sequence[Labelled], known: Collection[str]) -> None:
    for row in rows:
        if row.label not in known:
            raise DatasetError(f'{path}, "{row.id}": the label {row.label} is nowhere in the training file.', _LAYOUT)


def _column(path: Path, line: int, row: Mapping[str, Any], name: str) -> Any:
    if name not in row:
        raise _wrong(path, line, f"the column {name} is missing")
    return row[name]


def _text(path: Path, line: int, row: Mapping[str, Any], name: str) -> str:
    value = _column(path, line, row, name)
    if not isinstance(value, str) or not value.strip():
        raise _wrong(path, line, f"{name} must be a text with words")
    return value.strip()


def _texts(path: Path, line: int, row: Mapping[str, Any], name: str) -> tuple[str, ...]:
    values = _column(path, line, row, name)
    if not isinstance(values, list) or not values or not all(isinstance(v, str) and v.strip() for v in values):
        raise _wrong(path, line, f"{name} must be a list of at least one text")
    return tuple(value.strip() for value in values)


def _wrong(path: Path, line: int, what: str) -> DatasetError:
    return DatasetError(f"{path}, line {line}: {what}.", "Correct that line and run the command again.")


def _hash(*parts: str | bytes) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(hashlib.sha256(part.encode() if isinstance(part, str) else part).digest())
    return whole.hexdigest()

"""A retrieval data set on disk: corpus.jsonl, queries.jsonl and qrels.tsv, checked when it is read.

The layout is BEIR's (Thakur et al. 2021), with three optional fields of a query: `answers`, `answerable`, `turns`. An
optional spans.jsonl says where answers stand: {_id of the question, document, start, end}, in characters of the text.
"""

import hashlib
import json
import random
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from generator.prompt import Turn
from indexer.errors import DatasetError

CORPUS, QUERIES, QRELS, SPANS = "corpus.jsonl", "queries.jsonl", "qrels.tsv", "spans.jsonl"
_LAYOUT = f"A data set is a folder with {CORPUS} {{_id, title, text}}, {QUERIES} {{_id, text}} and {QRELS}."


@dataclass(frozen=True, slots=True)
class Entry:
    """One passage of the corpus, searched as a whole. Published sets hold a few with neither title nor text."""

    id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Span:
    """Characters of an entry, or of a collection's document, that hold an answer."""

    entry: str
    start: int
    end: int

    @property
    def name(self) -> str:
        """What a ranking calls it."""
        return f"{self.entry}#{self.start}-{self.end}"


@dataclass(frozen=True, slots=True)
class Case:
    """One question and what is known about its answer."""

    id: str
    question: str
    relevant: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))  # corpus id -> grade
    answers: tuple[str, ...] = ()
    answerable: bool = True
    turns: tuple[Turn, ...] = ()  # what came before in the same conversation; an unknown answer is empty
    spans: tuple[Span, ...] = ()  # where the answer stands


@dataclass(frozen=True, slots=True)
class Dataset:
    """A whole data set in memory. `corpus_sha256` names the index built from it, `sha256` is of all three files."""

    name: str
    folder: Path
    entries: tuple[Entry, ...]
    cases: tuple[Case, ...]
    corpus_sha256: str
    sha256: str = ""

    @property
    def judged(self) -> tuple[Case, ...]:
        """The cases that retrieval is scored on: those with at least one judgement."""
        return tuple(case for case in self.cases if case.relevant)


def load_dataset(folder: Path) -> Dataset:
    """Read and check a data set.

    Raises:
        DatasetError: a file is missing or malformed, an id is repeated or names nothing, or there are questions with an
            answer and no judgement says that anything is relevant. The message names the file and the line.
    """
    entries = tuple(_entries(folder / CORPUS))
    cases = load_cases(folder, {entry.id for entry in entries})
    hashes = [sha256_of(folder / name) for name in (CORPUS, QUERIES, QRELS)]
    whole = hashlib.sha256("\n".join(hashes).encode()).hexdigest()
    return Dataset(folder.resolve().name, folder, entries, cases, hashes[0], whole)


def load_cases(folder: Path, entry_ids: Set[str] | None) -> tuple[Case, ...]:
    """Read the questions and judgements alone; ids of entries are not checked where `entry_ids` is None.

    Raises:
        DatasetError: as `load_dataset` does.
    """
    asked = tuple(_cases(folder / QUERIES))
    known = {case.id for case in asked}
    grades = _grades(folder / QRELS, entry_ids, known)
    judged = any(grade > 0 for row in grades.values() for grade in row.values())
    if not judged and any(case.answerable for case in asked):
        raise DatasetError(f"{folder / QRELS} judges nothing as relevant", "At least one line needs a score above 0.")
    spans = _spans(folder / SPANS, entry_ids, known) if (folder / SPANS).exists() else {}
    return tuple(
        replace(case, relevant=MappingProxyType(grades.get(case.id, {})), spans=tuple(spans.get(case.id, ())))
        for case in asked
    )


def drawn(cases: Sequence[Case], limit: int | None, seed: int = 0) -> Sequence[Case]:
    """All cases, or `limit` of them at random under the seed, in their order. A larger draw holds every smaller one."""
    if limit is None or limit >= len(cases):
        return cases
    places = list(range(len(cases)))
    random.Random(seed).shuffle(places)
    return [cases[place] for place in sorted(places[:limit])]


def sha256_of(path: Path) -> str:
    """Hash of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _entries(path: Path) -> Iterator[Entry]:
    for line, row in _unique_rows(path):
        title, text = row.get("title") or "", row.get("text") or ""
        if not isinstance(title, str) or not isinstance(text, str):
            raise _malformed(path, line, "title and text must be strings")
        yield Entry(row["_id"], title.strip(), text)


def _cases(path: Path) -> Iterator[Case]:
    for line, row in _unique_rows(path):
        question = row.get("text")
        if not isinstance(question, str) or not question.strip():
            raise _malformed(path, line, f'the query "{row["_id"]}" has no text')
        answerable = row.get("answerable", True)
        if not isinstance(answerable, bool):
            raise _malformed(path, line, "answerable must be true or false")
        yield Case(
            row["_id"],
            question,
            answers=_strings(path, line, row, "answers"),
            answerable=answerable,
            turns=_turns(path, line, row),
        )


def _strings(path: Path, line: int, row: Mapping[str, Any], name: str) -> tuple[str, ...]:
    values = row.get(name) or []
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise _malformed(path, line, f"{name} must be a list of strings")
    return tuple(values)


def _turns(path: Path, line: int, row: Mapping[str, Any]) -> tuple[Turn, ...]:
    turns = row.get("turns") or []
    if not isinstance(turns, list):
        raise _malformed(path, line, "turns must be a list")
    told = []
    for turn in turns:
        question, answer = (turn, "") if isinstance(turn, str) else _asked(turn)
        if not isinstance(question, str) or not question.strip() or not isinstance(answer, str):
            raise _malformed(path, line, 'a turn must be a question or {"question", "answer"}')
        told.append((question, answer))
    return tuple(told)


def _asked(turn: Any) -> tuple[Any, Any]:
    return (turn.get("question"), turn.get("answer", "")) if isinstance(turn, dict) else (None, None)


def rows_of(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and object of each line of a JSONL file.

    Raises:
        DatasetError: the file cannot be read, or a line is no object.
    """
    for line, text in _lines(path):
        try:
            row = json.loads(text)
        except ValueError as error:
            raise _malformed(path, line, f"not JSON ({error})") from error
        if not isinstance(row, dict):
            raise _malformed(path, line, "an object is expected")
        yield line, row


def _unique_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and object of each line; every object has a string `_id` that no other line has."""
    first_line: dict[str, int] = {}
    for line, row in rows_of(path):
        if not isinstance(row.get("_id"), str) or not row["_id"]:
            raise _malformed(path, line, 'an object with a string "_id" is expected')
        if row["_id"] in first_line:
            raise _malformed(path, line, f'the id "{row["_id"]}" is already on line {first_line[row["_id"]]}')
        first_line[row["_id"]] = line
        yield line, row
    if not first_line:
        raise DatasetError(f"{path} is empty", _LAYOUT)


def _grades(path: Path, entry_ids: Set[str] | None, case_ids: Set[str]) -> dict[str, dict[str, int]]:
    """Grade of each judged pair: question id -> corpus id -> grade."""
    grades: dict[str, dict[str, int]] = {}
    for line, text in _lines(path):
        cells = text.split("\t")
        if line == 1 and [cell.strip() for cell in cells] == ["query-id", "corpus-id", "score"]:
            continue
        if len(cells) != 3 or not cells[2].strip().lstrip("+-").isdecimal():
            raise _malformed(path, line, "three tab-separated cells are expected: query id, corpus id, whole number")
        question, entry, grade = cells[0].strip(), cells[1].strip(), int(cells[2])
        for id_, known, file in ((question, case_ids, QUERIES), (entry, entry_ids, CORPUS)):
            if known is not None and id_ not in known:
                raise _malformed(path, line, f'the id "{id_}" is not in {file}')
        if entry in grades.setdefault(question, {}):
            raise _malformed(path, line, f'"{question}" and "{entry}" are judged twice')
        grades[question][entry] = grade
    return grades


def _spans(path: Path, entry_ids: Set[str] | None, case_ids: Set[str]) -> dict[str, list[Span]]:
    """Where the answer to each question stands."""
    spans: dict[str, list[Span]] = {}
    for line, row in rows_of(path):
        question, entry, start, end = (row.get(name) for name in ("_id", "document", "start", "end"))
        if not (isinstance(start, int) and isinstance(end, int) and 0 <= start < end):
            raise _malformed(path, line, "start and end must be whole numbers, the end behind the start")
        for id_, known, file in ((question, case_ids, QUERIES), (entry, entry_ids, CORPUS)):
            if not isinstance(id_, str) or (known is not None and id_ not in known):
                raise _malformed(path, line, f'the id "{id_}" is not in {file}')
        spans.setdefault(str(question), []).append(Span(str(entry), start, end))
    return spans


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number (from 1) and text of each line that is not blank."""
    try:
        with path.open(encoding="utf-8-sig") as stream:
            for number, line in enumerate(stream, start=1):
                if text := line.rstrip("\r\n"):
                    yield number, text
    except FileNotFoundError as error:
        raise DatasetError(f"{path} is missing", _LAYOUT) from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}", _LAYOUT) from error
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}", _LAYOUT) from error


def _malformed(path: Path, line: int, what: str) -> DatasetError:
    return DatasetError(f"{path}, line {line}: {what}", "Correct that line and run the command again.")

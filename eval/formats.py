"""Questions in other layouts than BEIR's, and questions about a collection that is served.

- A folder of corpus.jsonl, queries.jsonl and qrels.tsv: see eval/dataset.py.
- A .json file as SQuAD publishes it (Rajpurkar et al. 2016, 2018): each paragraph becomes an entry.
- A .csv, .tsv or .jsonl file of questions: `question`, and where known `answer` (several: a JSON list, or | between),
  `source` (the same), `answerable`, `id`. It has no corpus, so it is asked of a collection.
- A .jsonl file of conversations: `turns`, a list of such questions. Each is a case, with those before it as its turns.
"""

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from eval.dataset import CORPUS, QRELS, QUERIES, SPANS, Case, Dataset, Entry, load_cases, load_dataset, rows_of
from generator.prompt import Turn
from indexer.errors import DatasetError

_KNOWN = "A data set is a BEIR folder, a SQuAD .json, or a .csv, .tsv or .jsonl of questions; see docs/evaluation.md."
_WHICH = "Say which collection is asked: --served NAME."
_NO = ("false", "no", "0")


def load_any(path: Path, sources: Set[str] | None = None) -> Dataset:
    """Read a data set; with `sources`, the questions alone, about the documents of a collection.

    Relevant documents may be named by the end of their path, as long as it names one.

    Raises:
        DatasetError: the file or folder is missing, malformed or of no known kind, or needs a collection.
    """
    if path.is_dir():
        if sources is None and (path / QUERIES).exists() and not (path / CORPUS).exists():
            raise DatasetError(f"{path} has questions and no corpus.", _WHICH)
        return load_dataset(path) if sources is None else _about(path, _folder_cases(path, sources), _hash_of(path))
    if not path.is_file():
        raise DatasetError(f"There is no data set {path}.", _KNOWN)
    if path.suffix == ".json":
        if sources is not None:
            raise DatasetError(f"{path} has its own paragraphs.", "Leave --served out.")
        return _squad(path)
    if path.suffix not in (".csv", ".tsv", ".jsonl"):
        raise DatasetError(f"{path} is of no known kind.", _KNOWN)
    if sources is None:
        raise DatasetError(f"{path} has questions and no corpus.", _WHICH)
    cases = [_resolved(path, case, sources) for case in _questions(path)]
    if not cases:
        raise DatasetError(f"{path} has no questions.", _KNOWN)
    _check_unique(path, cases)
    return _about(path, cases, _hash_of(path))


def resolve(name: str, sources: Set[str]) -> list[str]:
    """Sources that a name means: itself, or those whose path ends with it."""
    if name in sources:
        return [name]
    parts = PurePosixPath(name).parts
    return sorted(source for source in sources if parts and PurePosixPath(source).parts[-len(parts) :] == parts)


def short_name(source: str, sources: Set[str]) -> str:
    """The least of the end of a source's path that `resolve` takes for it alone."""
    parts = PurePosixPath(source).parts
    ends = (str(PurePosixPath(*parts[-length:])) for length in range(1, len(parts)))
    return next((end for end in ends if resolve(end, sources) == [source]), source)


def _about(path: Path, cases: Sequence[Case], sha256: str) -> Dataset:
    return Dataset(path.resolve().stem, path, (), tuple(cases), "", sha256)


def _hash_of(path: Path) -> str:
    # Of a folder what is read: decisions about questions, say, lie beside them and change no answer.
    files = [path / name for name in (CORPUS, QUERIES, QRELS, SPANS)] if path.is_dir() else [path]
    return hashlib.sha256(b"\n".join(file.read_bytes() for file in files if file.is_file())).hexdigest()


def _folder_cases(folder: Path, sources: Set[str]) -> list[Case]:
    return [_resolved(folder, case, sources) for case in load_cases(folder, None)]


def _resolved(path: Path, case: Case, sources: Set[str]) -> Case:
    def meant(name: str) -> str:
        found = resolve(name, sources)
        if len(found) != 1:
            what = f'"{name}" could be {" or ".join(found[:3])}' if found else f'"{name}" is not in the collection'
            raise DatasetError(f"{path}, question {case.id}: {what}.", "Correct it, or ingest that document.")
        return found[0]

    relevant = {meant(name): grade for name, grade in case.relevant.items()}
    spans = tuple(replace(span, entry=meant(span.entry)) for span in case.spans)
    return replace(case, relevant=MappingProxyType(relevant), spans=spans)


def _check_unique(path: Path, cases: Iterable[Case]) -> None:
    seen: set[str] = set()
    for case in cases:
        if case.id in seen:
            raise DatasetError(f'{path}: the id "{case.id}" is there twice.', "Give each question an id of its own.")
        seen.add(case.id)


def _questions(path: Path) -> Iterator[Case]:
    for number, row in _table(path) if path.suffix != ".jsonl" else rows_of(path):
        name = str(row.get("id") or row.get("_id") or number)
        if "turns" in row and not row.get("question"):
            yield from _conversation(path, number, name, row["turns"])
        else:
            yield _question(path, number, name, row, ())


def _conversation(path: Path, number: int, name: str, turns: Any) -> Iterator[Case]:
    if not isinstance(turns, list) or not turns or not all(isinstance(turn, dict) for turn in turns):
        raise _wrong(path, number, "turns must be a list of objects with a question each")
    before: list[Turn] = []
    for place, turn in enumerate(turns, start=1):
        case = _question(path, number, f"{name}.{place}", turn, tuple(before))
        yield case
        before.append((case.question, case.answers[0] if case.answers else ""))


def _question(path: Path, number: int, name: str, row: Mapping[str, Any], turns: tuple[Turn, ...]) -> Case:
    text = row.get("question")
    if not isinstance(text, str) or not text.strip():
        raise _wrong(path, number, "there is no question")
    answers = _several(path, number, row, "answer")
    said = str(row.get("answerable", "")).strip().lower()
    relevant = dict.fromkeys(_several(path, number, row, "source"), 1)
    return Case(name, text.strip(), MappingProxyType(relevant), answers, said not in _NO, turns)


def _several(path: Path, number: int, row: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = row.get(name) if row.get(name) is not None else row.get(f"{name}s")
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except ValueError:
            value = [value]
    if isinstance(value, str):
        value = value.split("|")
    if not isinstance(value, list | None) or not all(isinstance(item, str) for item in value or ()):
        raise _wrong(path, number, f"{name} must be text or a list of texts")
    return tuple(item.strip() for item in value or () if item.strip())


def _table(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, delimiter="\t" if path.suffix == ".tsv" else ",")
            if "question" not in (reader.fieldnames or ()):
                raise DatasetError(f"{path} has no column question.", _KNOWN)
            for row in reader:
                yield reader.line_num, {key: value for key, value in row.items() if key}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path} cannot be read: {error}", _KNOWN) from error


def _squad(path: Path) -> Dataset:
    try:
        articles = json.loads(path.read_text(encoding="utf-8-sig"))["data"]
        entries, cases = [], []
        for number, article in enumerate(articles):
            for place, paragraph in enumerate(article["paragraphs"]):
                entry = Entry(
                    f"{number}.{place}", str(article.get("title", "")).replace("_", " "), paragraph["context"]
                )
                entries.append(entry)
                cases += [_squad_case(asked, entry.id) for asked in paragraph["qas"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(f"{path} is not as SQuAD has it: {error!r}", _KNOWN) from error
    _check_unique(path, cases)
    if not any(case.relevant for case in cases):
        raise DatasetError(f"{path} has no question with an answer.", _KNOWN)
    corpus = "\n".join(f"{entry.title}\x00{entry.text}" for entry in entries)
    sha256 = hashlib.sha256(corpus.encode("utf-8", "surrogatepass")).hexdigest()
    return Dataset(path.resolve().stem, path, tuple(entries), tuple(cases), sha256, _hash_of(path))


def _squad_case(asked: Mapping[str, Any], entry: str) -> Case:
    answerable = not asked.get("is_impossible", False)
    answers = tuple(dict.fromkeys(answer["text"] for answer in asked["answers"]))
    relevant = MappingProxyType({entry: 1} if answerable else {})
    return Case(str(asked["id"]), str(asked["question"]), relevant, answers if answerable else (), answerable)


def _wrong(path: Path, number: int, what: str) -> DatasetError:
    return DatasetError(f"{path}, line {number}: {what}.", "Correct that line and run the command again.")

"""Gold cases: answers that a reader judged, as questions with known answers for evaluation."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.judged import Judged
from eval.dataset import rows_of
from generator.citations import without_markers
from indexer.errors import ConfigError
from indexer.store.disk import disk_error


@dataclass(frozen=True, slots=True)
class GoldCase:
    """A question with its known answer. Without one, the documents do not hold any."""

    id: str
    question: str
    answer: str
    sources: tuple[str, ...]
    filters: tuple[str, ...] = ()  # which documents the answer that was judged was asked of


def proposed(judged: Judged, sources: Sequence[str]) -> GoldCase:
    """The case that a thumb speaks for: its correction, else the answer that was liked; empty where it is not known."""
    liked = without_markers(judged.answer).strip() if judged.verdict == "up" and not judged.abstained else ""
    return GoldCase(judged.answer_id, judged.query, judged.correction or liked, tuple(sources), judged.filters or ())


def case_row(case: GoldCase) -> dict[str, Any]:
    """A case as eval/formats.py reads it."""
    return {
        "id": case.id,
        "question": case.question.strip(),
        "answer": [case.answer.strip()] if case.answer.strip() else [],
        "source": list(case.sources),
        "answerable": bool(case.answer.strip()),
        **({"filters": list(case.filters)} if case.filters else {}),
    }


def gold_file(home: Path, collection: str) -> Path:
    """Where the gold cases about a collection are kept: a file that `eval answers --served` takes."""
    return home / "eval" / "gold" / f"{collection}.jsonl"


def promote(file: Path, case: GoldCase) -> bool:
    """Add a case, in one line of JSON as eval/formats.py reads it; one with the same question is there already.

    Raises:
        ConfigError: the question is empty.
        DatasetError: the file holds what is no case.
        IndexError_: the file cannot be written.
    """
    if not case.question.strip():
        raise ConfigError("A case needs a question.", "Write what is to be asked.")
    if file.exists() and any(_same(row.get("question", ""), case.question) for _, row in rows_of(file)):
        return False
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(case_row(case), ensure_ascii=False) + "\n")
    except OSError as error:
        raise disk_error(error, file) from error
    return True


def _same(first: str, second: str) -> bool:
    return first.casefold().split() == second.casefold().split()

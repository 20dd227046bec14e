"""Gold cases: answers that a reader judged, as questions with known answers for evaluation."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.database import Database
from app.feedback import Verdict
from eval.dataset import rows_of
from generator.citations import without_markers
from indexer.errors import ConfigError
from indexer.store.disk import disk_error


@dataclass(frozen=True, slots=True)
class Judged:
    """An answer with the thumb that counts."""

    answer_id: str
    collection: str
    at: str  # ISO 8601, UTC
    verdict: Verdict
    reason: str
    correction: str
    question: str
    query: str  # what was searched for: the question, made to stand by itself
    answer: str
    abstained: bool
    document_ids: tuple[str, ...]  # that the answer cites


@dataclass(frozen=True, slots=True)
class GoldCase:
    """A question with its known answer. Without one, the documents do not hold any."""

    id: str
    question: str
    answer: str
    sources: tuple[str, ...]


def judged_answers(database: Database, limit: int) -> list[Judged]:
    """The answers that were judged last, newest first.

    Raises:
        IndexError_: the store cannot be read.
    """
    with database.connected() as db:
        rows = db.execute(
            "SELECT answer_id, collection, at, thumb, reason, correction, served FROM feedback"
            " WHERE number IN (SELECT max(number) FROM feedback GROUP BY answer_id) ORDER BY number DESC LIMIT ?",
            (limit,),
        ).fetchall()
    return [_judged(*row) for row in rows]


def _judged(
    answer_id: str, collection: str, at: str, verdict: Verdict, reason: str, correction: str, served: str
) -> Judged:
    told: Mapping[str, Any] = json.loads(served)
    cited = dict.fromkeys(document_id for _, document_id, *_ in told["citations"])
    return Judged(
        answer_id,
        collection,
        at,
        verdict,
        reason,
        correction,
        told["question"],
        told["query"] or told["question"],
        told["answer"],
        told["abstained"],
        tuple(cited),
    )


def proposed(judged: Judged, sources: Sequence[str]) -> GoldCase:
    """The case that a thumb speaks for: its correction, else the answer that was liked; empty where it is not known."""
    liked = without_markers(judged.answer).strip() if judged.verdict == "up" and not judged.abstained else ""
    return GoldCase(judged.answer_id, judged.query, judged.correction or liked, tuple(sources))


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
    row = {
        "id": case.id,
        "question": case.question.strip(),
        "answer": [case.answer.strip()] if case.answer.strip() else [],
        "source": list(case.sources),
        "answerable": bool(case.answer.strip()),
    }
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
    except OSError as error:
        raise disk_error(error, file) from error
    return True


def _same(first: str, second: str) -> bool:
    return first.casefold().split() == second.casefold().split()

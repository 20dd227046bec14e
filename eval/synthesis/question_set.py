"""A folder of written questions: what the filters let through, what people said of it, and the data set that follows.

    synthesis.json    how the questions were made, and how many came of it
    candidates.jsonl  every question that passed the filters, with its passages, scores and provenance
    rejected.jsonl    every other, with the reason
    decisions.json    what people decided; nothing else in the folder is theirs
    queries.jsonl, qrels.tsv, spans.jsonl   the data set, made anew from these at every change

A question is in the data set unless a person rejected it; with `accepted_only`, if a person accepted it. Documents are
named by their source, so the set is asked of a collection that holds them: `--served NAME`.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from filelock import FileLock

from eval.dataset import QRELS, QUERIES, SPANS, rows_of
from eval.synthesis.author import PROMPTS, READ_PROMPT
from eval.synthesis.candidate import Candidate, as_json, from_json
from eval.synthesis.synthesize import Plan, Written
from indexer.errors import ConfigError, DatasetError
from indexer.store.disk import read_json, replace_file, write_json

ABOUT, CANDIDATES, REJECTED, DECISIONS = "synthesis.json", "candidates.jsonl", "rejected.jsonl", "decisions.json"
Verdict = Literal["accepted", "rejected"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person said of a question: the question and the answer as they are to be used."""

    verdict: Verdict
    question: str
    answer: str
    decided_at: str  # ISO 8601, UTC


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """A folder as it was read."""

    folder: Path
    candidates: tuple[Candidate, ...]
    provenance: Mapping[str, Mapping[str, Any]]  # of each candidate
    decisions: Mapping[str, Decision]
    accepted_only: bool

    def verdict(self, id_: str) -> str:
        """What was decided: accepted, rejected or undecided."""
        return self.decisions[id_].verdict if id_ in self.decisions else "undecided"

    def counts(self) -> dict[str, int]:
        """{"accepted", "rejected", "undecided", "used"}."""
        told = {"accepted": 0, "rejected": 0, "undecided": 0}
        for candidate in self.candidates:
            told[self.verdict(candidate.id)] += 1
        return {**told, "used": len(self.used())}

    def used(self) -> list[Candidate]:
        """The questions of the data set, as people left them."""
        wanted = ("accepted",) if self.accepted_only else ("accepted", "undecided")
        return [self.edited(candidate) for candidate in self.candidates if self.verdict(candidate.id) in wanted]

    def edited(self, candidate: Candidate) -> Candidate:
        """A candidate with the words that a person gave it."""
        decision = self.decisions.get(candidate.id)
        if decision is None:
            return candidate
        return replace(candidate, question=decision.question, answer=decision.answer)


def check_folder(folder: Path, identity: Mapping[str, Any]) -> None:
    """Refuse a folder that holds something else than the questions of this identity.

    Raises:
        ConfigError: it does.
    """
    # What a kill left of the very first save is hidden.
    if not folder.exists() or (folder.is_dir() and all(path.name.startswith(".") for path in folder.iterdir())):
        return
    about = read_json(folder / ABOUT)
    if about is None:
        raise ConfigError(f"{folder} is there and holds no questions of ours.", "Name a new folder with --out.")
    if about.get("identity") != json.loads(json.dumps(identity)):
        raise ConfigError(
            f"{folder} holds questions that were written in another way (collection, model, seed or counts).",
            "Name a new folder with --out, or give the command that made it.",
        )


def save_questions(folder: Path, run: str, written: Written, plan: Plan, identity: Mapping[str, Any]) -> QuestionSet:
    """Write all that was written so far, and the data set that follows; decisions in the folder stay and count.

    Raises:
        IndexError_: the folder cannot be written.
    """
    common = {
        "run": run,
        "model": identity["model"],
        "seed": plan.seed,
        "collection": {"name": identity["dataset"], "fingerprint": identity["fingerprint"]},
    }
    rows = [{**as_json(candidate), "provenance": common | _origin(candidate)} for candidate in written.candidates]
    _make(folder)
    with _locked(folder):
        write_json(folder / ABOUT, {"run": run, "kinds": written.figures(plan), "identity": dict(identity)})
        _write_rows(folder / REJECTED, (row for row in rows if row["reason"]))
        _write_rows(folder / CANDIDATES, (row for row in rows if not row["reason"]))
        return _publish(load_questions(folder))


def load_questions(folder: Path) -> QuestionSet:
    """Read a folder.

    Raises:
        DatasetError: it holds no written questions, or one of its files is damaged.
    """
    path = folder / CANDIDATES
    if not path.is_file():
        raise DatasetError(
            f"{folder} holds no questions to review.", "`footnote eval synthesize --out DIR` writes some."
        )
    candidates, provenance = [], {}
    for line, row in rows_of(path):
        try:
            candidates.append(from_json(row))
            provenance[row["_id"]] = row["provenance"]
        except (KeyError, TypeError) as error:
            raise DatasetError(
                f"{path}, line {line}: no question of ours ({error!r})", "Give the command that wrote it again."
            ) from error
    decisions, accepted_only = _read_decisions(folder / DECISIONS)
    return QuestionSet(folder, tuple(candidates), provenance, decisions, accepted_only)


def decide(folder: Path, id_: str, verdict: Verdict | None, question: str = "", answer: str = "") -> QuestionSet:
    """Write a decision down, or take it back with None, and make the data set anew.

    Empty words leave the question, or the answer, as the model wrote it.

    Raises:
        DatasetError: there is no such question, or its answer is given a question that has none.
    """
    with _locked(folder):
        questions = load_questions(folder)
        candidate = next((candidate for candidate in questions.candidates if candidate.id == id_), None)
        if candidate is None:
            raise DatasetError(f"{folder} has no question {id_}.", "Load the page again.")
        if answer.strip() and not candidate.answerable:
            raise DatasetError(f"{id_} is to have no answer.", "Leave the answer empty, or reject the question.")
        decisions = dict(questions.decisions)
        decisions.pop(id_, None)
        if verdict is not None:
            words = question.strip() or candidate.question, answer.strip() or candidate.answer
            decisions[id_] = Decision(verdict, *words, datetime.now(UTC).isoformat(timespec="seconds"))
        return _publish(_decided(replace(questions, decisions=decisions)))


def use_only_accepted(folder: Path, accepted_only: bool) -> QuestionSet:
    """Say whether questions that nobody has looked at are in the data set, and make it anew."""
    with _locked(folder):
        return _publish(_decided(replace(load_questions(folder), accepted_only=accepted_only)))


def _origin(candidate: Candidate) -> dict[str, Any]:
    return {
        "prompts": [PROMPTS[candidate.kind], READ_PROMPT],
        "chunks": [passage.chunk.id for passage in candidate.passages],
        "sources": [passage.source for passage in candidate.passages],
    }


def _decided(questions: QuestionSet) -> QuestionSet:
    decisions = {id_: asdict(decision) for id_, decision in questions.decisions.items()}
    value = {"accepted_only": questions.accepted_only, "decisions": decisions}
    write_json(questions.folder / DECISIONS, value)
    return questions


def _read_decisions(path: Path) -> tuple[dict[str, Decision], bool]:
    if not path.exists():
        return {}, False
    try:
        value = json.loads(path.read_text("utf-8"))
        decisions = {str(id_): Decision(**row) for id_, row in value["decisions"].items()}
        if any(decision.verdict not in get_args(Verdict) for decision in decisions.values()):
            raise ValueError("a verdict is neither accepted nor rejected")
        return decisions, bool(value["accepted_only"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(
            f"{path} holds no decisions: {error}", "Restore it, or move it away and decide again."
        ) from error


def _publish(questions: QuestionSet) -> QuestionSet:
    used = questions.used()
    _write_rows(questions.folder / QUERIES, map(_query, used))
    spans = [(candidate.id, quote) for candidate in used for quote in candidate.quotes]
    _write_rows(
        questions.folder / SPANS,
        ({"_id": i, "document": q.source, "start": q.start, "end": q.end, "quote": q.text} for i, q in spans),
    )
    judged = dict.fromkeys((id_, quote.source) for id_, quote in spans)
    lines = ["query-id\tcorpus-id\tscore\n", *(f"{id_}\t{source}\t1\n" for id_, source in judged)]
    _write(questions.folder / QRELS, "".join(lines))
    return questions


def _query(candidate: Candidate) -> dict[str, Any]:
    return {
        "_id": candidate.id,
        "text": candidate.question,
        "answers": [candidate.answer] if candidate.answer else [],
        "answerable": candidate.answerable,
        "turns": [{"question": asked, "answer": said} for asked, said in candidate.turns],
        "kind": candidate.kind,
    }


def _write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    _write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _write(path: Path, text: str) -> None:
    # A lone surrogate becomes an escape, which is valid JSON.
    replace_file(path, lambda temporary: _fill(temporary, text))


def _fill(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", errors="backslashreplace")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be made: {error.strerror}.", "Name a folder of yours.") from error


def _locked(folder: Path) -> FileLock:
    """One at a time changes a folder: two people may review it, while more is being written."""
    return FileLock(folder / ".lock")

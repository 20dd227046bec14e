"""`demo`: the sample documents, the sample questions, and every footnote checked against the stored text."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import typer

from app.commands.ask import answer_json, print_answer
from app.commands.ingest import ingest_paths
from app.display import count, note, show
from app.door import emit
from app.settings import ROOT, Settings
from app.wiring import build_pipeline, open_collection
from generator.answer import Answer, Citation
from indexer.collection import Collection
from indexer.errors import ConfigError, DocumentError

CORPUS = ROOT / "data" / "corpus"
QUESTIONS = ROOT / "data" / "questions"


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample question, and the conversation before it."""

    id: str
    question: str
    history: tuple[tuple[str, str], ...]


def run_demo(settings: Settings, name: str, config: Path | None, *, with_ui: bool, as_json: bool) -> None:
    """Ingest, ask, check; then serve the chat page.

    Without the page, the exit code is 0 when every sample question got an answer with valid footnotes or was declined.
    """
    samples = list(read_samples(QUESTIONS))
    began = monotonic()
    _ingest_samples(settings, name)
    results = _ask_samples(settings, name, samples, as_json)
    wrong = [result for result in results if result["problem"]]
    declined = sum(result["abstained"] for result in results)
    if as_json:
        emit({"collection": name, "ok": not wrong, "seconds": round(monotonic() - began, 1), "questions": results})
    else:
        valid = len(results) - declined - len(wrong)
        show(
            f"\n{count(len(results), 'question')}: {valid} answered with valid footnotes, {declined} declined, "
            f"{len(wrong)} not valid; {monotonic() - began:.0f} s",
            "bold",
        )
    if with_ui:
        from app.ui.launch import run_ui

        raise typer.Exit(run_ui(settings, name, config=config))
    if wrong:
        raise typer.Exit(1)


def _ingest_samples(settings: Settings, name: str) -> None:
    note(f"Reading {CORPUS} into collection '{name}' ...")
    report = ingest_paths(settings, name, [CORPUS])
    for file in report.files:
        if file.state == "failed":
            raise DocumentError(f"{file.path}: {file.reason}", file.remedy)
    note(f"{report.count('indexed')} documents indexed, {report.count('unchanged')} unchanged.")


def _ask_samples(settings: Settings, name: str, samples: Sequence[Sample], as_json: bool) -> list[dict[str, Any]]:
    collection = open_collection(settings, name)
    pipeline = build_pipeline(settings, collection)
    results = []
    for sample in samples:
        answer = pipeline.answer(sample.question, sample.history)
        problem = find_problem(answer, collection)
        results.append({"id": sample.id, "question": sample.question, "problem": problem, **answer_json(answer)})
        if not as_json:
            show(f"\n{sample.question}", "bold")
            print_answer(answer)
            if problem:
                show(f"Not valid: {problem}", "red")
    return results


def find_problem(answer: Answer, collection: Collection) -> str:
    """Say what is wrong with an answer's footnotes; empty when nothing is, or when it was declined."""
    if answer.abstained:
        return ""
    if not answer.citations:
        return "an answer without a footnote"
    return next((problem for citation in answer.citations if (problem := _problem(citation, collection))), "")


def _problem(citation: Citation, collection: Collection) -> str:
    document = collection.document(citation.document_id)
    if not citation.quote or document.text[citation.start : citation.end] != citation.quote:
        return f"footnote {citation.number} does not quote characters {citation.start} to {citation.end}"
    return ""


def read_samples(folder: Path) -> Iterator[Sample]:
    """Read the questions that samples.json names, in its order.

    Raises:
        ConfigError: the files are not there or do not fit together.
    """
    try:
        chosen = json.loads((folder / "samples.json").read_text(encoding="utf-8"))
        lines = (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines()
        cases = {case["_id"]: case for case in map(json.loads, lines)}
        for id_ in chosen:
            turns = cases[id_].get("turns") or []
            history = tuple((turn["question"], turn["answer"]) for turn in turns)
            yield Sample(id_, cases[id_]["text"], history)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"The sample questions in {folder} cannot be read: {error!r}", "Restore data/ from git."
        ) from error

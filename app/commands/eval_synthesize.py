"""`eval synthesize` and `eval review`: questions written from a collection, and what people say of them."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from app.commands.eval_answers import CONCURRENT_WITH_SERVER
from app.commands.judges import server_model
from app.display import Meter, count, note, progress, show, show_table
from app.door import emit
from app.resolved import retriever_settings
from app.settings import Settings
from app.wiring import build_retriever, open_collection
from eval.synthesis.candidate import REASONS, Kind
from eval.synthesis.filters import Search
from eval.synthesis.passages import Passages, read_passages
from eval.synthesis.question_set import (
    QuestionSet,
    check_folder,
    load_questions,
    save_questions,
    use_only_accepted,
)
from eval.synthesis.synthesize import Plan, Written, identity_of, plan_counts, synthesize
from indexer.collection import Collection
from retriever.request import SearchRequest

TRIED_PER_QUESTION = 10
_SAVED_EVERY_S = 10.0


def run_synthesize(
    settings: Settings,
    name: str,
    out: Path,
    number: int,
    kinds: Sequence[Kind],
    attempts: int | None,
    seed: int,
    k: int,
    concurrency: int | None,
    as_json: bool,
) -> None:
    """Write the questions into `out`; exit with 1 if there are fewer than were asked for, or a passage failed."""
    model = server_model(settings, "Writing questions")
    collection = open_collection(settings, name)
    with progress() as meter:
        passages = read_passages(collection, meter)
        plan = _plan(passages, plan_counts(number, kinds), attempts, seed, k)
        identity = identity_of(passages, model, plan, _told(settings))
        check_folder(out, identity)  # before anything is loaded
        run, written = synthesize(
            passages,
            _served_search(settings, collection),
            model,
            plan,
            settings.home,
            identity,
            facts={"out": str(out.resolve())},
            concurrency=concurrency or CONCURRENT_WITH_SERVER,
            on_kept=_Saver(out, plan, identity),
            on_progress=_meter(meter),
        )
    questions = save_questions(out, run, written, plan, identity)
    figures = written.figures(plan)
    if as_json:
        emit(_document(run, out, passages, figures, written, questions))
    else:
        _tell(run, out, passages, figures, questions)
    _exit(figures, written)


def run_review(settings: Settings, folder: Path, accepted_only: bool | None, as_json: bool) -> None:
    """Print what was decided, after changing which questions are used if `accepted_only` says so."""
    questions = load_questions(folder) if accepted_only is None else use_only_accepted(folder, accepted_only)
    counts = questions.counts()
    if as_json:
        return emit({"questions": str(folder), **counts, "accepted_only": questions.accepted_only})
    return show(told_counts(counts))


def told_counts(counts: Mapping[str, int]) -> str:
    """What was decided, in one line."""
    return (
        f"{counts['undecided']} left to review, {counts['accepted']} accepted, {counts['rejected']} rejected; "
        f"{count(counts['used'], 'question')} in the set"
    )


class _Saver:
    """Writes the folder while questions are still being written, so that they can be reviewed meanwhile."""

    def __init__(self, out: Path, plan: Plan, identity: Mapping[str, Any]) -> None:
        self._out, self._plan, self._identity = out, plan, identity
        self._saved = time.monotonic()

    def __call__(self, run: str, written: Written) -> None:
        if time.monotonic() - self._saved >= _SAVED_EVERY_S:
            save_questions(self._out, run, written, self._plan, self._identity)
            self._saved = time.monotonic()


def _meter(meter: Meter) -> Any:
    return lambda kind, kept, wanted, left_s: meter(f"{kind} questions", kept, wanted, left_s)


def _served_search(settings: Settings, collection: Collection) -> Search:
    """The search that answers questions, with as many passages as are asked for."""
    section = settings.retriever
    retriever = build_retriever(settings, collection, with_encoder=section.mode != "bm25", with_reranker=section.rerank)
    return lambda question, depth: (
        retriever.find(SearchRequest(question, depth, section.mode, section.rerank, loosely=True)).hits
    )


def _told(settings: Settings) -> dict[str, Any]:
    """The settings that can change a question or a filter's verdict."""
    return {
        "retriever": asdict(retriever_settings(settings)),
        "mode": settings.retriever.mode,
        "rerank": settings.retriever.rerank,
        "temperature": settings.generator.temperature,
    }


def _plan(passages: Passages, counts: Mapping[Kind, int], attempts: int | None, seed: int, k: int) -> Plan:
    """No kind is tried on more passages than there are."""
    tried = {
        kind: min(passages.usable, TRIED_PER_QUESTION * wanted if attempts is None else attempts)
        for kind, wanted in counts.items()
    }
    return Plan(counts, tried, seed, k)


def _document(
    run: str,
    out: Path,
    passages: Passages,
    figures: Mapping[str, Mapping[str, Any]],
    written: Written,
    questions: QuestionSet,
) -> dict[str, Any]:
    return {
        "run": run,
        "questions": str(out),
        "collection": {"name": passages.collection.name, "fingerprint": passages.fingerprint},
        "passages": {"usable": passages.usable, "too_short": passages.too_short},
        "kept": len(written.kept),
        "kinds": figures,
        "review": questions.counts(),
        "errors": [{"case": r.case_id, "error": r.error, "message": r.message} for r in written.errors],
    }


def _tell(
    run: str, out: Path, passages: Passages, figures: Mapping[str, Mapping[str, Any]], questions: QuestionSet
) -> None:
    usable, name = count(passages.usable, "passage"), passages.collection.name
    show(f"{run}: {usable} of '{name}', {passages.too_short} too short to ask about")
    rows = [
        (kind, told["wanted"], told["kept"], told["tried"], told["errors"], sum(told["rejected"].values()))
        for kind, told in figures.items()
    ]
    show_table(("kind", "wanted", "kept", "tried", "errors", "rejected"), rows)
    reasons = {(kind, reason): n for kind, told in figures.items() for reason, n in told["rejected"].items()}
    if reasons:
        show()
        show_table(
            ("kind", "rejected", "reason", ""),
            [(kind, n, reason, REASONS[reason]) for (kind, reason), n in reasons.items()],
        )
    show(f"\n{told_counts(questions.counts())}: {out}", wrap=False)
    if questions.candidates:
        show(f"Read them: footnote eval review {out}", wrap=False)
        show(f"Then:      footnote eval answers --dataset {out} --served {name}", wrap=False)


def _exit(figures: Mapping[str, Mapping[str, Any]], written: Written) -> None:
    if written.errors:
        note(f"{count(len(written.errors), 'passage')} failed; the first: {written.errors[0].message}")
        note("The same command tries only these again.")
    short = [
        f"{told['wanted'] - told['kept']} of {told['wanted']} {kind}"
        for kind, told in figures.items()
        if told["kept"] < told["wanted"]
    ]
    if short:
        note(f"Missing: {', '.join(short)}. Try more passages (--attempts), or a larger model.")
    if written.errors or short:
        raise typer.Exit(1)

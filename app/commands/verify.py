"""`verify`: whether a collection can be relied on, and how many of the nearest passages its graph finds."""

from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import typer

from app.built import as_built
from app.database import Database
from app.display import count, note, show
from app.door import emit
from app.questions import asked_questions, read_questions
from app.settings import Settings
from app.wiring import build_encoder, open_collection
from eval.statistics import bootstrap_interval
from indexer.collection import Collection
from indexer.recall import LEAST_RECALL, RECALL_K, drawn_vectors, recall_at_k
from indexer.verify import verify

_REPAIR = "Run `footnote verify --repair --recall-check N`; it builds the graph anew from the stored vectors."
_HOPELESS = (
    "The graph was just built: search with `--mode bm25`, and report how many chunks and which encoder these are."
)


@dataclass(frozen=True, slots=True)
class Recall:
    """How many of the nearest passages dense search finds."""

    mean: float
    ci95: tuple[float, float]
    n: int
    questions: int  # of n; the others are vectors of stored passages
    ok: bool
    remedy: str = ""  # what to do where it is too low


def run_verify(
    settings: Settings, name: str, repair: bool, as_json: bool, recall_check: int | None, queries: Path | None
) -> None:
    """Print every finding; the exit code is 1 when one is left, or recall is too low."""
    collection = open_collection(settings, name)
    findings = verify(collection, repair, on_wait=note, timeout_s=settings.indexer.lock_wait_s)
    left = [finding for finding in findings if not finding.repaired]
    broken = any(finding.kind in ("truth", "vectors") for finding in left)  # there is nothing to measure against
    recall = None if recall_check is None or broken else _recall(settings, collection, repair, recall_check, queries)
    if as_json:
        told = {"collection": name, "documents": len(collection.documents()), "chunks": collection.count()}
        told |= {
            "index": collection.generation.index.kind,
            "ok": not left,
            "findings": [asdict(finding) for finding in findings],
        }
        emit(told if recall_check is None else told | {"recall": asdict(recall) if recall else None})
    else:
        for finding in findings:
            state = "repaired" if finding.repaired else finding.kind
            show(f"{state}: {finding.where}: {finding.message}", "green" if finding.repaired else "red", wrap=False)
            show("" if finding.repaired else f"  {finding.remedy}", wrap=False)
        _show_recall(recall)
        documents = count(len(collection.documents()), "document")
        verdict = count(len(left), "finding") if left else "everything agrees"
        held = f"{documents}, {count(collection.count(), 'chunk')}, index {collection.generation.index.kind}"
        show(f"Collection '{name}': {held}: {verdict}")
    if left or (recall is not None and not recall.ok):
        raise typer.Exit(1)


def _recall(settings: Settings, collection: Collection, repair: bool, wanted: int, path: Path | None) -> Recall | None:
    """Measure; with `repair`, and where it is too low, build the graph anew and measure again."""
    if collection.count() == 0:
        return None
    database = Database(settings.home)
    asked = read_questions(path, wanted) if path else asked_questions(database, collection.name, wanted)
    parts = [drawn_vectors(collection.generation.truth, 0 if path else wanted - len(asked))]
    if asked:
        encoder = build_encoder(as_built(settings, collection))
        collection.check_encoder(encoder.fingerprint)
        parts.append(encoder.encode(asked, encoder.query_instruction))
    vectors, wait_s = np.concatenate(parts), settings.indexer.lock_wait_s
    shares = recall_at_k(collection, vectors, on_wait=note, timeout_s=wait_s)
    if repair and fmean(shares) < LEAST_RECALL:
        with collection.lock.held("verify", wait_s, note):
            collection.dense.merge(force=True)
        shares = recall_at_k(collection, vectors, on_wait=note, timeout_s=wait_s)
    mean = fmean(shares)
    ok = mean >= LEAST_RECALL
    remedy = "" if ok else _HOPELESS if repair else _REPAIR
    return Recall(round(mean, 4), bootstrap_interval(shares), len(shares), len(asked), ok, remedy)


def _show_recall(recall: Recall | None) -> None:
    if recall is None:
        return
    low, high = recall.ci95
    drawn = recall.n - recall.questions
    of = " and ".join(
        text
        for number, text in (
            (recall.questions, count(recall.questions, "question")),
            (drawn, f"{count(drawn, 'passage')} drawn at random"),
        )
        if number
    )
    style = "" if recall.ok else "red"
    show(f"Recall@{RECALL_K} against exact search: {recall.mean:.3f} ({low:.3f} to {high:.3f}), of {of}", style)
    if not recall.ok:
        show(f"  Less than {LEAST_RECALL:g}: dense search misses passages. {recall.remedy}", wrap=False)

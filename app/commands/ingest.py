"""`ingest`: files and folders into a collection."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from app.display import count, note, progress, show
from app.door import emit
from app.settings import Settings
from app.wiring import build_encoder, chunk_settings, open_collection, parse_limits
from indexer.ingest import IngestReport, Progress, ingest
from indexer.sources import find_sources, nothing_found

_STATES = ("indexed", "unchanged", "skipped", "failed")


def run_ingest(settings: Settings, name: str, paths: Sequence[Path], as_json: bool) -> None:
    """Ingest and report on every file; the exit code is 1 when one failed."""
    report = ingest_paths(settings, name, paths)
    if as_json:
        emit(_report_json(settings, name, report))
    else:
        _print(name, report)
    if report.count("failed"):
        raise typer.Exit(1)


def ingest_paths(settings: Settings, name: str, paths: Sequence[Path]) -> IngestReport:
    """Ingest with progress on stderr.

    Raises:
        ConfigError: the paths hold nothing that can be read; the collection is then not even created.
    """
    candidates, left_out = find_sources(paths)
    if not candidates:
        raise nothing_found(paths, left_out)
    encoder = build_encoder(settings)
    collection = open_collection(settings, name, create=True)
    with progress() as meter:

        def tell(now: Progress) -> None:
            meter(Path(now.current).name, now.files_done, now.files_total, now.eta_s)

        return ingest(
            paths,
            collection,
            encoder,
            chunk_settings(settings),
            tell,
            on_wait=note,
            timeout_s=settings.indexer.lock_wait_s,
            limits=parse_limits(settings),
        )


def _report_json(settings: Settings, name: str, report: IngestReport) -> dict[str, Any]:
    collection = open_collection(settings, name)
    return {
        "collection": name,
        "files": [asdict(file) for file in report.files],
        "counts": {state: report.count(state) for state in _STATES},
        "documents": len(collection.documents()),
        "chunks": collection.count(),
        "tokens": report.tokens,
        "truncated": report.truncated,
        "seconds": round(report.elapsed_s, 3),
    }


def _print(name: str, report: IngestReport) -> None:
    for file in report.files:
        if file.state in ("failed", "skipped"):
            remedy = f" ({file.remedy})" if file.state == "failed" and file.remedy else ""
            show(f"{file.state}: {file.path}: {file.reason}{remedy}", "red" if remedy else "dim", wrap=False)
    states = ", ".join(f"{report.count(state):,} {state}" for state in _STATES if report.count(state))
    chunks = sum(file.chunks for file in report.files if file.state == "indexed")
    cut = f", {report.truncated:,} of them cut at encoder.max_tokens" if report.truncated else ""
    show(f"Collection '{name}': {states}; {count(chunks, 'new chunk')}{cut} in {report.elapsed_s:.1f} s")

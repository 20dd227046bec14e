"""`ingest`: files and folders into a collection."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from app.audit import Audit, local_user
from app.built import recipe_of
from app.commands.options import EngineName, ProgressForm
from app.database import Database
from app.display import count, show, show_table
from app.door import emit
from app.progress import Teller, progress_as
from app.resolved import chunk_settings, parse_limits
from app.settings import Settings
from app.wiring import build_encoder, build_engine, on_processor, open_collection, settings_of
from indexer.access import check_groups
from indexer.collection import Collection
from indexer.ingest import ingest, read_here
from indexer.ledger import CHANGES, STATES, FileOutcome, IngestReport
from indexer.sources import file_of, find_sources, nothing_found

_STATES = ("indexed", "unchanged", "skipped", "failed")


def run_ingest(
    settings: Settings,
    name: str,
    paths: Sequence[Path],
    form: ProgressForm,
    as_json: bool,
    engine: EngineName = EngineName.local,
    address: str = "",
    *,
    prune: bool = False,
    force: bool = False,
    groups: Sequence[str] = (),
) -> None:
    """Ingest and report on every file; the exit code is 1 when one failed."""
    report = ingest_paths(settings, name, paths, form, engine, address, prune=prune, force=force, groups=groups)
    _tell(settings, name, report, as_json)


def run_retry(
    settings: Settings, name: str, form: ProgressForm, as_json: bool, engine: EngineName, address: str
) -> None:
    """Ingest the files that failed, and those alone."""
    failed = failed_files(settings, name)
    report = IngestReport((), 0.0, 0)
    if failed:
        report = ingest_paths(settings, name, failed, form, engine, address, may_be_nothing=True)
    _tell(settings, name, report, as_json)


def failed_files(settings: Settings, name: str) -> list[Path]:
    """The files that failed, or what they lie in."""
    return [file_of(row.path) for row in open_collection(settings, name).files("failed")]


def _tell(settings: Settings, name: str, report: IngestReport, as_json: bool) -> None:
    if as_json:
        emit(_report_json(settings, name, report))
    else:
        _print(name, report)
    if report.count("failed"):
        raise typer.Exit(1)


def ingest_paths(
    settings: Settings,
    name: str,
    paths: Sequence[Path],
    form: ProgressForm = ProgressForm.auto,
    engine: EngineName = EngineName.local,
    address: str = "",
    *,
    prune: bool = False,
    force: bool = False,
    may_be_nothing: bool = False,
    groups: Sequence[str] = (),
) -> IngestReport:
    """Ingest with progress on stderr.

    Raises:
        ClusterError: the Ray cluster at `address` cannot be used, or was lost.
        ConfigError: the paths hold nothing that can be read, and nothing is to be pruned; the collection is then not
            even created. Pruning was refused. Ray is wanted and not installed.
    """
    with progress_as(form) as tell:
        return ingest_into(
            settings,
            name,
            paths,
            tell,
            engine,
            address,
            prune=prune,
            force=force,
            may_be_nothing=may_be_nothing,
            groups=groups,
        )


def ingest_into(
    settings: Settings,
    name: str,
    paths: Sequence[Path],
    tell: Teller,
    engine: EngineName = EngineName.local,
    address: str = "",
    *,
    prune: bool = False,
    force: bool = False,
    may_be_nothing: bool = False,
    groups: Sequence[str] = (),
    who: str = "",
) -> IngestReport:
    """Ingest, tell somebody how far it is, and put it into the audit log: `who` is a caller's id, or empty here.

    Raises:
        ConfigError: as of ingest_paths().
    """
    check_groups(groups)
    candidates, left_out = find_sources(paths)
    may_be_nothing = may_be_nothing or (prune and name in Collection.list(settings.home))
    if not candidates and not may_be_nothing:
        raise nothing_found(paths, left_out)
    settings = settings_of(settings, name)
    is_ray = engine is EngineName.ray
    encoder = build_encoder(on_processor(settings) if is_ray else settings)
    reading = build_engine(settings, encoder.fingerprint, address) if is_ray else read_here
    said = " ".join([*map(str, paths), *(f"--group {group}" for group in groups), *(["--prune"] if prune else [])])
    with Audit(Database(settings.home)).recorded(who or local_user(), "ingest", name, said):
        return ingest(
            paths,
            open_collection(settings, name, create=True),
            encoder,
            chunk_settings(settings),
            tell,
            prune=prune,
            force=force,
            may_be_nothing=may_be_nothing,
            on_wait=tell.wait,
            timeout_s=settings.indexer.lock_wait_s,
            limits=parse_limits(settings),
            engine=reading,
            recipe=recipe_of(settings.encoder),
            groups=groups,
        )


def _report_json(settings: Settings, name: str, report: IngestReport) -> dict[str, Any]:
    collection = open_collection(settings, name)
    return {
        "collection": name,
        "files": [asdict(file) for file in report.files],
        "counts": {state: report.count(state) for state in _STATES},
        "states": {change: report.indexed_as(change) for change in CHANGES}
        | {state: report.count(state) for state in STATES},
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
    _print_table(report.files)
    states = ", ".join(f"{report.count(state):,} {state}" for state in STATES if report.count(state)) or "nothing to do"
    chunks = sum(file.chunks for file in report.files if file.state == "indexed" and file.change in ("new", "changed"))
    cut = f", {report.truncated:,} of them cut at encoder.max_tokens" if report.truncated else ""
    show(f"Collection '{name}': {states}; {count(chunks, 'new chunk')}{cut} in {report.elapsed_s:.1f} s")


def _print_table(files: Sequence[FileOutcome]) -> None:
    """One row a state; what was indexed is told apart by what it was before."""
    groups = {f"indexed, {change}": ("indexed", change) for change in CHANGES}
    rows = []
    for title in (*groups, *(state for state in STATES if state != "indexed")):
        state, change = groups.get(title, (title, ""))
        of = [file for file in files if file.state == state and (not change or file.change == change)]
        times = zip(*((file.load_ms, file.chunk_ms, file.encode_ms, file.index_ms) for file in of), strict=True)
        if of:
            seconds = [f"{sum(stage) / 1000:,.3f}" for stage in times]
            rows.append((title, len(of), sum(file.chunks for file in of), sum(file.bytes for file in of), *seconds))
    if rows:
        show_table(("state", "files", "chunks", "bytes", "load s", "chunk s", "encode s", "index s"), rows)

"""`verify`, `purge`, `reindex` and `rollback`: checking a collection, compacting it, rebuilding it, going back."""

from dataclasses import asdict

import typer

from app.commands.options import ProgressForm
from app.display import count, note, show
from app.door import emit
from app.progress import progress_as
from app.resolved import chunk_settings
from app.settings import Settings
from app.wiring import build_encoder, open_collection
from indexer.purge import purge
from indexer.reindex import reindex, rollback
from indexer.verify import verify


def run_verify(settings: Settings, name: str, repair: bool, as_json: bool) -> None:
    """Print every finding; the exit code is 1 when one is left."""
    collection = open_collection(settings, name)
    findings = verify(collection, repair, on_wait=note, timeout_s=settings.indexer.lock_wait_s)
    left = [finding for finding in findings if not finding.repaired]
    if as_json:
        checked = {"documents": len(collection.documents()), "chunks": collection.count()}
        emit({"collection": name, **checked, "ok": not left, "findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            state = "repaired" if finding.repaired else finding.kind
            show(f"{state}: {finding.where}: {finding.message}", "green" if finding.repaired else "red", wrap=False)
            show("" if finding.repaired else f"  {finding.remedy}", wrap=False)
        documents = count(len(collection.documents()), "document")
        verdict = count(len(left), "finding") if left else "everything agrees"
        show(f"Collection '{name}': {documents}, {count(collection.count(), 'chunk')}: {verdict}")
    if left:
        raise typer.Exit(1)


def run_reindex(settings: Settings, name: str, form: ProgressForm, as_json: bool) -> None:
    """Rebuild from the stored text with the encoder and the chunk size that are set now."""
    collection = open_collection(settings, name)
    encoder = build_encoder(settings)
    with progress_as(form) as tell:
        wait_s = settings.indexer.lock_wait_s
        number = reindex(collection, encoder, chunk_settings(settings), tell, on_wait=tell.wait, timeout_s=wait_s)
    _print_generation(name, number, f"{count(collection.count(), 'chunk')}; `footnote rollback` goes back", as_json)


def run_purge(settings: Settings, name: str, generations: bool, as_json: bool) -> None:
    """Write the collection's files anew, without what was deleted."""
    collection = open_collection(settings, name)
    done = purge(collection, generations, on_wait=note, timeout_s=settings.indexer.lock_wait_s)
    if as_json:
        return emit({"collection": name, **asdict(done)})
    for number in done.generations_removed:
        show(f"removed generation {number}")
    for number in done.generations_kept:
        show(f"Generation {number} is kept and may hold what was deleted since; --generations removes it.", "yellow")
    sizes = f"{done.bytes_before / 2**20:,.1f} MiB before, {done.bytes_after / 2**20:,.1f} MiB now"
    return show(f"Collection '{name}': nothing deleted is left in generation {collection.generation.number}; {sizes}")


def run_rollback(settings: Settings, name: str, as_json: bool) -> None:
    """Return to the generation before the last reindex."""
    collection = open_collection(settings, name)
    number = rollback(collection, on_wait=note, timeout_s=settings.indexer.lock_wait_s)
    _print_generation(name, number, count(collection.count(), "chunk"), as_json)


def _print_generation(name: str, number: int, more: str, as_json: bool) -> None:
    if as_json:
        return emit({"collection": name, "generation": number})
    return show(f"Collection '{name}' now answers from generation {number}: {more}")

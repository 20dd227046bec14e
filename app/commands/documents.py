"""`documents`, `status` and `delete`: looking at a collection and taking things out of it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import typer

from app.display import count, note, show, show_table
from app.door import emit
from app.settings import Settings
from app.wiring import open_collection
from indexer.collection import Collection


def list_documents(settings: Settings, name: str, as_json: bool) -> None:
    """Print every document of a collection."""
    documents = open_collection(settings, name).documents()
    if as_json:
        return emit({"collection": name, "documents": [asdict(info) for info in documents]})
    if not documents:
        return show(f"Collection '{name}' is empty.")
    rows = [(info.id, info.chunks, info.pages or "", info.title, "\n".join(info.sources)) for info in documents]
    return show_table(("id", "chunks", "pages", "title", "source"), rows)


def show_status(settings: Settings, name: str, as_json: bool) -> None:
    """Print what a collection holds, what it was built with, and the files that failed."""
    state = _state(settings, open_collection(settings, name))
    if as_json:
        return emit(state)
    show(f"Collection '{name}' in {settings.home}", "bold")
    show(f"{count(state['documents'], 'document')}, {count(state['chunks'], 'chunk')}")
    built = state["built_with"]
    show(
        f"Built with encoder {built['fingerprint'][:12]} since {built['created_at']}" if built else "Nothing in it yet"
    )
    show("Files: " + (", ".join(f"{number} {kind}" for kind, number in state["files"].items()) or "none"))
    for file in state["problems"]:
        show(f"  {file['state']}: {file['path']}: {file['reason']}", "yellow", wrap=False)
    others = [other for other in state["collections"] if other != name]
    return show(f"Other collections: {', '.join(others)}") if others else None


def show_failed(settings: Settings, name: str, as_json: bool) -> None:
    """Print the files that failed, each with its reason and what to do."""
    failed = open_collection(settings, name).files("failed")
    if as_json:
        return emit({"collection": name, "failed": [asdict(file) for file in failed]})
    for file in failed:
        show(f"{file.path}: {file.reason}", "red", wrap=False)
        show(f"  {file.remedy}", wrap=False)
    retry = "; `footnote ingest --retry-failed` takes just those again" if failed else ""
    return show(f"Collection '{name}': {count(len(failed), 'failed file')}{retry}")


def _state(settings: Settings, collection: Collection) -> dict[str, Any]:
    files, manifest = collection.files(), collection.manifest
    problems = [file for file in files if file.state == "failed"]
    return {
        "collection": collection.name,
        "home": str(settings.home),
        "documents": len(collection.documents()),
        "chunks": collection.count(),
        "sequence": collection.sequence(),
        "built_with": asdict(manifest) if manifest else None,
        "generation": collection.generation.number,
        "generations": collection.generations(),
        "files": dict(Counter(file.state for file in files)),
        "problems": [
            {"path": file.path, "state": file.state, "reason": file.reason, "remedy": file.remedy} for file in problems
        ],
        "collections": Collection.list(settings.home),
    }


def delete_documents(settings: Settings, name: str, names: Sequence[str], as_json: bool) -> None:
    """Remove the documents that are named; what names nothing is reported, and the exit code tells."""
    collection = open_collection(settings, name)
    found = {given: collection.find_sources(given) for given in names}
    unknown = [given for given, sources in found.items() if not sources]
    named = list(dict.fromkeys(pair for sources in found.values() for pair in sources))
    with collection.writer(note, command="delete", timeout_s=settings.indexer.lock_wait_s) as writer:
        writer.forget(*(source for _, source in named))
    left = {info.id: len(info.sources) for info in collection.documents()}
    deleted = [{"id": id_, "source": source, "sources_left": left.get(id_, 0)} for id_, source in named]
    if as_json:
        emit({"collection": name, "deleted": deleted, "unknown": unknown})
    else:
        for id_, source in named:
            kept = f"  (kept: the same content has {count(left[id_], 'other source')})" if id_ in left else ""
            show(f"deleted {id_}  {source}{kept}", wrap=False)
    for given in unknown:
        note(f"Error: No document of collection '{name}' is named {given}.")
    if unknown:
        note("`footnote documents` lists what there is.")
        raise typer.Exit(1)

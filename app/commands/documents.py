"""`documents`, `status` and `delete`: looking at a collection and taking things out of it."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import typer

from app.audit import Audit, local_user
from app.database import Database
from app.display import count, note, show, show_table
from app.door import emit
from app.settings import Settings
from app.wiring import encoder_of, open_collection
from indexer.collection import Collection
from indexer.reindex import Unfinished, unfinished
from indexer.store.records import Manifest


def list_documents(settings: Settings, name: str, as_json: bool) -> None:
    """Print every document of a collection."""
    collection = open_collection(settings, name)
    documents = collection.documents()
    if as_json:
        kind = collection.generation.index.kind
        return emit({"collection": name, "index": kind, "documents": [asdict(info) for info in documents]})
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
    show(f"Built with {_described(built)} since {built['created_at']}" if built else "Nothing in it yet")
    show(f"Words are counted as {'they stand' if state['language'] == 'none' else state['language'].title()}")
    if begun := state["reindex"]:
        show(
            f"Reindex to generation {begun['generation']} with {_described(begun)}: "
            f"{begun['documents_done']:,} of {count(begun['documents'], 'document')}; {_at_work(begun['holder'])}"
        )
    show(f"Index: {state['index']['kind']}, {state['index']['place']}", wrap=False)
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
    files, manifest, begun = collection.files(), collection.manifest, unfinished(collection)
    problems = [file for file in files if file.state == "failed"]
    return {
        "collection": collection.name,
        "home": str(settings.home),
        "documents": len(collection.documents()),
        "chunks": collection.count(),
        "sequence": collection.sequence(),
        "language": collection.generation.truth.language(),
        "built_with": _manifest_json(settings, manifest) if manifest else None,
        "reindex": _reindex_json(settings, begun) if begun else None,
        "index": {"kind": collection.generation.index.kind, "place": collection.generation.index.place},
        "generation": collection.generation.number,
        "generations": collection.generations.numbers(),
        "files": dict(Counter(file.state for file in files)),
        "problems": [
            {"path": file.path, "state": file.state, "reason": file.reason, "remedy": file.remedy} for file in problems
        ],
        "collections": Collection.list(settings.home),
    }


def _manifest_json(settings: Settings, manifest: Manifest) -> dict[str, Any]:
    """What a generation was built with; the encoder's name is null where it was not kept yet."""
    recipe = json.loads(manifest.recipe) if manifest.recipe else None
    return asdict(manifest) | {"recipe": recipe, "encoder": encoder_of(manifest, settings)}


def _reindex_json(settings: Settings, begun: Unfinished) -> dict[str, Any]:
    told = {"generation": begun.generation, "documents_done": begun.documents_done, "documents": begun.documents}
    return told | {"holder": begun.holder or None} | _manifest_json(settings, begun.manifest)


def _described(built: Mapping[str, Any]) -> str:
    name = f"{built['encoder']} ({built['fingerprint'][:12]})" if built["encoder"] else built["fingerprint"][:12]
    return f"encoder {name}, chunking {built['chunker']}"


def _at_work(holder: str | None) -> str:
    if not holder:
        return "it was cut off, and the same command goes on"
    return f"at work: {holder}" if holder.startswith("reindex") else f"it was cut off; at work: {holder}"


def delete_documents(settings: Settings, name: str, names: Sequence[str], as_json: bool) -> None:
    """Remove the documents that are named; what names nothing is reported, and the exit code tells."""
    collection = open_collection(settings, name)
    found = {given: collection.find_sources(given) for given in names}
    unknown = [given for given, sources in found.items() if not sources]
    named = list(dict.fromkeys(pair for sources in found.values() for pair in sources))
    with (
        Audit(Database(settings.home)).recorded(local_user(), "delete", name, " ".join(names)),
        collection.writer(note, command="delete", timeout_s=settings.indexer.lock_wait_s) as writer,
    ):
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

"""verify(): the truth against itself and against both indexes; zero findings means that answers can be relied on."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from indexer.collection import LOCK_TIMEOUT_S, Collection
from indexer.errors import IndexError_
from indexer.generation import Generation
from indexer.store.changes import UNIT_TOLERANCE
from indexer.store.local import named
from indexer.store.records import Manifest
from indexer.store.text import embed_hash, embed_text
from indexer.store.truth import Truth
from indexer.store.vectors import unpack

_REPAIR = "Run `footnote verify --repair`; it rebuilds the index from the stored text, without encoding."
_AGAIN = "Delete the document and ingest its file again."


OnStep = Callable[
    [str, int, int], None
]  # what is looked at, how many of it are done, how many there are (0: one piece)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong."""

    kind: str  # truth, offsets, vectors, ledger, lexical, dense or milvus
    where: str  # a document's source, or a file of the collection
    message: str
    remedy: str
    repaired: bool = False


def verify(
    collection: Collection,
    repair: bool = False,
    *,
    on_step: OnStep = lambda *_: None,
    on_wait: Callable[[str], None] | None = None,
    timeout_s: float = LOCK_TIMEOUT_S,
) -> list[Finding]:
    """Check everything that is stored; with `repair`, rebuild the indexes that are wrong and say which were.

    Holds the write lock, so that nothing moves meanwhile. An index that is merely behind is no finding: it catches up.

    Raises:
        IndexError_: the lock was not free in time, or the truth cannot be opened at all.
    """
    with collection.lock.held("verify", timeout_s, on_wait):
        generation = collection.generation
        found = _check(generation, on_step)
        if not repair or not found:
            return found
        on_step("rebuilding the indexes", 0, 0)
        generation.index.rebuild({finding.kind for finding in found})
        left = {(finding.kind, finding.where) for finding in _check(generation, on_step)}
        return [replace(finding, repaired=(finding.kind, finding.where) not in left) for finding in found]


def _check(generation: Generation, on_step: OnStep) -> list[Finding]:
    truth = generation.truth
    on_step("the file", 0, 0)
    damage = list(_damage(truth))
    if damage:
        return damage  # what else there is to say would rest on pages that cannot be trusted
    manifest = truth.manifest()
    if manifest is None:
        orphaned = truth.count() > 0
        message = "Chunks are stored, but not what they were built with"
        return [Finding("truth", str(truth.path), message, _AGAIN)] if orphaned else []
    found = [*_documents(truth, on_step), *_ledger(truth)]
    on_step("vectors", 0, 0)
    vectors = [*_vectors(truth, manifest)]
    on_step("the index", 0, 0)
    found += [
        Finding(each.kind, each.where, each.message, _REPAIR)
        for each in generation.index.check(manifest, with_vectors=not vectors)
    ]
    return [*found, *vectors]


# --- the truth


def _damage(truth: Truth) -> Iterator[Finding]:
    where, remedy = str(truth.path), "Restore it from a backup, or ingest into a new collection."
    try:
        with truth.reading() as db:
            for (line,) in db.execute("PRAGMA integrity_check(10)"):
                if line != "ok":
                    yield Finding("truth", where, f"SQLite reports: {line}", remedy)
            for table, row, parent, _ in db.execute("PRAGMA foreign_key_check"):
                yield Finding("truth", where, f"Row {row} of {table} refers to a missing row of {parent}", remedy)
    except IndexError_ as error:
        yield Finding("truth", where, error.message, error.remedy)


def _documents(truth: Truth, on_step: OnStep) -> Iterator[Finding]:
    total = len(truth.documents())
    for done, document in enumerate(truth.all_documents()):
        on_step("documents", done, total)
        wrong = [
            chunk.id
            for ordinal, (_, chunk) in enumerate(truth.document_chunks(document.id))
            if document.text[chunk.start : chunk.end] != chunk.text
            or chunk.page != document.page_at(chunk.start)
            or chunk.id != f"{document.id}:{ordinal}"
        ]
        if wrong:
            yield Finding("offsets", document.source, f"{named(wrong)} not where the text has it", _AGAIN)


def _vectors(truth: Truth, manifest: Manifest) -> Iterator[Finding]:
    with truth.reading() as db:
        unused = db.execute(
            "SELECT count(*) FROM vectors WHERE NOT EXISTS (SELECT 1 FROM chunks WHERE vector_id = vectors.id)"
        ).fetchone()[0]
        wrong = [*_wrong_vectors(db, manifest.dim), *_foreign_vectors(db)]
    if unused:
        yield Finding("vectors", str(truth.path), f"{unused} vectors belong to no chunk", "They only take space.")
    for source, message in dict.fromkeys(wrong):
        yield Finding("vectors", source, message, _AGAIN)


def _wrong_vectors(db: sqlite3.Connection, dim: int) -> Iterator[tuple[str, str]]:
    rows = db.execute(
        "SELECT source, vector FROM vectors v JOIN chunks c ON c.vector_id = v.id"
        " JOIN documents d ON d.id = c.document_id"
    )
    for source, blob in rows:
        if len(blob) != 2 * dim:
            yield source, f"A vector has {len(blob)} bytes instead of {2 * dim}"
        elif not abs(float(np.linalg.norm(unpack([blob], dim)[0])) - 1) <= UNIT_TOLERANCE:  # NaN counts as wrong
            yield source, "A vector is not of unit length"


def _foreign_vectors(db: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    rows = db.execute(
        "SELECT source, title, heading_path, c.text, embed_hash FROM chunks c"
        " JOIN vectors v ON v.id = c.vector_id JOIN documents d ON d.id = document_id"
    )
    for source, title, heading_path, text, name in rows:
        if embed_hash(embed_text(title, json.loads(heading_path), text)) != name:
            yield source, "A vector was made from another text"


def _ledger(truth: Truth) -> Iterator[Finding]:
    documents = {info.id: info for info in truth.documents()}
    for row in truth.files("indexed"):
        info = documents.get(row.document_id)
        if not row.document_id:
            continue  # an archive: what it holds has lines of its own
        if info is None:
            yield Finding("ledger", row.path, "The ledger says indexed, but the document is gone", "Ingest it again.")
        elif info.chunks != row.chunks:
            message = f"The ledger says {row.chunks} chunks, there are {info.chunks}"
            yield Finding("ledger", row.path, message, _AGAIN)
    named = {row.path for row in truth.files()}
    for info in documents.values():
        if len(info.sources) > 1 and info.source not in named:
            yield Finding("ledger", info.source, "The ledger has other sources of the document, but not this", _AGAIN)

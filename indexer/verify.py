"""verify(): the truth against itself and against both indexes; zero findings means that answers can be relied on."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from indexer.collection import LOCK_TIMEOUT_S, Collection, Generation
from indexer.errors import IndexError_
from indexer.store.base import Base
from indexer.store.changes import UNIT_TOLERANCE
from indexer.store.lexical_writer import LexicalWriter, check_build
from indexer.store.records import Manifest
from indexer.store.text import embed_hash, embed_text
from indexer.store.truth import Truth, unpack

_REPAIR = "Run `footnote verify --repair`; it rebuilds the index from the stored text, without encoding."
_AGAIN = "Delete the document and ingest its file again."
_SHOWN = 5  # examples in one message


OnStep = Callable[
    [str, int, int], None
]  # what is looked at, how many of it are done, how many there are (0: one piece)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong."""

    kind: str  # truth, offsets, vectors, ledger, lexical or dense
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
        _repair(generation, {finding.kind for finding in found})
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
    on_step("the index of words", 0, 0)
    found += _lexical(generation)
    on_step("vectors", 0, 0)
    vectors = [*_vectors(truth, manifest)]
    on_step("the index of vectors", 0, 0)
    return [*found, *vectors] if vectors else [*found, *_dense(generation, manifest)]


def _repair(generation: Generation, kinds: set[str]) -> None:
    if "lexical" in kinds:
        with LexicalWriter(generation.folder / "lexical", generation.truth, rebuild=True) as writer:
            writer.catch_up()
    if "dense" in kinds:
        generation.dense.close()
        generation.dense.merge(force=True)


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
            yield Finding("offsets", document.source, f"{_named(wrong)} not where the text has it", _AGAIN)


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


# --- the indexes


def _lexical(generation: Generation) -> Iterator[Finding]:
    folder, truth = generation.folder / "lexical", generation.truth
    reason = check_build(folder)
    if reason:
        if truth.sequence():
            yield Finding("lexical", str(folder), reason, _REPAIR)
        return
    with LexicalWriter(folder, truth) as writer:
        writer.catch_up()
    with truth.reading() as db:
        there = {key for (key,) in db.execute("SELECT key FROM chunks")}
    keys = generation.lexical.keys()
    if missing := sorted(there - set(keys)):
        yield Finding("lexical", str(folder), f"{_named(missing)} missing", _REPAIR)
    if extra := sorted(set(keys) - there):
        yield Finding("lexical", str(folder), f"{_named(extra)} there, but deleted", _REPAIR)
    if len(keys) != len(set(keys)):
        yield Finding("lexical", str(folder), f"{len(keys) - len(set(keys))} chunks are there twice", _REPAIR)


def _dense(generation: Generation, manifest: Manifest) -> Iterator[Finding]:
    folder = generation.folder / "dense"
    try:
        base = generation.dense.base()
    except ValueError as error:
        yield Finding("dense", str(folder), f"The base cannot be used: {error}", _REPAIR)
        return
    if base is None:
        return  # everything is searched exactly
    if (base.note.fingerprint, base.note.dim) != (manifest.fingerprint, manifest.dim):
        yield Finding("dense", str(folder), "The base was built with another encoder", _REPAIR)
        return
    if base.note.sequence > generation.truth.sequence():
        yield Finding("dense", str(folder), "The base is ahead of the truth", _REPAIR)
        return
    yield from _base_against_truth(generation.truth, folder, base)


def _base_against_truth(truth: Truth, folder: Path, base: Base) -> Iterator[Finding]:
    order = np.argsort(base.keys)
    keys, rows = base.keys[order], base.rows[order]
    there = np.zeros(len(keys), bool)
    missing: list[int] = []
    wrong: list[int] = []
    for stored, _, vectors in truth.vector_pages(base.note.dim):
        at = np.minimum(np.searchsorted(keys, stored), len(keys) - 1)
        known = keys[at] == stored
        there[at[known]] = True
        missing += stored[~known & (stored <= base.note.last_key)].tolist()
        graph = base.index.reconstruct_batch(rows[at[known]])  # (m, dim)
        differ = np.abs(graph - vectors[known]).max(axis=1, initial=0) > 1e-4
        wrong += stored[known][differ].tolist()
    deleted = truth.changes(base.note.sequence).deleted
    unexplained = [key for key in keys[~there].tolist() if not any(first <= key <= last for first, last in deleted)]
    if unexplained:
        yield Finding("dense", str(folder), f"{_named(unexplained)} there, but deleted", _REPAIR)
    if missing:
        yield Finding("dense", str(folder), f"{_named(missing)} missing", _REPAIR)
    if wrong:
        yield Finding("dense", str(folder), f"{_named(wrong)} with another vector than stored", _REPAIR)


def _named(chunks: list[int] | list[str]) -> str:
    shown = ", ".join(str(chunk) for chunk in chunks[:_SHOWN]) + (", ..." if len(chunks) > _SHOWN else "")
    return f"{len(chunks)} chunks ({shown}) are" if len(chunks) > 1 else f"Chunk {shown} is"

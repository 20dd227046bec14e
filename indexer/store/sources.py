"""Files and the documents they share: each function runs inside a transaction that the caller opened.

A document is named by one source. Further files of the same content are lines of the ledger with its id, so that
the same bytes are stored, encoded and found once.
"""

import sqlite3

from indexer.store.changes import delete_document, mark, record_file
from indexer.store.records import FileRow
from indexer.store.rules import carry_restrictions


def sources_of(db: sqlite3.Connection, document_id: str) -> list[str]:
    """List the sources of one document, in order."""
    rows = db.execute(
        "SELECT source FROM documents WHERE id = ?1 UNION SELECT path FROM files WHERE document_id = ?1 ORDER BY 1",
        (document_id,),
    )
    return [source for (source,) in rows]


def leave(db: sqlite3.Connection, source: str, keep: str = "") -> None:
    """Part a source from its document, unless that is `keep`; a document goes with its last source.

    The ledger's line on the source is left to the caller.
    """
    owners = db.execute(
        "SELECT id FROM documents WHERE source = ?1 UNION"
        " SELECT document_id FROM files WHERE path = ?1 AND document_id != ''",
        (source,),
    ).fetchall()
    for (document_id,) in owners:
        if document_id == keep:
            continue
        others = [other for other in sources_of(db, document_id) if other != source]
        if others:
            _rename(db, document_id, source, others[0])
        else:
            delete_document(db, document_id)


def share(db: sqlite3.Connection, file: FileRow) -> None:
    """Let a file be one more source of the document that its line names."""
    leave(db, file.path, file.document_id)
    record_file(db, file)
    mark(db)


def move(db: sqlite3.Connection, old: str, file: FileRow) -> None:
    """Put the file in the place of the source `old` of the document that its line names."""
    leave(db, file.path, file.document_id)
    carry_restrictions(db, old, file.path)
    db.execute("DELETE FROM files WHERE path = ?", (old,))
    record_file(db, file)
    _rename(db, file.document_id, old, file.path)


def forget(db: sqlite3.Connection, source: str) -> None:
    """Remove a source and its line in the ledger."""
    leave(db, source)
    db.execute("DELETE FROM files WHERE path = ?", (source,))


def _rename(db: sqlite3.Connection, document_id: str, old: str, new: str) -> None:
    db.execute("UPDATE documents SET source = ? WHERE id = ? AND source = ?", (new, document_id, old))
    mark(db)  # who keeps a list of documents by sequence number has to read it again

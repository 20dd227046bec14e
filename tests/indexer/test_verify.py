import shutil
from pathlib import Path
from typing import Any

import pytest
from tantivy import Query

from indexer.errors import IndexError_
from indexer.store.lexical_writer import LexicalWriter
from indexer.store.records import FileRow
from indexer.verify import verify

FILL = {f"d{number}": [f"lighthouse number {number}", f"harbour wall {number}"] for number in range(90)}


@pytest.fixture
def full(shelf: Any) -> Any:
    shelf.add(**FILL)
    assert shelf.collection.dense.base_rows() == 180
    return shelf


def edit(shelf: Any, *statements: str) -> None:
    truth = shelf.collection.generation.truth
    with truth.writing() as db:
        for statement in statements:
            db.execute(statement)
    shelf.collection.close()


def kinds(shelf: Any, repair: bool = False) -> list[tuple[str, bool]]:
    return [(finding.kind, finding.repaired) for finding in verify(shelf.collection, repair)]


def part(shelf: Any, name: str) -> Path:
    return Path(shelf.collection.generation.folder / name)


def test_nothing_is_wrong_with_what_was_just_written(full: Any) -> None:
    full.delete("d1", "d2")
    full.add(d3="changed", d100="new")
    assert verify(full.collection) == []


def test_an_empty_collection_is_clean(shelf: Any) -> None:
    assert verify(shelf.collection) == []


@pytest.mark.parametrize(
    ("statement", "kind", "words"),
    [
        ("UPDATE chunks SET start = start + 1 WHERE key = 7", "offsets", "not where the text has it"),
        ("UPDATE chunks SET page = 3 WHERE key = 7", "offsets", "not where the text has it"),
        ("UPDATE documents SET text = 'x' || text WHERE id = 'd3'", "offsets", "not where the text has it"),
        ("UPDATE vectors SET vector = zeroblob(64) WHERE id = 7", "vectors", "unit length"),
        ("UPDATE vectors SET vector = x'00' WHERE id = 7", "vectors", "1 bytes instead of 64"),
        ("UPDATE chunks SET vector_id = 8 WHERE key = 7", "vectors", "another text"),
        ("INSERT INTO vectors (embed_hash, vector) VALUES (x'01', x'02')", "vectors", "belong to no chunk"),
        ("PRAGMA user_version", "", ""),
    ],
)
def test_what_is_wrong_in_the_truth_is_found(full: Any, statement: str, kind: str, words: str) -> None:
    edit(full, statement)
    found = [finding for finding in verify(full.collection) if finding.kind == kind]
    assert bool(found) == bool(kind)
    assert all(words in " ".join(finding.message for finding in found) for _ in found)


def test_a_ledger_that_says_too_much_is_found(full: Any) -> None:
    with full.collection.writer() as writer:
        writer.record(
            FileRow("/gone.txt", "indexed", document_id="nobody"),
            FileRow("/docs/d1.txt", "indexed", document_id="d1", chunks=9),
        )
    assert kinds(full) == [("ledger", False), ("ledger", False)]


def test_a_truth_whose_pages_are_damaged_is_the_only_finding(full: Any) -> None:
    path = part(full, "truth.db")
    full.collection.close()
    data = bytearray(path.read_bytes())
    data[len(data) // 2 :] = b"\x55" * (len(data) - len(data) // 2)
    path.write_bytes(data)
    try:
        found = {finding.kind for finding in verify(full.collection)}
    except IndexError_ as error:
        assert "damaged" in error.message
    else:
        assert found == {"truth"}


@pytest.mark.parametrize(
    "damage",
    ["lexical gone", "lexical file", "lexical lacks", "lexical has too much", "graph", "keys", "note", "stale"],
)
def test_a_wrong_index_is_found_and_repaired_from_the_truth(full: Any, damage: str) -> None:
    before = full.lexical("lighthouse 17", 3), full.dense("lighthouse number 17", 3)
    full.collection.close()
    lexical, dense = part(full, "lexical"), part(full, "dense")
    if damage == "lexical gone":
        shutil.rmtree(lexical)
    elif damage == "lexical file":
        torn = next(lexical.glob("*/*.idx"))
        torn.unlink()  # a new file: to cut one short that a tantivy thread still maps would kill this process
        torn.write_bytes(b"torn")
    elif damage == "lexical lacks":
        with LexicalWriter(lexical, full.collection.generation.truth) as writer:
            index = writer._index.writer(20_000_000, 1)
            index.delete_documents_by_query(Query.term_query(writer._index.schema, "key", 7))
            index.commit()
    elif damage == "lexical has too much":
        edit(
            full, "PRAGMA foreign_keys=OFF", "DELETE FROM chunks WHERE key > 178", "DELETE FROM vectors WHERE id > 178"
        )
        edit(full, "DELETE FROM documents WHERE id = 'd89'")
    elif damage == "graph":
        next(dense.glob("*.faiss")).write_bytes(b"torn")
    elif damage == "keys":
        next(dense.glob("*.npz")).unlink()
    elif damage == "note":
        (dense / "base.json").write_text("{}")
    else:
        edit(full, "UPDATE vectors SET vector = (SELECT vector FROM vectors WHERE id = 9) WHERE id = 7")
    kind = "lexical" if "lexical" in damage else "dense"
    assert (kind, False) in kinds(full)
    assert (kind, True) in kinds(full, repair=True)
    assert kind not in [found for found, _ in kinds(full)]
    if damage in ("lexical gone", "lexical file", "graph", "keys", "note"):
        assert verify(full.collection) == []
        assert (full.lexical("lighthouse 17", 3), full.dense("lighthouse number 17", 3)) == before


def test_an_index_that_is_behind_catches_up_and_is_no_finding(full: Any) -> None:
    lexical = part(full, "lexical")
    old = lexical.parent / "old"
    shutil.copytree(lexical, old)
    full.add(late="a late addition")
    full.delete("d5")
    full.collection.close()
    shutil.rmtree(lexical)
    old.rename(lexical)
    assert verify(full.collection) == []
    assert full.lexical("late addition", 1) == ["late"]


def test_verify_waits_for_a_writer(full: Any) -> None:
    with full.collection.writer(command="ingest"), pytest.raises(IndexError_, match="another ingest"):
        verify(full.collection, timeout_s=0.2, on_wait=lambda _: None)


def test_every_step_of_a_check_is_told(full: Any) -> None:
    told: list[tuple[str, int, int]] = []
    shutil.rmtree(part(full, "lexical"))
    verify(full.collection, repair=True, on_step=lambda *step: told.append(step))
    total = len(full.collection.documents())
    counted = [(done, of) for what, done, of in told if what == "documents"]
    assert counted == [(done, total) for done in range(total)] * 2, "before the repair and after it"
    steps = list(dict.fromkeys(what for what, _, _ in told))
    assert steps.index("documents") < steps.index("vectors") < steps.index("rebuilding the indexes")

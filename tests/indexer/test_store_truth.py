import dataclasses
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexer.errors import IndexError_
from indexer.store.records import FileRow
from indexer.store.truth import Truth


def rows(shelf: Any, statement: str) -> list[Any]:
    with shelf.collection.generation.truth.reading() as db:
        return list(db.execute(statement).fetchall())


def test_a_document_comes_back_as_it_went_in(shelf: Any) -> None:
    document, chunks = shelf.document("a", "First page.", "Second\x00 ünïcode 😀 page.", title="Ä title")
    document = dataclasses.replace(document, pages=(0, 13), metadata=(("author", "B"), ("note", "ü")))
    chunks = [
        dataclasses.replace(chunks[0], heading_path=("One", "Two"), page=1),
        dataclasses.replace(chunks[1], page=2),
    ]
    with shelf.collection.writer() as writer:
        writer.begin(shelf.manifest())
        writer.add(document, chunks, shelf.encoder.encode(["x", "y"]), FileRow("/docs/a.txt", "indexed", bytes=99))
    collection = shelf.collection
    assert collection.document("a") == document
    assert [chunk for _, chunk in collection.document_chunks("a")] == chunks
    (info,) = collection.documents()
    assert (info.id, info.title, info.bytes, info.chunks, info.pages) == ("a", "Ä title", 99, 2, 2)
    (key, _), _ = collection.document_chunks("a")
    assert collection.chunks([key, 999])[key].title == "Ä title"
    assert set(collection.chunks([key, 999])) == {key}
    assert [text for *_, text in collection.texts()] == [chunk.text for chunk in chunks]
    keys, vectors = collection.vectors()
    assert keys.tolist() == [1, 2]
    np.testing.assert_allclose(vectors, shelf.encoder.encode(["x", "y"]), atol=1e-3)


def test_chunks_of_more_keys_than_one_statement_takes(shelf: Any) -> None:
    shelf.add(a=[f"paragraph {number}" for number in range(1300)])
    assert len(shelf.collection.chunks(range(1, 1301))) == 1300


def test_keys_and_sequence_numbers_are_never_used_again(shelf: Any) -> None:
    shelf.add(a=["one", "two"])
    first = shelf.collection.sequence()
    shelf.delete("a")
    shelf.add(a=["one", "two"])
    assert [key for key, _ in shelf.collection.document_chunks("a")] == [3, 4]
    assert shelf.collection.sequence() > first + 1


def test_equal_texts_share_a_vector_until_the_last_is_gone(shelf: Any) -> None:
    shelf.add(a=["shared words", "only a"], b="shared words")
    assert rows(shelf, "SELECT count(*) FROM vectors") == [(2,)]
    shelf.delete("a")
    assert rows(shelf, "SELECT count(*) FROM vectors") == [(1,)]
    shelf.delete("b")
    assert rows(shelf, "SELECT count(*) FROM vectors") == [(0,)]


def test_a_replaced_document_leaves_nothing_of_the_old_one(shelf: Any) -> None:
    shelf.add(a=["one", "two", "three"])
    shelf.add(a="four")
    assert [text for *_, text in shelf.collection.texts()] == ["four"]
    assert rows(shelf, "SELECT count(*) FROM vectors") == [(1,)]


def test_a_source_has_one_document_whatever_its_id(shelf: Any) -> None:
    shelf.add(a="one")
    document, chunks = shelf.document("b", "two")
    document = dataclasses.replace(document, source="/docs/a.txt")
    with shelf.collection.writer() as writer:
        writer.add(document, chunks, shelf.encoder.encode(["two"]))
    assert [info.id for info in shelf.collection.documents()] == ["b"]


def test_what_does_not_fit_is_refused_whole(shelf: Any) -> None:
    shelf.add(a="old text")
    document, chunks = shelf.document("a", "new text")
    good = shelf.encoder.encode(["new text"])
    moved = [dataclasses.replace(chunks[0], start=1, end=9)]
    with shelf.collection.writer() as writer:
        for wrong_chunks, vectors in ((moved, good), (chunks, good * 2), (chunks, good * np.nan), (chunks, good[:0])):
            with pytest.raises(IndexError_):
                writer.add(document, wrong_chunks, vectors)
    assert shelf.collection.document("a").text == "old text"
    assert shelf.lexical("old") == ["a"]


def test_deleting_removes_documents_ledger_and_counts_what_was_there(shelf: Any) -> None:
    shelf.add(a="one", b="two")
    with shelf.collection.writer() as writer:
        writer.record(FileRow("/docs/a.txt", "indexed", document_id="a"), FileRow("/docs/c.txt", "failed", "why"))
        assert writer.delete("a", "b", "nobody") == 2
    assert shelf.collection.documents() == []
    assert [row.path for row in shelf.collection.files()] == ["/docs/c.txt"]
    assert shelf.collection.files("failed")[0].reason == "why"
    with pytest.raises(IndexError_, match="no document 'a'"):
        shelf.collection.document("a")


def test_deleted_text_is_not_left_in_the_truth(shelf: Any) -> None:
    secret = "Zanzibar-4711"
    shelf.add(a=f"The code is {secret}", b="Another text")
    path = Path(shelf.collection.generation.truth.path)
    assert secret.encode() in path.read_bytes()
    shelf.delete("a")
    shelf.collection.close()
    assert all(secret.encode() not in file.read_bytes() for file in path.parent.glob("truth.db*"))


@pytest.mark.parametrize("content", [b"", b"This is no database at all. " * 100])
def test_a_truth_that_is_none_is_named(shelf: Any, content: bytes) -> None:
    shelf.add(a="text")
    path = shelf.collection.generation.truth.path
    shelf.collection.close()
    for extra in path.parent.glob("truth.db-*"):
        extra.unlink()
    path.write_bytes(content)
    with pytest.raises(IndexError_, match=r"truth\.db.*(damaged|empty)") as caught:
        shelf.collection.documents()
    assert "ingest" in caught.value.remedy


def test_a_missing_truth_is_named(shelf: Any) -> None:
    shelf.add(a="text")
    shelf.collection.close()
    shelf.collection.generation.truth.path.unlink()
    shelf.collection.close()
    with pytest.raises(IndexError_, match="is missing"):
        shelf.collection.documents()


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "truth.db"
    path.parent.mkdir(parents=True)
    Truth(path, create=True).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(IndexError_, match="newer Footnote"):
        Truth(path)


def test_a_page_that_was_overwritten_is_an_error_that_says_so(shelf: Any) -> None:
    shelf.add(**{f"d{number}": "word " * 300 for number in range(40)})
    path = shelf.collection.generation.truth.path
    shelf.collection.close()
    data = bytearray(path.read_bytes())
    data[4096 : len(data) // 2] = b"\xff" * (len(data) // 2 - 4096)
    path.write_bytes(data)
    with pytest.raises(IndexError_, match="damaged"):
        shelf.collection.documents()

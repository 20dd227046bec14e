from pathlib import Path
from typing import Any

import pytest

from indexer.chunk import ChunkSettings
from indexer.collection import Collection
from indexer.errors import IndexError_
from indexer.ingest import ingest
from indexer.ledger import Progress
from indexer.reindex import reindex, rollback
from indexer.verify import verify

SMALL, LARGE = ChunkSettings(max_tokens=20), ChunkSettings(max_tokens=60)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "files"
    path.mkdir()
    for number in range(8):
        text = " ".join(f"Sentence {at} of file {number} is about lighthouses." for at in range(20))
        (path / f"{number}.txt").write_text(text)
    (path / "bad.txt").write_text("")
    return path


@pytest.fixture
def collection(tmp_path: Path, folder: Path, encoder: Any) -> Collection:
    collection = Collection.open(tmp_path / "home", "default", create=True)
    ingest([folder], collection, encoder, SMALL)
    return collection


def test_new_chunks_of_the_same_texts_under_the_same_documents(
    collection: Collection, folder: Path, encoder: Any
) -> None:
    reader = Collection.open(collection.home, "default")
    before, keys, sequence = collection.documents(), reader.vectors()[0], reader.sequence()
    seen: list[Progress] = []
    assert reindex(collection, encoder, LARGE, seen.append) == 2
    after = collection.documents()
    assert [(info.id, info.source, info.bytes, info.added_at) for info in after] == [
        (info.id, info.source, info.bytes, info.added_at) for info in before
    ]
    assert collection.count() < len(keys)
    assert reader.count() == collection.count()  # the open reader follows
    assert reader.vectors()[0].min() > keys.max()  # a key of the old generation means nothing in the new one
    assert reader.sequence() > sequence
    assert reader.lexical.search("lighthouses", 3)
    assert (seen[-1].files_done, seen[-1].files_total) == (8, 8)
    assert [row.state for row in collection.files()].count("failed") == 1
    assert verify(collection) == []
    report = ingest([folder], collection, encoder, LARGE)
    assert (report.count("unchanged"), report.count("failed")) == (8, 1)


def test_the_same_encoder_encodes_no_text_twice(collection: Collection, encoder: Any, hash_encoder: Any) -> None:
    encoded = encoder.encoded
    reindex(collection, encoder, SMALL)
    assert encoder.encoded == encoded
    other = hash_encoder("hash-2", dim=16)
    reindex(collection, other, SMALL)
    assert other.encoded == collection.count()
    collection.check_encoder("hash-2")
    assert collection.dense.search(other.encode(["lighthouses"])[0], 3)
    assert verify(collection) == []


def test_a_rollback_returns_to_the_old_generation(collection: Collection, hash_encoder: Any) -> None:
    keys, sequence = collection.vectors()[0].tolist(), collection.sequence()
    reindex(collection, hash_encoder("hash-2", dim=16), LARGE)
    new_sequence = collection.sequence()
    assert rollback(collection) == 1
    collection.check_encoder("hash-1")
    assert collection.vectors()[0].tolist() == keys
    assert collection.sequence() > new_sequence > sequence
    assert verify(collection) == []
    with pytest.raises(IndexError_, match="no earlier generation"):
        rollback(collection)


def test_a_cut_off_run_changes_nothing_and_the_next_one_goes_on(
    collection: Collection, folder: Path, hash_encoder: Any
) -> None:
    def stop(progress: Progress) -> None:
        if progress.files_done == 5:
            raise KeyboardInterrupt

    before, other = collection.sequence(), hash_encoder("hash-2", dim=16)
    with pytest.raises(KeyboardInterrupt):
        reindex(collection, other, SMALL, stop)
    assert collection.sequence() == before
    collection.check_encoder("hash-1")
    encoded = other.encoded
    with collection.writer() as writer:
        writer.delete(*collection.find("0.txt*"))
    (gone,) = collection.find(str(folder / "1.txt"))
    reindex(collection, other, SMALL)
    assert other.encoded < 2 * encoded
    assert len(collection.documents()) == 7 and collection.document(gone)
    assert collection.sequence() > before
    assert verify(collection) == []


def test_only_the_last_two_generations_are_kept(collection: Collection, encoder: Any) -> None:
    for settings in (LARGE, SMALL, LARGE):
        reindex(collection, encoder, settings)
    assert collection.generations() == [3, 4]
    assert not list((collection.folder / "generations").glob("0001"))

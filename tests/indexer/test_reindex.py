from pathlib import Path
from typing import Any

import pytest

from indexer.chunk import ChunkSettings
from indexer.collection import Collection
from indexer.errors import IndexError_
from indexer.ingest import ingest
from indexer.ledger import Progress
from indexer.reindex import reindex, rollback, unfinished
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
    assert collection.generations.numbers() == [3, 4]
    assert not list((collection.folder / "generations").glob("0001"))


def test_the_recipe_and_the_settings_of_the_moment_are_remembered(collection: Collection, hash_encoder: Any) -> None:
    reader = Collection.open(collection.home, "default")
    assert collection.manifest and collection.manifest.chunk_tokens == 20
    reindex(collection, hash_encoder("hash-2", dim=16), LARGE, recipe="the other", under={"encoder.model": "m"})
    assert reader.manifest and reader.manifest.recipe == "the other"
    assert (reader.manifest.chunk_tokens, reader.manifest.chunk_overlap_tokens) == (60, 0)
    assert reader.generation.chosen_under == {"encoder.model": "m"}
    rollback(collection, under={"encoder.model": "n"})
    assert reader.manifest and (reader.manifest.recipe, reader.manifest.chunk_tokens) == ("", 20)
    assert reader.generation.chosen_under == {"encoder.model": "n"}


def test_a_reindex_can_be_looked_at(collection: Collection, hash_encoder: Any) -> None:
    seen: list[Any] = []

    def look(progress: Progress) -> None:
        seen.append(unfinished(Collection.open(collection.home, "default")))
        if progress.files_done == 5:
            raise KeyboardInterrupt

    assert unfinished(collection) is None
    with pytest.raises(KeyboardInterrupt):
        reindex(collection, hash_encoder("hash-2", dim=16), LARGE, look)
    assert seen[0].holder.startswith("reindex (pid ")
    left = unfinished(collection)
    assert left and (left.generation, left.documents_done, left.documents, left.holder) == (2, 5, 8, "")
    assert (left.manifest.fingerprint, left.manifest.chunk_tokens) == ("hash-2", 60)
    reindex(collection, hash_encoder("hash-2", dim=16), LARGE)
    assert unfinished(collection) is None
    rollback(collection)
    assert unfinished(collection) is None, "what was rolled back from is whole"


def test_the_time_left_is_of_this_run(collection: Collection, hash_encoder: Any) -> None:
    def stop(progress: Progress) -> None:
        if progress.files_done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reindex(collection, hash_encoder("hash-2", dim=16), LARGE, stop)
    seen: list[Progress] = []
    reindex(collection, hash_encoder("hash-2", dim=16), LARGE, seen.append)
    assert (seen[0].files_done, seen[0].eta_s) == (5, None), "the five documents of before took no time"
    assert seen[-1].eta_s == 0


def test_a_reader_notices_a_generation_that_was_built_again(collection: Collection, hash_encoder: Any) -> None:
    """Back, and forth to other content under the same number, while the reader looked away."""
    reader = Collection.open(collection.home, "default")
    assert reindex(collection, hash_encoder("hash-2", dim=16), LARGE) == 2
    assert reader.count() == 8 * 3
    rollback(collection)
    assert reindex(collection, hash_encoder("hash-3", dim=16), ChunkSettings(max_tokens=1000)) == 2
    assert reader.count() == 8
    reader.check_encoder("hash-3")


def test_chunks_that_the_encoder_cuts_are_told(
    collection: Collection, hash_encoder: Any, caplog: pytest.LogCaptureFixture
) -> None:
    short = hash_encoder("hash-2", dim=16)
    short.max_tokens = 50
    reindex(collection, short, LARGE)
    assert f"{collection.count()} chunks" not in caplog.text  # the last of each document is shorter
    assert "16 chunks with title and headings exceed the encoder's 50 tokens" in caplog.text

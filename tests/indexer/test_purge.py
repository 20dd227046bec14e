"""What was deleted is in no byte of any file, while another process has the collection open and goes on reading."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexer.chunk import ChunkSettings
from indexer.errors import IndexError_
from indexer.purge import purge
from indexer.reindex import reindex
from indexer.verify import verify

HERE = Path(__file__).parent
SECRET = "Quetzalcoatl4711"  # in no other text

READER = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from hash_encoder import HashEncoder
from indexer.collection import Collection
collection, encoder = Collection.open(Path(sys.argv[1]), "default"), HashEncoder()
for line in sys.stdin:
    found = set()
    for hits in (collection.lexical.search(line, 200), collection.dense.search(encoder.encode([line])[0], 200)):
        found |= {stored.source for stored in collection.chunks([key for key, _ in hits]).values()}
    print(len(found), flush=True)
"""


@pytest.fixture
def full(desk: Any) -> Any:
    for number in range(150):
        desk.write(f"{number}.txt", f"Lighthouse number {number}. It stands.")
    desk.write("secret.txt", f"The lighthouse code is {SECRET}.")
    desk.write("half.txt", f"This stays.\n\n{'Filling words. ' * 12}\n\nAnd this is {SECRET} again.")
    desk.ingest()
    assert desk.collection.dense.base_rows() > 128
    return desk


@pytest.fixture
def reader(full: Any) -> Iterator[Any]:
    command = [sys.executable, "-c", READER, str(full.collection.home), str(HERE)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout

        def count(question: str) -> int:
            assert process.stdin and process.stdout
            process.stdin.write(question + "\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        yield count
        process.kill()


def traces(desk: Any, vectors: np.ndarray) -> set[str]:
    """Names of the files under the collection that hold the secret, in text or as one of the vectors."""
    spellings = [form.encode(code) for form in (SECRET, SECRET.lower()) for code in ("utf-8", "utf-16-le", "utf-16-be")]
    spellings += [row.astype(kind).tobytes() for row in vectors for kind in (np.float16, np.float32)]
    files = [path for path in desk.collection.folder.rglob("*") if path.is_file()]
    return {path.name for path in files if any(spelling in path.read_bytes() for spelling in spellings)}


def secret_vectors(desk: Any) -> np.ndarray:
    truth = desk.collection.generation.truth
    keys, vectors = desk.collection.vectors()
    stored = truth.chunks(keys.tolist())
    return vectors[[SECRET in stored[key].chunk.text for key in keys.tolist()]]


def delete_the_secret(desk: Any) -> None:
    with desk.collection.writer() as writer:
        writer.delete(*desk.collection.find("secret.txt*"))
    (desk.folder / "secret.txt").unlink()
    desk.write("half.txt", "This stays.")  # and an update deletes as well
    desk.ingest()
    assert desk.search(SECRET) == []


def test_nothing_that_was_deleted_is_left_in_any_file(full: Any, reader: Any) -> None:
    vectors = secret_vectors(full)
    assert len(vectors) == 2
    assert "truth.db" in traces(full, vectors) and reader("lighthouse") > 100
    delete_the_secret(full)
    assert any(name.endswith(".faiss") for name in traces(full, vectors))  # deleting alone does not do it
    before = full.search("lighthouse number 7")
    done = purge(full.collection)
    assert traces(full, vectors) == set()
    assert (done.generations_removed, done.generations_kept) == ((), ())
    (meta,) = full.collection.folder.glob("generations/0001/lexical/*/meta.json")
    assert all(segment["deletes"] is None for segment in json.loads(meta.read_text())["segments"])
    assert (full.collection.folder / "generations/0001/truth.db-wal").stat().st_size == 0
    assert reader("lighthouse") > 100  # the open process goes on, and leaves no trace either
    assert traces(full, vectors) == set()
    assert full.search("lighthouse number 7") == before and full.search(SECRET) == []
    assert verify(full.collection) == []


def test_old_generations_hold_what_was_deleted_until_they_go(full: Any) -> None:
    vectors = secret_vectors(full)
    settings = ChunkSettings(max_tokens=60)
    assert reindex(full.collection, full.encoder, settings) == 2
    with full.collection.writer() as writer:
        writer.delete(*full.collection.find("secret.txt*"), *full.collection.find("half.txt*"))
    done = purge(full.collection)
    assert (done.generations_removed, done.generations_kept) == ((), (1,))
    assert traces(full, vectors)
    (full.collection.folder / "generations" / "0003").mkdir()
    (full.collection.folder / "generations" / "0003" / "rest").write_text(SECRET)  # of a killed reindex
    done = purge(full.collection, generations=True)
    assert (done.generations_removed, done.generations_kept) == ((1, 3), ())
    assert done.bytes_after < done.bytes_before
    assert traces(full, vectors) == set()
    assert verify(full.collection) == []


def test_purging_leaves_a_small_and_an_empty_collection_as_they_are(desk: Any) -> None:
    purge(desk.collection)
    desk.write("a.txt", "Words.")
    desk.ingest()
    purge(desk.collection)
    assert desk.search("words") == ["a.txt"] and verify(desk.collection) == []


def test_a_reader_in_the_way_is_named_and_nothing_is_lost(full: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlite3

    monkeypatch.setattr("indexer.store.schema.BUSY_TIMEOUT_S", 0.2)
    full.collection.close()
    delete_the_secret(full)
    db = sqlite3.connect(full.collection.generation.truth.path, isolation_level=None)
    db.execute("BEGIN")
    db.execute("SELECT count(*) FROM chunks").fetchone()
    with pytest.raises(IndexError_, match=r"in use|locked"):
        purge(full.collection)
    db.close()
    assert verify(full.collection) == []
    purge(full.collection)
    assert verify(full.collection) == []

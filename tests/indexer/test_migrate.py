"""An index moves to Milvus and back without encoding: whole or not at all, whatever is killed in between."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexer.collection import Collection
from indexer.errors import IndexError_
from indexer.migrate import migrate
from indexer.milvus.address import parse_address
from indexer.milvus.build import notes, read_build
from indexer.milvus.choice import connect
from indexer.milvus.search import count_rows
from indexer.purge import purge
from indexer.recall import LEAST_RECALL, recall_at_k
from indexer.store.index import IndexSettings
from indexer.verify import verify

needs_milvus = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("pymilvus", "milvus_lite")),
    reason="pymilvus and milvus-lite are not installed: requirements-milvus.txt",
)
ROOT = Path(__file__).parents[2]
KILLED = """
import os, sys
from pathlib import Path
from indexer.collection import Collection
from indexer.migrate import migrate
from indexer.milvus.address import parse_address
from indexer.milvus import writer
writer._MAX_ROWS = 50

def told(done, total, left_s):
    if done >= 120:  # in Milvus, and not yet noted
        os.kill(os.getpid(), 9)

migrate(Collection.open(Path(sys.argv[1]), "default"), parse_address(sys.argv[2]), told)
"""
KILLED_ON_THE_WAY_BACK = """
import importlib, os, sys
from pathlib import Path
from indexer.collection import Collection
from indexer.migrate import migrate
from indexer.store import truth
truth._PAGE = 20  # four of them are a portion

path, name, at = sys.argv[2].split(":")
place = importlib.import_module(path)
real, calls = getattr(place, name), []

def killing(*given, **named):
    calls.append(name)
    if len(calls) == int(at):
        os.kill(os.getpid(), 9)
    return real(*given, **named)

setattr(place, name, killing)
migrate(Collection.open(Path(sys.argv[1]), "default"), None)
"""


def at(path: Path) -> Any:
    return parse_address(f"milvus:{path}/index.db")


def answers(shelf: Any) -> list[Any]:
    return [shelf.lexical("storm 17"), shelf.dense("storm number 17", 3), shelf.lexical("keeper", 3)]


@pytest.fixture
def full(shelf: Any) -> Any:
    shelf.add(**{f"d{number:03}": [f"storm number {number}", f"keeper {number}"] for number in range(100)})
    return shelf


@needs_milvus
def test_there_and_back_with_the_same_answers_and_nothing_encoded(full: Any, tmp_path: Path) -> None:
    before, encoded = answers(full), full.encoder.encoded
    seen: list[tuple[int, int]] = []
    reader = Collection.open(full.home, "default")
    assert reader.generation.index.kind == "local"
    moved = migrate(full.collection, at(tmp_path), lambda done, total, _: seen.append((done, total)))
    assert (moved.kind, moved.chunks, moved.written, moved.resumed_after) == ("milvus", 200, 200, None)
    assert seen[-1] == (200, 200)
    assert full.collection.generation.index.kind == reader.generation.index.kind == "milvus"  # without being told
    folder = full.collection.generation.folder
    assert not (folder / "lexical").exists() and not (folder / "dense").exists()
    assert answers(full) == before
    assert verify(full.collection) == []
    assert migrate(full.collection, at(tmp_path)).written == 0
    back = migrate(full.collection, None)
    assert (back.kind, back.chunks) == ("local", 200)
    assert full.collection.generation.index.kind == "local"
    assert not notes(folder)
    assert answers(full) == before
    assert full.encoder.encoded - encoded == 2  # the questions of `answers`, twice; nothing of the documents
    reader.close()


@needs_milvus
def test_a_kill_in_the_middle_goes_on_behind_the_last_page(full: Any, tmp_path: Path) -> None:
    address = at(tmp_path)
    ran = subprocess.run(
        [sys.executable, "-c", KILLED, str(full.home), address.uri], cwd=ROOT, capture_output=True, timeout=300
    )
    assert ran.returncode == -9, ran.stderr.decode()
    collection = Collection.open(full.home, "default")
    assert collection.generation.index.kind == "local"
    (begun,) = notes(collection.generation.folder)
    assert (begun.filled_to, begun.is_whole) == (100, False)
    assert answers(full)[0][0] == "d017"  # the old index answers on
    full.delete("d003", "d090")  # before and behind the place of the kill
    full.add(late="storm of the evening")
    moved = migrate(collection, address)
    assert (moved.resumed_after, moved.written) == (100, 100 - 2 + 1 + 1)  # the rest, and what changed meanwhile twice
    assert collection.generation.index.kind == "milvus"
    assert read_build(collection.generation.folder) is not None
    assert verify(collection) == []
    assert full.lexical("evening") == ["late"]
    assert "d003" not in full.lexical("storm 3", 200)
    collection.close()
    full.collection.close()


def kill_on_the_way_back(full: Any, place: str) -> None:
    full.collection.close()  # the child may need the file
    command = [sys.executable, "-c", KILLED_ON_THE_WAY_BACK, str(full.home), place]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=300)
    assert ran.returncode == -9, ran.stderr.decode()


@needs_milvus
@pytest.mark.parametrize(
    ("place", "after", "writes"),
    [
        ("indexer.store.lexical_writer:_document:100", None, True),  # in the middle of the words
        ("indexer.store.fill:_tell:12", 80, True),  # in the second portion of vectors
        ("indexer.store.fill:write_base:3", 160, True),  # between two portions
        ("indexer.migrate:_look_again:1", None, False),  # the choice is made, and no process has been told
        ("indexer.migrate:drop_elsewhere:1", None, False),  # and the collection in Milvus is there
    ],
)
def test_a_kill_on_the_way_back_goes_on_behind_the_last_portion(
    full: Any, tmp_path: Path, place: str, after: int | None, writes: bool
) -> None:
    migrate(full.collection, at(tmp_path))
    build = read_build(full.collection.generation.folder)
    assert build is not None
    kill_on_the_way_back(full, place)
    full.delete("d003", "d090")  # before and behind the place of the kill
    full.add(late="storm of the evening")
    moved = migrate(full.collection, None)
    assert moved.kind == full.collection.generation.index.kind == "local"
    assert moved.resumed_after == after
    left = sum(key > (after or 0) for key in full.collection.vectors()[0])
    assert moved.written == (left if writes else 0)
    assert verify(full.collection) == []
    assert full.lexical("evening") == ["late"]
    assert full.dense("storm number 17", 1) == ["d017"]
    assert "d003" not in full.lexical("storm 3", 200) + full.dense("storm number 3", 200)
    assert not notes(full.collection.generation.folder)
    connection = connect(at(tmp_path), IndexSettings())
    assert not connection.call("has_collection", build.name)
    connection.close()
    full.collection.close()


@needs_milvus
def test_a_purge_leaves_nothing_of_a_move_back_that_was_cut_off(full: Any, tmp_path: Path) -> None:
    full.add(secret="quetzalcoatl4711")
    migrate(full.collection, at(tmp_path))
    kill_on_the_way_back(full, "indexer.store.fill:write_base:3")
    folder = full.collection.generation.folder
    assert list((folder / "lexical").rglob("*.term")) and list((folder / "dense").glob("*.faiss"))
    full.delete("secret")
    purge(full.collection)
    assert not (folder / "lexical").exists() and not (folder / "dense").exists()
    assert migrate(full.collection, None).resumed_after is None
    assert verify(full.collection) == []
    full.collection.close()


@needs_milvus
def test_operations_that_were_not_noted_are_applied_again(full: Any, tmp_path: Path) -> None:
    migrate(full.collection, at(tmp_path))
    folder = full.collection.generation.folder
    build = read_build(folder)
    assert build is not None
    note = folder / "milvus" / f"{build.name}.json"
    before = note.read_text()
    full.add(extra="a vessel in the fog")
    full.delete("d001")
    full.collection.close()
    note.write_text(before)  # as a kill leaves it, between Milvus's answer and the note
    assert full.lexical("vessel") == ["extra"]
    assert verify(full.collection) == []
    connection = connect(parse_address(build.uri), IndexSettings())
    assert count_rows(connection, build) == 199
    connection.close()
    full.collection.close()


@needs_milvus
def test_verify_finds_and_repairs_what_is_wrong_in_milvus(full: Any, tmp_path: Path) -> None:
    migrate(full.collection, at(tmp_path))
    build = read_build(full.collection.generation.folder)
    assert build is not None
    connection = connect(parse_address(build.uri), IndexSettings())
    connection.call("delete", build.name, ids=[3])
    connection.call("insert", build.name, data=[{"key": 9999, "vector": [0.5] * 32, "text": "stray"}])
    connection.call("upsert", build.name, data=[{"key": 5, "vector": [0.5] * 32, "text": "other words"}])
    connection.close()
    found = verify(full.collection)
    assert [finding.kind for finding in found] == ["milvus"] * 3
    assert [word for finding in found for word in ("missing", "deleted", "other words") if word in finding.message] == [
        "missing",
        "deleted",
        "other words",
    ]
    assert all(finding.repaired for finding in verify(full.collection, repair=True))
    assert verify(full.collection) == []
    assert read_build(full.collection.generation.folder) != build  # a new collection took the place of the old one
    full.collection.close()


@needs_milvus
def test_a_collection_that_is_gone_in_milvus_is_built_anew(
    full: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = answers(full)
    migrate(full.collection, at(tmp_path))
    build = read_build(full.collection.generation.folder)
    assert build is not None
    connection = connect(parse_address(build.uri), IndexSettings())
    connection.call("drop_collection", build.name)
    connection.close()
    with monkeypatch.context() as patched:
        patched.setattr("indexer.milvus.search._LARGE", 100)
        with pytest.raises(IndexError_) as raised:  # nobody waits for a large one
            full.lexical("keeper")
        assert "verify --repair" in raised.value.remedy
    assert answers(full) == before
    full.collection.close()


def test_a_move_waits_for_a_writer_and_says_who_it_is(full: Any, tmp_path: Path) -> None:
    with full.collection.lock.held("ingest"), pytest.raises(IndexError_, match="ingest"):
        migrate(Collection.open(full.home, "default"), at(tmp_path), timeout_s=0.2)
    assert not notes(full.collection.generation.folder)
    assert full.lexical("storm 17")[0] == "d017"


@needs_milvus
def test_recall_is_measured_in_milvus_too(full: Any, tmp_path: Path) -> None:
    migrate(full.collection, at(tmp_path))
    queries = full.encoder.encode([f"storm number {number}" for number in range(20)])
    assert np.mean(recall_at_k(full.collection, queries)) >= LEAST_RECALL
    full.collection.close()

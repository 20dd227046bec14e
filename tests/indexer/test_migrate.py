"""An index moves to Milvus and back without encoding: whole or not at all, whatever is killed in between."""

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
from tests.indexer.moving import answers, at, needs_milvus

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


@needs_milvus
def test_there_and_back_with_the_same_answers_and_nothing_encoded(storms: Any, tmp_path: Path) -> None:
    before, encoded = answers(storms), storms.encoder.encoded
    seen: list[tuple[int, int]] = []
    reader = Collection.open(storms.home, "default")
    assert reader.generation.index.kind == "local"
    moved = migrate(storms.collection, at(tmp_path), lambda done, total, _: seen.append((done, total)))
    assert (moved.kind, moved.chunks, moved.written, moved.resumed_after) == ("milvus", 200, 200, None)
    assert seen[-1] == (200, 200)
    assert storms.collection.generation.index.kind == reader.generation.index.kind == "milvus"  # without being told
    folder = storms.collection.generation.folder
    assert not (folder / "lexical").exists() and not (folder / "dense").exists()
    assert answers(storms) == before
    assert verify(storms.collection) == []
    assert migrate(storms.collection, at(tmp_path)).written == 0
    back = migrate(storms.collection, None)
    assert (back.kind, back.chunks) == ("local", 200)
    assert storms.collection.generation.index.kind == "local"
    assert not notes(folder)
    assert answers(storms) == before
    assert storms.encoder.encoded - encoded == 2  # the questions of `answers`, twice; nothing of the documents
    reader.close()


@needs_milvus
def test_a_kill_in_the_middle_goes_on_behind_the_last_page(storms: Any, tmp_path: Path) -> None:
    address = at(tmp_path)
    ran = subprocess.run(
        [sys.executable, "-c", KILLED, str(storms.home), address.uri], cwd=ROOT, capture_output=True, timeout=300
    )
    assert ran.returncode == -9, ran.stderr.decode()
    collection = Collection.open(storms.home, "default")
    assert collection.generation.index.kind == "local"
    (begun,) = notes(collection.generation.folder)
    assert (begun.filled_to, begun.is_whole) == (100, False)
    assert answers(storms)[0][0] == "d017"  # the old index answers on
    storms.delete("d003", "d090")  # before and behind the place of the kill
    storms.add(late="storm of the evening")
    moved = migrate(collection, address)
    assert (moved.resumed_after, moved.written) == (100, 100 - 2 + 1 + 1)  # the rest, and what changed meanwhile twice
    assert collection.generation.index.kind == "milvus"
    assert read_build(collection.generation.folder) is not None
    assert verify(collection) == []
    assert storms.lexical("evening") == ["late"]
    assert "d003" not in storms.lexical("storm 3", 200)
    collection.close()
    storms.collection.close()


def kill_on_the_way_back(storms: Any, place: str) -> None:
    storms.collection.close()  # the child may need the file
    command = [sys.executable, "-c", KILLED_ON_THE_WAY_BACK, str(storms.home), place]
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
    storms: Any, tmp_path: Path, place: str, after: int | None, writes: bool
) -> None:
    migrate(storms.collection, at(tmp_path))
    build = read_build(storms.collection.generation.folder)
    assert build is not None
    kill_on_the_way_back(storms, place)
    storms.delete("d003", "d090")  # before and behind the place of the kill
    storms.add(late="storm of the evening")
    moved = migrate(storms.collection, None)
    assert moved.kind == storms.collection.generation.index.kind == "local"
    assert moved.resumed_after == after
    left = sum(key > (after or 0) for key in storms.collection.vectors()[0])
    assert moved.written == (left if writes else 0)
    assert verify(storms.collection) == []
    assert storms.lexical("evening") == ["late"]
    assert storms.dense("storm number 17", 1) == ["d017"]
    assert "d003" not in storms.lexical("storm 3", 200) + storms.dense("storm number 3", 200)
    assert not notes(storms.collection.generation.folder)
    connection = connect(at(tmp_path), IndexSettings())
    assert not connection.call("has_collection", build.name)
    connection.close()
    storms.collection.close()


@needs_milvus
def test_a_purge_leaves_nothing_of_a_move_back_that_was_cut_off(storms: Any, tmp_path: Path) -> None:
    storms.add(secret="quetzalcoatl4711")
    migrate(storms.collection, at(tmp_path))
    kill_on_the_way_back(storms, "indexer.store.fill:write_base:3")
    folder = storms.collection.generation.folder
    assert list((folder / "lexical").rglob("*.term")) and list((folder / "dense").glob("*.faiss"))
    storms.delete("secret")
    purge(storms.collection)
    assert not (folder / "lexical").exists() and not (folder / "dense").exists()
    assert migrate(storms.collection, None).resumed_after is None
    assert verify(storms.collection) == []
    storms.collection.close()


@needs_milvus
def test_operations_that_were_not_noted_are_applied_again(storms: Any, tmp_path: Path) -> None:
    migrate(storms.collection, at(tmp_path))
    folder = storms.collection.generation.folder
    build = read_build(folder)
    assert build is not None
    note = folder / "milvus" / f"{build.name}.json"
    before = note.read_text()
    storms.add(extra="a vessel in the fog")
    storms.delete("d001")
    storms.collection.close()
    note.write_text(before)  # as a kill leaves it, between Milvus's answer and the note
    assert storms.lexical("vessel") == ["extra"]
    assert verify(storms.collection) == []
    connection = connect(parse_address(build.uri), IndexSettings())
    assert count_rows(connection, build) == 199
    connection.close()
    storms.collection.close()


@needs_milvus
def test_verify_finds_and_repairs_what_is_wrong_in_milvus(storms: Any, tmp_path: Path) -> None:
    migrate(storms.collection, at(tmp_path))
    build = read_build(storms.collection.generation.folder)
    assert build is not None
    connection = connect(parse_address(build.uri), IndexSettings())
    connection.call("delete", build.name, ids=[3])
    connection.call("insert", build.name, data=[{"key": 9999, "vector": [0.5] * 32, "text": "stray"}])
    connection.call("upsert", build.name, data=[{"key": 5, "vector": [0.5] * 32, "text": "other words"}])
    connection.close()
    found = verify(storms.collection)
    assert [finding.kind for finding in found] == ["milvus"] * 3
    assert [word for finding in found for word in ("missing", "deleted", "other words") if word in finding.message] == [
        "missing",
        "deleted",
        "other words",
    ]
    assert all(finding.repaired for finding in verify(storms.collection, repair=True))
    assert verify(storms.collection) == []
    assert read_build(storms.collection.generation.folder) != build  # a new collection took the place of the old one
    storms.collection.close()


@needs_milvus
def test_a_collection_that_is_gone_in_milvus_is_built_anew(
    storms: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = answers(storms)
    migrate(storms.collection, at(tmp_path))
    build = read_build(storms.collection.generation.folder)
    assert build is not None
    connection = connect(parse_address(build.uri), IndexSettings())
    connection.call("drop_collection", build.name)
    connection.close()
    with monkeypatch.context() as patched:
        patched.setattr("indexer.milvus.search._LARGE", 100)
        with pytest.raises(IndexError_) as raised:  # nobody waits for a large one
            storms.lexical("keeper")
        assert "verify --repair" in raised.value.remedy
    assert answers(storms) == before
    storms.collection.close()


def test_a_move_waits_for_a_writer_and_says_who_it_is(storms: Any, tmp_path: Path) -> None:
    with storms.collection.lock.held("ingest"), pytest.raises(IndexError_, match="ingest"):
        migrate(Collection.open(storms.home, "default"), at(tmp_path), timeout_s=0.2)
    assert not notes(storms.collection.generation.folder)
    assert storms.lexical("storm 17")[0] == "d017"


@needs_milvus
def test_recall_is_measured_in_milvus_too(storms: Any, tmp_path: Path) -> None:
    migrate(storms.collection, at(tmp_path))
    queries = storms.encoder.encode([f"storm number {number}" for number in range(20)])
    assert np.mean(recall_at_k(storms.collection, queries)) >= LEAST_RECALL
    storms.collection.close()

"""A base that is filled in portions: cut off anywhere, the next run goes on, and ends with what the truth holds."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import indexer.store.truth as truth_module
from indexer.store.base import FILLING, NOTE
from indexer.store.fill import Filled
from indexer.verify import verify

CHUNKS = 200


class Cut(Exception):
    """Stands for what ends a run."""


@pytest.fixture
def full(shelf: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A collection of 200 chunks, ten of one text, without its dense index; four pages of twenty are a portion."""
    monkeypatch.setattr(truth_module, "_PAGE", 20)
    shelf.add(**{f"d{number:03}": [f"storm number {number}", f"keeper {number}"] for number in range(95)})
    shelf.add(twins=["the same words again"] * 10)
    shutil.rmtree(folder(shelf))
    return shelf


def folder(shelf: Any) -> Path:
    return Path(shelf.collection.generation.folder / "dense")


def fill(shelf: Any, cut_at: int = 0) -> tuple[Filled, list[tuple[int, int]]]:
    """Fill the dense index, or be cut off when so many chunks have been told of."""
    told: list[tuple[int, int]] = []

    def tell(written: int, of: int) -> None:
        told.append((written, of))
        if cut_at and written >= cut_at:
            raise Cut

    with shelf.collection.lock.held("test"):
        return shelf.collection.generation.index.fill(tell), told


def assert_right(shelf: Any) -> None:
    """Everything is found as in an exact scan, in a process that opens it now."""
    shelf.collection.close()
    assert verify(shelf.collection) == []
    assert {path.suffix for path in folder(shelf).iterdir()} == {".json", ".faiss", ".npz"}
    assert [path.name for path in folder(shelf).glob("*.json")] == [NOTE]
    keys, vectors = shelf.collection.vectors()
    assert shelf.collection.dense.base_rows() >= len(keys) * 0.8
    for query in shelf.encoder.encode(["storm number 17", "keeper 40", "the same words"]):
        scores = np.round((vectors @ query).astype(np.float64), 6)
        exact = [int(keys[at]) for at in np.lexsort((keys, -scores))[:10]]
        assert [key for key, _ in shelf.collection.dense.search(query, 10)] == exact


def test_a_whole_run_tells_how_far_it_is(full: Any) -> None:
    filled, told = fill(full)
    assert filled == Filled(None, CHUNKS)
    assert told[-1] == (CHUNKS, CHUNKS) and told == sorted(told)
    assert_right(full)
    assert fill(full) == (Filled(full.collection.generation.truth.last_key(), 0), [])
    assert_right(full)


@pytest.mark.parametrize("cut_at", [1, 60, 80, 81, 120, 160, 161, 200])
def test_cut_off_anywhere_it_goes_on(full: Any, cut_at: int) -> None:
    with pytest.raises(Cut):
        fill(full, cut_at)
    stands = 80 * ((cut_at - 1) // 80)  # what was whole before
    filled, told = fill(full)
    assert filled == Filled(stands or None, CHUNKS - stands)
    assert told[-1] == (CHUNKS - stands, CHUNKS - stands)
    assert_right(full)


def test_what_is_written_between_two_runs_counts(full: Any) -> None:
    with pytest.raises(Cut):
        fill(full, 170)
    shutil.copytree(folder(full), folder(full).with_name("kept"))
    full.delete(*(f"d{number:03}" for number in range(30)), "d093")  # a third of what stands, and some that does not
    full.add(late="storm of the evening", twin="the same words again")
    shutil.rmtree(folder(full))  # the collection answers from here, and has made an index of its own
    folder(full).with_name("kept").rename(folder(full))
    full.collection.close()
    filled, _ = fill(full)
    assert filled.resumed_after == 160
    assert full.dense("storm of the evening", 1) == ["late"]
    assert_right(full)


@pytest.mark.parametrize("wrong", ["fingerprint", "sequence", "damaged", "note"])
def test_what_does_not_go_on_from_the_truth_is_begun_anew(full: Any, wrong: str) -> None:
    with pytest.raises(Cut):
        fill(full, 170)
    note = json.loads((folder(full) / FILLING).read_text())
    if wrong == "damaged":
        graph = folder(full) / f"{note['build']}.faiss"
        content = bytearray(graph.read_bytes())
        content[len(content) // 2] ^= 255
        graph.unlink()
        graph.write_bytes(content)
    changed = {"fingerprint": "another", "sequence": 10**6, "note": 1}
    (folder(full) / FILLING).write_text(json.dumps(note | ({wrong: changed[wrong]} if wrong in changed else {})))
    assert fill(full)[0] == Filled(None, CHUNKS)
    assert_right(full)


def test_few_chunks_need_no_base(shelf: Any) -> None:
    shelf.add(one="storm", two="keeper")
    assert fill(shelf)[0] == Filled(None, 2)
    assert not list(folder(shelf).glob("*"))
    assert shelf.dense("storm", 1) == ["one"]

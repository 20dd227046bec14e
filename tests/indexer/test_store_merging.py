import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from indexer.collection import Collection
from indexer.store.lock import Holder
from indexer.store.merging import merging_in, noted
from tests.indexer.slow_merge import CHUNKS, PORTION, merging


def test_a_merge_by_another_process_is_seen_and_what_a_kill_leaves_of_it_is_not(tmp_path: Path) -> None:
    with merging(tmp_path) as process:
        collection = Collection(tmp_path, "default")
        holder, folder = collection.lock.holder(), collection.generation.folder
        assert holder is not None and (holder.command, holder.pid) == ("ingest", process.pid)
        found = merging_in(folder, holder)
        assert found is not None and (found.merged, found.to_merge) == (PORTION, CHUNKS)
    assert (folder / "merging.json").exists(), "or the kill came too late to leave anything"
    assert collection.lock.holder() is None
    with collection.lock.held("purge"):
        assert (after := collection.lock.holder()) is not None
        assert merging_in(folder, after) is None, "it is not this holder's"
    with collection.writer():
        pass  # merges what the killed one did not
    assert collection.dense.base_rows() == CHUNKS
    assert not (folder / "merging.json").exists()


def note(folder: Path, **changed: Any) -> None:
    now = {"pid": 7, "merged": 1, "to_merge": 3, "left_s": 300.0, "at": time.time() - 100}
    (folder / "merging.json").write_text(json.dumps(now | changed))


def test_time_has_passed_since_it_was_told(tmp_path: Path) -> None:
    holder = Holder("ingest", 7, time.time() - 1000)
    assert merging_in(tmp_path, holder) is None
    note(tmp_path)
    found = merging_in(tmp_path, holder)
    assert found is not None and found.left_s == pytest.approx(200, abs=60)
    for left_s, told in ((50.0, 0.0), (None, None)):
        note(tmp_path, left_s=left_s)
        found = merging_in(tmp_path, holder)
        assert found is not None and found.left_s == told


@pytest.mark.parametrize("changed", [{"pid": 8}, {"at": 0.0}, {"at": "soon"}, {"unknown": 1}])
def test_a_note_of_somebody_else_or_of_nobody_is_none(tmp_path: Path, changed: dict[str, Any]) -> None:
    note(tmp_path, **changed)
    assert merging_in(tmp_path, Holder("ingest", 7, time.time() - 1000)) is None


def test_a_merge_goes_on_where_nothing_can_be_noted(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    with noted(tmp_path / "gone", lambda *chunks: told.append(chunks)) as tell:
        tell(1, 2)
    assert told == [(1, 2)]


def test_the_note_is_gone_after_a_merge_that_failed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="damaged"), noted(tmp_path) as tell:
        tell(1, 2)
        assert merging_in(tmp_path, Holder("ingest", os.getpid(), 0.0)) is not None
        raise ValueError("damaged")
    assert list(tmp_path.iterdir()) == []

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from indexer.chunk import ChunkSettings
from indexer.ingest import perform
from indexer.verify import verify
from indexer.watch import Watcher


class Follower:
    """A watcher and what it does, one look at a time."""

    def __init__(self, desk: Any, *folders: Path) -> None:
        self.desk = desk
        self.watcher = Watcher(folders or (desk.folder,))
        desk.ingest(prune=True, may_be_nothing=True)

    def look(self) -> dict[str, str]:
        task = self.watcher.poll()
        if task is None:
            return {}
        report = perform(task, self.desk.collection, self.desk.encoder, ChunkSettings(max_tokens=20))
        self.watcher.done()
        return {Path(file.path).name: file.change or file.state for file in report.files if file.state != "pruned"} | {
            Path(file.path).name: file.state for file in report.files if file.state == "pruned"
        }


@pytest.fixture
def follower(desk: Any) -> Follower:
    desk.write("a.txt", "The lighthouse stands.")
    desk.write("sub/b.txt", "The harbour wall broke.")
    return Follower(desk)


def test_a_change_is_taken_when_it_has_come_to_rest(follower: Follower, desk: Any) -> None:
    assert follower.look() == {}
    for text in ("One", "One two", "One two three"):
        desk.write("growing.txt", text)
        assert follower.look() == {}  # it was not so the last time
    assert follower.look() == {"growing.txt": "new"}
    assert desk.search("three") == ["growing.txt"]
    assert follower.look() == {}


def test_new_changed_moved_and_gone(follower: Follower, desk: Any) -> None:
    desk.write("new.md", "# New\n\nWords.")
    desk.write("a.txt", "The lighthouse fell.")
    (desk.folder / "sub" / "b.txt").rename(desk.folder / "moved.txt")
    encoded = desk.encoder.encoded
    assert (follower.look(), follower.look()) == ({}, {"a.txt": "changed", "moved.txt": "moved", "new.md": "new"})
    assert desk.encoder.encoded == encoded + 2
    (desk.folder / "new.md").unlink()
    assert (follower.look(), follower.look()) == ({}, {"new.md": "pruned"})
    assert desk.search("harbour") == ["moved.txt"] and desk.search("new") == []
    assert verify(desk.collection) == []


def test_a_new_date_costs_a_hash_and_nothing_else(follower: Follower, desk: Any) -> None:
    os.utime(desk.folder / "a.txt", (1, 1))
    encoded, sequence = desk.encoder.encoded, desk.collection.sequence()
    assert (follower.look(), follower.look()) == ({}, {"a.txt": "unchanged"})
    assert (desk.encoder.encoded, desk.collection.sequence()) == (encoded, sequence)


def test_what_an_ingest_would_leave_out_is_left_out(follower: Follower, desk: Any) -> None:
    desk.write(".hidden.txt", "x")
    desk.write(".git/c.txt", "x")
    desk.write("odd.xyz", b"\x00\x01\x02\xff" * 8)
    (desk.folder / "link.txt").symlink_to(desk.folder / "a.txt")
    desk.write("empty.txt", "")
    assert (follower.look(), follower.look()) == ({}, {"empty.txt": "new", "odd.xyz": "skipped"})
    assert [Path(row.path).name for row in desk.collection.files("failed")] == ["empty.txt"]


def test_what_is_not_done_stays_due(follower: Follower, desk: Any) -> None:
    desk.write("new.txt", "Words.")
    follower.watcher.poll()
    assert follower.watcher.poll() and follower.watcher.poll()  # say, because the disk was full
    assert follower.look() == {"new.txt": "new"}
    assert follower.look() == {}


def test_a_folder_that_loses_every_file_at_once_loses_no_document(desk: Any) -> None:
    desk.write("disk/a.txt", "The lighthouse stands.")
    desk.write("here/b.txt", "The harbour wall broke.")
    disk, here = desk.folder / "disk", desk.folder / "here"
    follower = Follower(desk, disk, here)
    shutil.rmtree(disk)
    desk.write("here/c.txt", "Words.")
    assert (follower.look(), follower.look()) == ({}, {"c.txt": "new"})
    assert follower.watcher.lost == (str(disk),)
    assert desk.search("lighthouse") == ["a.txt"]
    desk.write("disk/a.txt", "The lighthouse stands.")  # mounted again
    desk.write("disk/d.txt", "More.")
    assert (follower.look(), follower.look()) == ({}, {"a.txt": "unchanged", "d.txt": "new"})
    assert follower.watcher.lost == ()
    (disk / "a.txt").unlink()
    assert (follower.look(), follower.look()) == ({}, {"a.txt": "pruned"})

"""Moved files, duplicates and files that are gone: one document for the same bytes, none for no file."""

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from indexer.collection import Collection
from indexer.errors import ConfigError
from indexer.ledger import IngestReport
from indexer.reindex import reindex
from indexer.store.schema import _MIGRATIONS
from indexer.verify import verify

TEXT = "The lighthouse stands on a rock above the harbour."


def changes(report: IngestReport) -> dict[str, str]:
    return {Path(file.path).name: file.change or file.state for file in report.files}


def shelf(desk: Any) -> dict[str, list[str]]:
    """Names of the sources by document, the one that names it first."""
    return {info.id: [Path(source).name for source in info.sources] for info in desk.collection.documents()}


def test_every_file_says_what_it_was_to_the_collection(desk: Any) -> None:
    desk.write("a.txt", "Some words.")
    desk.write("b.txt", "Other words.")
    first = desk.ingest()
    assert changes(first) == {"a.txt": "new", "b.txt": "new"}
    assert all(file.load_ms > 0 and file.encode_ms >= 0 and file.index_ms > 0 for file in first.files)
    assert [row.index_ms for row in desk.collection.files()] == [file.index_ms for file in first.files]
    desk.write("b.txt", "Newer words.")
    second = desk.ingest()
    assert changes(second) == {"a.txt": "unchanged", "b.txt": "changed"}
    assert [(file.state, file.load_ms) for file in second.files if file.path.endswith("a.txt")] == [("unchanged", 0)]
    assert (second.indexed_as("changed"), second.indexed_as("new"), second.count("indexed")) == (1, 0, 1)


def test_a_moved_file_keeps_its_document(desk: Any) -> None:
    path = desk.write("old.txt", TEXT)
    desk.ingest()
    (before,) = desk.collection.documents()
    keys, encoded, sequence = desk.collection.vectors()[0].tolist(), desk.encoder.encoded, desk.collection.sequence()
    (desk.folder / "sub").mkdir()
    path.rename(desk.folder / "sub" / "new.txt")
    report = desk.ingest()
    assert [(file.state, file.change) for file in report.files] == [("indexed", "moved")]
    (after,) = desk.collection.documents()
    assert (after.id, after.sources) == (before.id, (str(desk.folder / "sub" / "new.txt"),))
    assert (desk.collection.vectors()[0].tolist(), desk.encoder.encoded) == (keys, encoded)
    assert desk.collection.sequence() > sequence  # who caches by it must look again
    assert desk.search("lighthouse") == ["new.txt"]
    assert [Path(row.path).name for row in desk.collection.files()] == ["new.txt"]
    assert changes(desk.ingest()) == {"new.txt": "unchanged"}
    assert verify(desk.collection) == []


def test_a_new_file_at_the_old_place_is_a_document_of_its_own(desk: Any) -> None:
    desk.write("a.txt", TEXT)
    desk.ingest()
    for number in range(3):  # each time the id that the path would have is taken by the one that moved
        (desk.folder / "a.txt").rename(desk.folder / f"{number}.txt")
        desk.write("a.txt", f"Edition {number}.")
        encoded = desk.encoder.encoded
        assert changes(desk.ingest()) == {f"{number}.txt": "duplicate", "a.txt": "changed"} | {
            f"{other}.txt": "unchanged" for other in range(number)
        }
        assert desk.encoder.encoded == encoded + 1
    assert sorted(names for (names,) in shelf(desk).values()) == ["0.txt", "1.txt", "2.txt", "a.txt"]
    ids = {name: id_ for id_, (name,) in shelf(desk).items()}
    desk.write("0.txt", "The moved one is changed.")
    desk.ingest()
    assert {name: id_ for id_, (name,) in shelf(desk).items()} == ids
    assert desk.search("changed") == ["0.txt"] and desk.search("lighthouse") == []
    assert verify(desk.collection) == []


def test_a_file_moved_over_another_replaces_it(desk: Any) -> None:
    path = desk.write("a.txt", TEXT)
    desk.write("b.txt", "What will be overwritten.")
    desk.ingest()
    path.replace(desk.folder / "b.txt")
    assert changes(desk.ingest()) == {"b.txt": "moved"}
    assert list(shelf(desk).values()) == [["b.txt"]]
    assert desk.search("overwritten") == []
    assert verify(desk.collection) == []


def test_the_same_bytes_are_stored_once_with_all_their_sources(desk: Any) -> None:
    for name in ("a.txt", "b.txt", "c.txt"):
        desk.write(name, TEXT)
    desk.write("a.md", TEXT)  # another ending is another reading
    report = desk.ingest()
    assert changes(report) == {"a.md": "new", "a.txt": "new", "b.txt": "duplicate", "c.txt": "duplicate"}
    assert sorted(shelf(desk).values()) == [["a.md"], ["a.txt", "b.txt", "c.txt"]]
    assert desk.search("lighthouse") == ["a.md", "a.txt"]
    assert report.count("indexed") == 4
    assert verify(desk.collection) == []
    find = desk.collection.find
    assert find(str(desk.folder / "c.txt")) == find("b.txt*") == find(str(desk.folder / "a.txt"))
    assert set(changes(desk.ingest()).values()) == {"unchanged"}


def test_a_shared_document_goes_with_its_last_source(desk: Any) -> None:
    for name in ("a.txt", "b.txt", "c.txt"):
        desk.write(name, TEXT)
    desk.ingest()
    (id_,) = shelf(desk)
    for names in (["b.txt", "c.txt"], ["c.txt"], []):
        gone = {"b.txt": "a.txt", "c.txt": "b.txt"}.get(names[0] if names else "", "c.txt")
        with desk.collection.writer() as writer:
            writer.forget(str(desk.folder / gone))
        assert shelf(desk) == ({id_: names} if names else {})
        assert desk.search("lighthouse") == names[:1]
        assert verify(desk.collection) == []
    assert desk.collection.files() == []
    assert desk.collection.dense.search(desk.encoder.encode([TEXT])[0], 5) == []


@pytest.mark.parametrize("name", ["a.txt", "b.txt"])
def test_one_of_two_that_changes_leaves_the_other(desk: Any, name: str) -> None:
    desk.write("a.txt", TEXT)
    desk.write("b.txt", TEXT)
    desk.ingest()
    desk.write(name, "Something else.")
    assert changes(desk.ingest())[name] == "changed"
    other = "b.txt" if name == "a.txt" else "a.txt"
    assert sorted(shelf(desk).values()) == [["a.txt"], ["b.txt"]]
    assert desk.search("lighthouse") == [other] and desk.search("else") == [name]
    assert verify(desk.collection) == []
    desk.write(name, TEXT)  # and back
    assert changes(desk.ingest())[name] == "duplicate"
    assert [sorted(names) for names in shelf(desk).values()] == [["a.txt", "b.txt"]]
    assert desk.search("else") == []
    assert verify(desk.collection) == []


def test_both_of_two_that_change_together(desk: Any) -> None:
    for text in (TEXT, "Both say this now."):
        desk.write("a.txt", text)
        desk.write("b.txt", text)
        desk.ingest()
        assert [sorted(names) for names in shelf(desk).values()] == [["a.txt", "b.txt"]]
        assert verify(desk.collection) == []
    desk.write("a.txt", "Now one.")
    desk.write("b.txt", "Now two.")
    desk.ingest()
    assert sorted(shelf(desk).values()) == [["a.txt"], ["b.txt"]]
    assert verify(desk.collection) == []


def test_one_of_two_that_turns_bad_still_answers_and_fails(desk: Any) -> None:
    desk.write("a.txt", TEXT)
    path = desk.write("b.txt", TEXT)
    desk.ingest()
    path.write_bytes(b"")
    assert desk.states() == {"a.txt": "unchanged", "b.txt": "failed"}
    assert "still answers" in desk.reason("b.txt")
    desk.encoder.poison = "arsenic"
    path.write_text("There is arsenic in this one.")
    desk.ingest()
    assert "still answers" in desk.reason("b.txt")
    (desk.folder / "a.txt").unlink()
    desk.ingest(prune=True)
    assert desk.search("lighthouse") == ["b.txt"]
    assert verify(desk.collection) == []


def test_reindex_and_the_ledger_after_it_know_every_source(desk: Any) -> None:
    for name in ("a.txt", "b.txt"):
        desk.write(name, TEXT * 9)
    desk.ingest()
    before = shelf(desk)
    from indexer.chunk import ChunkSettings

    reindex(desk.collection, desk.encoder, ChunkSettings(max_tokens=60))
    assert shelf(desk) == before
    assert verify(desk.collection) == []


# --- pruning


def test_prune_removes_what_is_gone_and_only_below_the_folder(desk: Any) -> None:
    for name in ("one/a.txt", "one/b.txt", "two/c.txt", "oneself.txt"):
        desk.write(name, f"The words of {name}.")
    desk.write("one/empty.txt", "")
    desk.ingest()
    for name in ("one/b.txt", "two/c.txt", "oneself.txt", "one/empty.txt"):
        (desk.folder / name).unlink()
    assert desk.states(desk.folder / "one") == {"a.txt": "unchanged"}
    assert len(shelf(desk)) == 4  # without --prune nothing goes
    report = desk.ingest(desk.folder / "one", prune=True)
    assert changes(report)["a.txt"] == "unchanged"
    assert {Path(file.path).name for file in report.files if file.state == "pruned"} == {"b.txt", "empty.txt"}
    assert sorted(names for (names,) in shelf(desk).values()) == ["a.txt", "c.txt", "oneself.txt"]
    assert not desk.collection.files("failed")
    assert desk.ingest(prune=True).count("pruned") == 2
    assert verify(desk.collection) == []


def test_prune_keeps_what_moved(desk: Any) -> None:
    path = desk.write("a.txt", TEXT)
    desk.write("z.txt", "More.")
    desk.ingest()
    encoded = desk.encoder.encoded
    path.rename(desk.folder / "b.txt")
    report = desk.ingest(prune=True)
    assert (report.count("pruned"), report.indexed_as("moved"), desk.encoder.encoded) == (0, 1, encoded)


@pytest.mark.parametrize("how", ["missing", "empty", "empty folders"])
def test_a_disk_that_is_not_mounted_empties_nothing(desk: Any, how: str) -> None:
    disk = desk.folder / "disk"
    desk.write("disk/a.txt", TEXT)
    desk.write("here.txt", "Other words.")
    desk.ingest()
    shutil.rmtree(disk)
    if how != "missing":
        (disk / "sub" if "folders" in how else disk).mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"(is missing|holds no file).*remove the 1 documents") as caught:
        desk.ingest(desk.folder, disk, prune=True)
    assert "--force" in caught.value.remedy
    assert len(shelf(desk)) == 2
    report = desk.ingest(disk, prune=True, force=True, may_be_nothing=True)
    assert [file.state for file in report.files] == ["pruned"]
    assert list(shelf(desk).values()) == [["here.txt"]]
    assert desk.search("lighthouse") == []


def fill(desk: Any, **files: int) -> None:
    for folder, count in files.items():
        for number in range(count):
            desk.write(f"{folder}/{number}.txt", f"{TEXT} {folder} {'again ' * number}")


@pytest.mark.parametrize(("kept", "lost"), [(30, 10), (6, 2), (2, 3)])
def test_a_disk_below_the_folder_that_is_not_mounted_empties_nothing(desk: Any, kept: int, lost: int) -> None:
    fill(desk, here=kept, disk=lost)
    desk.ingest()
    shutil.rmtree(desk.folder / "disk")
    (desk.folder / "disk").mkdir()
    (desk.folder / "disk" / ".hidden").write_text("no document")
    with pytest.raises(ConfigError, match=rf"disk holds nothing to read any more.*remove {lost} documents") as caught:
        desk.ingest(prune=True)
    assert "--force" in caught.value.remedy
    assert len(desk.collection.documents()) == kept + lost
    assert desk.ingest(prune=True, force=True).count("pruned") == lost


def test_a_folder_that_was_removed_or_moved_or_held_little_is_pruned_unasked(desk: Any) -> None:
    fill(desk, here=12, one=1, away=12, moved=11)
    desk.ingest()
    (desk.folder / "one" / "0.txt").unlink()  # one document of 36, though its folder stands
    shutil.rmtree(desk.folder / "away")
    (desk.folder / "there").mkdir()
    for path in list((desk.folder / "moved").iterdir()):
        path.rename(desk.folder / "there" / path.name)
    report = desk.ingest(prune=True)
    assert (report.count("pruned"), report.indexed_as("moved"), report.count("unchanged")) == (13, 11, 12)


def test_a_name_that_is_no_text_is_not_taken_for_gone(desk: Any) -> None:
    import os

    (desk.folder / os.fsdecode(b"caf\xe9.txt")).write_text(TEXT)
    desk.ingest()
    assert [file.state for file in desk.ingest(prune=True).files] == ["unchanged"]


# --- an older collection


def test_an_older_collection_opens_and_is_migrated(desk: Any, tmp_path: Path) -> None:
    desk.write("a.txt", TEXT)
    desk.ingest()
    path = desk.collection.generation.truth.path
    desk.collection.close()
    with sqlite3.connect(path) as db:  # back to the first schema
        db.executescript(
            "DROP TABLE grants; DROP TABLE restrictions;"
            "DROP INDEX files_sha256; ALTER TABLE files DROP COLUMN change; ALTER TABLE files DROP COLUMN index_ms;"
            "PRAGMA user_version = 1"
        )
    db.close()
    older = Collection.open(desk.collection.home, "default")
    (row,) = older.files()
    assert (row.state, row.change, row.index_ms) == ("indexed", "", 0)
    assert verify(older) == []
    desk.write("b.txt", TEXT)
    assert changes(desk.ingest()) == {"a.txt": "unchanged", "b.txt": "duplicate"}
    with older.generation.truth.reading() as db:
        assert db.execute("PRAGMA user_version").fetchone() == (len(_MIGRATIONS),)

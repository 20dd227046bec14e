"""What the Documents page tells of a collection's index, and of another process's work."""

import importlib.util
import zipfile
from pathlib import Path

import pytest

from app.caller import Caller
from app.ui import library, others, person, rooms
from app.ui.documents import _head_html
from indexer.chunk import ChunkSettings
from indexer.collection import Collection
from indexer.ingest import ingest
from indexer.store.index import IndexSettings
from tests.app.pages.conftest import Encoder
from tests.indexer.slow_merge import CHUNKS, PORTION, merging


def test_a_merge_by_another_process_is_told_to_those_who_may_read_everything(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with merging(home) as process:
        found = others.elsewhere("default")
        assert found is not None and found.merging is not None
        assert (found.holder.pid, found.done, found.total) == (process.pid, PORTION, CHUNKS)
        hugo = Caller("hugo", ("read",))
        for module in (person, rooms, others):
            monkeypatch.setattr(module, "reader", lambda: hugo)
        told = others.elsewhere("default")
        assert told is not None and (told.merging, told.total) == (None, 0)
    assert others.elsewhere("default") is None


def test_the_index_and_its_place_are_told_and_its_token_never(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("pymilvus", "milvus_lite"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: requirements-milvus.txt")
    monkeypatch.setenv("FOOTNOTE_MILVUS__TOKEN", "root:swordfish")
    Collection.open(home, "default", create=True).close()
    Collection.open(home, "far", create=True, index=IndexSettings("milvus", f"milvus:{home}/far.db")).close()
    assert "Local index" in _head_html("default")
    place = f"milvus:{home}/far.db, footnote_far_0001_"
    assert library.facts("far").index_place.startswith(place)
    assert f"Milvus index at {place}" in _head_html("far")
    assert "swordfish" not in _head_html("far")
    for module in (person, rooms):
        monkeypatch.setattr(module, "reader", lambda: Caller("hugo", ("read",)))
    assert "Milvus index<" in _head_html("far"), "where it is concerns those who run it"


def test_uploads_go_with_their_documents_and_other_files_stay(home: Path) -> None:
    uploads, papers = home / "uploads" / "default", home / "papers"
    for folder, names in ((uploads, ("a.txt", "b.txt", "c.txt")), (papers, ("mine.txt",))):
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).write_text("A boat." if name == "c.txt" else "The same light.")
    collection = Collection.open(home, "default", create=True)
    ingest([papers, uploads], collection, Encoder(), ChunkSettings())
    light = next(info.id for info in collection.documents() if len(info.sources) == 3)
    library.delete("default", [str(uploads / "a.txt")])
    job = library.jobs().last("default")
    assert job is not None
    job.join(30)
    assert job.done and job.failure is None
    assert sorted(path.name for path in uploads.iterdir()) == ["b.txt", "c.txt"]
    rooms.remove("default", light)
    assert [path.name for path in uploads.iterdir()] == ["c.txt"]
    assert (papers / "mine.txt").exists()
    assert len(collection.documents()) == 1


def test_an_uploaded_archive_goes_with_the_last_of_its_documents(home: Path) -> None:
    uploads = home / "uploads" / "default"
    uploads.mkdir(parents=True)
    with zipfile.ZipFile(uploads / "both.zip", "w") as archive:
        archive.writestr("a.txt", "The first.")
        archive.writestr("b.txt", "The second.")
    collection = Collection.open(home, "default", create=True)
    ingest([uploads], collection, Encoder(), ChunkSettings())
    first, second = collection.documents()
    rooms.remove("default", first.id)
    assert (uploads / "both.zip").exists()
    rooms.remove("default", second.id)
    assert not (uploads / "both.zip").exists()

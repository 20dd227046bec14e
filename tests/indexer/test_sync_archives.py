"""What lies in an archive, in step with the archive: pruning, moving, doubling and changing what it holds."""

import io
import zipfile
from pathlib import Path
from typing import Any

from indexer.sources import file_of, is_gone
from indexer.verify import verify


def archive(**texts: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as packed:
        for name, text in texts.items():
            packed.writestr(zipfile.ZipInfo(f"{name}.txt"), text)  # a fixed date: equal texts give equal bytes
    return stream.getvalue()


def sources(desk: Any) -> list[str]:
    return sorted(Path(info.source).relative_to(desk.folder).as_posix() for info in desk.collection.documents())


def test_pruning_keeps_what_lies_in_an_archive_that_is_there(desk: Any) -> None:
    path = desk.write("birds.zip", archive(owl="The owl hoots.", hen="The hen clucks."))
    desk.write("fox.txt", "The fox barks.")
    desk.ingest()
    assert sources(desk) == ["birds.zip!/hen.txt", "birds.zip!/owl.txt", "fox.txt"]
    assert desk.states(prune=True) == dict.fromkeys(["birds.zip", "hen.txt", "owl.txt", "fox.txt"], "unchanged")
    path.unlink()
    assert desk.states(prune=True) == {
        "fox.txt": "unchanged",
        "birds.zip": "pruned",
        "hen.txt": "pruned",
        "owl.txt": "pruned",
    }
    assert sources(desk) == ["fox.txt"]
    assert desk.search("hen") == []
    assert verify(desk.collection) == []


def test_pruning_below_the_archive_itself(desk: Any) -> None:
    path = desk.write("birds.zip", archive(owl="The owl hoots."))
    desk.write("fox.txt", "The fox barks.")
    desk.ingest()
    path.unlink()
    desk.ingest(path, prune=True, force=True, may_be_nothing=True)
    assert sources(desk) == ["fox.txt"]


def test_an_archive_that_moved_is_read_again_without_encoding(desk: Any) -> None:
    path = desk.write("birds.zip", archive(owl="The owl hoots.", hen="The hen clucks."))
    desk.ingest()
    encoded = desk.encoder.encoded
    path.rename(desk.folder / "fowl.zip")
    desk.ingest(prune=True)
    assert sources(desk) == ["fowl.zip!/hen.txt", "fowl.zip!/owl.txt"]
    assert desk.encoder.encoded == encoded
    assert verify(desk.collection) == []


def test_equal_bytes_inside_and_outside_are_documents_of_their_own(desk: Any) -> None:
    path = desk.write("birds.zip", archive(owl="The owl hoots."))
    desk.ingest()
    desk.write("owl.txt", "The owl hoots.")
    desk.ingest()
    assert sources(desk) == ["birds.zip!/owl.txt", "owl.txt"]
    path.unlink()
    desk.ingest(prune=True)
    assert sources(desk) == ["owl.txt"]
    assert desk.search("owl") == ["owl.txt"]


def test_two_equal_archives_are_both_read(desk: Any) -> None:
    for name in ("a.zip", "b.zip"):
        desk.write(name, archive(owl="The owl hoots."))
    desk.ingest()
    assert sources(desk) == ["a.zip!/owl.txt", "b.zip!/owl.txt"]


def test_a_file_that_becomes_an_archive_no_longer_answers_with_its_text(desk: Any) -> None:
    desk.write("birds.zip", "Only words about a cod.")
    assert desk.states() == {"birds.zip": "indexed"}
    desk.write("birds.zip", archive(owl="The owl hoots."))
    assert desk.states() == {"owl.txt": "indexed", "birds.zip": "indexed"}
    assert (desk.search("cod"), desk.search("owl")) == ([], ["owl.txt"])
    assert verify(desk.collection) == []


def test_a_folder_with_the_mark_in_its_name_is_a_folder(tmp_path: Path) -> None:
    inner = tmp_path / "notes!" / "a.txt"
    inner.parent.mkdir()
    inner.write_text("a")
    assert not is_gone(str(inner))
    assert file_of(str(inner)) == inner
    inner.unlink()
    assert is_gone(str(inner))
    packed = tmp_path / "b.zip"
    packed.write_bytes(archive(a="a"))
    assert file_of(f"{packed}!/deep.zip!/a.txt") == packed
    assert not is_gone(f"{packed}!/deep.zip!/a.txt")


def test_a_file_beside_a_folder_of_its_name_with_the_mark(desk: Any) -> None:
    """What lies in the folder birds! is not held by the file birds, in whatever way that changes or goes."""
    plain = desk.write("birds", "Words about a cod.")
    owl = desk.write("birds!/owl.txt", "The owl hoots.")
    desk.write("birds!/hen.txt", "The hen clucks.")
    desk.ingest()
    assert desk.states() == dict.fromkeys(["birds", "owl.txt", "hen.txt"], "unchanged")
    ids = {info.id for info in desk.collection.documents()}
    plain.write_text("Words about an eel.")
    assert desk.states() == {"birds": "indexed", "owl.txt": "unchanged", "hen.txt": "unchanged"}
    assert {info.id for info in desk.collection.documents()} == ids
    assert [Path(source).name for _, source in desk.collection.find_sources(str(plain))] == ["birds"]
    owl.unlink()
    assert desk.states() == {"birds": "unchanged", "hen.txt": "unchanged"}
    plain.write_text("Words about an ant.")
    desk.ingest()
    assert len(sources(desk)) == 3, "without --prune nothing goes"
    assert desk.states(prune=True) == {"birds": "unchanged", "hen.txt": "unchanged", "owl.txt": "pruned"}
    assert sources(desk) == ["birds", "birds!/hen.txt"]


def test_an_archive_beside_a_folder_of_its_name_with_the_mark(desk: Any) -> None:
    desk.write("birds.zip", archive(owl="The owl hoots.", hen="The hen clucks."))
    desk.write("birds.zip!/fox.txt", "The fox barks.")
    desk.ingest()
    everything = ["birds.zip!/fox.txt", "birds.zip!/hen.txt", "birds.zip!/owl.txt"]
    assert sources(desk) == everything
    assert set(desk.states(prune=True).values()) == {"unchanged"}
    desk.write("birds.zip", archive(owl="The owl hoots."))
    desk.ingest()
    assert sources(desk) == ["birds.zip!/fox.txt", "birds.zip!/owl.txt"]
    assert verify(desk.collection) == []

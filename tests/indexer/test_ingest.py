import io
import os
import zipfile
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

import indexer.intake as module
from indexer.chunk import ChunkSettings
from indexer.document import Document
from indexer.errors import ConfigError, IndexError_
from indexer.ingest import ingest
from indexer.ledger import Progress
from indexer.load import Limits
from indexer.parser import Parser
from indexer.verify import verify

SETTINGS = ChunkSettings(max_tokens=20)


def test_a_folder_becomes_searchable_and_every_file_is_accounted_for(desk: Any) -> None:
    desk.write("b.txt", "The lighthouse stands on a rock.")
    desk.write("sub/a.md", "# Harbour\n\nThe harbour wall broke in winter.")
    desk.write("data.xyz", bytes(range(256)))
    desk.write(".hidden.txt", "hidden")
    desk.write(".git/config.txt", "hidden")
    desk.write("empty.txt", "")
    report = desk.ingest()
    states = {Path(file.path).name: (file.state, file.chunks) for file in report.files}
    assert states == {
        "b.txt": ("indexed", 1),
        "a.md": ("indexed", 1),
        "data.xyz": ("skipped", 0),
        ".hidden.txt": ("skipped", 0),
        ".git": ("skipped", 0),
        "empty.txt": ("failed", 0),
    }
    assert {Path(row.path).name: row.state for row in desk.collection.files()} == {
        name: state for name, (state, _) in states.items()
    }
    assert "not supported" in desk.reason("data.xyz")
    assert "empty (0 bytes)" in desk.reason("empty.txt")
    assert all(file.reason and file.remedy for file in report.files if file.state != "indexed")
    assert report.count("indexed") == 2 and report.tokens > 0
    assert desk.search("harbour") == ["a.md"]
    (document,) = (info for info in desk.collection.documents() if info.source.endswith("b.txt"))
    (row,) = (row for row in desk.collection.files("indexed") if row.path.endswith("b.txt"))
    assert (row.document_id, row.bytes, row.chunks) == (document.id, 32, 1)
    assert verify(desk.collection) == []


def test_what_did_not_change_costs_nothing(desk: Any) -> None:
    path = desk.write("a.txt", "Some words.")
    desk.ingest()
    sequence, encoded = desk.collection.sequence(), desk.encoder.encoded
    os.utime(path, (1, 1))  # a new date is no new content
    report = desk.ingest()
    assert [file.state for file in report.files] == ["unchanged"]
    assert (report.tokens, report.files[0].chunks) == (0, 1)
    assert (desk.collection.sequence(), desk.encoder.encoded) == (sequence, encoded)


def test_a_changed_file_replaces_its_document_and_reuses_vectors(desk: Any) -> None:
    first = "The first paragraph says one thing about the sea and stays as it is."
    desk.write("a.txt", f"{first}\n\nThe second says something about ships, which will be gone tomorrow morning.")
    desk.ingest()
    before = desk.encoder.encoded
    desk.write("a.txt", f"{first}\n\nThe second says something about trains, which is new to this little collection.")
    assert desk.states() == {"a.txt": "indexed"}
    assert desk.encoder.encoded == before + 1
    assert desk.search("ships") == [] and desk.search("trains") == ["a.txt"]
    assert len(desk.collection.documents()) == 1


def test_a_deleted_document_comes_back_only_by_ingesting_again(desk: Any) -> None:
    path = desk.write("a.txt", "Some words.")
    desk.ingest()
    with desk.collection.writer() as writer:
        writer.delete(*desk.collection.find(str(path)))
    assert desk.collection.files() == [] and desk.search("words") == []
    assert desk.states() == {"a.txt": "indexed"}


def test_a_file_that_turns_bad_keeps_its_last_good_version(desk: Any) -> None:
    path = desk.write("a.txt", "Good words.")
    desk.ingest()
    path.write_bytes(b"")
    assert desk.states() == {"a.txt": "failed"}
    assert desk.search("good") == ["a.txt"]
    assert "the version that was indexed before still answers" in desk.reason("a.txt")
    path.write_text("Good words.")
    assert desk.states() == {"a.txt": "indexed"}
    assert verify(desk.collection) == []


def test_one_poisoned_text_costs_only_its_file(desk: Any) -> None:
    desk.encoder.poison = "arsenic"
    for name in ("a", "b", "c"):
        desk.write(f"{name}.txt", f"Words of {name}.")
    desk.write("bad.txt", "There is arsenic in this one.")
    assert desk.states() == {"a.txt": "indexed", "b.txt": "indexed", "bad.txt": "failed", "c.txt": "indexed"}
    assert desk.reason("bad.txt") == "The model choked on a text"
    desk.encoder.poison = ""
    assert desk.states()["bad.txt"] == "indexed"  # failed ones are tried again


def test_an_error_nobody_thought_of_costs_only_its_file(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.write("a.txt", "Words of a.")
    desk.write("b.txt", "Words of b.")
    chunk = module.chunk

    def fragile(document: Document, *rest: Any) -> Any:
        if document.source.endswith("a.txt"):
            raise KeyError("no such word")
        return chunk(document, *rest)

    monkeypatch.setattr(module, "chunk", fragile)
    assert desk.states() == {"a.txt": "failed", "b.txt": "indexed"}
    assert "KeyError" in desk.reason("a.txt")


@pytest.mark.parametrize("fill", ["nothing", "unsupported", "hidden"])
def test_nothing_to_ingest_is_an_error_that_says_why(desk: Any, fill: str) -> None:
    words = {"nothing": "it is empty", "unsupported": "are left out", "hidden": "hidden"}[fill]
    if fill == "unsupported":
        desk.write("a.xyz", b"\0\1")
        desk.write("b.xyz", b"\0\1")
    elif fill == "hidden":
        desk.write(".a.txt", "x")
    with pytest.raises(ConfigError, match=words):
        desk.ingest()


def test_a_path_that_is_not_there_fails_and_the_others_go_on(desk: Any) -> None:
    path = desk.write("a.txt", "Words.")
    assert desk.states(desk.folder / "nowhere", path) == {"nowhere": "failed", "a.txt": "indexed"}
    with pytest.raises(ConfigError, match="There is no such file or folder"):
        desk.ingest(desk.folder / "nowhere")


def test_a_named_file_is_tried_and_a_found_one_is_skipped(desk: Any) -> None:
    path, hidden = desk.write("a.xyz", b"\0\1"), desk.write(".b.txt", "Hidden words.")
    desk.write("c.txt", "Words.")
    assert desk.states(path, hidden) == {"a.xyz": "failed", ".b.txt": "indexed"}
    assert desk.states() == {"a.xyz": "skipped", "c.txt": "indexed", ".b.txt": "skipped"}
    assert len(desk.collection.documents()) == 2


def test_links_neither_loop_nor_double_nor_leave_the_folder(desk: Any, tmp_path: Path) -> None:
    path = desk.write("sub/a.txt", "Words.")
    outside = tmp_path / "secret.txt"
    outside.write_text("Secret words.")
    targets = {"twin.txt": path, "self.txt": desk.folder / "self.txt", "broken.txt": "gone.txt", "out.txt": outside}
    for name, target in {**targets, "sub/loop": desk.folder}.items():
        (desk.folder / name).symlink_to(target)
    assert desk.states() == {"a.txt": "indexed", "loop": "skipped", **dict.fromkeys(targets, "skipped")}
    assert "link to" in desk.reason("out.txt")
    assert desk.states(path, desk.folder / "twin.txt", desk.folder / "broken.txt", desk.folder / "self.txt") == {
        "a.txt": "unchanged",
        "twin.txt": "skipped",  # named, but the same file again
        "gone.txt": "failed",
        "self.txt": "failed",
    }
    assert desk.states(desk.folder / "out.txt") == {"secret.txt": "indexed"}  # named: the user wants it


def test_the_same_path_given_twice_is_read_once(desk: Any) -> None:
    path = desk.write("a.txt", "Words.")
    assert len(desk.ingest(path, desk.folder, path.parent / ".." / "files" / "a.txt").files) == 1


def test_a_name_that_is_no_text_is_stored_all_the_same(desk: Any) -> None:
    (desk.folder / os.fsdecode(b"caf\xe9.txt")).write_text("Words.")
    (desk.folder / os.fsdecode(b".caf\xe9")).write_text("Words.")
    assert sorted(desk.states().values()) == ["indexed", "skipped"]
    assert desk.collection.files("indexed")[0].path.endswith("caf\\xe9.txt")
    assert [file.state for file in desk.ingest().files if "xe9.txt" in file.path] == ["unchanged"]


def test_a_pipe_is_refused_and_not_waited_for(desk: Any) -> None:
    os.mkfifo(desk.folder / "pipe.txt")
    assert desk.states() == {"pipe.txt": "failed"}


def test_a_file_over_the_limit_is_refused_with_its_size(desk: Any) -> None:
    desk.write("big.txt", "word " * 1000)
    assert desk.states(limits=Limits(max_bytes=1000)) == {"big.txt": "failed"}
    assert desk.states(limits=Limits(max_bytes=5000)) == {"big.txt": "indexed"}


def test_another_encoder_or_chunking_is_refused_before_anything_is_read(desk: Any, hash_encoder: Any) -> None:
    desk.write("a.txt", "Words.")
    desk.ingest()
    desk.write("b.txt", "More words.")
    with pytest.raises(IndexError_, match="another encoder") as caught:
        ingest([desk.folder], desk.collection, hash_encoder("hash-2"), SETTINGS)
    assert "footnote reindex" in caught.value.remedy
    with pytest.raises(IndexError_, match="another chunking"):
        ingest([desk.folder], desk.collection, desk.encoder, ChunkSettings(max_tokens=99))
    assert len(desk.collection.documents()) == 1


def test_progress_rises_to_the_end(desk: Any) -> None:
    for number in range(30):
        desk.write(f"{number:02}.txt", f"Words of number {number}. " * 40)
    desk.write("zz.txt", "")
    seen: list[Progress] = []
    report = desk.ingest(on_progress=seen.append)
    assert [progress.files_done for progress in seen] == sorted(progress.files_done for progress in seen)
    last = seen[-1]
    assert (last.files_done, last.files_total, last.failed) == (31, 31, 1)
    assert last.chunks == sum(file.chunks for file in report.files)
    assert last.tokens == report.tokens
    assert last.eta_s == 0
    assert any(progress.eta_s for progress in seen)


def zipped(**members: bytes | str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_an_archive_is_as_many_documents_as_it_holds_and_each_has_its_line(desk: Any) -> None:
    inner = zipped(**{"deep.txt": "Deep words."})
    desk.write(
        "a.zip", zipped(**{"x/one.txt": "First words.", "two.md": "# Second", "bad.pdf": "%PDF-", "in.zip": inner})
    )
    assert desk.states() == {
        "a.zip": "indexed",
        "one.txt": "indexed",
        "two.md": "indexed",
        "bad.pdf": "failed",
        "in.zip": "indexed",
        "deep.txt": "indexed",
    }
    sources = {info.source.rpartition("/a.zip")[2] for info in desk.collection.documents()}
    assert sources == {"!/x/one.txt", "!/two.md", "!/in.zip!/deep.txt"}
    assert desk.reason("a.zip") == "It holds 5 files"
    assert desk.search("deep") == ["deep.txt"]
    assert verify(desk.collection) == []
    assert desk.states()["bad.pdf"] == "failed"  # tried again, with the archive around it


def test_an_archive_that_did_not_change_is_not_opened(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = desk.write("a.zip", zipped(**{"one.txt": "First words.", "two.txt": "Second words.", ".x": "hidden"}))
    desk.ingest()
    monkeypatch.setattr(Parser, "parse", lambda *_: pytest.fail("it was opened"))
    assert desk.states() == {"a.zip": "unchanged", "one.txt": "unchanged", "two.txt": "unchanged", ".x": "skipped"}
    monkeypatch.undo()
    path.write_bytes(zipped(**{"one.txt": "First words.", "three.txt": "Third words."}))
    before = desk.encoder.encoded
    assert desk.states() == {"a.zip": "indexed", "one.txt": "unchanged", "three.txt": "indexed"}
    assert desk.encoder.encoded == before + 1
    assert desk.search("second") == [] and desk.search("third") == ["three.txt"]
    assert [Path(row.path).name for row in desk.collection.files()] == ["a.zip", "one.txt", "three.txt"]


def test_what_is_deleted_out_of_an_archive_comes_back_by_ingesting_again(desk: Any) -> None:
    path = desk.write("a.zip", zipped(**{"one.txt": "First words.", "two.txt": "Second words."}))
    desk.ingest()
    with desk.collection.writer() as writer:
        assert writer.delete(*desk.collection.find(str(path))) == 2
    assert desk.search("words") == []
    assert desk.states() == {"a.zip": "indexed", "one.txt": "indexed", "two.txt": "indexed"}


def test_a_mail_and_what_is_attached_to_it(desk: Any) -> None:
    mail = EmailMessage()
    mail["Subject"], mail["From"] = "Tides", "keeper@example.org"
    mail.set_content("The table is attached.")
    mail.add_attachment(b"port,height\nOslo,3\n", maintype="text", subtype="csv", filename="tides.csv")
    desk.write("m.eml", mail.as_bytes())
    assert desk.states() == {"m.eml": "indexed", "tides.csv": "indexed"}
    assert desk.search("oslo") == ["tides.csv"]
    assert desk.states() == {"m.eml": "unchanged", "tides.csv": "unchanged"}

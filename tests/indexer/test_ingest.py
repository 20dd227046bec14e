import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import indexer.ingest as module
from indexer.chunk import ChunkSettings
from indexer.collection import Collection
from indexer.errors import ConfigError, IndexError_
from indexer.ingest import IngestReport, Progress, ingest
from indexer.verify import verify

HERE = Path(__file__).parent
SETTINGS = ChunkSettings(max_tokens=20)


class Desk:
    """A folder of files, a collection, and the ingest between them."""

    def __init__(self, root: Path, encoder: Any) -> None:
        self.folder, self.encoder = root / "files", encoder
        self.folder.mkdir()
        self.collection = Collection.open(root / "home", "default", create=True)

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def ingest(self, *paths: Path, **options: Any) -> IngestReport:
        return ingest(paths or (self.folder,), self.collection, self.encoder, SETTINGS, **options)

    def states(self, *paths: Path, **options: Any) -> dict[str, str]:
        return {Path(file.path).name: file.state for file in self.ingest(*paths, **options).files}

    def reason(self, name: str) -> str:
        (row,) = (row for row in self.collection.files() if Path(row.path).name == name)
        return row.reason

    def search(self, query: str) -> list[str]:
        keys = [key for key, _ in self.collection.lexical.search(query, 10)]
        return sorted({Path(stored.source).name for stored in self.collection.chunks(keys).values()})


@pytest.fixture
def desk(tmp_path: Path, encoder: Any) -> Desk:
    return Desk(tmp_path, encoder)


def test_a_folder_becomes_searchable_and_every_file_is_accounted_for(desk: Desk) -> None:
    desk.write("b.txt", "The lighthouse stands on a rock.")
    desk.write("sub/a.md", "# Harbour\n\nThe harbour wall broke in winter.")
    desk.write("data.xyz", "not supported")
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


def test_what_did_not_change_costs_nothing(desk: Desk) -> None:
    path = desk.write("a.txt", "Some words.")
    desk.ingest()
    sequence, encoded = desk.collection.sequence(), desk.encoder.encoded
    os.utime(path, (1, 1))  # a new date is no new content
    report = desk.ingest()
    assert [file.state for file in report.files] == ["unchanged"]
    assert (report.tokens, report.files[0].chunks) == (0, 1)
    assert (desk.collection.sequence(), desk.encoder.encoded) == (sequence, encoded)


def test_a_changed_file_replaces_its_document_and_reuses_vectors(desk: Desk) -> None:
    first = "The first paragraph says one thing about the sea and stays as it is."
    desk.write("a.txt", f"{first}\n\nThe second says something about ships, which will be gone tomorrow morning.")
    desk.ingest()
    before = desk.encoder.encoded
    desk.write("a.txt", f"{first}\n\nThe second says something about trains, which is new to this little collection.")
    assert desk.states() == {"a.txt": "indexed"}
    assert desk.encoder.encoded == before + 1
    assert desk.search("ships") == [] and desk.search("trains") == ["a.txt"]
    assert len(desk.collection.documents()) == 1


def test_a_deleted_document_comes_back_only_by_ingesting_again(desk: Desk) -> None:
    path = desk.write("a.txt", "Some words.")
    desk.ingest()
    with desk.collection.writer() as writer:
        writer.delete(*desk.collection.find(str(path)))
    assert desk.collection.files() == [] and desk.search("words") == []
    assert desk.states() == {"a.txt": "indexed"}


def test_a_file_that_turns_bad_keeps_its_last_good_version(desk: Desk) -> None:
    path = desk.write("a.txt", "Good words.")
    desk.ingest()
    path.write_bytes(b"")
    assert desk.states() == {"a.txt": "failed"}
    assert desk.search("good") == ["a.txt"]
    assert "the version that was indexed before still answers" in desk.reason("a.txt")
    path.write_text("Good words.")
    assert desk.states() == {"a.txt": "indexed"}
    assert verify(desk.collection) == []


def test_one_poisoned_text_costs_only_its_file(desk: Desk) -> None:
    desk.encoder.poison = "arsenic"
    for name in ("a", "b", "c"):
        desk.write(f"{name}.txt", f"Words of {name}.")
    desk.write("bad.txt", "There is arsenic in this one.")
    assert desk.states() == {"a.txt": "indexed", "b.txt": "indexed", "bad.txt": "failed", "c.txt": "indexed"}
    assert desk.reason("bad.txt") == "The model choked on a text"
    desk.encoder.poison = ""
    assert desk.states()["bad.txt"] == "indexed"  # failed ones are tried again


def test_an_error_nobody_thought_of_costs_only_its_file(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.write("a.txt", "Words of a.")
    desk.write("b.txt", "Words of b.")
    load = module.load

    def fragile(path: Path, max_bytes: int) -> Any:
        document = load(path, max_bytes)
        return replace(document, text="half a pair: \ud800") if path.name == "a.txt" else document

    monkeypatch.setattr(module, "load", fragile)
    assert desk.states() == {"a.txt": "failed", "b.txt": "indexed"}
    assert "UnicodeEncodeError" in desk.reason("a.txt")


@pytest.mark.parametrize("fill", ["nothing", "unsupported", "hidden"])
def test_nothing_to_ingest_is_an_error_that_says_why(desk: Desk, fill: str) -> None:
    words = {"nothing": "it is empty", "unsupported": "are left out", "hidden": "hidden"}[fill]
    if fill == "unsupported":
        desk.write("a.xyz", "x")
        desk.write("b.xyz", "x")
    elif fill == "hidden":
        desk.write(".a.txt", "x")
    with pytest.raises(ConfigError, match=words):
        desk.ingest()


def test_a_path_that_is_not_there_fails_and_the_others_go_on(desk: Desk) -> None:
    path = desk.write("a.txt", "Words.")
    assert desk.states(desk.folder / "nowhere", path) == {"nowhere": "failed", "a.txt": "indexed"}
    with pytest.raises(ConfigError, match="There is no such file or folder"):
        desk.ingest(desk.folder / "nowhere")


def test_a_named_file_is_tried_and_a_found_one_is_skipped(desk: Desk) -> None:
    path, hidden = desk.write("a.xyz", "Words."), desk.write(".b.txt", "Hidden words.")
    desk.write("c.txt", "Words.")
    assert desk.states(path, hidden) == {"a.xyz": "failed", ".b.txt": "indexed"}
    assert desk.states() == {"a.xyz": "skipped", "c.txt": "indexed", ".b.txt": "skipped"}
    assert len(desk.collection.documents()) == 2


def test_links_neither_loop_nor_double_nor_leave_the_folder(desk: Desk, tmp_path: Path) -> None:
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


def test_the_same_path_given_twice_is_read_once(desk: Desk) -> None:
    path = desk.write("a.txt", "Words.")
    assert len(desk.ingest(path, desk.folder, path.parent / ".." / "files" / "a.txt").files) == 1


def test_a_name_that_is_no_text_is_stored_all_the_same(desk: Desk) -> None:
    (desk.folder / os.fsdecode(b"caf\xe9.txt")).write_text("Words.")
    (desk.folder / os.fsdecode(b".caf\xe9")).write_text("Words.")
    assert sorted(desk.states().values()) == ["indexed", "skipped"]
    assert desk.collection.files("indexed")[0].path.endswith("caf\\xe9.txt")
    assert [file.state for file in desk.ingest().files if "xe9.txt" in file.path] == ["unchanged"]


def test_a_pipe_is_refused_and_not_waited_for(desk: Desk) -> None:
    os.mkfifo(desk.folder / "pipe.txt")
    assert desk.states() == {"pipe.txt": "failed"}


def test_a_file_over_the_limit_is_refused_with_its_size(desk: Desk) -> None:
    desk.write("big.txt", "word " * 1000)
    assert desk.states(max_file_bytes=1000) == {"big.txt": "failed"}
    assert desk.states(max_file_bytes=5000) == {"big.txt": "indexed"}


def test_another_encoder_or_chunking_is_refused_before_anything_is_read(desk: Desk, hash_encoder: Any) -> None:
    desk.write("a.txt", "Words.")
    desk.ingest()
    desk.write("b.txt", "More words.")
    with pytest.raises(IndexError_, match="another encoder") as caught:
        ingest([desk.folder], desk.collection, hash_encoder("hash-2"), SETTINGS)
    assert "footnote reindex" in caught.value.remedy
    with pytest.raises(IndexError_, match="another chunking"):
        ingest([desk.folder], desk.collection, desk.encoder, ChunkSettings(max_tokens=99))
    assert len(desk.collection.documents()) == 1


def test_progress_rises_to_the_end(desk: Desk) -> None:
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


def test_an_interrupt_keeps_what_was_indexed_and_the_next_run_the_rest(desk: Desk) -> None:
    for number in range(40):
        desk.write(f"{number:02}.txt", f"Words of number {number}. " * 40)

    def stop(progress: Progress) -> None:
        if progress.chunks > 150:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        desk.ingest(on_progress=stop)
    some = len(desk.collection.documents())
    assert 0 < some < 40
    assert len(desk.search("words")) > 0
    assert verify(desk.collection) == []
    states = list(desk.states().values())
    assert (states.count("unchanged"), states.count("indexed")) == (some, 40 - some)
    assert verify(desk.collection) == []


def test_a_second_ingest_waits_and_both_are_whole(desk: Desk) -> None:
    for number in range(10):
        desk.write(f"{number}.txt", f"Words of number {number}.")
    told: list[str] = []
    reports: list[IngestReport] = []
    threads = [
        threading.Thread(target=lambda: reports.append(desk.ingest(on_wait=told.append, timeout_s=60)))
        for _ in range(3)
    ]
    with desk.collection.writer(command="ingest"):
        for thread in threads:
            thread.start()
        while len(told) < 3:
            pass
    for thread in threads:
        thread.join()
    assert all("another ingest (pid" in message for message in told)
    assert sum(report.count("indexed") for report in reports) == 10
    assert sum(report.count("unchanged") for report in reports) == 20
    assert verify(desk.collection) == []


FULL_DISK = """
import resource, signal, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from hash_encoder import HashEncoder
from indexer.chunk import ChunkSettings
from indexer.collection import Collection
from indexer.errors import IndexError_
from indexer.ingest import ingest
root = Path(sys.argv[1])
collection = Collection.open(root / "home", "default", create=True)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
try:
    ingest([root / "files"], collection, HashEncoder(), ChunkSettings(max_tokens=20))
except IndexError_ as error:
    print(error.message, "|", error.remedy)
"""


def test_a_full_disk_is_said_and_what_was_indexed_stays(desk: Desk, tmp_path: Path) -> None:
    for number in range(60):
        desk.write(f"{number:02}.txt", " ".join(f"word{number}x{at}" for at in range(700)))
    ran = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path), str(HERE)], capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stderr
    assert "space" in ran.stdout or "refused to read or write" in ran.stdout
    assert "run the same command again" in ran.stdout
    some = len(desk.collection.documents())
    assert 0 < some < 60
    assert verify(desk.collection) == []
    assert list(desk.states().values()).count("indexed") == 60 - some
    assert verify(desk.collection) == []

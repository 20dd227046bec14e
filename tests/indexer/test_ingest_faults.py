"""What ingest does when it is interrupted, met by another, or runs out of disk."""

import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from indexer.ledger import IngestReport, Progress
from indexer.verify import verify

HERE = Path(__file__).parent


def test_an_interrupt_keeps_what_was_indexed_and_the_next_run_the_rest(desk: Any) -> None:
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


def test_a_second_ingest_waits_and_both_are_whole(desk: Any) -> None:
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
    assert all("another ingest (pid" in message for message in told[:3])
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


def test_a_full_disk_is_said_and_what_was_indexed_stays(desk: Any, tmp_path: Path) -> None:
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


LIMITED = """
import os, resource, signal, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from hash_encoder import HashEncoder
from indexer.chunk import ChunkSettings
from indexer.collection import Collection
from indexer.errors import FootnoteError
from indexer.ingest import ingest
from indexer.purge import purge
import faiss, filelock, langchain_text_splitters, tantivy
root, what = Path(sys.argv[1]), sys.argv[3]
if what.startswith("small disk"):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    largest = max(path.stat().st_size for path in (root / "home").rglob("*") if path.is_file())
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))  # what is there may be read and changed, not grow
elif os.getuid() == 0:
    os.setgroups([]), os.setgid(65534), os.setuid(65534)  # nothing is read-only to root
try:
    collection = Collection.open(root / "home", "default", create=True)
    if what.endswith("delete"):
        with collection.writer() as writer:
            writer.delete(*collection.find("a.txt*"))
    elif what.endswith("purge"):
        purge(collection)
    else:
        ingest([root / "files"], collection, HashEncoder(), ChunkSettings(max_tokens=20), prune=True)
    print("done")
except FootnoteError as error:
    print(type(error).__name__, error.message, "|", error.remedy)
"""


@pytest.fixture
def anybody(desk: Any) -> Iterator[Any]:
    """A desk in a place that every user may enter."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        root.chmod(0o755)
        desk = type(desk)(root, desk.encoder)
        for number in range(150):
            desk.write(f"{number}.txt", f"Lighthouse number {number}. " * 5)
        desk.write("a.txt", "The harbour wall broke.")
        desk.ingest()
        yield desk


def limited(desk: Any, what: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", LIMITED, str(desk.folder.parent), str(HERE), what],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.parametrize("action", ["ingest", "delete", "purge"])
def test_a_read_only_collection_is_said_and_stays_as_it_is(anybody: Any, action: str) -> None:
    anybody.write("new.txt", "Words.")
    anybody.collection.close()
    folder = anybody.collection.folder
    paths = [folder, *folder.rglob("*")]
    modes = {path: path.stat().st_mode for path in paths}
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        said = limited(anybody, f"read-only {action}")
    finally:
        for path, mode in modes.items():
            path.chmod(mode)
    assert said.startswith("IndexError_") and str(folder) in said and "permissions" in said
    assert verify(anybody.collection) == []
    assert anybody.search("harbour") == ["a.txt"] and len(anybody.collection.documents()) == 151


@pytest.mark.parametrize("action", ["ingest", "delete", "purge"])
def test_a_full_disk_loses_nothing_that_was_there(anybody: Any, action: str) -> None:
    for number in range(100):
        anybody.write(f"more/{number}.txt", f"Many more words about number {number}. " * 40)
    (anybody.folder / "0.txt").unlink()
    said = limited(anybody, f"small disk {action}")
    assert "IndexError_" in said or (action == "delete" and said == "done\n")
    assert said == "done\n" or "run the same command again" in said
    assert verify(anybody.collection) == []
    assert anybody.search("number 7") != []
    assert (anybody.search("harbour") == ["a.txt"]) == (said != "done\n")
    anybody.ingest(prune=True)
    assert len(anybody.collection.documents()) == 250
    assert verify(anybody.collection) == []

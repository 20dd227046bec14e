import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from indexer.errors import IndexError_
from indexer.store.lock import WriteLock

HOLD = """
import sys, time
from pathlib import Path
from indexer.store.lock import WriteLock
with WriteLock(Path(sys.argv[1]), "default").held("ingest"):
    print("held", flush=True)
    time.sleep(60)
"""


def hold_elsewhere(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout and process.stdout.readline() == "held\n"
    return process


def test_a_second_process_waits_and_is_told_for_whom(tmp_path: Path) -> None:
    process = hold_elsewhere(tmp_path)
    told: list[str] = []

    def on_wait(message: str) -> None:
        told.append(message)
        process.kill()  # the kernel gives the lock back when its holder dies, however it dies

    with WriteLock(tmp_path, "default").held("ingest", 30, on_wait):
        assert json.loads((tmp_path / "writer.json").read_text())["pid"] == os.getpid()
    process.wait()
    (message,) = told
    assert f"another ingest (pid {process.pid}, since " in message
    assert message.endswith("is writing to collection 'default'; waiting")


def test_waiting_ends_with_an_error(tmp_path: Path) -> None:
    first, second = WriteLock(tmp_path, "default"), WriteLock(tmp_path, "default")
    gave_up = pytest.raises(IndexError_, match=r"another ingest .* gave up after 0\.2 s")
    with first.held("ingest"), gave_up, second.held("delete", 0.2, lambda _: None):
        pytest.fail("two writers")


def test_threads_of_one_process_exclude_each_other_too(tmp_path: Path) -> None:
    lock, inside, most = WriteLock(tmp_path, "default"), 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(5):
            with lock.held("ingest", 30, lambda _: None):
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_free_never_waits(tmp_path: Path) -> None:
    lock = WriteLock(tmp_path, "default")
    with lock.free() as held:
        assert held
        with lock.free() as again:
            assert not again
    with lock.free() as held:
        assert held


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(IndexError_, match="Cannot lock"), WriteLock(tmp_path / "file", "x").held("ingest", 0.1):
        pytest.fail("held")


def test_a_holder_without_a_name_is_another_process(tmp_path: Path) -> None:
    first, second = WriteLock(tmp_path, "default"), WriteLock(tmp_path, "default")
    with first.held("ingest"):
        (tmp_path / "writer.json").unlink()
        with pytest.raises(IndexError_, match="another process is writing"), second.held("delete", 0.1):
            pytest.fail("two writers")
    assert not (tmp_path / "writer.json").exists()


def test_the_holder_is_known_while_it_holds(tmp_path: Path) -> None:
    lock = WriteLock(tmp_path, "papers")
    assert lock.holder() is None
    with lock.held("reindex"):
        found = lock.holder()
        assert found is not None and (found.command, found.pid) == ("reindex", os.getpid())
    assert lock.holder() is None
    note = {"pid": 1, "command": "ingest", "since": 0.0}
    (tmp_path / "writer.json").write_text(json.dumps(note))  # of a writer that was killed
    assert lock.holder() is None

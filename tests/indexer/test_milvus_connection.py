"""Where a Milvus is, how it is reached, and what is said when it is not."""

import importlib
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from indexer.collection import Collection
from indexer.errors import ConfigError, IndexError_
from indexer.migrate import migrate
from indexer.milvus.address import parse_address
from indexer.milvus.choice import connect
from indexer.milvus.connection import Connection, Unreachable
from indexer.milvus.schema import as_text, as_words, expressions
from indexer.store.index import IndexSettings
from indexer.verify import verify
from tests.indexer.moving import answers, at, needs_milvus

ROOT = Path(__file__).parents[2]
HOLDER = """
import sys, time
from pymilvus import MilvusClient
client = MilvusClient(sys.argv[1])
print("open", flush=True)
time.sleep(600)
"""


@needs_milvus
def test_a_file_of_milvus_lite_has_one_process_and_says_so(storms: Any, tmp_path: Path) -> None:
    migrate(storms.collection, at(tmp_path))
    assert storms.lexical("keeper", 1)  # this process has the file
    code = (
        "import sys\nfrom pathlib import Path\nfrom indexer.collection import Collection\n"
        "Collection.open(Path(sys.argv[1]), 'default').lexical.search('keeper', 1)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(storms.home)], cwd=ROOT, capture_output=True, timeout=300)
    assert ran.returncode == 1
    assert b"Unreachable" in ran.stderr and b"is in use by another process" in ran.stderr
    storms.collection.close()  # and lets go of it
    ran = subprocess.run([sys.executable, "-c", code, str(storms.home)], cwd=ROOT, capture_output=True, timeout=300)
    assert ran.returncode == 0, ran.stderr.decode()


@needs_milvus
def test_threads_that_ask_at_once_open_a_collection_once(
    storms: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lite = importlib.import_module("milvus_lite.engine.collection").Collection
    migrate(storms.collection, at(tmp_path))
    storms.collection.close()
    opened = []
    really = lite.__init__

    def slowly(self: Any, *arguments: Any, **named: Any) -> None:
        opened.append(threading.current_thread().name)
        time.sleep(0.2)
        really(self, *arguments, **named)

    monkeypatch.setattr(lite, "__init__", slowly)
    threads = 8
    together = threading.Barrier(threads)

    def ask(number: int) -> Any:
        together.wait()
        return storms.lexical(f"storm {number}")[:1]

    with ThreadPoolExecutor(threads) as pool:
        assert list(pool.map(ask, range(threads))) == [[f"d{number:03}"] for number in range(threads)]
    assert len(opened) == 1
    storms.collection.close()


@needs_milvus
def test_writing_goes_on_while_milvus_does_not_answer(storms: Any, tmp_path: Path, caplog: Any) -> None:
    migrate(storms.collection, at(tmp_path))
    storms.collection.close()
    other = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "index.db")], stdout=subprocess.PIPE, cwd=tmp_path
    )
    try:
        assert other.stdout is not None and other.stdout.readline() == b"open\n"
        storms.add(extra="a vessel in the fog")
        assert storms.delete("d001") == 1
        assert "waits until it answers" in caplog.text
        with pytest.raises(IndexError_, match="in use by another process"):
            storms.lexical("vessel")
    finally:
        other.kill()
        other.wait()
    assert storms.lexical("vessel") == ["extra"]
    assert verify(storms.collection) == []
    storms.collection.close()


@needs_milvus
def test_a_server_that_is_not_there_is_said_and_nothing_moves(storms: Any) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(Unreachable, match=f"127.0.0.1:{port} does not answer"):
        migrate(storms.collection, parse_address(f"milvus://127.0.0.1:{port}"))
    assert storms.collection.generation.index.kind == "local"
    assert storms.lexical("storm 17")[0] == "d017"


def test_a_missing_package_says_what_to_install(storms: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(ConfigError) as raised:
        migrate(storms.collection, at(tmp_path))
    assert "requirements-milvus.txt" in raised.value.remedy
    assert storms.collection.generation.index.kind == "local"


@pytest.mark.parametrize(
    "text",
    ["milvus", "milvus:", "milvus://", "milvus://host:99999999", "milvus:plain", "http://host:1", "milvus://h/a/b"],
)
def test_bad_addresses_are_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_address(text)


def test_an_address_keeps_no_secret() -> None:
    with pytest.raises(ConfigError) as raised:
        parse_address("milvus://root:Milvus@host:19530")
    assert "root" not in raised.value.message + raised.value.remedy
    assert parse_address("milvus://host").uri == "milvus://host:19530"
    tls = parse_address("milvus+tls://host:443/papers")
    assert (tls.endpoint, tls.database, tls.is_lite) == ("https://host:443", "papers", False)


def test_a_token_goes_to_the_named_server_alone_and_is_never_shown(tmp_path: Path) -> None:
    settings = IndexSettings(uri="milvus://mine:19530", token="root:hush")
    assert connect(parse_address("milvus://mine"), settings)._token == "root:hush"
    assert connect(parse_address("milvus://other"), settings)._token == ""
    assert "hush" not in repr(settings)
    said = Connection(parse_address("milvus://mine"), "root:hush")._explain(
        RuntimeError("auth check failure root:hush")
    )
    assert "hush" not in said.message and "milvus.token" in said.remedy


@needs_milvus
def test_a_note_never_holds_a_token(storms: Any, tmp_path: Path) -> None:
    collection = Collection.open(storms.home, "default", index=IndexSettings(token="root:hush"))
    migrate(collection, at(tmp_path))
    written = [path.read_bytes() for path in collection.folder.rglob("*") if path.is_file()]
    assert not any(b"hush" in content for content in written)
    collection.close()


def test_terms_stay_whole_in_every_analyzer() -> None:
    assert as_words(["storm", "größe", "0x1"]) == "storm 0xm5zmhnwdt5sq 0xgb4dc"
    assert as_text(["a" * 80] * 1000).endswith("a" * 80)
    assert len(as_text(["a" * 80] * 1000)) <= 65535


def test_ranges_become_filters() -> None:
    assert list(expressions(None)) == [""]
    assert list(expressions(((1, 1), (3, 5), (8, 8)))) == ["((key >= 3 and key <= 5) or key in [1, 8])"]
    assert len(list(expressions(tuple((key, key) for key in range(1, 1200, 2))))) == 3


def serve(folder: Path, port: int) -> "subprocess.Popen[bytes]":
    """A Milvus Lite that listens: the nearest thing to a server that needs no container."""
    code = f"from milvus_lite.adapter.grpc.server import run_server; run_server({str(folder)!r}, '127.0.0.1', {port})"
    server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return server
        time.sleep(0.1)
    server.kill()
    raise AssertionError("the server did not start")


@needs_milvus
def test_several_processes_share_a_server_that_goes_and_comes_back(storms: Any, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    before = answers(storms)
    server = serve(tmp_path / "server", port)
    try:
        other = Collection.open(storms.home, "default", index=IndexSettings(timeout_s=5))
        assert migrate(other, parse_address(f"milvus://127.0.0.1:{port}")).written == 200
        assert answers(storms) == before  # while `other` is open, too
        code = (
            "import sys\nfrom pathlib import Path\nfrom indexer.collection import Collection\n"
            "with Collection.open(Path(sys.argv[1]), 'default').writer() as writer:\n    writer.delete('d017')\n"
        )
        subprocess.run([sys.executable, "-c", code, str(storms.home)], cwd=ROOT, check=True, timeout=300)
        assert "d017" not in storms.lexical("storm 17", 200) + storms.dense("storm number 17", 200)
        server.kill()
        server.wait()
        with pytest.raises(Unreachable, match="does not answer"):
            other.lexical.search("storm", 1)
        storms.delete("d018")
        server = serve(tmp_path / "server", port)
        assert "d018" not in storms.lexical("storm 18", 200) + storms.dense("storm number 18", 200)
        assert other.lexical.search("storm 20", 1) == storms.collection.lexical.search("storm 20", 1)
        assert verify(other) == []
        other.close()
    finally:
        server.kill()
        server.wait()
        storms.collection.close()


@needs_milvus
def test_a_server_that_stops_in_the_middle_is_told_within_the_timeout(storms: Any, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    server = serve(tmp_path / "server", port)
    collection = Collection.open(storms.home, "default", index=IndexSettings(timeout_s=3))
    try:
        migrate(collection, parse_address(f"milvus://127.0.0.1:{port}"))
        hits = collection.lexical.search("storm 17", 3)
        server.send_signal(signal.SIGSTOP)  # the connection stands, and nobody answers
        for search in (
            lambda: collection.lexical.search("storm 17", 3),
            lambda: collection.dense.search(storms.encoder.encode(["storm"])[0], 3),
        ):
            began = time.monotonic()
            with pytest.raises(Unreachable, match=f"127.0.0.1:{port} does not answer"):
                search()
            assert time.monotonic() - began < 60, "a hang"
        server.send_signal(signal.SIGCONT)
        assert collection.lexical.search("storm 17", 3) == hits
    finally:
        server.kill()
        server.wait()
        collection.close()
        storms.collection.close()

"""kill -9 in the middle of an ingest, again and again: nothing is lost, nothing is there twice, nothing is wrong."""

import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from indexer.chunk import ChunkSettings
from indexer.collection import Collection
from indexer.ingest import ingest
from indexer.verify import verify

HERE = Path(__file__).parent
SETTINGS = ChunkSettings(max_tokens=20)
KILLS = 20

WORKER = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
import faiss, filelock, langchain_text_splitters, tantivy  # so that the kill falls into the work
from hash_encoder import HashEncoder
from indexer.chunk import ChunkSettings
from indexer.collection import Collection
from indexer.ingest import ingest
root = Path(sys.argv[1])
print("ready", flush=True)
ingest([root / "files"], Collection.open(root / "home", "default", create=True), HashEncoder(pause_s=0.001),
       ChunkSettings(max_tokens=20))
print("done", flush=True)
"""


def write_files(folder: Path, version: int) -> None:
    """Sixty files; each version changes a third of them, and adds and removes some text."""
    folder.mkdir(exist_ok=True)
    for number in range(60):
        edition = version if number % 3 == version % 3 else 0
        lines = [f"Line {at} of file {number}, edition {edition}, about lighthouses." for at in range(6 + number % 5)]
        (folder / f"{number:02}.txt").write_text("\n\n".join(lines))
    (folder / "empty.txt").write_text("")


def start(root: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(root), str(HERE)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout and process.stdout.readline() == "ready\n"
    return process


def content(collection: Collection) -> Any:
    """Everything a reader can see, without what depends on the order and time of the writing."""
    documents = [
        (info.id, info.source, info.chunks, collection.document(info.id).text) for info in collection.documents()
    ]
    chunks = sorted((title, path, text) for _, title, path, text in collection.texts())
    ledger = [(row.path, row.state, row.reason, row.sha256, row.chunks) for row in collection.files()]
    return documents, chunks, ledger


def test_twenty_kills_lose_nothing(tmp_path: Path, encoder: Any) -> None:
    root = tmp_path / "killed"
    root.mkdir()
    write_files(root / "files", 0)
    began = time.monotonic()
    process = start(root)
    assert process.wait() == 0, process.stderr
    whole_s = time.monotonic() - began
    chance, unfinished = random.Random(5), 0
    for kill in range(KILLS):
        if kill % 4 == 0:
            write_files(root / "files", kill // 4 + 1)
        process = start(root)
        time.sleep(chance.uniform(0, whole_s / 3))
        process.kill()
        process.communicate()
        unfinished += process.returncode == -9
        if kill % 2:  # every other time: a kill must also be survived by the next kill
            killed = Collection.open(root / "home", "default")
            assert verify(killed) == [], f"after kill {kill + 1}"
    assert unfinished >= KILLS / 4, "the kills came too late to test anything"

    killed = Collection.open(root / "home", "default")
    ingest([root / "files"], killed, encoder, SETTINGS)
    assert verify(killed) == []
    calm = Collection.open(tmp_path / "calm", "default", create=True)
    ingest([root / "files"], calm, encoder, SETTINGS)
    assert content(killed) == content(calm)
    for query in ("lighthouses of file 17", "edition 5", "line 3 of file 40"):
        assert found(killed, query, encoder) == found(calm, query, encoder)


def found(collection: Collection, query: str, encoder: Any) -> set[str]:
    """Texts of the nearest chunks; their keys differ between two collections."""
    hits = collection.dense.search(encoder.encode([query])[0], 1)
    return {stored.chunk.text for stored in collection.chunks([key for key, _ in hits]).values()}

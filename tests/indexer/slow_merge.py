"""Another process in the middle of a merge: it has told of the first portion, and waits there until it is killed."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHUNKS, PORTION = 300, 100
_SCRIPT = """
import sys, time
from pathlib import Path
import numpy as np
import indexer.store.base
from indexer.collection import Collection
from indexer.document import Chunk, Document
from indexer.store.records import Manifest
indexer.store.base._ADD_ROWS = int(sys.argv[3])
texts = [f"{number:04d}" for number in range(int(sys.argv[2]))]
vectors = np.random.default_rng(0).standard_normal((len(texts), 8)).astype(np.float32)
vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
chunks = [Chunk(f"d:{n}", "d", text, 4 * n, 4 * n + 4) for n, text in enumerate(texts)]

def wait(*chunks):
    wait.told += 1
    if wait.told == 2:
        print("merging", flush=True)
        time.sleep(600)

wait.told = 0
collection = Collection.open(Path(sys.argv[1]), "default", create=True)
with collection.writer(command="ingest") as writer:
    writer.begin(Manifest("fake", 8, "test", "test", "2026-01-01T00:00:00+00:00"))
    writer.on_merge = wait
    writer.add(Document("d", "/d.txt", "D", "text/plain", "d", "".join(texts)), chunks, vectors)
"""


@contextmanager
def merging(home: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that merges CHUNKS chunks of home's default collection, of which PORTION are in."""
    command = [sys.executable, "-c", _SCRIPT, str(home), str(CHUNKS), str(PORTION)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout and process.stdout.readline() == "merging\n"
        yield process
    finally:
        process.kill()
        process.wait()

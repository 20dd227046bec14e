"""kill -9 at random instants of ingests, updates, moves, prunes, deletions and purges: `verify` must stay clean.

    python -m bench.kills --kills 500

One process after the other works on a collection and is killed (SIGKILL), sometimes while it recovers from the
kill before; every fourth kill the files have changed. At the end the collection must hold what one holds that was never
disturbed. The encoder is the tests' own small one: what is tested is the store. The last line is JSON.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "indexer"))

import faiss  # noqa: E402, F401 - loaded once: each process is a copy of this one
import langchain_text_splitters  # noqa: E402, F401
import tantivy  # noqa: E402, F401
from hash_encoder import HashEncoder  # type: ignore[import-not-found]  # noqa: E402

from indexer.chunk import ChunkSettings  # noqa: E402
from indexer.collection import Collection  # noqa: E402
from indexer.ingest import ingest  # noqa: E402
from indexer.purge import purge  # noqa: E402
from indexer.verify import verify  # noqa: E402

SETTINGS = ChunkSettings(max_tokens=20)
FILES = 60
MANY = 1000  # more hits than there are chunks
QUERIES = ("lighthouses of file 17", "edition 5", "line 3 of file 40", "what all of them share")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcome = measure(Path(folder), options.kills, options.seed)
    print(json.dumps(outcome))
    if not (outcome["clean"] == outcome["verified"] and outcome["equal"] and outcome["interrupted"]):
        sys.exit(1)


def measure(root: Path, kills: int, seed: int) -> dict[str, Any]:
    """Kill and check; gives what came of it."""
    chance, began = random.Random(seed), time.monotonic()
    killed, calm = root / "killed", root / "calm"
    write_files(root / "files", 0)
    started = time.monotonic()
    assert run(lambda: work(root, killed)) == 0, "the work fails undisturbed"
    whole_s = time.monotonic() - started
    interrupted = verified = clean = 0
    for kill in range(kills):
        if kill % 4 == 0:
            write_files(root / "files", kill // 4 + 1)
        after_s = chance.uniform(0, whole_s / 2)  # most have less to do than the first had
        interrupted += run(lambda: work(root, killed), after_s) == -signal.SIGKILL
        if kill % 2:  # every other time: a kill must also be survived by the next kill
            verified += 1
            clean += run(lambda: check(killed)) == 0
        if kill % 20 == 19:
            left = (time.monotonic() - began) / (kill + 1) * (kills - kill - 1)
            print(f"  {kill + 1} kills, {interrupted} of them at work, {left:.0f} s left", file=sys.stderr, flush=True)
    ended = [run(lambda home=home: work(root, home)) for home in (killed, calm)]
    equal = ended == [0, 0] and run(lambda: compare(killed, calm)) == 0
    return {
        "kills": kills,
        "interrupted": interrupted,
        "verified": verified,
        "clean": clean,
        "equal": equal,
        "seconds": round(time.monotonic() - began, 1),
    }


def write_files(folder: Path, edition: int) -> None:
    """Sixty files of which each edition changes, moves, removes and doubles some.

    Each has a heading: a title made of the name would depend on which name the file was first seen under.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for number in range(FILES):
        if number % 7 == edition % 7:
            continue  # gone
        version = edition if number % 3 == edition % 3 else 0
        lines = [f"# File {number}"]
        lines += [f"Line {at} of file {number}, edition {version}, about lighthouses." for at in range(6 + number % 5)]
        moved = edition if number % 5 == edition % 5 else 0
        (folder / f"{number:02}-{moved}.md").write_text("\n\n".join(lines))
        if number % 10 == 0:
            (folder / f"twin-{number:02}.md").write_text("\n\n".join(lines))
    for name in ("one", "two"):
        (folder / f"{name}.md").write_text(f"# Shared\n\nWhat all of them share in edition {edition // 2}.")
    (folder / "empty.txt").write_text("")


def work(root: Path, home: Path) -> None:
    """Bring the collection up to date, take some documents out, put one of them back, and purge."""
    collection = Collection.open(home, "default", create=True)
    encoder = HashEncoder(pause_s=0.0005)
    ingest([root / "files"], collection, encoder, SETTINGS, prune=True)
    with collection.writer(command="delete") as writer:
        writer.delete(*collection.find("1*.md"))
        writer.forget(*(source for _, source in collection.find_sources("twin-[23]*.md")))
    purge(collection)
    ingest(sorted((root / "files").glob("1[0-4]*.md")), collection, encoder, SETTINGS)


def check(home: Path) -> None:
    """Raise if `verify` finds anything."""
    if (home / "collections" / "default" / "current.json").exists():
        findings = verify(Collection.open(home, "default"))
        assert not findings, findings


def compare(one: Path, other: Path) -> None:
    """Raise if two collections differ in anything but ids and keys, which depend on the order of the writing."""
    check(one)
    check(other)
    first, second = (content(Collection.open(home, "default")) for home in (one, other))
    for name, value in first.items():
        assert value == second[name], name


def content(collection: Collection) -> dict[str, Any]:
    """Give all that a reader can see. `check` holds the graph to the vectors; what it finds first is approximate."""
    documents = [
        (sorted(info.sources), info.chunks, collection.document(info.id).text) for info in collection.documents()
    ]
    ledger = [(row.path, row.state, row.reason, row.sha256, row.chunks) for row in collection.files()]
    keys, vectors = collection.vectors()
    stored = collection.chunks(keys.tolist())
    rows = [(stored[key].chunk.text, row.tobytes()) for key, row in zip(keys.tolist(), vectors, strict=True)]
    found = {query: [key for key, _ in collection.lexical.search(query, MANY)] for query in QUERIES}
    texts = {query: sorted(stored[key].chunk.text for key in hits) for query, hits in found.items()}
    return {"documents": sorted(documents), "ledger": ledger, "vectors": sorted(rows), "found": texts}


def run(task: Callable[[], None], kill_after_s: float | None = None) -> int:
    """Run a task in a process of its own, killed after a while; gives its exit code, or the signal below zero."""
    child = os.fork()
    if child == 0:
        try:
            task()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    began = time.monotonic()
    while kill_after_s is not None:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() - began >= kill_after_s:
            os.kill(child, signal.SIGKILL)
            break
        time.sleep(0.001)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    main()

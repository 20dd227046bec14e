"""An evaluation that is killed again and again beside one that is left alone: exported cases must be the same bytes.

    python -m bench.resume --limit 60 --kills 20
    python -m bench.resume --limit 300 --kills 20 --dataset ../shared/bench/squad2-dev --copying

Runs `footnote eval answers` in two homes, kills the second at random moments (SIGKILL, to the whole process group), and
compares what `footnote eval export` writes. The real encoder and reader answer; with `--copying` BM25 searches and a
model server answers that copies the beginning of the first passage, for many answers on a slow machine. The last line
is JSON.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from bench.client_cost import choice, chunk, serve_events

ROOT = Path(__file__).parents[1]
RUN = [sys.executable, "-m", "app", "eval"]
COPIED_WORDS = 12
THINKING_S = 9.0  # of the copying server: without it little would be left to kill


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, default=ROOT / "data" / "questions")
    parser.add_argument("--limit", type=int, default=60)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--models", type=Path, help="a home whose converted models are taken")
    parser.add_argument("--copying", action="store_true", help="answers by a server that copies")
    options = parser.parse_args()
    with copying(options.copying), tempfile.TemporaryDirectory() as folder:
        calm, disturbed = Path(folder) / "calm", Path(folder) / "disturbed"
        calm.mkdir()
        if options.models:
            (calm / "models").symlink_to((options.models / "models").resolve())
        began = time.monotonic()
        subprocess.run(command(options), env=environment(calm), cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        took_s = time.monotonic() - began
        shutil.copytree(calm, disturbed, symlinks=True, ignore=shutil.ignore_patterns("runs"))
        kills = kill_until_done(options, disturbed, took_s)
        outcome = subprocess.run(command(options), env=environment(disturbed), cwd=ROOT, capture_output=True)
        same = exported(calm) == exported(disturbed)
        told = json.loads(outcome.stdout)
        print(json.dumps({"cases": told["cases"], "kills": kills, "equal": same, "exit": outcome.returncode}))
        if not same or outcome.returncode:
            sys.exit(1)


@contextmanager
def copying(wanted: bool) -> Iterator[None]:
    """Let a copying model server answer the commands that are started meanwhile."""
    if not wanted:
        yield
        return
    here, there = get_context("spawn").Pipe()
    server = get_context("spawn").Process(target=serve_copies, args=(there,), daemon=True)
    server.start()
    os.environ["FOOTNOTE_GENERATOR__BASE_URL"] = f"http://127.0.0.1:{here.recv()}/v1"
    os.environ["FOOTNOTE_RETRIEVER__MODE"] = "bm25"
    try:
        yield
    finally:
        server.terminate()


def serve_copies(port: Connection) -> None:
    """Answer every request with the first words of the first passage in its prompt."""
    serve_events(port, _copied)


def _copied(body: bytes) -> bytes:
    time.sleep(THINKING_S)
    prompt = json.loads(body)["messages"][-1]["content"]
    first = prompt.partition(">\n")[2].split()[:COPIED_WORDS]
    used = {"prompt_tokens": len(prompt.split()), "completion_tokens": len(first)}
    events = [chunk([choice(f"{word} ", None)]) for word in first] + [chunk([choice("[1].", "stop")]), chunk([], used)]
    return b"".join([*events, b"data: [DONE]\n\n"])


def kill_until_done(options: argparse.Namespace, home: Path, took_s: float) -> int:
    """Start and kill at random moments; give how often it was killed before it ended by itself."""
    rng = random.Random(options.seed)
    kills = 0
    while kills < options.kills:
        process = subprocess.Popen(
            command(options),
            env=environment(home),
            cwd=ROOT,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            process.wait(timeout=rng.uniform(2, 2 * max(took_s / options.kills, 10)))
            break
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
            print(f"  killed {kills} times", file=sys.stderr, flush=True)
    return kills


def command(options: argparse.Namespace) -> list[str]:
    return [*RUN, "answers", "--dataset", str(options.dataset), "--limit", str(options.limit), "--json"]


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "FOOTNOTE_HOME": str(home)}


def exported(home: Path) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "cases.jsonl"
        run = [*RUN, "export", "last", "--out", str(file)]
        subprocess.run(run, env=environment(home), cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        return file.read_bytes()


if __name__ == "__main__":
    main()

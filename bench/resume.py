"""An evaluation that is killed again and again beside one that is left alone: exported cases must be the same bytes.

    python -m bench.resume --limit 60 --kills 20

Runs `footnote eval answers` with the real encoder and reader in two homes, kills the second at random moments
(SIGKILL, to the whole process group), and compares what `footnote eval export` writes. The last line is JSON.
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
from pathlib import Path

ROOT = Path(__file__).parents[1]
RUN = [sys.executable, "-m", "app", "eval"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, default=ROOT / "data" / "questions")
    parser.add_argument("--limit", type=int, default=60)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--models", type=Path, help="a home whose converted models are taken")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
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

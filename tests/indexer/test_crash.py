"""kill -9 in the middle of ingests, moves, prunes, deletions and purges: nothing is lost, twice or wrong."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
KILLS = 12


def test_a_dozen_kills_lose_nothing() -> None:
    """bench/kills.py in short; it needs a process without threads, of which it can make copies."""
    command = [sys.executable, "-m", "bench.kills", "--kills", str(KILLS)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    outcome = json.loads(ran.stdout.splitlines()[-1])
    assert (outcome["kills"], outcome["clean"], outcome["verified"], outcome["equal"]) == (KILLS, 6, 6, True)
    assert outcome["interrupted"] >= KILLS / 4, "the kills came too late to test anything"

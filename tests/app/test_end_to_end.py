"""The real thing, each command a process of its own: SmolLM2 encodes, both indexes answer, the reader quotes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.settings import ROOT

pytestmark = pytest.mark.model

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run `footnote ... --json` in a new home that borrows the converted model; gives the document on stdout."""
    from indexer.llm2vec.weights import base_model_dir

    models = base_model_dir(ROOT / ".footnote" / "models").parent
    home = tmp_path_factory.mktemp("home")
    (home / "models").symlink_to(models)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FOOTNOTE_")}
    env = {**kept, "FOOTNOTE_HOME": str(home), "PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "PASSIVE"}

    def run(*arguments: str | Path, code: int = 0) -> Any:
        command = [sys.executable, "-m", "app", *map(str, arguments), "--json"]
        result = subprocess.run(command, cwd=home, env=env, capture_output=True, text=True, timeout=300, check=False)
        assert result.returncode == code, result.stderr
        return json.loads(result.stdout)

    return run


def test_from_a_folder_to_a_footnote_and_back(run: Run, tmp_path: Path) -> None:
    (tmp_path / "tower.md").write_text("# Tower\n\nThe tower is 34 metres tall.\n\nIt was lit in 1842.\n", "utf-8")
    (tmp_path / "ferry.txt").write_text(
        "The ferry leaves at nine in the morning. A ticket costs four crowns.\n", "utf-8"
    )
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.7 and then nothing")
    assert run("ingest", tmp_path, code=1)["counts"] == {"indexed": 2, "unchanged": 0, "skipped": 0, "failed": 1}

    hits = run("search", "how high is the tower", "-k", "2")["hits"]
    assert hits[0]["source"] == str(tmp_path / "tower.md")
    assert set(hits[0]["parts"]) == {"bm25", "dense", "convex"}

    answer = run("ask", "How tall is the tower?")
    texts = {hit["document"]: hit["text"] for hit in answer["hits"]}
    assert answer["abstained"] or answer["citations"]
    for citation in answer["citations"]:
        assert citation["quote"] in texts[citation["document"]]

    assert run("verify")["ok"]
    run("delete", tmp_path / "tower.md")
    assert {hit["source"] for hit in run("search", "tower")["hits"]} == {str(tmp_path / "ferry.txt")}
    assert run("verify")["ok"]


def test_encoding_through_the_door(run: Run, tmp_path: Path) -> None:
    (tmp_path / "in.json").write_text('["a lighthouse", "a ferry"]', encoding="utf-8")
    with_adapter, without = tmp_path / "with.npy", tmp_path / "without.npy"
    report = run("encode", "--input", tmp_path / "in.json", "--output", with_adapter)
    run("encode", "--input", tmp_path / "in.json", "--output", without, "--no-adapter")
    vectors = np.load(with_adapter)
    assert vectors.shape == (2, report["dim"]) == np.load(without).shape
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.abs(vectors - np.load(without)).max() > 0.01, "the adapter changes nothing"

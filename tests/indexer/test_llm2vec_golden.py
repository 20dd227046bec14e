"""Vectors that the official llm2vec package made (bench/llm2vec_parity.py --golden), as random projections."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexer.llm2vec.encoder import EncoderSettings, LLM2VecEncoder, load_encoder
from indexer.llm2vec.loading import load_bidirectional
from indexer.llm2vec.published import frame_of
from indexer.llm2vec.tokens import load_tokenizer
from indexer.llm2vec.weights import base_model_dir

pytestmark = pytest.mark.model

MODELS = Path(__file__).parents[2] / ".footnote" / "models"
RUNS = json.loads((Path(__file__).parent / "golden_llm2vec.json").read_text(encoding="utf-8"))["runs"]


@pytest.fixture(scope="module")
def model() -> Any:
    return load_bidirectional(base_model_dir(MODELS))


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run["pooling"] + (" led" if run["instruction"] else ""))
def test_the_vectors_are_those_of_the_official_package(model: Any, run: dict[str, Any]) -> None:
    frame = frame_of("llama", "", run["pooling"])
    settings = EncoderSettings(pooling=run["pooling"], frame=frame)
    encoder = LLM2VecEncoder(model, load_tokenizer(base_model_dir(MODELS)), settings, "")
    ours = encoder.encode(run["texts"], run["instruction"])
    golden = np.array(run["projected"])  # (n, 32)
    projected = ours @ (
        np.random.default_rng(0).normal(size=(ours.shape[1], golden.shape[1])) / np.sqrt(golden.shape[1])
    )
    cosines = (projected * golden).sum(axis=1) / np.linalg.norm(projected, axis=1) / np.linalg.norm(golden, axis=1)
    assert cosines.min() >= 0.9999
    assert np.abs(np.linalg.norm(projected, axis=1) / np.linalg.norm(golden, axis=1) - 1).max() < 1e-3


def test_the_door_knows_the_names_of_the_official_package() -> None:
    short = load_encoder(base_model_dir(MODELS), None, dtype="float32", pooling="eos", dim=64)
    assert short.encode(["a text"]).shape == (1, 64)

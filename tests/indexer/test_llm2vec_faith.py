"""Decoders of every family as encoders: attention, windows, padding and remote code, on tiny random weights."""

import json
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from indexer.errors import ModelError
from indexer.llm2vec.encoder import load_encoder
from indexer.llm2vec.loading import load_bidirectional
from indexer.llm2vec.tokens import load_tokenizer

sys.path.insert(0, str(Path(__file__).parent))
from tiny_decoders import FAMILIES, VOCABULARY, WINDOW, make_decoder, stock_states

TEXTS = [
    "Hops.",
    "The lighthouse was built in 1894.",
    "  white\tspace, an emoji 🦊 and 日本語\n",
    "x",
    "A longer passage about the river. " * 4,
    "The lighthouse was built in 1895.",
]
Decoder = Callable[[str], Path]


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Decoder:
    """The folder of a family, made once."""
    return cache(lambda family: make_decoder(tmp_path_factory.mktemp(family), family))


def cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.asarray((one * other).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_later_token_changes_an_earlier_state(decoder: Decoder, family: str) -> None:
    encoder = load_encoder(decoder(family), None, dtype="float32", pooling="bos_token")
    early = encoder.encode(["The bank of the river", "The bank of the riveR"])  # one length: no mask
    padded = encoder.encode(["The bank of the river", "The bank of the riveR", "longer " * 9])
    causal = stock_causal_first_states(decoder(family))
    assert cosines(causal[:1], causal[1:]) == pytest.approx(1, abs=1e-9)  # as a decoder, the first token sees itself
    assert early[0] @ early[1] < 0.9999 and padded[0] @ padded[1] < 0.9999


def stock_causal_first_states(folder: Path) -> np.ndarray:
    from transformers import AutoModel

    ids = torch.tensor([load_tokenizer(folder).encode(f"The bank of the rive{last}").ids for last in "rR"])
    with torch.no_grad():
        states = AutoModel.from_pretrained(folder).eval()(ids, use_cache=False).last_hidden_state
    return np.asarray(states[:, 0].double().numpy())


@pytest.mark.parametrize(("dtype", "least"), [("float32", 0.99999), ("bfloat16", 0.999)])
@pytest.mark.parametrize("family", FAMILIES)
def test_batching_and_order_do_not_change_a_vector(decoder: Decoder, family: str, dtype: Any, least: float) -> None:
    encoder = load_encoder(decoder(family), None, dtype=dtype)
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    order = [3, 5, 0, 4, 1, 2]
    for batch_tokens in (120, 4096):
        others = load_encoder(decoder(family), None, dtype=dtype, batch_tokens=batch_tokens)
        assert cosines(others.encode(TEXTS), alone).min() >= least
        assert cosines(others.encode([TEXTS[row] for row in order]), alone[order]).min() >= least


@pytest.mark.parametrize("family", FAMILIES)
def test_the_stock_model_padded_on_the_left_gives_the_same_vectors(decoder: Decoder, family: str) -> None:
    folder = decoder(family)
    ids = [encoding.ids for encoding in load_tokenizer(folder).encode_batch(TEXTS)]
    # A window that all layers share is taken off; one as wide as the longest text does the same without our code.
    shared = {"sliding_window": max(map(len, ids))} if family in ("mistral", "qwen2 sliding") else {}
    expected = np.stack([states.mean(axis=0) for states in stock_states(folder, ids, **shared)])
    assert cosines(load_encoder(folder, None, dtype="float32").encode(TEXTS), expected).min() >= 0.99999


def states(model: Any, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return torch.as_tensor(model(ids, use_cache=False).last_hidden_state)


def changed_by(model: Any, place: int, length: int = 40) -> list[int]:
    """Positions whose state follows when the token at `place` becomes another."""
    ids = torch.arange(length)[None] % VOCABULARY
    other = ids.clone()
    other[0, place] = 200
    difference = (states(model, ids) - states(model, other)).abs().amax(dim=2)[0]
    return torch.nonzero(difference > 1e-6)[:, 0].tolist()


@pytest.mark.parametrize("family", ["mistral", "qwen2 sliding"])
def test_a_window_that_every_layer_shares_is_taken_off(decoder: Decoder, family: str) -> None:
    assert changed_by(load_bidirectional(decoder(family)), 39) == list(range(40))
    assert changed_by(load_bidirectional(decoder(family), layers=1), 0) == list(range(40))


@pytest.mark.parametrize("family", ["gemma2", "gemma3"])
def test_a_window_of_some_layers_reaches_as_far_forward_as_back(decoder: Decoder, family: str) -> None:
    sliding = load_bidirectional(decoder(family), layers=1)
    assert sliding.config.layer_types == ["sliding_attention"]
    assert changed_by(sliding, 20) == list(range(20 - WINDOW, 20 + WINDOW + 1))
    assert changed_by(sliding, 0) == list(range(WINDOW + 1))
    assert changed_by(load_bidirectional(decoder(family)), 39) == list(range(40))  # the full layer above sees all


CODE = """
from pathlib import Path
Path({mark!r}).write_text("imported")
from transformers import LlamaConfig, LlamaModel
class Config(LlamaConfig): pass  # a class of its own: transformers marks the one it takes from here
class Model(LlamaModel): pass
"""


def with_code(folder: Path, mark: Path, model_type: str) -> Path:
    """Let a folder name code of its own, which leaves a mark when it is imported."""
    (folder / "custom.py").write_text(CODE.format(mark=str(mark)))
    names = {"AutoConfig": "custom.Config", "AutoModel": "custom.Model", "AutoModelForCausalLM": "custom.Model"}
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": names, "model_type": model_type}))
    tokenizer = {"auto_map": {"AutoTokenizer": ["custom.Tokenizer", None]}, "tokenizer_class": "Custom"}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    return folder


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the terminal was asked; an error in the answer would be swallowed on the way."""
    asked: list[str] = []
    monkeypatch.setattr("builtins.input", lambda question="": asked.append(question) or "n")
    return asked


def test_code_in_the_folder_is_neither_run_nor_asked_about(
    tmp_path: Path, decoder: Decoder, questions: list[str]
) -> None:
    folder = with_code(make_decoder(tmp_path / "model", "llama"), tmp_path / "mark", "llama")
    vectors = load_encoder(folder, None, dtype="float32").encode(TEXTS)
    expected = load_encoder(decoder("llama"), None, dtype="float32").encode(TEXTS)
    np.testing.assert_array_equal(vectors, expected)  # the stock class it is
    assert type(load_bidirectional(folder)).__module__.startswith("transformers.models.llama.")
    assert not (tmp_path / "mark").exists() and questions == []


def test_a_kind_that_only_its_own_code_knows_is_refused(tmp_path: Path, questions: list[str]) -> None:
    folder = with_code(make_decoder(tmp_path / "model", "llama"), tmp_path / "mark", "homemade")
    with pytest.raises(ModelError, match="model"):
        load_encoder(folder, None)
    assert not (tmp_path / "mark").exists() and questions == []


def test_the_mark_would_be_left(tmp_path: Path) -> None:
    """That the two tests above can fail: with trust, transformers does import the code."""
    from transformers import AutoConfig

    folder = with_code(make_decoder(tmp_path / "model", "llama"), tmp_path / "mark", "homemade")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
        AutoConfig.from_pretrained(folder, trust_remote_code=True)
    assert (tmp_path / "mark").exists()

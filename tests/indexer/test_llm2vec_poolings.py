"""The five poolings against a naive one, and vectors cut to their leading numbers, on tiny random weights."""

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from indexer.errors import ModelError
from indexer.llm2vec.encoder import load_encoder
from indexer.llm2vec.pooling import POOLINGS

sys.path.insert(0, str(Path(__file__).parent))
from tiny_decoders import HIDDEN, START_ID, make_decoder, stock_states

TEXTS = ["Hops.", "  The lighthouse, 1894.\n", "日本語 and 🦊", "A longer passage about the river. " * 3, "x"]
INSTRUCTION = "Find the passage:"
END = {"llama": " </s>", "mistral": " </s>", "gemma": "<eos>", "gemma2": "<eos>", "gemma3": "<eos>"}
END |= {"qwen2": "<|endoftext|>", "qwen3": "<|endoftext|>"}
Decoder = Callable[[str, bool], Path]


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Decoder:
    """The folder of a family whose tokenizer gives a start mark or none, made once."""
    return cache(lambda family, start: make_decoder(tmp_path_factory.mktemp("tiny"), family, start=start))


def byte_ids(folder: Path, text: str) -> list[int]:
    from tokenizers import Tokenizer

    ids = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text, add_special_tokens=False).ids
    assert len(ids) == len(text.encode())
    return list(ids)


def naive_vector(folder: Path, text: str, instruction: str, pooling: str, end: str, start: bool) -> np.ndarray:
    """One text alone; one token is one byte, so what belongs to the text is counted in bytes."""
    if pooling == "eos_token":
        text = text.rstrip() + end
    whole = f"{instruction} {text}" if instruction else text
    states = stock_states(folder, [[START_ID] * start + byte_ids(folder, whole)])[0]
    own = states[-len(text.encode()) :]
    if pooling == "bos_token":
        vector = states[0]
    elif pooling in ("eos_token", "last_token"):
        vector = states[-1]
    else:
        total, weights = np.zeros(states.shape[1]), 0.0
        for place, state in enumerate(own, start=1):
            weight = place if pooling == "weighted_mean" else 1
            total, weights = total + weight * state, weights + weight
        vector = total / weights
    return vector / np.linalg.norm(vector)


def worst(folder: Path, instruction: str, pooling: str, end: str, start: bool) -> float:
    ours = load_encoder(folder, None, dtype="float32", pooling=pooling).encode(TEXTS, instruction)
    naive = np.stack([naive_vector(folder, text, instruction, pooling, end, start) for text in TEXTS])
    return float((ours * naive).sum(axis=1).min())


@pytest.mark.parametrize("start", [False, True])
@pytest.mark.parametrize("instruction", ["", INSTRUCTION])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_pooling_is_that_of_a_naive_one(decoder: Decoder, pooling: str, instruction: str, start: bool) -> None:
    assert worst(decoder("llama", start), instruction, pooling, END["llama"], start) >= 0.99999


@pytest.mark.parametrize("family", list(END))
def test_every_family_has_its_end_mark(tmp_path: Path, family: str) -> None:
    # The encoder takes Mistral's window off, and the stock model does not.
    changed = {"sliding_window": None} if family == "mistral" else {}
    folder = make_decoder(tmp_path, family, **changed)
    assert worst(folder, INSTRUCTION, "eos_token", END[family], False) >= 0.99999


def test_the_poolings_differ(decoder: Decoder) -> None:
    folder = decoder("llama", True)
    vectors = [load_encoder(folder, None, dtype="float32", pooling=each).encode(TEXTS[1:2])[0] for each in POOLINGS]
    likeness = np.stack(vectors) @ np.stack(vectors).T
    assert likeness[~np.eye(len(POOLINGS), dtype=bool)].max() < 0.9999


def test_the_instruction_is_seen_and_its_states_are_left_out(decoder: Decoder) -> None:
    folder = decoder("llama", False)
    led = load_encoder(folder, None, dtype="float32").encode(["river"], INSTRUCTION)[0]
    states = stock_states(folder, [byte_ids(folder, f"{INSTRUCTION} river")])[0]
    alone = stock_states(folder, [byte_ids(folder, "river")])[0]

    def cosine(vector: np.ndarray) -> float:
        return float(led @ vector / np.linalg.norm(vector))

    assert cosine(states[-5:].mean(axis=0)) >= 0.99999
    assert cosine(states.mean(axis=0)) < 0.9999  # pooled with the instruction
    assert cosine(states[-6:].mean(axis=0)) < 0.9999  # the joining space is the instruction's
    assert cosine(alone.mean(axis=0)) < 0.9999  # not seen by attention


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("dim", [1, 7, HIDDEN])
def test_a_shorter_vector_is_the_leading_numbers_made_a_unit_again(decoder: Decoder, pooling: str, dim: int) -> None:
    whole = load_encoder(decoder("llama", True), None, dtype="float32", pooling=pooling)
    short = load_encoder(decoder("llama", True), None, dtype="float32", pooling=pooling, dim=dim)
    leading = whole.encode(TEXTS)[:, :dim]
    vectors = short.encode(TEXTS)
    assert short.dim == dim and vectors.shape == (len(TEXTS), dim)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(vectors, leading / np.linalg.norm(leading, axis=1, keepdims=True), atol=1e-5)
    assert (short.fingerprint == whole.fingerprint) == (dim == HIDDEN)


@pytest.mark.parametrize("dim", [0, -1, HIDDEN + 1])
def test_a_length_that_the_model_does_not_have_is_refused(decoder: Decoder, dim: int) -> None:
    with pytest.raises(ModelError, match=f"{HIDDEN} numbers, not {dim}"):
        load_encoder(decoder("llama", False), None, dim=dim)


def test_a_pooling_that_does_not_exist_is_refused(decoder: Decoder) -> None:
    with pytest.raises(ModelError, match="no pooling 'median'") as caught:
        load_encoder(decoder("llama", False), None, pooling="median")
    assert all(pooling in caught.value.remedy for pooling in POOLINGS)


def test_a_causal_decoder_sees_only_what_stands_before(decoder: Decoder) -> None:
    """The first token's state depends on what follows only when the decoder is bidirectional."""
    folder = decoder("llama", False)
    one, two = "river bank", "river boat"
    causal = load_encoder(folder, None, dtype="float32", pooling="bos", causal=True)
    assert np.array_equal(*causal.encode([one, two]))
    both_ways = load_encoder(folder, None, dtype="float32", pooling="bos")
    assert not np.allclose(*both_ways.encode([one, two]), atol=1e-4)
    assert causal.fingerprint != both_ways.fingerprint

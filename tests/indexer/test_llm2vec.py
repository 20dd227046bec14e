"""The encoder on the real weights, against an independent implementation of the published definition."""

import logging
from pathlib import Path

import numpy as np
import pytest

from indexer.errors import ModelError
from indexer.llm2vec.encoder import LLM2VecEncoder, load_encoder
from indexer.llm2vec.weights import base_model_dir

pytestmark = pytest.mark.model

MODELS = Path(__file__).parents[2] / ".footnote" / "models"
INSTRUCTION = "Given a question, find the passage that answers it:"
TEXTS = [
    "Hops.",
    "The lighthouse was built in 1894 and its lamp is visible for 21 miles.",
    "  A text\twith odd   white space, 12345 digits and an emoji 🦊.\n",
    "Ünïcödé and 日本語 share this line.",
    "A much longer passage. " * 20,
]


@pytest.fixture(scope="module")
def model_dir() -> Path:
    return base_model_dir(MODELS)


@pytest.fixture(scope="module")
def encoder(model_dir: Path) -> LLM2VecEncoder:
    return load_encoder(model_dir, None, dtype="float32", max_tokens=128)


def naive_vector(model_dir: Path, text: str, instruction: str, pooling: str) -> np.ndarray:
    """One text at a time, no padding, attention written out as a mask of zeros: every token sees every other."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    model = naive_vector.__dict__.setdefault("model", AutoModelForCausalLM.from_pretrained(model_dir).model.eval())
    whole = tokenizer(f"{instruction} {text}" if instruction else text)["input_ids"][:128]
    lead = (
        len(tokenizer(f"{instruction} {text}")["input_ids"]) - len(tokenizer(text)["input_ids"]) if instruction else 0
    )
    everything = torch.zeros(1, 1, len(whole), len(whole))
    with torch.no_grad():
        states = model(input_ids=torch.tensor([whole]), attention_mask=everything, use_cache=False).last_hidden_state[0]
    own = states[lead:].double().numpy()
    if pooling == "mean":
        vector = own.mean(axis=0)
    elif pooling == "weighted_mean":
        weights = np.arange(1, len(own) + 1)
        vector = (own * weights[:, None]).sum(axis=0) / weights.sum()
    else:
        vector = own[-1] if pooling == "last_token" else states[0].double().numpy()
    return vector / np.linalg.norm(vector)


@pytest.mark.parametrize("pooling", ["mean", "weighted_mean", "last_token", "bos_token"])
@pytest.mark.parametrize("instruction", ["", INSTRUCTION])
def test_vectors_equal_a_naive_implementation(model_dir: Path, pooling: str, instruction: str) -> None:
    encoder = load_encoder(model_dir, None, dtype="float32", max_tokens=128, pooling=pooling)
    vectors = encoder.encode(TEXTS, instruction)
    expected = np.stack([naive_vector(model_dir, text, instruction, pooling) for text in TEXTS])
    assert (vectors * expected).sum(axis=1).min() >= 0.99999


def test_rows_are_unit_float32(encoder: LLM2VecEncoder) -> None:
    vectors = encoder.encode(TEXTS)
    assert vectors.dtype == np.float32 and vectors.shape == (len(TEXTS), encoder.dim)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_batch_size_and_order_do_not_change_a_vector(model_dir: Path, encoder: LLM2VecEncoder) -> None:
    alone = load_encoder(model_dir, None, dtype="float32", max_tokens=128, batch_tokens=1)
    together = encoder.encode(TEXTS)
    assert (alone.encode(TEXTS) * together).sum(axis=1).min() >= 0.99999
    assert (encoder.encode(TEXTS[::-1])[::-1] * together).sum(axis=1).min() >= 0.99999


def test_bfloat16_is_close(model_dir: Path, encoder: LLM2VecEncoder) -> None:
    rough = load_encoder(model_dir, None, dtype="bfloat16", max_tokens=128).encode(TEXTS)
    assert (rough * encoder.encode(TEXTS)).sum(axis=1).min() >= 0.999


def test_a_later_token_changes_an_earlier_state(model_dir: Path) -> None:
    first = load_encoder(model_dir, None, dtype="float32", pooling="bos")
    kept, changed = first.encode(["The bank of the river", "The bank of the vault"])
    assert kept @ changed < 0.9999


def test_the_instruction_is_seen_but_not_pooled(encoder: LLM2VecEncoder) -> None:
    plain, led = encoder.encode(TEXTS[1:2])[0], encoder.encode(TEXTS[1:2], INSTRUCTION)[0]
    pooled_too = encoder.encode([f"{INSTRUCTION} {TEXTS[1]}"])[0]
    assert plain @ led < 0.9999
    assert led @ pooled_too < 0.9999


def test_a_hundred_thousand_characters_without_a_space(
    encoder: LLM2VecEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        vectors = encoder.encode(["x1" * 50_000, "short"])
    assert np.isfinite(vectors).all()
    assert [record.getMessage() for record in caplog.records] == [
        "1 of 2 texts are longer than 128 tokens and were cut"
    ]


def test_lone_surrogates_encode_like_the_replacement_character(encoder: LLM2VecEncoder) -> None:
    # Each by itself: some processors round the rows of one batch differently, by up to 1e-5 with the bare base model.
    lone, replaced = (encoder.encode([text]) for text in ("broken \ud83e text", "broken \ufffd text"))
    np.testing.assert_allclose(lone, replaced, atol=1e-6)
    joined, fox = (encoder.encode([text]) for text in ("a \ud83e\udd8a b", "a 🦊 b"))
    np.testing.assert_allclose(joined, fox, atol=1e-6)


@pytest.mark.parametrize("blank", ["", " ", "\n\t\u00a0"])
def test_a_blank_text_is_refused_by_number(encoder: LLM2VecEncoder, blank: str) -> None:
    with pytest.raises(ModelError, match="Text 1 of 2"):
        encoder.encode(["fine", blank])


def test_no_texts_give_no_rows(encoder: LLM2VecEncoder) -> None:
    assert encoder.encode([]).shape == (0, encoder.dim)


def test_progress_ends_at_the_number_of_texts(encoder: LLM2VecEncoder) -> None:
    seen: list[int] = []
    encoder.encode(TEXTS, on_progress=seen.append)
    assert seen[-1] == len(TEXTS) and seen == sorted(seen)


def test_an_instruction_that_fills_the_limit_is_refused(encoder: LLM2VecEncoder) -> None:
    with pytest.raises(ModelError, match="leaves no room"):
        encoder.encode(["text"], "word " * 200)


def test_the_fingerprint_follows_what_changes_vectors_and_nothing_else(
    model_dir: Path, encoder: LLM2VecEncoder
) -> None:
    same = load_encoder(model_dir, None, dtype="bfloat16", max_tokens=128, batch_tokens=64)
    shorter = load_encoder(model_dir, None, max_tokens=64)
    pooled = load_encoder(model_dir, None, max_tokens=128, pooling="eos")
    led = load_encoder(model_dir, None, max_tokens=128, query_instruction=INSTRUCTION)
    assert same.fingerprint == encoder.fingerprint
    assert len({encoder.fingerprint, shorter.fingerprint, pooled.fingerprint, led.fingerprint}) == 4


def test_an_adapter_changes_the_fingerprint_and_merges_as_peft_applies_it(model_dir: Path, tmp_path: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModel

    from indexer.llm2vec.loading import load_bidirectional
    from indexer.llm2vec.tokens import load_tokenizer
    from indexer.llm2vec.training.lora import add_lora, lora_parameters, save_adapter

    torch.manual_seed(0)
    learner = add_lora(load_bidirectional(model_dir), rank=4, alpha=8, base_name="SmolLM2-135M-Instruct")
    with torch.no_grad():
        for _, parameter in lora_parameters(learner):
            parameter.normal_(std=0.05)
    save_adapter(learner, tmp_path)
    adapted = load_encoder(model_dir, tmp_path, dtype="float32")
    stock = PeftModel.from_pretrained(AutoModel.from_pretrained(model_dir), tmp_path).eval()
    stock.config.is_causal = False
    ids = torch.tensor([load_tokenizer(model_dir).encode(TEXTS[1]).ids])
    with torch.no_grad():
        expected = stock(input_ids=ids).last_hidden_state[0].mean(dim=0).numpy()
    vector = adapted.encode(TEXTS[1:2])[0]
    assert vector @ expected / np.linalg.norm(expected) >= 0.9999
    assert vector @ load_encoder(model_dir, None, dtype="float32").encode(TEXTS[1:2])[0] < 0.99
    assert adapted.fingerprint != load_encoder(model_dir, None).fingerprint

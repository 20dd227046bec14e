"""Texts that no encoder likes: defined vectors or clear errors, never numbers that are none, nothing cut unsaid."""

import logging
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from indexer.chunk import ChunkSettings
from indexer.collection import Collection
from indexer.errors import ModelError
from indexer.ingest import ingest
from indexer.llm2vec.encoder import LLM2VecEncoder, load_encoder
from indexer.llm2vec.pooling import POOLINGS

sys.path.insert(0, str(Path(__file__).parent))
from tiny_decoders import HIDDEN, make_decoder

LIMIT = 24  # tokens, which are bytes
INSTRUCTION = "Find it:"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_decoder(tmp_path_factory.mktemp("tiny"), "llama")


@pytest.fixture(scope="module")
def encoder(folder: Path) -> LLM2VecEncoder:
    return load_encoder(folder, None, dtype="float32", max_tokens=LIMIT)


def test_no_texts_give_no_rows(encoder: LLM2VecEncoder) -> None:
    vectors = encoder.encode([])
    assert vectors.shape == (0, HIDDEN) and vectors.dtype == np.float32
    assert encoder.encode([], INSTRUCTION).shape == (0, HIDDEN)
    assert encoder.count_tokens([]) == []


@pytest.mark.parametrize("blank", ["", " ", "\n\t\r\u00a0\u2003\u3000"])
@pytest.mark.parametrize("instruction", ["", INSTRUCTION])
def test_a_blank_text_is_refused_by_number(encoder: LLM2VecEncoder, blank: str, instruction: str) -> None:
    with pytest.raises(ModelError, match="Text 2 of 3"):
        encoder.encode(["fine", "fine too", blank], instruction)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("instruction", ["", INSTRUCTION])
def test_a_long_text_is_encoded_as_its_beginning(folder: Path, pooling: str, instruction: str) -> None:
    encoder = load_encoder(folder, None, dtype="float32", max_tokens=LIMIT, pooling=pooling)
    text = "abcdefghijklmnopqrstuvwxyz" * 3
    room = encoder.max_tokens - (len(instruction) + 1 if instruction else 0)
    assert encoder.max_tokens == LIMIT - (len(" </s>") if pooling == "eos_token" else 0)
    whole, beginning, less = encoder.encode([text, text[:room], text[: room - 1]], instruction)
    assert whole @ beginning >= 0.99999 > whole @ less


@pytest.mark.parametrize("instruction", ["", INSTRUCTION])
def test_texts_that_are_cut_are_counted_in_the_log(
    encoder: LLM2VecEncoder, instruction: str, caplog: pytest.LogCaptureFixture
) -> None:
    room = LIMIT - (len(instruction) + 1 if instruction else 0)
    with caplog.at_level(logging.WARNING):
        encoder.encode(["x" * room, "short"], instruction)
    assert caplog.messages == []
    with caplog.at_level(logging.WARNING):
        encoder.encode(["x" * (room + 1), "short", "y" * 99], instruction)
    assert caplog.messages == [f"2 of 3 texts are longer than {LIMIT} tokens and were cut"]


@pytest.mark.parametrize(("limit", "cut"), [(12, 2), (40, 1), (200, 0)])
def test_texts_that_are_cut_are_counted_in_the_report(tmp_path: Path, folder: Path, limit: int, cut: int) -> None:
    files = tmp_path / "files"
    files.mkdir()
    (files / "long.txt").write_text("The ferry leaves at nine and comes back at ten, except in winter.")  # one chunk
    (files / "middle.txt").write_text("Bees swarm in early May.")
    (files / "short.txt").write_text("Owls.")
    encoder = load_encoder(folder, None, dtype="float32", max_tokens=limit)
    collection = Collection.open(tmp_path / "home", "default", create=True)
    report = ingest([files], collection, encoder, ChunkSettings(max_tokens=200))
    assert [file.state for file in report.files] == ["indexed"] * 3
    assert report.truncated == cut


def test_a_hundred_thousand_characters_without_a_space(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    encoder = load_encoder(folder, None, dtype="float32", max_tokens=512)
    with caplog.at_level(logging.WARNING):
        vectors = encoder.encode(["x1" * 50_000, "short", "🦊" * 100_000])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert caplog.messages == ["2 of 3 texts are longer than 512 tokens and were cut"]
    assert encoder.count_tokens(["x1" * 50_000]) == [100_000]


def test_lone_surrogates_encode_as_the_replacement_character(encoder: LLM2VecEncoder) -> None:
    lone, trailing, replaced = encoder.encode(["a \ud83e b", "a \udd8a b", "a \ufffd b"])
    np.testing.assert_allclose(lone, replaced, atol=1e-6)
    np.testing.assert_allclose(trailing, replaced, atol=1e-6)
    pair, fox = encoder.encode(["a \ud83e\udd8a b", "a 🦊 b"])
    np.testing.assert_allclose(pair, fox, atol=1e-6)
    np.testing.assert_allclose(
        encoder.encode(["text"], "bad \ud83e:"), encoder.encode(["text"], "bad \ufffd:"), atol=1e-6
    )
    assert encoder.count_tokens(["\ud83e"]) == [3]


@pytest.mark.parametrize("pooling", ["mean", "eos_token"])
def test_an_instruction_that_fills_the_limit_is_refused(folder: Path, pooling: str) -> None:
    encoder = load_encoder(folder, None, dtype="float32", max_tokens=LIMIT, pooling=pooling)
    fits = "i" * (encoder.max_tokens - 2)  # and the joining space, and one token of the text
    assert np.isfinite(encoder.encode(["text"], fits)).all()
    with pytest.raises(ModelError, match="leaves no room") as caught:
        encoder.encode(["text"], fits + "i")
    assert "query_instruction" in caught.value.remedy


ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=60)


@settings(max_examples=25, deadline=None)
@given(text=ANY_TEXT, instruction=st.sampled_from(["", " ", INSTRUCTION]), pooling=st.sampled_from(POOLINGS))
@example(text="\x00", instruction="", pooling="mean")
@example(text="\u200b", instruction="", pooling="eos_token")
@example(text="\u0301", instruction=INSTRUCTION, pooling="weighted_mean")
@example(text="<s>", instruction=INSTRUCTION, pooling="bos_token")
@example(text=" </s>", instruction="", pooling="eos_token")
def test_any_text_gives_a_unit_or_a_clear_refusal(folder: Path, text: str, instruction: str, pooling: str) -> None:
    encoder = load_encoder(folder, None, dtype="float32", max_tokens=LIMIT, pooling=pooling)
    if not text.strip():
        with pytest.raises(ModelError, match="Text 1 of 2"):
            encoder.encode(["beside", text], instruction)
        return
    beside, vector = encoder.encode(["beside", text], instruction)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    assert beside @ encoder.encode(["beside"], instruction)[0] >= 0.99999

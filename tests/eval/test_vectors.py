"""Kept vectors: nothing is encoded twice, a kill costs one step, damage is told."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

import eval.vectors as vectors_module
from eval.vectors import KeptEncoder
from indexer.encoder import Vectors
from indexer.errors import IndexError_, ModelError


class LengthEncoder:
    """A text's vector points where its length says; it can be made to fail after some calls."""

    fingerprint, dim, query_instruction, max_tokens = "length", 2, "find:", 512

    def __init__(self, calls: int = 99) -> None:
        self.encoded: list[tuple[str, str]] = []
        self.calls = calls

    def encode(
        self, texts: Sequence[str], instruction: str = "", on_progress: Callable[[int], None] | None = None
    ) -> Vectors:
        self.calls -= 1
        if self.calls < 0:
            raise ModelError("killed")
        self.encoded += [(instruction, text) for text in texts]
        angles = [len(instruction) + len(text) for text in texts]
        if on_progress:
            on_progress(len(texts))
        return np.array([[np.cos(angle), np.sin(angle)] for angle in angles], np.float32)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text) for text in texts]


def test_rows_are_those_of_the_encoder_in_order(tmp_path: Path) -> None:
    texts = ["three", "a", "three", "seven77"]
    own = LengthEncoder()
    kept = KeptEncoder(own, tmp_path).encode(texts)
    assert np.array_equal(kept, LengthEncoder().encode(texts))
    assert sorted(own.encoded) == [("", "a"), ("", "seven77"), ("", "three")]


def test_nothing_is_encoded_twice_by_any_process(tmp_path: Path) -> None:
    first = KeptEncoder(LengthEncoder(), tmp_path).encode(["a", "bb"])
    again = LengthEncoder()
    assert np.array_equal(KeptEncoder(again, tmp_path).encode(["bb", "a"]), first[::-1])
    assert again.encoded == []


def test_an_instruction_and_an_encoder_have_vectors_of_their_own(tmp_path: Path) -> None:
    own = LengthEncoder()
    kept = KeptEncoder(own, tmp_path)
    assert not np.array_equal(kept.encode(["a"]), kept.encode(["a"], "find:"))
    other = LengthEncoder()
    other.fingerprint = "other"
    KeptEncoder(other, tmp_path).encode(["a"])
    assert other.encoded == [("", "a")]


def test_after_a_kill_only_what_is_missing_is_encoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors_module, "_TEXTS_A_STEP", 2)
    texts = ["a", "bb", "ccc", "dddd", "eeeee"]
    with pytest.raises(ModelError):
        KeptEncoder(LengthEncoder(calls=2), tmp_path).encode(texts)
    own, told = LengthEncoder(), list[int]()
    KeptEncoder(own, tmp_path).encode(texts, on_progress=told.append)
    assert own.encoded == [("", "eeeee")]
    assert told == [5]


def test_no_texts_have_no_rows(tmp_path: Path) -> None:
    assert KeptEncoder(LengthEncoder(), tmp_path).encode([]).shape == (0, 2)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    KeptEncoder(LengthEncoder(), tmp_path).encode(["a"])
    (file,) = (tmp_path / "length").glob("*.npz")
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(IndexError_, match=file.name):
        KeptEncoder(LengthEncoder(), tmp_path)

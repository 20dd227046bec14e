"""What runs on a node, without Ray."""

import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexer.chunk import ChunkSettings
from indexer.errors import ClusterError, ModelError
from indexer.load import Limits, source_of
from indexer.ray_stages import Delivery, Encode, Parcel, Read, packed, unpacked
from indexer.store.text import embed_hash

NONE = np.array([], "S16")


@pytest.fixture
def read(hash_encoder: Any) -> Iterator[Read]:
    stage = Read(Limits(timeout_s=20.0), ChunkSettings(max_tokens=4), lambda: hash_encoder().count_tokens)
    yield stage
    stage._parser.close()


def parcel(*paths: Path) -> Any:
    return packed(Parcel(tuple((path, source_of(path)) for path in paths)))


def encode(encoder: Any, known: Any = NONE, fingerprint: str = "hash-1") -> Encode:
    return Encode(lambda: encoder, fingerprint, lambda: known)


def test_a_broken_file_fails_alone_and_an_archive_keeps_its_members(read: Read, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("One two three four. Five six seven eight.")
    (tmp_path / "b.pdf").write_bytes(b"%PDF-1.4 broken")
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("inner.txt", "Words inside.")
    delivery = unpacked(read(parcel(tmp_path / "a.txt", tmp_path / "b.pdf", tmp_path / "c.zip")))
    (good,), (bad,), (whole, inner) = delivery.files
    assert [piece.text for piece in good.ahead.chunks] == ["One two three four.", "Five six seven eight."]
    assert bad.document is None and "damaged" in bad.error.message and "save it again" in bad.error.remedy
    assert whole.document is None and whole.error is None
    assert inner.source.endswith("c.zip!/inner.txt") and inner.document.text == "Words inside."


def test_a_folder_that_the_node_does_not_see_is_no_failed_file(read: Read, tmp_path: Path) -> None:
    delivery = unpacked(read(parcel(tmp_path / "elsewhere.txt")))
    assert isinstance(delivery.refusal, ClusterError) and not delivery.files
    assert "elsewhere.txt" in delivery.refusal.message and "Mount the folder" in delivery.refusal.remedy
    (tmp_path / "a.txt").write_text("Words.")
    row = packed(Parcel(((tmp_path / "a.txt", "/mnt/a.txt"),)))
    assert isinstance(unpacked(read(row)).refusal, ClusterError)


def test_only_what_is_not_stored_is_encoded(read: Read, tmp_path: Path, encoder: Any) -> None:
    (tmp_path / "a.txt").write_text("One two three four. Five six seven eight.")
    row = read(parcel(tmp_path / "a.txt"))
    stored = embed_hash("A\nOne two three four.")
    ((file,),) = unpacked(encode(encoder, np.sort(np.array([stored, b"\xff" * 16, b"\0" * 16], "S16")))(row)).files
    fresh = embed_hash("A\nFive six seven eight.")
    assert encoder.encoded == 1 and list(file.ahead.vectors) == [fresh]
    assert file.ahead.vectors[fresh].dtype == np.float16
    expected = encoder.encode(["A\nFive six seven eight."])[0]
    assert np.array_equal(file.ahead.vectors[fresh], expected.astype(np.float16))


def test_a_text_that_the_model_refuses_costs_its_file_alone(read: Read, tmp_path: Path, hash_encoder: Any) -> None:
    for name, text in (("a.txt", "Sound words."), ("b.txt", "The poison."), ("c.txt", "Other words.")):
        (tmp_path / name).write_text(text)
    row = read(parcel(*(tmp_path / name for name in ("a.txt", "b.txt", "c.txt"))))
    files = unpacked(encode(hash_encoder(poison="poison"))(row)).files
    assert [len(file[0].ahead.vectors) for file in files] == [1, 0, 1]
    assert [len(file[0].ahead.chunks) for file in files] == [1, 1, 1]


def test_a_node_says_why_it_cannot_work(hash_encoder: Any) -> None:
    def missing() -> Any:
        raise ModelError("The weights are missing", "Install them.")

    for build, kind, words in (
        (missing, ModelError, "The weights are missing"),
        (partial(hash_encoder, "hash-2"), ClusterError, "another one"),
    ):
        refusal = unpacked(Encode(build, "hash-1", lambda: NONE)(packed(Delivery()))).refusal
        assert isinstance(refusal, kind) and words in refusal.message and refusal.message.startswith("On the node ")
        assert refusal.remedy
    no_tokenizer = Read(Limits(), ChunkSettings(), missing)
    assert isinstance(unpacked(no_tokenizer(packed(Parcel(())))).refusal, ModelError)

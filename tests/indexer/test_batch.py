"""What goes on beside the encoder, and what ends it."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

import indexer.intake as module
from indexer.encoder import Vectors
from indexer.ledger import Progress
from indexer.verify import verify

WAIT_S = 60.0


@pytest.fixture(autouse=True)
def batches_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BATCH_CHUNKS", 1)


def test_the_next_file_is_read_while_one_is_encoded(desk: Any, hash_encoder: Any) -> None:
    second_read, waited = threading.Event(), []

    class Slow(hash_encoder):  # type: ignore[misc]
        def count_tokens(self, texts: Sequence[str]) -> list[int]:
            if any("harbour" in text for text in texts):
                second_read.set()
            return super().count_tokens(texts)  # type: ignore[no-any-return]

        def encode(self, texts: Sequence[str], *given: Any) -> Vectors:
            if any("lighthouse" in text for text in texts):
                waited.append(second_read.wait(WAIT_S))
            return super().encode(texts, *given)  # type: ignore[no-any-return]

    desk.encoder = Slow()
    desk.write("a.txt", "The lighthouse stands on a rock.")
    desk.write("b.txt", "The harbour wall broke in winter.")
    assert desk.states() == {"a.txt": "indexed", "b.txt": "indexed"}
    assert waited == [True]
    assert desk.search("harbour") == ["b.txt"] and verify(desk.collection) == []


def test_a_twin_of_what_is_being_encoded_is_stored_once(desk: Any) -> None:
    for name in ("a.txt", "b.txt", "c.txt"):
        desk.write(name, "The same words.")
    report = desk.ingest()
    assert [file.change for file in report.files] == ["new", "duplicate", "duplicate"]
    assert (len(desk.collection.documents()), desk.encoder.encoded) == (1, 1)


def test_a_text_of_the_batch_before_is_not_encoded_again(desk: Any) -> None:
    desk.write("a.md", "# Harbour\n\nThe wall broke.")
    desk.write("b.md", "# Harbour\n\nThe wall broke.\n")  # other bytes, the same text
    assert desk.states() == {"a.md": "indexed", "b.md": "indexed"}
    assert (desk.collection.count(), desk.encoder.encoded) == (2, 1)


def test_an_interrupt_ends_the_encoding_too(desk: Any, hash_encoder: Any) -> None:
    encoding, left_early = threading.Event(), []

    class Endless(hash_encoder):  # type: ignore[misc]
        def encode(self, texts: Sequence[str], instruction: str = "", tell: Callable[[int], None] | None = None) -> Any:
            encoding.set()
            until = time.monotonic() + WAIT_S
            try:
                while tell and time.monotonic() < until:
                    tell(0)
                    time.sleep(0.005)
            except BaseException:
                left_early.append(True)
                raise

    def interrupt(progress: Progress) -> None:
        if threading.current_thread() is threading.main_thread() and progress.current.endswith("b.txt"):
            encoding.wait(WAIT_S)
            raise KeyboardInterrupt

    usual, desk.encoder = desk.encoder, Endless()
    desk.write("a.txt", "The lighthouse stands on a rock.")
    desk.write("b.txt", "The harbour wall broke in winter.")
    with pytest.raises(KeyboardInterrupt):
        desk.ingest(on_progress=interrupt)
    assert left_early == [True]
    desk.encoder = usual
    assert desk.states() == {"a.txt": "indexed", "b.txt": "indexed"}

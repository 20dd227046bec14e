"""Questions that come at once are encoded together, and each gets its own vector, or its own error."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from eval.index import NoEncoder
from indexer.encoder import Vectors
from indexer.errors import ModelError
from retriever.gather import MOST, GatheringEncoder


class Gated:
    """Waits in its first call until the gate opens, and remembers every call."""

    fingerprint, dim, query_instruction, max_tokens = "none", 4, "", 2**31

    def __init__(self) -> None:
        self.gate, self.calls = threading.Event(), list[tuple[str, ...]]()

    def encode(
        self, texts: Sequence[str], instruction: str = "", on_progress: Callable[[int], None] | None = None
    ) -> Vectors:
        self.calls.append((instruction, *texts))
        self.gate.wait(20)
        if "" in texts:
            raise ModelError("A text is empty.", "Leave it out.")
        return NoEncoder().encode([f"{instruction}{text}" for text in texts])

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return NoEncoder().count_tokens(texts)


def ask_all(gated: Gated, asked: Sequence[tuple[str, str]]) -> list[Vectors | ModelError]:
    """Ask the first, all others while it is encoded, and then open the gate."""
    gathering = GatheringEncoder(gated)

    def ask(one: tuple[str, str]) -> Vectors | ModelError:
        try:
            return gathering.encode([one[0]], one[1])
        except ModelError as error:
            return error

    with ThreadPoolExecutor(len(asked)) as threads:
        futures = []
        for number, one in enumerate(asked):
            futures.append(threads.submit(ask, one))
            while (len(gated.calls), len(gathering._waiting)) != (1, number):
                time.sleep(0.001)
        gated.gate.set()
        return [future.result() for future in futures]


def test_those_who_wait_are_encoded_in_one_call() -> None:
    gated = Gated()
    rows = ask_all(gated, [(f"q{number}", "") for number in range(MOST + 3)])
    assert [len(call) - 1 for call in gated.calls] == [1, MOST, 2]
    for number, row in enumerate(rows):
        assert isinstance(row, np.ndarray) and row.shape == (1, 4)
        np.testing.assert_array_equal(row, NoEncoder().encode([f"q{number}"]))


def test_an_error_is_for_whoever_asked_and_instructions_are_not_mixed() -> None:
    gated = Gated()
    first, second, empty, other = ask_all(gated, [("a", ""), ("b", ""), ("", ""), ("c", "Find: ")])
    assert gated.calls == [("", "a"), ("", "b", ""), ("", "b"), ("", ""), ("Find: ", "c")]
    assert isinstance(empty, ModelError)
    for row, text in ((first, "a"), (second, "b"), (other, "Find: c")):
        np.testing.assert_array_equal(row, NoEncoder().encode([text]))


def test_several_texts_are_not_held_up() -> None:
    gated = Gated()
    gated.gate.set()
    gathering = GatheringEncoder(gated)
    assert gathering.encode(["a", "b"]).shape == (2, 4)
    assert gated.calls == [("", "a", "b")]
    assert (gathering.dim, gathering.fingerprint, gathering.max_tokens) == (4, "none", 2**31)


def test_a_defect_is_told_to_all_who_wait() -> None:
    class Broken(Gated):
        def encode(
            self, texts: Sequence[str], instruction: str = "", on_progress: Callable[[int], None] | None = None
        ) -> Vectors:
            raise MemoryError

    gathering = GatheringEncoder(Broken())
    for _ in range(2):
        with pytest.raises(MemoryError):
            gathering.encode(["a"])


@pytest.mark.parametrize("text", ["", "a"])
def test_one_alone_is_as_without(text: str) -> None:
    gated = Gated()
    gated.gate.set()
    if text:
        np.testing.assert_array_equal(GatheringEncoder(gated).encode([text]), NoEncoder().encode([text]))
    else:
        with pytest.raises(ModelError, match="empty"):
            GatheringEncoder(gated).encode([text])

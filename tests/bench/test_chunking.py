"""The measures of `python -m bench.chunking`, by hand."""

import numpy as np
import pytest

from bench.chunking import Question, Tokens, clean_document, gap, score
from indexer.document import Chunk
from retriever.hit import Hit

TEXT = "one two three four five. six seven eight nine ten."  # tokens 0 to 11: ten words and two full stops


def hit(text: str, start: int, end: int) -> Hit:
    chunk = Chunk(f"{text}:0", text, TEXT[start:end], start, end)
    return Hit(chunk, text, "", 1.0, 1, "bm25", {})


def test_tokens_are_numbered_by_where_they_begin() -> None:
    tokens = Tokens(TEXT)
    assert len(tokens) == 12
    assert tokens.within(0, 13) == range(0, 3)
    assert tokens.within(4, 24) == range(1, 6)
    assert tokens.within(5, 8) == range(2, 2), "a range that holds no token's beginning"


def test_recall_precision_and_iou() -> None:
    tokens = {"a": Tokens(TEXT), "b": Tokens(TEXT)}
    question = Question("?", "a", frozenset(range(3, 7)))  # four five . six
    first = hit("a", 0, 24)  # tokens 0 to 5, of which three are wanted
    assert score(question, [first], tokens) == pytest.approx((3 / 4, 3 / 6, 3 / 7))
    second, other = hit("a", 25, 50), hit("b", 0, 24)
    assert score(question, [first, second], tokens) == pytest.approx((1, 4 / 12, 4 / 12))
    assert score(question, [first, other], tokens) == pytest.approx((3 / 4, 3 / 12, 3 / 13))
    assert score(question, [other], tokens) == (0, 0, 0)
    assert score(question, [], tokens) == (0, 0, 0)


def test_the_gap_is_taken_at_our_recall() -> None:
    scores = {
        "ours": np.array([[0.7, 0.4, 0.3]]),
        "small": np.array([[0.6, 0.5, 0.4]]),
        "large": np.array([[0.8, 0.1, 0.1]]),
    }
    rows = np.array([0])
    assert gap(scores, "ours", ["small", "large"], rows) == pytest.approx((0.4 - 0.3, 0.3 - 0.25))
    scores["ours"] = np.array([[0.9, 0.1, 0.2]])
    assert gap(scores, "ours", ["large", "small"], rows) == pytest.approx((0.0, 0.1)), "beyond its end it is level"


def test_cleaning_leaves_the_numbers_of_tokens_alone() -> None:
    assert clean_document("a", "A line . \n and\u00a0another\r\n").text == "A line .\n and another"

"""`python bench/query_side.py` on a set of three passages, before a small server that knows which is right."""

import json
import sys
from collections.abc import Callable, Sequence
from math import log2
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.settings import load_settings, overridden
from bench.query_side import WAYS, measure
from indexer.encoder import Vectors

sys.path.append(str(Path(__file__).parents[1] / "generator"))
from fake_server import serving

TEXTS = {"first": "lamp lamp lamp", "second": "lamp lamp of the keeper", "third": "a lamp beside goats and cheese"}


class Lengths:
    """Every text lies in one direction: words alone decide."""

    fingerprint, dim, max_tokens, query_instruction = "one", 2, 512, ""

    def encode(
        self, texts: Sequence[str], instruction: str = "", on_progress: Callable[[int], None] | None = None
    ) -> Vectors:
        return np.tile(np.array([[1.0, 0.0]], np.float32), (len(texts), 1))

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]


def says(body: dict[str, Any]) -> dict[str, Any]:
    """Yes of the goats alone."""
    yes = -0.1 if "goats" in body["messages"][1]["content"] else -5.0
    likely = [{"token": "yes", "logprob": yes, "bytes": None}, {"token": "no", "logprob": -1.0, "bytes": None}]
    logprobs = {"content": [{**likely[0], "top_logprobs": likely}]}
    message = {"role": "assistant", "content": "yes"}
    choice = {"index": 0, "finish_reason": "length", "message": message, "logprobs": logprobs}
    return {"id": "c", "object": "chat.completion", "created": 0, "model": "tiny", "choices": [choice], "usage": None}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "set"
    made.mkdir()
    corpus = [{"_id": name, "title": "", "text": text} for name, text in TEXTS.items()]
    (made / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in corpus))
    (made / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": "lamp"}) + "\n")
    (made / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq\tthird\t1\n")
    return made


def test_each_way_is_held_against_the_search_as_it_comes(folder: Path, tmp_path: Path) -> None:
    with serving() as server:
        server.pieces = ["goats and cheese"]
        server.whole = lambda path, body: says(body)
        settings = load_settings(None, {"FOOTNOTE_HOME": str(tmp_path / "home")})
        settings = overridden(settings, {"generator.base_url": server.base_url})
        ways = [name for name in WAYS if name != "cross-encoder"]
        told = measure(folder, settings, Lengths(), ways, None)
        asked = len(server.requests)
        assert measure(folder, settings, Lengths(), ways, None) == told
        chats = [body for _, _, body in server.requests[asked:] if body]
    assert chats == []  # what is kept is not asked for again
    assert list(told) == ways
    plain = told["as it comes"]["ndcg@10"]
    assert plain["mean"] == pytest.approx(1 / log2(4), abs=1e-4)  # third of three
    assert (plain["difference"], plain["p"]) == (0, 1)
    # Two rankings by rank: third and first, against first and second, so that the right one is second.
    for way, value in (("yes or no", 1.0), ("multi-query", 1 / log2(3)), ("yes or no, weight .3", 0.5)):
        held = told[way]["ndcg@10"]
        assert (held["mean"], held["n"]) == (pytest.approx(value, abs=1e-4), 1)
        assert held["difference"] == pytest.approx(value - 0.5, abs=1e-4)
    assert {way["left_out"] for way in told.values()} == {0}

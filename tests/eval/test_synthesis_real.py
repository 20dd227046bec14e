"""Questions written by a model on a real server, named by FOOTNOTE_TEST_SERVER=http://127.0.0.1:8000/v1.

How good they are is the model's affair; here every schema must be followed, and every outcome must have a reason.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from eval.synthesis.author import read
from eval.synthesis.candidate import KINDS, REASONS
from eval.synthesis.passages import read_passages
from eval.synthesis.synthesize import Plan, identity_of, synthesize
from generator.server import ServerModel, ServerSettings
from indexer.collection import Collection
from retriever.hit import Hit
from retriever.search import Retriever
from tests.eval.written import island, passage
from tests.retriever.conftest import WordEncoder, add_texts

URL = os.environ.get("FOOTNOTE_TEST_SERVER", "")
pytestmark = pytest.mark.skipif(not URL, reason="FOOTNOTE_TEST_SERVER names no OpenAI-compatible server")
SETTINGS = ServerSettings(URL, read_timeout_s=120)


def test_a_reader_answers_or_declines() -> None:
    reading = read(ServerModel(SETTINGS), "How high is the hill of Arran?", [passage(island("Arran", 7), "arran")])
    assert reading.declined or reading.answer.strip() == reading.answer


def test_every_kind_is_written_checked_and_taken_again(tmp_path: Path) -> None:
    collection = Collection.open(tmp_path, "islands", create=True)
    add_texts(collection, WordEncoder(), [island(name, n) for n, name in enumerate(("Arran", "Bute", "Canna"))])
    passages, model = read_passages(collection), ServerModel(SETTINGS)
    retriever = Retriever(collection, WordEncoder())

    def search(question: str, depth: int) -> Sequence[Hit]:
        return retriever.search(question, depth)

    plan = Plan(dict.fromkeys(KINDS, 1), dict.fromkeys(KINDS, 1))
    identity = identity_of(passages, model, plan, {})
    name, written = synthesize(passages, search, model, plan, tmp_path, identity, concurrency=4)
    assert written.errors == []
    assert [candidate.kind for candidate in written.candidates] == list(KINDS)
    for candidate in written.candidates:
        assert candidate.reason in ("", *REASONS)
        assert candidate.written or candidate.reason == "unfinished"
        for quote in candidate.quotes:
            text = collection.document(quote.document_id).text
            assert text[quote.start : quote.end] == quote.text
    assert synthesize(passages, search, model, plan, tmp_path, identity) == (name, written)

"""Questions to begin with, offered when a collection holds the sample documents."""

import json
from collections.abc import Sequence
from functools import cache

from app.settings import ROOT
from indexer.store.records import DocumentInfo

SHOWN = 4
CORPUS = ROOT / "data" / "corpus"
QUESTIONS = ROOT / "data" / "questions"


def sample_questions(documents: Sequence[DocumentInfo]) -> tuple[str, ...]:
    """A few sample questions if the sample documents are among `documents`, else none."""
    if any(info.source.startswith(f"{CORPUS}/") for info in documents):
        return _questions()[:SHOWN]
    return ()


@cache
def _questions() -> tuple[str, ...]:
    try:
        chosen = json.loads((QUESTIONS / "samples.json").read_text(encoding="utf-8"))
        lines = (QUESTIONS / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    except OSError:  # an installation without the sample data has no sample questions
        return ()
    texts = {case["_id"]: case["text"] for case in map(json.loads, lines)}
    return tuple(texts[case_id] for case_id in chosen if case_id in texts)

"""The benchmark of search: its collections are a function of size and seed, and its bars are judged as written."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import search, search_made
from indexer.collection import Collection


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    for number, name in enumerate(search_made.SETS):
        folder = tmp_path / "bench" / name
        folder.mkdir(parents=True)
        words = " ".join(f"word{at % 97} of set{number}" for at in range(100))
        (folder / "corpus.jsonl").write_text(json.dumps({"_id": "1", "title": "", "text": words}) + "\n")
        lines = [json.dumps({"_id": str(at), "text": f"what is word{at} of set{number}"}) for at in range(4)]
        (folder / "queries.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path / "bench"


def content(collection: Collection) -> tuple[list[Any], Any]:
    return list(collection.texts()), collection.vectors()[1]


def test_a_collection_is_made_again_just_as_it_was(
    bench: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_made, "_BLOCK", 40)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    search_made.write(whole, bench, 100)
    search_made.write(parts, bench, 40)  # and stopped
    search_made.write(parts, bench, 100)
    (texts, vectors), (same_texts, same_vectors) = (
        content(Collection.open(folder, search_made.NAME)) for folder in (whole, parts)
    )
    assert len(texts) == 100
    assert texts == same_texts
    assert np.array_equal(vectors, same_vectors)
    assert all(len(text.split()) == search_made.WORDS for *_, text in texts)
    assert len({text for *_, text in texts}) == 100


def test_questions_come_from_all_sets_alike(bench: Path) -> None:
    asked = search_made.questions(bench, 12)
    assert len(set(asked)) == 12
    assert {question.split()[-1] for question in asked} == {f"set{number}" for number in range(6)}
    assert asked == search_made.questions(bench, 12)


def test_recall_by_hand() -> None:
    found = [[(1, 0.9), (2, 0.8)], [(3, 0.7), (4, 0.2)]]
    assert search.recall(found, [0.8, 0.6]) == [1.0, 0.5]


def test_bars_are_judged_by_what_was_measured() -> None:
    def told(hybrid_ms: float, **changes: Any) -> dict[str, Any]:
        return {
            "search": {"recall_at_10": 0.99, "hybrid": {"p50": hybrid_ms}, "overhead": 0.1, "resident_mb": 9, **changes}
        }

    assert all(search.judged({100_000: told(3.0), 1_000_000: told(7.0)}).values())
    assert not search.judged({100_000: told(3.0), 1_000_000: told(7.6)})["growth"]
    assert "growth" not in search.judged({100_000: told(3.0)})
    assert not search.judged({10: told(3.0, recall_at_10=0.97)})["recall 10"]
    assert not search.judged({10: {"readers": {"ratio": 1.0, "errors": ["it broke"]}}})["readers 10"]

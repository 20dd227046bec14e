"""Learning the fusion: what helps on questions it was not chosen on is found, and chance is not believed."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from eval.calibrate import as_json, calibrate, choices, cross_validated
from eval.dataset import Dataset, load_dataset
from eval.index import index_corpus
from indexer.encoder import Vectors
from indexer.errors import DatasetError
from retriever.search import RetrieverSettings

COUNT = 40


class NumberEncoder:
    """A text points where the number in it says; its words are not looked at."""

    fingerprint = "numbers"
    dim = COUNT
    query_instruction = ""
    max_tokens = 512

    def encode(
        self, texts: Sequence[str], instruction: str = "", on_progress: Callable[[int], None] | None = None
    ) -> Vectors:
        rows = np.full((len(texts), self.dim), 0.01, np.float32)
        for row, text in zip(rows, texts, strict=True):
            row[int("".join(filter(str.isdigit, text))[:2]) % COUNT] = 1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]


def dataset(folder: Path, count: int = COUNT) -> Dataset:
    """Questions whose words lead to the wrong entry, and whose numbers lead to the right one."""
    folder.mkdir()
    entries = [{"_id": f"d{n}", "text": f"about {n:02} says word{(n + 1) % count}"} for n in range(count)]
    asked = [{"_id": f"q{n}", "text": f"word{n}"} for n in range(count)]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in entries))
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    (folder / "qrels.tsv").write_text("".join(f"q{n}\td{n}\t1\n" for n in range(count)))
    return load_dataset(folder)


def test_what_helps_is_found(tmp_path: Path) -> None:
    data, encoder = dataset(tmp_path / "set"), NumberEncoder()
    present = RetrieverSettings(dense_weight=0.0)
    found = calibrate(index_corpus(data, tmp_path, encoder), encoder, data.judged, present)
    assert found.helps
    assert found.best.dense_weight > 0.5 or found.best.fusion == "rrf"
    assert found.held_out.difference > 0.2
    told = as_json(found, present)
    assert "dense_weight" in told["settings"] or told["settings"].get("fusion") == "rrf"
    assert told["ci95"][0] > 0


def test_what_is_best_already_is_kept(tmp_path: Path) -> None:
    data, encoder = dataset(tmp_path / "set"), NumberEncoder()
    present = RetrieverSettings(dense_weight=0.95)
    found = calibrate(index_corpus(data, tmp_path, encoder), encoder, data.judged, present)
    assert not found.helps
    assert as_json(found, present)["settings"] == {}


def test_few_questions_are_refused(tmp_path: Path) -> None:
    data, encoder = dataset(tmp_path / "set"), NumberEncoder()
    with pytest.raises(DatasetError, match="19 judged questions are too few"):
        calibrate(index_corpus(data, tmp_path, encoder), encoder, data.judged[:19], RetrieverSettings())


def test_a_question_is_not_scored_by_the_choice_it_made() -> None:
    # Each question alone makes its own choice look perfect; on the others it is the worst.
    scores = np.vstack([np.full(25, 0.5), np.eye(25)])
    assert cross_validated(scores, 0).tolist() == [0.5] * 25


def test_noise_is_seldom_taken_for_help() -> None:
    random = np.random.default_rng(3)
    gains = []
    for seed in range(60):
        scores = np.clip(0.5 + random.normal(0, 0.2, (30, 80)), 0, 1)
        gains.append(cross_validated(scores, seed).mean() - scores[0].mean())
    assert abs(np.mean(gains)) < 0.01  # the best of 30 on all questions would seem to gain 0.045


def test_the_present_settings_are_the_first_choice_and_there_once() -> None:
    present = RetrieverSettings(dense_weight=0.25, candidates=100)
    tried = choices(present)
    assert tried[0] == present
    assert len(set(tried)) == len(tried) == 21 * (4 + 3) + 3 * 4 + 3 * (19 - 1)

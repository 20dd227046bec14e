"""The temperature of the retriever's probabilities: the one that makes the right passage most probable.

    python -m generator.training.held_out --questions $FOOTNOTE_BENCH/reading-train/qed.jsonl.gz --out held-out
    python -m bench.temperature --dataset held-out

For every way to search, the passages that an answer would be written from; over the questions with the right one among
them, the mean of -log p(right passage), p as in generator/marginal.py. Never fit it on a set that measures answers.
The last line is JSON.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from scipy.optimize import minimize_scalar

from eval.dataset import Dataset, load_dataset
from eval.index import index_corpus
from generator.marginal import log_softmax
from indexer.encoder import Encoder, Vectors
from indexer.llm2vec.encoder import load_encoder
from indexer.llm2vec.weights import DEFAULT_ADAPTER, base_model_dir
from retriever.search import Retriever, RetrieverSettings
from retriever.select import drop_repeats

SEARCHES = (
    ("bm25", "bm25", RetrieverSettings()),
    ("dense", "dense", RetrieverSettings()),
    ("convex", "hybrid", RetrieverSettings()),
    ("rrf", "hybrid", RetrieverSettings(fusion="rrf")),
)


class Known:
    """An encoder that has encoded all questions together."""

    def __init__(self, encoder: Encoder, questions: list[str]) -> None:
        vectors = encoder.encode(questions, encoder.query_instruction)
        self._vectors = dict(zip(questions, vectors, strict=True))
        self.fingerprint, self.dim = encoder.fingerprint, encoder.dim
        self.query_instruction, self.max_tokens = encoder.query_instruction, encoder.max_tokens
        self.count_tokens = encoder.count_tokens

    def encode(
        self, texts: Sequence[str], instruction: str = "", on_progress: Callable[[int], None] | None = None
    ) -> Vectors:
        return np.stack([self._vectors[text] for text in texts])


def fit(found: list[tuple[np.ndarray, int]]) -> tuple[float, float, float]:
    """Temperature, and the mean of -log p with it and with all passages alike. `found`: scores, index of the right."""

    def loss(log_temperature: float) -> float:
        return -float(np.mean([log_softmax(scores, np.exp(log_temperature))[right] for scores, right in found]))

    best = minimize_scalar(loss, bounds=(-9, 6), method="bounded")
    alike = float(np.mean([np.log(len(scores)) for scores, _ in found]))
    return float(np.exp(best.x)), float(best.fun), alike


def search(dataset: Dataset, retriever: Retriever, mode: str, passages: int) -> list[tuple[np.ndarray, int]]:
    found = []
    for case in dataset.judged:
        hits = drop_repeats(retriever.search(case.question, passages, mode))  # type: ignore[arg-type]
        right = [n for n, hit in enumerate(hits) if hit.source in case.relevant]
        if right:
            found.append((np.array([hit.score for hit in hits]), right[0]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--passages", type=int, default=5)
    parser.add_argument("--home", type=Path, default=Path(tempfile.gettempdir()) / "footnote-bench")
    options = parser.parse_args()
    dataset = load_dataset(options.dataset)
    encoder = load_encoder(base_model_dir(options.home / "models"), [DEFAULT_ADAPTER] if DEFAULT_ADAPTER else [])
    collection = index_corpus(dataset, options.home, encoder)
    known = Known(encoder, [case.question for case in dataset.judged])
    told = {}
    for stage, mode, settings in SEARCHES:
        found = search(dataset, Retriever(collection, known, settings), mode, options.passages)
        temperature, loss, alike = fit(found)
        told[stage] = {"n": len(found), "temperature": temperature, "loss": loss, "loss_alike": alike}
        print(f"{stage:8}{len(found):5} questions  temperature {temperature:.4g}  loss {loss:.3f}, alike {alike:.3f}")
    print(json.dumps({"bench": "temperature", "dataset": dataset.name, "stages": told}))


if __name__ == "__main__":
    main()

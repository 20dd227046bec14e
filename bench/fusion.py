"""Which fusion is best on which set: every weight of the convex combination, and RRF, from one pass over each set.

    python bench/fusion.py --sets ../shared/bench/cranfield ../shared/bench/scifact

Uses the settings' encoder and the indexes that `footnote eval retrieval` keeps. `held_out` is the honest figure: each
set scored with the weight that was best on the mean of the others. Prints one JSON line last.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from app.settings import load_settings
from app.wiring import build_encoder
from eval.dataset import load_dataset
from eval.index import index_corpus
from eval.metrics import score_rankings
from indexer.encoder import Encoder
from retriever.fusion import Ranking, convex, rrf

WEIGHTS = [round(step / 20, 2) for step in range(21)]
CANDIDATES = 100
Fusion = Callable[[Ranking, Ranking], Ranking]


def main() -> None:
    """Measure every set and print a table and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", type=Path, required=True)
    parser.add_argument("--home", type=Path, help="where the indexes are kept; the settings' home if not given")
    arguments = parser.parse_args()
    settings = load_settings()
    encoder = build_encoder(settings)
    home = arguments.home or settings.home
    scores = {folder.name: measure(folder, home, encoder) for folder in arguments.sets}
    for name, by_fusion in scores.items():
        print(name, *(f"{fusion} {ndcg:.4f}" for fusion, ndcg in by_fusion.items()))
    print(json.dumps({"benchmark": "fusion", "ndcg@10": scores, "held_out": held_out(scores)}))


def measure(folder: Path, home: Path, encoder: Encoder) -> dict[str, float]:
    """nDCG@10 of each fusion on one set."""
    dataset = load_dataset(folder)
    collection = index_corpus(dataset, home, encoder)
    cases = dataset.judged
    vectors = encoder.encode([case.question for case in cases], encoder.query_instruction)
    lexical = [collection.lexical.search(case.question, CANDIDATES) for case in cases]
    dense = [collection.dense.search(vector, CANDIDATES) for vector in vectors]
    keys = sorted({key for ranking in [*lexical, *dense] for key, _ in ranking})
    entry = {key: stored.source for key, stored in collection.chunks(keys).items()}
    relevant = {case.id: case.relevant for case in cases}

    def ndcg(fuse: Fusion) -> float:
        rankings = {
            case.id: [entry[key] for key, _ in fuse(words, meaning)]
            for case, words, meaning in zip(cases, lexical, dense, strict=True)
        }
        return fmean(score_rankings(relevant, rankings)["ndcg@10"].values())

    fusions: dict[str, Fusion] = {"bm25": lambda words, _: words, "dense": lambda _, meaning: meaning}
    fusions["rrf 60"] = lambda words, meaning: rrf([words, meaning], 60)
    fusions |= {f"convex {weight}": weighted(weight) for weight in WEIGHTS}
    return {name: round(ndcg(fuse), 4) for name, fuse in fusions.items()}


def weighted(weight: float) -> Fusion:
    """The convex combination with this dense weight."""
    return lambda words, meaning: convex(words, meaning, weight)


def held_out(scores: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Each set with the convex weight that was best on the others."""
    if len(scores) < 2:
        return {}
    chosen = {name: best_weight([scores[other] for other in scores if other != name]) for name in scores}
    return {
        name: {"dense_weight": weight, "ndcg@10": scores[name][f"convex {weight}"]} for name, weight in chosen.items()
    }


def best_weight(sets: Sequence[Mapping[str, float]]) -> float:
    """The weight with the highest mean over the sets."""
    return max(WEIGHTS, key=lambda weight: fmean(scores[f"convex {weight}"] for scores in sets))


if __name__ == "__main__":
    main()

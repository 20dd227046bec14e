"""Which fusion is best on which set: weights and normalisations of the convex combination, and RRF.

    python bench/fusion.py --sets ../shared/bench/cranfield ../shared/bench/scifact

Uses the settings' encoder and the indexes that `footnote eval retrieval` keeps. `held_out` is the honest figure: each
set scored with what was best on the mean of the others. Prints one JSON line last.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import fmean

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from app.settings import load_settings
from app.wiring import build_encoder
from eval.dataset import load_dataset
from eval.index import index_corpus
from eval.metrics import score_rankings
from indexer.encoder import Encoder
from retriever.fusion import NORMALISATIONS, Normalisation, Ranking, convex, rrf

WEIGHTS = [round(step / 20, 2) for step in range(21)]
CONVEX = tuple(product(NORMALISATIONS, WEIGHTS))
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
    fusions |= {named(how, weight): weighted(how, weight) for how, weight in CONVEX}
    return {name: round(ndcg(fuse), 4) for name, fuse in fusions.items()}


def named(how: Normalisation, weight: float) -> str:
    """What a convex combination is called in the table."""
    return f"{how} {weight}"


def weighted(how: Normalisation, weight: float) -> Fusion:
    """The convex combination with this normalisation and dense weight."""
    return lambda words, meaning: convex(words, meaning, weight, how)


def held_out(scores: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float | str]]:
    """Each set with the convex combination that was best on the others."""
    if len(scores) < 2:
        return {}
    chosen = {name: best([scores[other] for other in scores if other != name]) for name in scores}
    return {name: {"fusion": fusion, "ndcg@10": scores[name][fusion]} for name, fusion in chosen.items()}


def best(sets: Sequence[Mapping[str, float]]) -> str:
    """The convex combination with the highest mean over the sets."""
    return max((named(*each) for each in CONVEX), key=lambda name: fmean(scores[name] for scores in sets))


if __name__ == "__main__":
    main()

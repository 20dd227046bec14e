"""Which fusion is best on which set: weights and normalisations of the convex combination, and RRF.

    python bench/fusion.py --sets ../shared/bench/cranfield ../shared/bench/scifact

Uses the settings' encoder and the indexes that `footnote eval retrieval` keeps. `held_out` is the honest figure: each
set scored with what was best on the mean of the others, of each normalisation, of RRF (k and weight), and of all; and
as served. Prints one JSON line last.
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
from eval.calibrate import RRF_KS
from eval.dataset import load_dataset
from eval.index import index_corpus
from eval.metrics import score_rankings
from indexer.encoder import Encoder
from retriever.fusion import NORMALISATIONS, Normalisation, Ranking, convex, rrf, rrf_weights
from retriever.search import RetrieverSettings

WEIGHTS = [round(step / 20, 2) for step in range(21)]
CONVEX = tuple(product(NORMALISATIONS, WEIGHTS))
RRF = tuple(product(RRF_KS, WEIGHTS[1:-1]))
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
    fusions |= {named(how, weight): weighted(how, weight) for how, weight in CONVEX}
    fusions |= {named(f"rrf {k:g}", weight): by_rank(k, weight) for k, weight in RRF}
    return {name: round(ndcg(fuse), 4) for name, fuse in fusions.items()}


def named(how: str, weight: float) -> str:
    """What a fusion is called in the table."""
    return f"{how} {weight}"


def weighted(how: Normalisation, weight: float) -> Fusion:
    """The convex combination with this normalisation and dense weight."""
    return lambda words, meaning: convex(words, meaning, weight, how)


def by_rank(k: float, weight: float) -> Fusion:
    """Reciprocal rank fusion with this constant and dense weight."""
    return lambda words, meaning: rrf([words, meaning], k, rrf_weights(weight))


def held_out(scores: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float | str]]:
    """Each set with the fusion that was best on the others, of each family and of all."""
    if len(scores) < 2:
        return {}
    told: dict[str, dict[str, float | str]] = {}
    for name in scores:
        others = [scores[other] for other in scores if other != name]
        chosen = {family: best(others, names) for family, names in FAMILIES.items()}
        told[name] = {"served": scores[name][SERVED]}
        told[name] |= {family: f"{fusion}: {scores[name][fusion]}" for family, fusion in chosen.items()}
    return told


def best(sets: Sequence[Mapping[str, float]], names: Sequence[str]) -> str:
    """The fusion with the highest mean over the sets."""
    return max(names, key=lambda name: fmean(scores[name] for scores in sets))


FAMILIES = {
    **{how: [named(how, weight) for weight in WEIGHTS] for how in NORMALISATIONS},
    "rrf": [named(f"rrf {k:g}", weight) for k, weight in RRF],
}
FAMILIES["any"] = [name for names in FAMILIES.values() for name in names]
SERVED = named(RetrieverSettings().normalisation, RetrieverSettings().dense_weight)

if __name__ == "__main__":
    main()

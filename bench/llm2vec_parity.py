"""Vectors of the official llm2vec package against Footnote's, on the same bare model: every pooling, with and without
instruction.

    python -m bench.llm2vec_parity [--cache DIR] [--golden FILE]

The official package runs in its own environment, built in --cache on the first run. One row a pooling and instruction;
the last line is JSON; the exit code is 1 when a cosine is below .9999. Texts are bench/parity_texts.json.
`bos_token` needs a start mark that SmolLM2's tokenizer does not add, so there it is written before text or instruction.
"""

import argparse
import json
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np

from bench.official import CACHE, encode_officially, environment, older_folder
from indexer.llm2vec.encoder import load_encoder
from indexer.llm2vec.weights import base_model_dir

ROOT = Path(__file__).parents[1]
TEXTS = Path(__file__).parent / "parity_texts.json"
INSTRUCTION = "Given a question, find the passage that answers it:"
POOLINGS = ("mean", "weighted_mean", "eos_token", "last_token", "bos_token")
START = "<|im_start|>"
BAR = 0.9999
SHORT_CHARS = 60  # of the golden texts
KEPT_DIMS = 32  # of a golden vector, after a random projection that keeps cosines nearly as they are


def runs(texts: list[str]) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for pooling in POOLINGS:
        for instruction in ("", INSTRUCTION):
            mark = START if pooling == "bos_token" else ""
            led = f"{mark}{instruction}" if instruction else ""
            made.append(
                {
                    "pooling": pooling,
                    "instruction": led,
                    "texts": texts if led else [f"{mark}{text}" for text in texts],
                }
            )
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=CACHE, help=f"where the environment is kept ({CACHE})")
    parser.add_argument("--models", type=Path, default=ROOT / ".footnote" / "models")
    parser.add_argument("--golden", type=Path, default=None, help="also write the official vectors for the tests here")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    texts = json.loads(TEXTS.read_text(encoding="utf-8"))
    model_dir = base_model_dir(options.models)
    jobs = runs(texts)
    folder = older_folder(model_dir, options.cache)
    official = encode_officially(environment(options.cache), {"model": str(folder), "dtype": "float32", "runs": jobs})
    if options.golden:
        write_golden(options.golden, jobs, official)
    cosines = {}
    for job, theirs in zip(jobs, official, strict=True):
        encoder = load_encoder(model_dir, None, pooling=str(job["pooling"]), dtype="float32")
        ours = encoder.encode(job["texts"], str(job["instruction"]))
        rows = (ours * theirs).sum(axis=1) / np.linalg.norm(theirs, axis=1)
        name = f"{job['pooling']}{', instruction' if job['instruction'] else ''}"
        cosines[name] = {"min": round(float(rows.min()), 7), "mean": round(float(rows.mean()), 7), "n": len(rows)}
        print(f"{name:28} min {rows.min():.7f}  mean {rows.mean():.7f}  n {len(rows)}", flush=True)
    worst = min(row["min"] for row in cosines.values())
    print(json.dumps({"bench": "llm2vec_parity", "bar": BAR, "worst": worst, "cosine": cosines}))
    sys.exit(0 if worst >= BAR else 1)


def write_golden(path: Path, jobs: list[dict[str, Any]], official: list[np.ndarray]) -> None:
    """Keep a projection of each official vector, made a unit before: small, and still a wrong vector shows."""
    kept = []
    for job, vectors in zip(jobs, official, strict=True):
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        short = [index for index, text in enumerate(job["texts"]) if len(text.removeprefix(START)) < SHORT_CHARS]
        rows = (unit[short] @ projection(unit.shape[1])).round(4).tolist()
        kept.append({**job, "texts": [job["texts"][index] for index in short], "projected": rows})
    told = {"made_by": "python -m bench.llm2vec_parity --golden", "package": "llm2vec 0.2.3", "runs": kept}
    path.write_text(json.dumps(told, ensure_ascii=False) + "\n", encoding="utf-8")


def projection(dim: int) -> np.ndarray:
    """A fixed random matrix (dim, KEPT_DIMS)."""
    return np.random.default_rng(0).normal(size=(dim, KEPT_DIMS)) / np.sqrt(KEPT_DIMS)


if __name__ == "__main__":
    main()

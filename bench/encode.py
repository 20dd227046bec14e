"""Speed of encoders on the same texts and weights, side by side: tokens a second, and how true the vectors stay.

    python -m bench.encode [--texts 96] [--rounds 3] [--threads 2] [--without official,vllm]

Texts of 5 to 500 tokens, log-uniform, cut from data/corpus; bare SmolLM2-135M, mean pooling. In every round each
contender encodes all of them once, so that what else the machine does falls on all alike. `times` is the median over
rounds of the speed over that of the official package at its default. `peak` is the share that the model's own
multiplications make up of what the machine multiplies in bf16, measured in the same rounds. The official package and
vLLM run in their own environments; the first is built on first use, the second is left out where scripts/vllm-cpu has
not built it. The last line is JSON.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.official import CACHE, RUNNER, clean_environ, environment, older_folder
from indexer.encoder import Vectors
from indexer.llm2vec.encoder import load_encoder
from indexer.llm2vec.loading import load_bidirectional
from indexer.llm2vec.tokens import load_tokenizer
from indexer.llm2vec.weights import base_model_dir

ROOT = Path(__file__).parents[1]
LONGEST, SHORTEST = 500, 5
DEFAULT = "official, its default (fp32)"
VLLM_RUNNER = Path(__file__).parent / "vllm_run.py"
Encode = Callable[[Sequence[str]], tuple[float, Vectors]]  # seconds, vectors (n, D)


@dataclass(frozen=True, slots=True)
class Material:
    """What is encoded, and how much work that is."""

    texts: list[str]
    lengths: list[int]  # tokens

    def flops(self, config: Any) -> float:
        """Multiplications and additions of the layers, without padding."""
        heads = config.num_attention_heads * config.head_dim
        keys = config.num_key_value_heads * config.head_dim
        linear = config.hidden_size * (2 * heads + 2 * keys + 3 * config.intermediate_size)
        tokens, pairs = sum(self.lengths), sum(length**2 for length in self.lengths)
        return config.num_hidden_layers * (2.0 * linear * tokens + 4.0 * heads * pairs)


def mixed_texts(model_dir: Path, count: int) -> Material:
    """Cut `count` pieces out of the sample documents."""
    tokenizer = load_tokenizer(model_dir)
    corpus = "\n\n".join(
        path.read_text(encoding="utf-8")
        for path in sorted((ROOT / "data" / "corpus").rglob("*"))
        if path.suffix in (".md", ".txt")
    )
    offsets = tokenizer.encode(corpus, add_special_tokens=False).offsets
    draw = np.random.default_rng(0)
    sizes = np.exp(draw.uniform(np.log(SHORTEST), np.log(LONGEST), count)).round().astype(int)
    texts = []
    for size in sizes:
        start = int(draw.integers(0, len(offsets) - size))
        texts.append(corpus[offsets[start][0] : offsets[start + size - 1][1]].strip() or "A blank.")
    lengths = [len(encoding) for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
    return Material(texts, lengths)


def ours(model_dir: Path, dtype: Any) -> Encode:
    encoder = load_encoder(model_dir, None, dtype=dtype)

    def encode(texts: Sequence[str]) -> tuple[float, Vectors]:
        began = time.perf_counter()
        vectors = encoder.encode(texts)
        return time.perf_counter() - began, vectors

    return encode


def plain(model_dir: Path, dtype: str) -> Encode:
    """Batches of 32 in the given order, padded to their longest, as a first try would do it."""
    import torch

    model = load_bidirectional(model_dir).to(getattr(torch, dtype))
    tokenizer = load_tokenizer(model_dir)
    tokenizer.enable_truncation(512)
    tokenizer.enable_padding()

    @torch.inference_mode()
    def encode(texts: Sequence[str]) -> tuple[float, Vectors]:
        began = time.perf_counter()
        rows = []
        for start in range(0, len(texts), 32):
            batch = tokenizer.encode_batch(list(texts[start : start + 32]), add_special_tokens=False)
            ids = torch.tensor([encoding.ids for encoding in batch])
            seen = torch.tensor([encoding.attention_mask for encoding in batch])
            states = model(input_ids=ids, attention_mask=seen).last_hidden_state
            weights = seen.to(states.dtype).unsqueeze(-1)
            rows.append(((states * weights).sum(dim=1) / weights.sum(dim=1)).float().numpy())
        return time.perf_counter() - began, np.concatenate(rows)

    return encode


def served(command: list[str], job: dict[str, Any]) -> Encode:
    """A contender in a process of its own, asked by a line and answering by one."""
    worker = subprocess.Popen(command, env=clean_environ(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def encode(texts: Sequence[str]) -> tuple[float, Vectors]:
        assert worker.stdin is not None
        assert worker.stdout is not None
        with tempfile.TemporaryDirectory() as scratch:
            output = Path(scratch) / "vectors.npy"
            worker.stdin.write(json.dumps({**job, "texts": list(texts), "output": str(output)}) + "\n")
            worker.stdin.flush()
            line = worker.stdout.readline()
            if not line:
                raise RuntimeError(f"{command[0]} ended with {worker.wait()}")
            return float(json.loads(line)["seconds"]), np.load(output)

    return encode


def contenders(model_dir: Path, cache: Path, without: Sequence[str]) -> dict[str, Encode]:
    found: dict[str, Encode] = {}
    if "official" not in without:
        python, folder = environment(cache), older_folder(model_dir, cache)
        for name, dtype in ((DEFAULT, None), ("official, bf16", "bfloat16")):
            found[name] = served([str(python), str(RUNNER)], {"model": str(folder), "dtype": dtype})
    found["batches of 32 as given, fp32"] = plain(model_dir, "float32")
    found["batches of 32 as given, bf16"] = plain(model_dir, "bfloat16")
    python = ROOT / ".venv-vllm" / "bin" / "python"
    if "vllm" not in without and python.is_file():
        found["vLLM pooling, bf16"] = served([str(python), str(VLLM_RUNNER)], {"model": str(model_dir)})
    found["Footnote, fp32"] = ours(model_dir, "float32")
    found["Footnote, bf16"] = ours(model_dir, "bfloat16")
    return found


def peak_flops() -> float:
    """What the machine multiplies a second in bf16, at a size that suits it: the best of some tries."""
    import torch

    left, right = (torch.ones(2048, 2048, dtype=torch.bfloat16) for _ in range(2))
    spent = []
    for _ in range(8):
        began = time.perf_counter()
        torch.mm(left, right)
        spent.append(time.perf_counter() - began)
    return float(2.0 * 2048**3 / min(spent))


def measure(encoders: dict[str, Encode], material: Material, rounds: int) -> tuple[dict[str, Any], list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in encoders}
    vectors: dict[str, Vectors] = {}
    peaks = []
    for encode in encoders.values():
        encode(material.texts[:8])  # loads and warms
    for number in range(rounds):
        peaks.append(peak_flops())
        for name, encode in encoders.items():
            spent_s, vectors[name] = encode(material.texts)
            seconds[name].append(spent_s)
            print(f"round {number + 1} of {rounds}: {name}, {spent_s:.1f} s", file=sys.stderr, flush=True)
    return {name: (seconds[name], vectors[name]) for name in encoders}, peaks


def cosine(one: Vectors, other: Vectors) -> float:
    """The least over rows."""
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return float(((one * other).sum(axis=1) / norms).min())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--without", default="", help="contenders to leave out: official, vllm")
    parser.add_argument("--cache", type=Path, default=CACHE, help=f"the official package's environment ({CACHE})")
    parser.add_argument("--models", type=Path, default=ROOT / ".footnote" / "models")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # of the contenders in their own processes
    import torch

    torch.set_num_threads(options.threads)
    model_dir = base_model_dir(options.models)
    material = mixed_texts(model_dir, options.texts)
    encoders = contenders(model_dir, options.cache, options.without.split(","))
    results, peaks = measure(encoders, material, options.rounds)
    config = load_bidirectional(model_dir).config
    rows = table(results, peaks, material, material.flops(config))
    told = {"bench": "encode", "texts": options.texts, "tokens": sum(material.lengths), "rounds": options.rounds}
    print(json.dumps({**told, "threads": options.threads, "peak_gflops": max(peaks) / 1e9, "rows": rows}))


def table(results: dict[str, Any], peaks: list[float], material: Material, flops: float) -> list[dict[str, Any]]:
    """Print and give one row for each contender."""
    tokens, (exact_s, exact) = sum(material.lengths), results.get(DEFAULT, results["Footnote, fp32"])
    rows: list[dict[str, Any]] = []
    print(f"{'':30} {'tokens/s':>9} {'times':>6} {'cosine':>9} {'peak':>5}")
    for name, (spent, vectors) in results.items():
        row = {
            "name": name,
            "tokens_per_s": round(tokens / statistics.median(spent)),
            "times": round(statistics.median(a / b for a, b in zip(exact_s, spent, strict=True)), 2),
            "cosine": round(cosine(vectors, exact), 6),
            "peak_share": round(statistics.median(flops / s / peak for s, peak in zip(spent, peaks, strict=True)), 3),
        }
        rows.append(row)
        shown = f"{row['tokens_per_s']:9} {row['times']:6.2f} {row['cosine']:9.6f} {row['peak_share']:5.0%}"
        print(f"{name:30} {shown}", flush=True)
    return rows


if __name__ == "__main__":
    main()

"""Runs inside the official package's environment (see official.py); imports nothing of Footnote.

python official_run.py JOB.json VECTORS.npz      encode every run of the job
python official_run.py                           serve: one JSON job a line on stdin, one answer a line on stdout
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from llm2vec import LLM2Vec

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, None: None}


def load(model, dtype):
    # Beside the type of numbers everything is the package's default, but for the limit: its own is 400 tokens.
    return LLM2Vec.from_pretrained(model, torch_dtype=DTYPES[dtype], max_length=512, doc_max_length=512)


def encode(model, texts, instruction="", pooling="mean", batch_size=32):
    model.pooling_mode = pooling
    given = [[instruction, text] for text in texts]
    return model.encode(given, batch_size=batch_size, show_progress_bar=False, convert_to_numpy=True, device="cpu")


def encode_job(job_file, output):
    job = json.loads(Path(job_file).read_text(encoding="utf-8"))
    model = load(job["model"], job.get("dtype", "float32"))
    arrays = [encode(model, run["texts"], run["instruction"], run["pooling"]) for run in job["runs"]]
    np.savez(output, **{f"run{index}": array for index, array in enumerate(arrays)})


def serve():
    models = {}
    for line in sys.stdin:
        job = json.loads(line)
        key = (job["model"], job["dtype"])
        if key not in models:
            models[key] = load(*key)
        began = time.perf_counter()
        vectors = encode(models[key], job["texts"])
        spent_s = time.perf_counter() - began
        if job.get("output"):
            np.save(job["output"], vectors)
        print(json.dumps({"seconds": spent_s}), flush=True)


if __name__ == "__main__":
    encode_job(*sys.argv[1:]) if len(sys.argv) == 3 else serve()

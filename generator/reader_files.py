"""The files of the reader: base model, adapter and its card, put together."""

import hashlib
import json
import shutil
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from generator.choice import ChoiceSettings, changed
from generator.reading import CHAT_TEMPLATE, READER_CARD
from indexer.errors import ModelError

READER_NAME = "smollm2-135m-reader"
_SHIPPED = Path(__file__).parent / "adapters" / READER_NAME
DEFAULT_READER: Path | None = _SHIPPED if (_SHIPPED / "adapter_model.safetensors").is_file() else None


def merged_reader_dir(model_dir: Path, cache_dir: Path) -> Path:
    """Give the folder of the reader as one plain fp32 model, merging base and shipped adapter on the first call.

    Its chat template writes what the adapter was trained on for one user's message (see generator/reading.py), without
    the system turn of SmolLM2's own.

    Raises:
        ModelError: the adapter is missing, or the folder cannot be written.
    """
    from indexer.llm2vec.loading import quiet_transformers
    from indexer.llm2vec.weights import HASH_FILE

    if DEFAULT_READER is None:
        raise ModelError(
            "The reader's adapter is not in this copy of Footnote.", "Restore generator/adapters from git."
        )
    target = cache_dir / f"{READER_NAME}-{fingerprint(DEFAULT_READER)}"
    if target.is_dir():
        return target
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix="merging-", dir=cache_dir) as name:
            scratch = Path(name) / target.name
            shutil.copytree(model_dir, scratch, ignore=shutil.ignore_patterns("*.safetensors", HASH_FILE))
            with quiet_transformers():
                merged(model_dir, DEFAULT_READER).save_pretrained(scratch)
            (scratch / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
            with suppress(FileExistsError):  # another process was faster
                scratch.rename(target)
    except OSError as error:
        raise ModelError(
            f"Cannot write the merged reader to {cache_dir}: {error.strerror or error}.",
            "Free 600 MB or make the folder writable, or set FOOTNOTE_HOME to another disk.",
        ) from error
    return target


def fingerprint(adapter: Path) -> str:
    """Tells readers apart that lie in folders of the same name: an evaluation must not go on with another one."""
    digest = hashlib.sha256()
    for name in ("adapter_model.safetensors", READER_CARD):
        if (adapter / name).is_file():
            digest.update((adapter / name).read_bytes())
    return digest.hexdigest()[:8]


def learned_choice(adapter: Path | None) -> ChoiceSettings:
    """The weights on an adapter's card; those of `ChoiceSettings` where it has none.

    Raises:
        ModelError: the card cannot be read.
    """
    if adapter is None or not (adapter / READER_CARD).is_file():
        return ChoiceSettings()
    try:
        card = json.loads((adapter / READER_CARD).read_text(encoding="utf-8"))
        return changed(ChoiceSettings(), card.get("choice", {}), str(adapter / READER_CARD))
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(
            f"Cannot read {adapter / READER_CARD}: {error}", "Take the adapter's files from one training run."
        ) from error


def merged(model_dir: Path, adapter: Path | None) -> Any:
    """Base model and adapter as one, in fp32: bfloat16 would round the adapter's small changes away.

    Raises:
        ModelError: a folder is missing or does not fit.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    from indexer.llm2vec.loading import check_weights
    from indexer.llm2vec.merge import merge_adapters

    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            model_dir,
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # reported below with the missing ones
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(
            f"Cannot load the embedded reader from {model_dir}: {error}",
            "Run `footnote doctor`; deleting the models folder makes Footnote convert the weights again.",
        ) from error
    check_weights(report, model_dir)
    model.config.is_causal = True
    return merge_adapters(model, [adapter] if adapter else [])

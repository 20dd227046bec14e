"""Encoders as others publish them: a base model, and adapters in folders that say how to pool and what to put around.

The layout is that of the McGill-NLP repositories: the folder of the MNTP adapter, then that of the SimCSE or the
supervised adapter, each with adapter_config.json, adapter_model.safetensors, and often a config.json (whose auto_map
names code that is never run here) and an llm2vec_config.json.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexer.errors import ModelError
from indexer.llm2vec.merge import ADAPTER_CONFIG, ENCODER_CONFIG, read_object
from indexer.llm2vec.pooling import POOLINGS, SHORT_NAMES, Pooling
from indexer.llm2vec.tokens import BARE, Frame

MODEL_CONFIG = "config.json"
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_HUB_FILES = ("*.json", "*.safetensors", "*.model", "vocab.txt", "pytorch_model*.bin", "adapter_model.bin")  # no *.py
_WEIGHTS = ("model.safetensors", "pytorch_model.bin", "adapter_model.safetensors", "adapter_model.bin")

_INSTRUCTED = Frame("[INST] ", " [/INST]")
_QWEN = Frame("<|im_start|>user\n", "<|im_end|>")
# By the base model that an adapter's config.json names: the chat marks that the official package trained it with.
_CHAT_FRAMES = {
    "meta-llama/Meta-Llama-3-8B-Instruct": Frame("<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>"),
    "mistralai/Mistral-7B-Instruct-v0.2": _INSTRUCTED,
    "meta-llama/Llama-2-7b-chat-hf": _INSTRUCTED,
    "google/gemma-2-9b-it": Frame("<bos><start_of_turn>user\n", "<end_of_turn>"),
    "Qwen/Qwen2-1.5B-Instruct": _QWEN,
    "Qwen/Qwen2-7B-Instruct": _QWEN,
}
# The end mark of eos_token pooling. The official package knows the first four kinds; it writes " </s>" for every Llama
# and Mistral, also where the tokenizer has no such token.
_END_MARKS = {"llama": " </s>", "mistral": " </s>", "gemma": "<eos>", "qwen2": "<|endoftext|>"}
_END_MARKS |= {"gemma2": "<eos>", "gemma3_text": "<eos>", "qwen3": "<|endoftext|>"}
_LLAMA_3 = "meta-llama/Meta-Llama-3-8B"


@dataclass(frozen=True, slots=True)
class Published:
    """What the adapters' folders say about encoding; None where they say nothing."""

    pooling: Pooling | None = None
    pool_instruction: bool = False
    base_name: str = ""


def locate(name: str | Path) -> Path:
    """Give the local folder of a model or adapter, fetching a hub name such as McGill-NLP/LLM2Vec-Sheared-LLaMA-mntp.

    Raises:
        ModelError: there is no such folder, and it is no hub name, or downloads are off, or the hub does not give it.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if not _HUB_NAME.fullmatch(str(name)):
        raise ModelError(f"There is no folder {name}.", "Correct the path of the model or adapter.")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    offline = is_offline()
    try:
        return Path(snapshot_download(str(name), allow_patterns=list(_HUB_FILES), local_files_only=offline))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        if offline:
            raise ModelError(
                f"{name} is no folder, and not in the cache of downloads; downloading is off (HF_HUB_OFFLINE=1).",
                "Set HF_HUB_OFFLINE=0 to fetch it once from the Hugging Face hub, or name a local folder.",
            ) from error
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"{name} is no folder, and the Hugging Face hub does not give it: {reason}",
            "Correct the name, or download it by other means and name the folder.",
        ) from error


def is_offline() -> bool:
    """Whether nothing may be fetched from the hub."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def cached(name: str) -> Path | None:
    """Folder of a hub name in the cache of downloads, if all of its weights are there; the hub is not asked."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, local_files_only=True))
    except (LocalEntryNotFoundError, OSError, ValueError):
        return None
    if not any((folder / config).is_file() for config in (MODEL_CONFIG, ADAPTER_CONFIG)):
        return None
    return folder if any(_is_whole(folder, name) for name in _WEIGHTS) else None


def _is_whole(folder: Path, weights: str) -> bool:
    """Whether weights of that name are there, in one file or in all the parts that an index names."""
    index, parts = f"{weights}.index.json", [weights]
    if (folder / index).is_file():
        try:
            parts = list(read_object(folder, index)["weight_map"].values())
        except (ModelError, KeyError, AttributeError):
            return False
    return all((folder / part).is_file() for part in parts)


def stack(model: str | Path, adapters: Sequence[str | Path]) -> tuple[Path, list[Path]]:
    """Resolve a model and the adapters on it to folders; a model that is itself an adapter brings its base.

    Raises:
        ModelError: a folder is missing, or adapters name each other in a circle.
    """
    folder = locate(model)
    folders = [locate(adapter) for adapter in adapters]
    met = [folder]
    while _is_adapter(folder):
        folders.insert(0, folder)
        base = read_object(folder, ADAPTER_CONFIG).get("base_model_name_or_path")
        if not base:
            raise ModelError(f"The adapter in {folder} does not say what it stands on.", "Name its base model instead.")
        beside = folder / str(base)  # a relative path may be meant from the adapter's own folder
        folder = beside if beside.is_dir() else locate(str(base))
        if folder.resolve() in [each.resolve() for each in met]:
            raise ModelError(f"The adapter in {folder} names itself as its base.", "Name its base model instead.")
        met.append(folder)
    return folder, folders


def _is_adapter(folder: Path) -> bool:
    weights = any(folder.glob("model*.safetensors")) or any(folder.glob("pytorch_model*.bin"))
    return (folder / ADAPTER_CONFIG).is_file() and not weights


def read_published(adapters: Sequence[Path]) -> Published:
    """Read what the adapters' folders say; the last one that speaks is right, as in the official package.

    Raises:
        ModelError: a file is damaged or names a pooling that does not exist.
    """
    said: dict[str, Any] = {}
    base_name = ""
    for adapter in adapters:
        if (adapter / ENCODER_CONFIG).is_file():
            said |= _read_encoder_config(adapter)
        if (adapter / MODEL_CONFIG).is_file():
            base_name = str(read_object(adapter, MODEL_CONFIG).get("_name_or_path") or base_name)
    pooling = named_pooling(said["pooling_mode"]) if "pooling_mode" in said else None
    return Published(pooling, said.get("skip_instruction") is False, base_name)


def _read_encoder_config(adapter: Path) -> Mapping[str, Any]:
    said = read_object(adapter, ENCODER_CONFIG)
    name = said.get("pooling_mode", "mean")
    if SHORT_NAMES.get(str(name), name) not in POOLINGS:
        raise ModelError(
            f"{adapter / ENCODER_CONFIG} names a pooling that does not exist: {name!r}.",
            f"Correct its pooling_mode to one of {', '.join(POOLINGS)}.",
        )
    return said


def named_pooling(name: str) -> Pooling:
    """Give the pooling of a name, which may be the short one.

    Raises:
        ModelError: there is none.
    """
    for pooling in POOLINGS:
        if SHORT_NAMES.get(name, name) == pooling:
            return pooling
    raise ModelError(f"There is no pooling {name!r}.", f"Set encoder.pooling to one of {', '.join(POOLINGS)}.")


def frame_of(model_type: str, base_name: str, pooling: Pooling) -> Frame:
    """What the official package puts around a text: chat marks by the base's name, an end mark by its kind."""
    chat = _CHAT_FRAMES.get(base_name, BARE)
    if pooling != "eos_token" or base_name == "meta-llama/Meta-Llama-3-8B-Instruct":
        return chat
    end = "<|end_of_text|>" if base_name == _LLAMA_3 else _END_MARKS.get(model_type, "")
    return Frame(chat.before, chat.after + end)

"""Folds adapters into the weights they were trained beside, so that serving costs no more than the base model."""

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from indexer.errors import ModelError

ADAPTER_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_OLD_WEIGHTS = "adapter_model.bin"  # read by PEFT
ENCODER_CONFIG = "llm2vec_config.json"  # beside an adapter: what an encoder must know and PEFT does not
_PREFIX, _DOWN, _UP = "base_model.model.", ".lora_A.weight", ".lora_B.weight"
# What a config may say without making the merged weights anything but W + alpha / r * B A.
_PLAIN = {"auto_mapping", "base_model_name_or_path", "exclude_modules", "inference_mode", "init_lora_weights"}
_PLAIN |= {"layers_pattern", "layers_to_transform", "lora_alpha", "lora_dropout", "megatron_core", "peft_type"}
_PLAIN |= {"peft_version", "qalora_group_size", "r", "revision", "target_modules", "task_type"}


def merge_adapters(model: Any, adapters: Sequence[Path]) -> Any:
    """Fold PEFT adapters into the fp32 weights, one after the other, and give the plain model back.

    Plain LoRA (Hu et al. 2021, arXiv:2106.09685) is added here: importing PEFT takes longer than all the rest of a
    search. Every other kind of adapter goes through PEFT.

    Raises:
        ModelError: a folder is no adapter, does not fit this model, or would leave it with numbers that are none.
    """
    is_causal = model.config.is_causal
    for adapter in adapters:
        config = read_object(adapter, ADAPTER_CONFIG)
        if not any((adapter / name).is_file() for name in (_WEIGHTS, _OLD_WEIGHTS)):
            raise ModelError(f"{adapter} is no adapter: it holds no {_WEIGHTS}.", "Fetch the adapter again, whole.")
        try:
            model = _add(model, adapter, config) if _is_plain(adapter, config) else _merge_with_peft(model, adapter)
        except (OSError, ValueError, TypeError, RuntimeError, LookupError, ArithmeticError, AttributeError) as error:
            raise ModelError(
                f"The adapter in {adapter} does not fit the model: {error}",
                "Name an adapter that was trained on this model.",
            ) from error
    # PEFT rebuilds the model around the same config; an adapter's own settings must not switch attention back.
    model.config.is_causal = is_causal
    return model.eval()


def kept_layers(adapters: Sequence[Path]) -> int | None:
    """How many layers of the base model the adapters were trained on; None for all.

    Raises:
        ModelError: an adapter's llm2vec_config.json cannot be read, or two adapters disagree.
    """
    wanted = {}
    for adapter in adapters:
        if not (adapter / ENCODER_CONFIG).is_file():
            continue
        layers = read_object(adapter, ENCODER_CONFIG).get("layers")
        if layers is not None:
            wanted[adapter] = layers
    if len(set(wanted.values())) > 1 or not all(type(layers) is int for layers in wanted.values()):
        told = ", ".join(f"{adapter} keeps {layers!r}" for adapter, layers in wanted.items())
        raise ModelError(
            f"The adapters do not say how many layers to keep: {told}.", "Name adapters that belong together."
        )
    return next(iter(wanted.values()), None)


def write_encoder_config(adapter: Path, layers: int | None) -> None:
    """Leave beside an adapter what `kept_layers` reads; nothing when it was trained on all layers."""
    if layers is not None:
        (adapter / ENCODER_CONFIG).write_text(json.dumps({"layers": layers}) + "\n", encoding="utf-8")


def read_object(adapter: Path, file: str) -> Mapping[str, Any]:
    """Read a JSON object that lies in an adapter's folder.

    Raises:
        ModelError: it is missing or damaged.
    """
    try:
        config = json.loads((adapter / file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{adapter} is no adapter: {file} cannot be read ({error}).", "Name a PEFT adapter's folder."
        ) from error
    if not isinstance(config, dict):
        raise ModelError(f"{adapter} is no adapter: {file} is no object.", "Name a PEFT adapter's folder.")
    return config


def _is_plain(adapter: Path, config: Mapping[str, Any]) -> bool:
    return (
        config.get("peft_type") == "LORA"
        and config.get("init_lora_weights") in (True, False, "gaussian")  # others start from changed base weights
        and all(
            not value or value == "none" for key, value in config.items() if key not in _PLAIN | {"init_lora_weights"}
        )
        and (adapter / _WEIGHTS).is_file()
    )


def _add(model: Any, adapter: Path, config: Mapping[str, Any]) -> Any:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights = load_file(adapter / _WEIGHTS)
    except SafetensorError as error:
        raise ValueError(f"{_WEIGHTS} is damaged: {error}") from error
    scale = float(config["lora_alpha"]) / int(config["r"])
    names = {name.removesuffix(_DOWN) for name in weights if name.endswith(_DOWN)}
    unknown = set(weights) - {name + end for name in names for end in (_DOWN, _UP)}
    if unknown or not names:
        raise ValueError(f"{_WEIGHTS} holds {', '.join(sorted(unknown)[:3]) or 'nothing'}, which is no LoRA weight")
    with torch.no_grad():
        for name in sorted(names):
            weight = model.get_parameter(name.removeprefix(_PREFIX) + ".weight")
            up, down = weights[name + _UP].float(), weights[name + _DOWN].float()  # (out, r), (r, in)
            if not (up.isfinite().all() and down.isfinite().all()):
                raise ValueError(f"{name} holds numbers that are none (NaN or infinite)")
            # Not in place: the weights are pages of their file, and changing those copies them one by one.
            weight.data = torch.addmm(weight, up, down, alpha=scale)
    return model


def _merge_with_peft(model: Any, adapter: Path) -> Any:
    from peft import PeftModel

    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Found missing adapter keys")  # and half an adapter is none
        try:
            return PeftModel.from_pretrained(model, adapter).merge_and_unload(safe_merge=True)
        except UserWarning as error:
            raise ValueError(str(error)) from error

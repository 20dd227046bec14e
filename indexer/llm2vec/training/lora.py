"""LoRA (Hu et al., 2021) on every projection of the decoder: PEFT's parameters and files, a leaner forward."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import MethodType
from typing import Any

import torch
from torch import Tensor

from indexer.errors import ModelError
from indexer.llm2vec.training.lean import LowRankLinear, RootMeanSquareNorm

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
PLAIN_NORMS = ("LlamaRMSNorm", "MistralRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm")  # Gemma's is another formula


def add_lora(model: Any, *, rank: int, alpha: int, base_name: str) -> Any:
    """Wrap the model in PEFT with fp32 LoRA parameters on all seven projections; everything else is frozen."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules=list(PROJECTIONS), bias="none")
    wrapped = get_peft_model(model, config)
    for module in wrapped.modules():
        if hasattr(module, "lora_A") and hasattr(module, "base_layer"):
            module.forward = MethodType(_low_rank_forward, module)
        elif type(module).__name__ in PLAIN_NORMS:
            module.forward = MethodType(_norm_forward, module)
    wrapped.peft_config["default"].base_model_name_or_path = base_name  # and not where it lay on this disk
    wrapped.config.is_causal = False
    return wrapped


def _low_rank_forward(layer: Any, x: Tensor) -> Tensor:
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    return LowRankLinear.apply(x, layer.base_layer.weight, a, b, layer.scaling["default"])  # type: ignore[no-untyped-call, no-any-return]


def _norm_forward(norm: Any, x: Tensor) -> Tensor:
    return RootMeanSquareNorm.apply(x, norm.weight, norm.variance_epsilon)  # type: ignore[no-untyped-call, no-any-return]


def lora_parameters(model: Any) -> Iterator[tuple[str, torch.nn.Parameter]]:
    """Name and parameter of everything that learns."""
    return ((name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad)


def save_adapter(model: Any, folder: Path) -> None:
    """Write a stock PEFT adapter folder, in bfloat16: half the bytes, and the encoder casts to it anyway."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    state = {
        name: value.detach().to(torch.bfloat16).contiguous()
        for name, value in get_peft_model_state_dict(model, save_embedding_layers=False).items()
    }
    model.peft_config["default"].inference_mode = True
    model.peft_config["default"].save_pretrained(folder)
    model.peft_config["default"].inference_mode = False
    save_file(state, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    (folder / "adapter_model.safetensors").chmod(0o644)  # safetensors writes for the owner alone


def adapter_shape(folder: Path) -> tuple[int, int]:
    """Rank and alpha of a plain LoRA adapter, as `save_adapter` writes it.

    Raises:
        ModelError: the folder holds no such adapter.
    """
    remedy = "Name a folder that `footnote train` made."
    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        shape = int(config["r"]), int(config["lora_alpha"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder} holds no adapter to go on from: {error!r}", remedy) from error
    if config.get("peft_type") != "LORA" or any(config.get(key) for key in ("use_rslora", "use_dora", "rank_pattern")):
        raise ModelError(f"The adapter in {folder} is no plain LoRA and cannot go on learning.", remedy)
    return shape


def load_adapter(model: Any, folder: Path) -> None:
    """Give the learning parameters the values of an adapter of the same shape.

    Raises:
        ModelError: the adapter's weights are missing or damaged, or belong to another model.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    remedy = "Name an adapter that was trained on this model."
    try:
        weights = load_file(folder / "adapter_model.safetensors")
    except (OSError, SafetensorError) as error:
        raise ModelError(f"Cannot read the adapter in {folder}: {error}", remedy) from error
    learned = {name.replace(".default.", "."): parameter for name, parameter in lora_parameters(model)}
    shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
    if shapes != {name: tuple(parameter.shape) for name, parameter in learned.items()}:
        raise ModelError(f"The adapter in {folder} does not fit the model.", remedy)
    with torch.no_grad():
        for name, parameter in learned.items():
            parameter.copy_(weights[name])

"""Adapters of every kind are folded in as PEFT itself folds them, and bad ones are refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaModel

from indexer.errors import ModelError
from indexer.llm2vec import merge
from indexer.llm2vec.merge import merge_adapters

WEIGHTS = "adapter_model.safetensors"


def tiny() -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, vocab_size=50
    )
    config.is_causal = False
    return LlamaModel(config).eval()


def adapter(folder: Path, **settings: Any) -> Path:
    """A random adapter for the tiny model, as PEFT saves it."""
    config = LoraConfig(r=4, lora_alpha=12, target_modules=["q_proj", "down_proj"], **settings)
    model = get_peft_model(tiny(), config)
    torch.manual_seed(len(str(folder)))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.2)
    model.save_pretrained(folder)
    return folder


def states(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return torch.as_tensor(model(torch.arange(9)[None]).last_hidden_state)


@pytest.mark.parametrize(
    ("settings", "by_peft"),
    [({}, False), ({"init_lora_weights": "gaussian"}, False), ({"use_rslora": True}, True), ({"use_dora": True}, True),
     ({"rank_pattern": {"q_proj": 2}}, True)],
)  # fmt: skip
def test_a_merged_model_computes_what_peft_computes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], by_peft: bool
) -> None:
    folder = adapter(tmp_path / "adapter", **settings)
    seen: list[Path] = []
    original = merge._merge_with_peft
    monkeypatch.setattr(merge, "_merge_with_peft", lambda model, path: (seen.append(path), original(model, path))[1])
    merged = states(merge_adapters(tiny(), [folder]))
    assert torch.allclose(merged, states(PeftModel.from_pretrained(tiny(), folder).eval()), atol=1e-5)
    assert not torch.allclose(merged, states(tiny()), atol=1e-2)
    assert bool(seen) == by_peft


def test_several_adapters_are_merged_in_order(tmp_path: Path) -> None:
    folders = [adapter(tmp_path / name) for name in ("a", "second")]
    expected = tiny()
    for folder in folders:
        expected = PeftModel.from_pretrained(expected, folder).merge_and_unload()
    merged = merge_adapters(tiny(), folders)
    assert torch.allclose(states(merged), states(expected.eval()), atol=1e-5)
    assert merged.config.is_causal is False


def _damage(folder: Path, how: str) -> None:
    weights = load_file(folder / WEIGHTS)
    name = next(iter(weights))
    if how == "nan":
        weights[name][0, 0] = float("nan")
    elif how == "half":
        del weights[name]
    elif how == "foreign":
        weights = {key.replace("layers.1", "layers.7"): value for key, value in weights.items()}
    elif how == "shape":
        weights = {key: value.repeat(1, 2) for key, value in weights.items()}
    elif how == "empty":
        weights = {}
    save_file(weights, folder / WEIGHTS)
    if how == "torn":
        (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:50])
    if how == "config":
        (folder / "adapter_config.json").write_text(json.dumps([1]))


@pytest.mark.parametrize("how", ["nan", "half", "foreign", "shape", "empty", "torn", "config"])
def test_a_bad_adapter_is_refused_by_name(tmp_path: Path, how: str) -> None:
    folder = adapter(tmp_path / "bad")
    _damage(folder, how)
    with pytest.raises(ModelError, match="bad"):
        merge_adapters(tiny(), [folder])


def test_a_folder_without_an_adapter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is no adapter"):
        merge_adapters(tiny(), [tmp_path])

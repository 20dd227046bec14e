"""Averages of adapters, by hand, and what cannot be averaged."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from indexer.errors import ConfigError, ModelError
from indexer.llm2vec.training.average import average_adapters


def adapter(folder: Path, value: float, rank: int = 2, name: str = "x.lora_A.weight") -> Path:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": rank, "lora_alpha": 4}))
    save_file({name: torch.full((rank, 3), value, dtype=torch.bfloat16)}, folder / "adapter_model.safetensors")
    return folder


def test_the_mean_is_taken_number_by_number(tmp_path: Path) -> None:
    folders = [adapter(tmp_path / str(value), value) for value in (1.0, 2.0, 6.0)]
    average_adapters(folders, tmp_path / "mean")
    weights = load_file(tmp_path / "mean" / "adapter_model.safetensors")
    assert weights["x.lora_A.weight"].tolist() == [[3.0] * 3] * 2
    assert weights["x.lora_A.weight"].dtype == torch.bfloat16
    assert json.loads((tmp_path / "mean" / "adapter_config.json").read_text())["r"] == 2


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    one = adapter(tmp_path / "one", 1.0)
    for other, said in (
        (adapter(tmp_path / "rank", 1.0, rank=4), "differ in rank"),
        (adapter(tmp_path / "name", 1.0, name="y.lora_A.weight"), "other matrices"),
    ):
        with pytest.raises(ModelError, match=said):
            average_adapters([one, other], tmp_path / "mean")
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn/adapter_config.json").write_text((one / "adapter_config.json").read_text())
    with pytest.raises(ModelError, match="Cannot read an adapter"):
        average_adapters([one, tmp_path / "torn"], tmp_path / "mean")
    assert not (tmp_path / "mean").exists()


def test_one_adapter_or_a_folder_that_is_there(tmp_path: Path) -> None:
    one, two = adapter(tmp_path / "one", 1.0), adapter(tmp_path / "two", 2.0)
    with pytest.raises(ConfigError, match="no average"):
        average_adapters([one], tmp_path / "mean")
    with pytest.raises(ConfigError, match="is there already"):
        average_adapters([one, two], two)

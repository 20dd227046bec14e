"""Averaging adapters that learned from one another: often better than each of them alone."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from indexer.errors import ConfigError, ModelError
from indexer.llm2vec.merge import kept_layers, write_encoder_config
from indexer.llm2vec.training.lora import adapter_shape


def average_adapters(folders: Sequence[Path], out: Path) -> None:
    """Write the mean of plain LoRA adapters of one shape (Wortsman et al. 2022, arXiv:2203.05482: model soups).

    The matrices are averaged one by one, which is close to the mean of their products only where the adapters are near
    to each other: where one went on from the other, or both from a third.

    Raises:
        ConfigError: `out` is there already, or there are fewer than two adapters.
        ModelError: an adapter cannot be read, or they are of different shapes.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file, save_file

    if len(folders) < 2:
        raise ConfigError("One adapter has no average.", "Name two or more.")
    if out.exists():
        raise ConfigError(f"{out} is there already.", "Name a new folder.")
    remedy = "Average adapters that went on from one another."
    layers = {kept_layers([folder]) for folder in folders}
    if len({adapter_shape(folder) for folder in folders}) > 1 or len(layers) > 1:
        raise ModelError(f"{folders[0]} and the others differ in rank, alpha or layers.", remedy)
    try:
        weights = [load_file(folder / "adapter_model.safetensors") for folder in folders]
    except (OSError, SafetensorError) as error:
        raise ModelError(f"Cannot read an adapter: {error}", remedy) from error
    shapes = [{name: tuple(value.shape) for name, value in part.items()} for part in weights]
    if any(shape != shapes[0] for shape in shapes):
        raise ModelError(f"{folders[0]} and the others have other matrices.", remedy)
    mean = {
        name: (sum(part[name].float() for part in weights) / len(weights)).to(value.dtype).contiguous()  # type: ignore[union-attr]
        for name, value in weights[0].items()
    }
    out.mkdir(parents=True)
    shutil.copy(folders[0] / "adapter_config.json", out)
    write_encoder_config(out, layers.pop())
    save_file(mean, out / "adapter_model.safetensors", metadata={"format": "pt"})
    (out / "adapter_model.safetensors").chmod(0o644)  # safetensors writes for the owner alone

"""From folders of weights to a bidirectional model in memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from indexer.errors import ModelError

if TYPE_CHECKING:
    import torch

DType = Literal["auto", "float32", "bfloat16"]
DTYPES: tuple[DType, ...] = ("auto", "float32", "bfloat16")


def load_bidirectional(model_dir: Path, *, attention_dropout: float = 0.0) -> Any:
    """Load a decoder without its language-model head, in fp32, every token attending to every other.

    Raises:
        ModelError: the folder is no model, or of a kind transformers does not know.
    """
    import torch
    from transformers import AutoModel

    try:
        with quiet_transformers():
            model = AutoModel.from_pretrained(
                model_dir, dtype=torch.float32, local_files_only=True, attention_dropout=attention_dropout
            )
    except (OSError, ValueError) as error:
        raise ModelError(
            f"Cannot load the model in {model_dir}: {error}", "Name a folder that transformers loads."
        ) from error
    # The whole switch of LLM2Vec in transformers 5. It must be set here: from_pretrained would drop it.
    model.config.is_causal = False
    model.config.use_cache = False
    return model.eval()


def pick_device(device: str) -> "torch.device":
    """Resolve `auto` to the GPU if there is one."""
    import torch

    if device != "auto":
        return torch.device(device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def pick_dtype(dtype: DType, device: "torch.device") -> "torch.dtype":
    """Resolve `auto` to bfloat16 where the processor multiplies it natively, else float32."""
    import torch

    if dtype != "auto":
        return torch.float32 if dtype == "float32" else torch.bfloat16
    native = torch.cuda.is_bf16_supported() if device.type == "cuda" else _cpu_has_bfloat16()
    return torch.bfloat16 if native else torch.float32


def _cpu_has_bfloat16() -> bool:
    import torch

    # Torch has no public question for this; both answers are one cpuid away.
    probes = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, probe, bool)() for probe in probes)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence the loader's progress bars, which would mix with the CLI's own output."""
    from transformers.utils import logging as transformers_logging

    was_on = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_on:
            transformers_logging.enable_progress_bar()

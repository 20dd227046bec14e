"""From folders of weights to a bidirectional model in memory."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from indexer.errors import ModelError

if TYPE_CHECKING:
    import torch

DType = Literal["auto", "float32", "bfloat16"]
DTYPES: tuple[DType, ...] = ("auto", "float32", "bfloat16")


def load_bidirectional(model_dir: Path, *, layers: int | None = None, attention_dropout: float = 0.0) -> Any:
    """Load a decoder without its language-model head, in fp32, every token attending to every other.

    `layers` keeps that many from the bottom, final norm included: an encoder needs fewer than a generator.
    Code that lies in the folder or is named by its config (auto_map) is never run.

    A sliding window that every layer shares (Mistral 7B v0.1) is taken off: the official llm2vec attends fully there.
    Where only some layers slide (Gemma 2 and 3, Qwen), it stays, reaching as far forward as back: those layers have
    never related distant tokens, some with a rotary base for short distances, and the others see everything.

    Raises:
        ModelError: the folder is no model, of a kind transformers does not know, lacks weights, or has fewer layers.
    """
    import torch
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModel

    try:
        with quiet_transformers(warnings=False):  # a table of weights that an encoder has no use for
            # Left unsaid, trust_remote_code would ask on the terminal and wait.
            config = AutoConfig.from_pretrained(
                model_dir, local_files_only=True, trust_remote_code=False, attention_dropout=attention_dropout
            )
            _check_decoder(config, model_dir)
            _attend_fully(config)
            if layers is not None:
                _keep_layers(config, layers, model_dir)
            model, report = AutoModel.from_pretrained(
                model_dir,
                config=config,
                dtype=torch.float32,
                local_files_only=True,
                trust_remote_code=False,
                ignore_mismatched_sizes=True,  # reported below with the missing ones
                output_loading_info=True,
            )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError, StrictDataclassError) as error:
        raise ModelError(
            f"Cannot load the model in {model_dir}: {error}", "Name a folder that transformers loads."
        ) from error
    check_weights(report, model_dir)
    # The whole switch of LLM2Vec in transformers 5. It must be set here: from_pretrained would drop it.
    model.config.is_causal = False
    model.config.use_cache = False
    return model.eval()


def _check_decoder(config: Any, model_dir: Path) -> None:
    if getattr(config, "hidden_size", None) is None or getattr(config, "num_hidden_layers", None) is None:
        raise ModelError(
            f"{model_dir} holds a {config.model_type} model, which is no plain text decoder.",
            "Name a decoder such as Llama, Mistral, Qwen or Gemma; of a multimodal model, its text part.",
        )


def check_weights(report: Mapping[str, Any], model_dir: Path) -> None:
    """Refuse a model of which weights are missing or of another size than its config.json says.

    `report` is what `from_pretrained` gives with `output_loading_info`.

    Raises:
        ModelError: it names the first of them.
    """
    # Transformers would fill the gaps with random numbers and go on.
    lost = sorted({*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])})
    if lost:
        more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
        raise ModelError(
            f"The weights in {model_dir} do not fit its config.json: {', '.join(lost[:3])}{more} are missing or of "
            "another size.",
            "Fetch the model's folder again, whole.",
        )


def _attend_fully(config: Any) -> None:
    kinds = getattr(config, "layer_types", None)
    if kinds is None:
        if getattr(config, "sliding_window", None) is not None:
            config.sliding_window = None
    elif set(kinds) == {"sliding_attention"}:
        config.layer_types = ["full_attention"] * len(kinds)


def _keep_layers(config: Any, layers: int, model_dir: Path) -> None:
    if not 1 <= layers <= config.num_hidden_layers:
        raise ModelError(
            f"{model_dir} has {config.num_hidden_layers} layers and cannot keep {layers}.",
            "Name an adapter that was trained on this model.",
        )
    config.num_hidden_layers = layers
    if getattr(config, "layer_types", None):  # which layers slide a window, one entry each
        config.layer_types = config.layer_types[:layers]


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


def cpu_dtype() -> Literal["float32", "bfloat16"]:
    """Say which of the two this processor multiplies faster: emulated bfloat16 takes five times as long as float32."""
    return "bfloat16" if _cpu_has_bfloat16() else "float32"


def _cpu_has_bfloat16() -> bool:
    import torch

    # Torch has no public question for this; both answers are one cpuid away.
    probes = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, probe, bool)() for probe in probes)


@contextmanager
def quiet_transformers(*, warnings: bool = True) -> Iterator[None]:
    """Silence the loader's progress bars, which would mix with the CLI's own output; without `warnings` those too."""
    from transformers.utils import logging as transformers_logging

    was_on, verbosity = transformers_logging.is_progress_bar_enabled(), transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    if not warnings:
        transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if was_on:
            transformers_logging.enable_progress_bar()

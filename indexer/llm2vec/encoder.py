"""The LLM2Vec encoder: texts in, unit vectors out."""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from indexer.encoder import Vectors
from indexer.errors import ModelError
from indexer.llm2vec.batches import batches_by_length, map_batches, pad_right, pick_batch_tokens
from indexer.llm2vec.fused import fuse
from indexer.llm2vec.loading import DType, load_bidirectional, pick_device, pick_dtype
from indexer.llm2vec.merge import kept_layers, merge_adapters
from indexer.llm2vec.pooling import Pooling, pool
from indexer.llm2vec.published import frame_of, named_pooling, read_published, stack
from indexer.llm2vec.tokens import BARE, Frame, TokenizedText, count_tokens, load_tokenizer, tokenize
from indexer.llm2vec.weights import weights_hash

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

logger = logging.getLogger(__name__)

ENCODING_VERSION = "1"  # raise when the same weights and settings begin to give other vectors
TOKENIZE_AT_ONCE = 2048
Forward = Callable[["torch.Tensor", "torch.Tensor | None"], "torch.Tensor"]  # ids and mask (B, T) to states (B, T, D)
_OLD_NAMES = {"last_token": "eos", "bos_token": "bos"}  # of poolings, in fingerprints


@dataclass(frozen=True, slots=True)
class EncoderSettings:
    """What, beside the weights, decides a vector."""

    pooling: Pooling = "mean"
    query_instruction: str = ""
    max_tokens: int = 512
    batch_tokens: int = 1024  # padding included; how much work one step takes, without effect on the vectors
    dim: int | None = None  # keep that many of the leading numbers (Kusupati et al. 2022, arXiv:2205.13147)
    pool_instruction: bool = False
    frame: Frame = BARE


class LLM2VecEncoder:
    """An Encoder over a bidirectional decoder. Immutable after construction, so threads may share it.

    `model` is that decoder, in fp32, as `load_bidirectional` gives it; it computes in `dtype` afterwards.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: "Tokenizer",
        settings: EncoderSettings,
        weights: str,
        dtype: "torch.dtype | None" = None,
    ) -> None:
        self._device = model.device
        self._states = _forward(model, dtype or model.dtype)
        self._tokenizer = tokenizer
        self._settings = settings
        self._dim = settings.dim or int(model.config.hidden_size)
        self._fingerprint = _fingerprint(settings, weights, self._dim)
        self._around = tokenizer.num_special_tokens_to_add(False)
        if settings.frame != BARE:
            self._around += sum(count_tokens(tokenizer, [settings.frame.before, settings.frame.after]))

    @property
    def fingerprint(self) -> str:
        """Hash of everything that changes a vector. The number type is left out: its effect is rounding."""
        return self._fingerprint

    @property
    def dim(self) -> int:
        """Length of one vector."""
        return self._dim

    @property
    def query_instruction(self) -> str:
        """Instruction to give with queries; passages are encoded without one."""
        return self._settings.query_instruction

    @property
    def max_tokens(self) -> int:
        """Most tokens of a text, as `count_tokens` counts them, that reach the model; the rest is cut."""
        return self._settings.max_tokens - self._around

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, without special tokens."""
        return count_tokens(self._tokenizer, texts)

    def encode(
        self,
        texts: Sequence[str],
        instruction: str = "",
        on_progress: Callable[[int], None] | None = None,
    ) -> Vectors:
        """Encode to unit rows (len(texts), dim). Longer texts are cut at max_tokens, which is logged.

        Raises:
            ModelError: a text is empty or only whitespace, or the model gives numbers that are not finite.
        """
        check_not_blank(texts)
        vectors = np.empty((len(texts), self._dim), dtype=np.float32)
        start = done = cut = 0
        for tokenized in self._tokenize_ahead(texts, instruction):
            batches = list(batches_by_length([len(text.ids) for text in tokenized], self._settings.batch_tokens))
            for rows, made in map_batches(partial(self._encode_rows, tokenized), batches, self._device):
                vectors[[start + row for row in rows]] = made
                done += len(rows)
                if on_progress:
                    on_progress(done)
            cut += sum(text.truncated for text in tokenized)
            start += len(tokenized)
        if cut:
            limit = self._settings.max_tokens
            logger.warning("%d of %d texts are longer than %d tokens and were cut", cut, len(texts), limit)
        return unit_rows(vectors)

    def _tokenize_ahead(self, texts: Sequence[str], instruction: str) -> Iterator[list[TokenizedText]]:
        """Tokenise some thousands of texts at a time, the next of them while the model is at work on these."""
        with ThreadPoolExecutor(1, thread_name_prefix="tokenize") as worker:
            ready: Future[list[TokenizedText]] | None = None
            for start in range(0, len(texts), TOKENIZE_AT_ONCE):
                coming = worker.submit(self._tokenize, texts[start : start + TOKENIZE_AT_ONCE], instruction)
                if ready is not None:
                    yield ready.result()
                ready = coming
            if ready is not None:
                yield ready.result()

    def _tokenize(self, texts: Sequence[str], instruction: str) -> list[TokenizedText]:
        settings = self._settings
        tokenized = tokenize(self._tokenizer, texts, instruction, settings.max_tokens, settings.frame)
        if settings.pool_instruction:
            return [replace(text, own=len(text.ids)) for text in tokenized]
        return tokenized

    def _encode_rows(self, tokenized: Sequence[TokenizedText], rows: Sequence[int]) -> Vectors:
        import torch

        batch = [tokenized[row] for row in rows]
        ids, seen, own = pad_right(batch, self._device)
        with torch.inference_mode():
            states = self._states(ids, seen)
            pooled: Vectors = pool(states, own, self._settings.pooling, seen).cpu().numpy()
        return pooled[:, : self._dim]


def load_encoder(
    model: str | Path,
    adapter: str | Path | Sequence[str | Path] | None,
    *,
    pooling: str = "auto",
    query_instruction: str = "",
    max_tokens: int = 512,
    dim: int | None = None,
    dtype: DType = "auto",
    device: str = "auto",
    batch_tokens: int = 0,
    causal: bool = False,
) -> LLM2VecEncoder:
    """Load a decoder, fold adapters into it in the order given, and make it an encoder.

    `model` and `adapter` are folders or names on the Hugging Face hub. A `model` that is itself an adapter (as the
    published MNTP ones are) brings the base that it names. The pooling `auto` is what the adapters' folders say, else
    mean; what else they say (llm2vec_config.json, chat marks of the base) is followed. `dim` keeps that many leading
    numbers of each vector, which is made a unit again. `batch_tokens` of 0 chooses what suits the device. A `causal`
    decoder is left as it was pretrained, each token seeing only those before it: what LLM2Vec is compared with.

    Raises:
        ModelError: a folder is missing or damaged, or a setting names something that does not exist.
    """
    adapters = [adapter] if isinstance(adapter, str | Path) else list(adapter or ())
    model_dir, folders = stack(model, adapters)
    published = read_published(folders)
    chosen = (published.pooling or "mean") if pooling == "auto" else named_pooling(pooling)
    tokenizer = load_tokenizer(model_dir)
    layers = kept_layers(folders)
    decoder = merge_adapters(load_bidirectional(model_dir, layers=layers), folders)
    _check_dim(dim, decoder.config.hidden_size)
    place = pick_device(device)
    decoder = decoder.to(place).requires_grad_(False)
    weights = "+".join([weights_hash(model_dir), *(_adapter_hash(folder) for folder in folders)])
    if layers is not None:
        weights += f"/{layers}"
    if causal:
        decoder.config.is_causal = True
        weights += "/causal"
    frame = frame_of(decoder.config.model_type, published.base_name, chosen)
    settings = EncoderSettings(
        chosen,
        query_instruction,
        max_tokens,
        batch_tokens or pick_batch_tokens(place),
        dim,
        published.pool_instruction,
        frame,
    )
    return LLM2VecEncoder(decoder, tokenizer, settings, weights, pick_dtype(dtype, place))


def _forward(model: Any, dtype: "torch.dtype") -> Forward:
    """The fused pass on a processor where the model allows it, else the stock one."""
    fused = fuse(model, dtype) if model.device.type == "cpu" else None
    if fused is not None:
        return fused
    model = model.to(dtype)
    return lambda ids, seen: model(input_ids=ids, attention_mask=seen).last_hidden_state


def _check_dim(dim: int | None, hidden: int) -> None:
    if dim is not None and not 1 <= dim <= hidden:
        raise ModelError(f"The model's vectors hold {hidden} numbers, not {dim}.", "Lower encoder.dim.")


def check_not_blank(texts: Sequence[str]) -> None:
    """Refuse a text without words by its number.

    Raises:
        ModelError: a text is empty or only whitespace.
    """
    for index, text in enumerate(texts):
        if not text.strip():
            raise ModelError(f"Text {index} of {len(texts)} is empty and has no meaning to encode.", "Leave it out.")


def unit_rows(vectors: Vectors) -> Vectors:
    """Make each row a unit.

    Raises:
        ModelError: a number is not finite.
    """
    if not np.isfinite(vectors).all():
        raise ModelError("The model gave numbers that are not finite.", "Set encoder.dtype to float32.")
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vectors = vectors / np.maximum(norms, np.finfo(np.float32).tiny)
    return unit


def _fingerprint(settings: EncoderSettings, weights: str, dim: int) -> str:
    facts = {
        "weights": weights,
        "pooling": _OLD_NAMES.get(settings.pooling, settings.pooling),
        "instruction": settings.query_instruction,
        "max_tokens": settings.max_tokens,
        "dim": dim,
        "version": ENCODING_VERSION,
    }
    # Named only where they depart from what was once the only way, so that collections built then stay valid.
    if settings.frame != BARE:
        facts["frame"] = [settings.frame.before, settings.frame.after]
    if settings.pool_instruction:
        facts["pool_instruction"] = True
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def _adapter_hash(folder: Path) -> str:
    config = json.loads((folder / "adapter_config.json").read_text())
    strength = [config.get(key) for key in ("r", "lora_alpha", "use_rslora", "alpha_pattern", "rank_pattern")]
    return f"{weights_hash(folder)}:{json.dumps(strength, sort_keys=True)}"

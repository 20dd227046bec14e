"""A sentence-transformers model as an Encoder, with stock classes: a baseline beside LLM2Vec, and a teacher."""

import hashlib
import importlib.util
import json
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from indexer.encoder import Vectors
from indexer.errors import ModelError
from indexer.llm2vec.batches import batches_by_length, map_batches, pick_batch_tokens
from indexer.llm2vec.encoder import check_not_blank, unit_rows
from indexer.llm2vec.loading import DType, check_weights, pick_device, pick_dtype, quiet_transformers
from indexer.llm2vec.tokens import count_tokens, load_tokenizer, well_formed
from indexer.llm2vec.weights import weights_hash

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_POOLINGS = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
_UNUSED = ("pooler.",)  # BERT's own pooling, which these models seldom keep
_REMEDY = "Name a folder that sentence-transformers saved, or an installed package that carries one."


class SentenceTransformer:
    """Encodes as the model's modules.json says: all tokens or the first one, special tokens included; unit rows.

    Stored models leave normalisation out or in; here every row is a unit, as an Encoder's are. An instruction is put
    before the text and pooled with it. Thread-safe.

    Raises:
        ModelError: the folder is no such model, or pools in a way that is not known here.
    """

    query_instruction = ""

    def __init__(self, folder: Path, *, dtype: DType = "float32", device: str = "auto", batch_tokens: int = 0) -> None:
        self.name = model_name(folder)
        self._hash = weights_hash(folder)
        self._pooling = _pooling_of(folder)
        self._device = pick_device(device)
        self._model = _load(folder).to(device=self._device, dtype=pick_dtype(dtype, self._device))
        self.dim = int(self._model.config.hidden_size)
        self._limit = _token_limit(folder, self._model.config)
        self._tokenizer: Tokenizer = load_tokenizer(folder)
        self._counter = load_tokenizer(folder)
        self._tokenizer.enable_truncation(self._limit)
        self._batch_tokens = batch_tokens or pick_batch_tokens(self._device)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of weights, pooling and limit."""
        return hashlib.sha256(f"{self._hash}, {self._pooling}, {self._limit}".encode()).hexdigest()[:32]

    @property
    def max_tokens(self) -> int:
        """Most tokens of a text, as `count_tokens` counts them, that reach the model; the rest is cut."""
        return self._limit - self._tokenizer.num_special_tokens_to_add(False)

    def encode(
        self,
        texts: Sequence[str],
        instruction: str = "",
        on_progress: Callable[[int], None] | None = None,
    ) -> Vectors:
        """Encode to unit rows (len(texts), dim).

        Raises:
            ModelError: a text is empty or only whitespace.
        """
        check_not_blank(texts)
        led = [f"{instruction} {text}" for text in texts] if instruction else texts
        ids = [encoding.ids for encoding in self._tokenizer.encode_batch_fast(well_formed(led))]
        vectors = np.empty((len(ids), self.dim), dtype=np.float32)
        done = 0
        batches = list(batches_by_length([len(row) for row in ids], self._batch_tokens))
        for rows, made in map_batches(
            lambda rows: self._encode_batch([ids[row] for row in rows]), batches, self._device
        ):
            vectors[rows] = made
            done += len(rows)
            if on_progress:
                on_progress(done)
        return unit_rows(vectors)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, without special tokens."""
        return count_tokens(self._counter, texts)

    def _encode_batch(self, batch: Sequence[Sequence[int]]) -> Vectors:
        import torch

        length = max(len(row) for row in batch)
        tokens = torch.tensor([[*row, *([0] * (length - len(row)))] for row in batch])
        seen = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in batch])
        tokens, seen = tokens.to(self._device), seen.to(self._device)
        with torch.inference_mode():
            states = self._model(input_ids=tokens, attention_mask=seen).last_hidden_state.float()  # (B, T, D)
            pooled = states[:, 0]
            if self._pooling == "mean":
                pooled = (states * (seen / seen.sum(dim=1, keepdim=True)).unsqueeze(-1)).sum(dim=1)
        made: Vectors = pooled.cpu().numpy()
        return made


def find_sentence_transformer(name: str) -> Path | None:
    """Give the folder of a sentence-transformers model: `name` itself, or what an installed package of that name holds.

    The package is looked into and never imported. None when there is no such model.
    """
    if _is_one(Path(name)):
        return Path(name)
    module = name.replace("-", "_")
    if not module.isidentifier():
        return None
    spec = importlib.util.find_spec(module)
    for root in (spec.submodule_search_locations or ()) if spec else ():
        for file in sorted(Path(root).rglob("modules.json")):
            if _is_one(file.parent):
                return file.parent
    return None


def _is_one(folder: Path) -> bool:
    return (folder / "modules.json").is_file() and (folder / "config.json").is_file()


def model_name(folder: Path) -> str:
    """What to call a model: the folder's name, or that of the package around it where the folder's says nothing."""
    return folder.parent.name if folder.name in ("model", "models") else folder.name


def _load(folder: Path) -> Any:
    from safetensors import SafetensorError
    from transformers import AutoModel

    try:
        with quiet_transformers(warnings=False):
            model, report = AutoModel.from_pretrained(
                folder,
                local_files_only=True,
                trust_remote_code=False,
                ignore_mismatched_sizes=True,  # reported below with the missing ones
                output_loading_info=True,
            )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"Cannot load the model in {folder}: {error}", _REMEDY) from error
    missing = {name for name in report["missing_keys"] if not name.startswith(_UNUSED)}
    check_weights({**report, "missing_keys": missing}, folder)
    return model.eval().requires_grad_(False)


def _pooling_of(folder: Path) -> str:
    modules = _read(folder / "modules.json")
    kinds = [str(module.get("type", "")).rpartition(".")[2] for module in modules]
    unknown = [kind for kind in kinds if kind not in ("Transformer", "Pooling", "Normalize")]
    at = next((str(module.get("path")) for module, kind in zip(modules, kinds, strict=True) if kind == "Pooling"), None)
    if unknown or at is None:
        what = f"the module {unknown[0]}" if unknown else "no pooling"
        raise ModelError(f"The model in {folder} has {what}, which is not supported.", _REMEDY)
    config = _read(folder / at / "config.json")
    on = [key for key, value in config.items() if key.startswith("pooling_mode_") and value is True]
    told = config.get("pooling_mode")  # newer versions write the name
    if not on and told in ("mean", "cls"):
        return str(told)
    if len(on) != 1 or on[0] not in _POOLINGS:
        raise ModelError(f"The model in {folder} pools by {on or told}; mean and cls are supported.", _REMEDY)
    return _POOLINGS[on[0]]


def _token_limit(folder: Path, config: Any) -> int:
    limit = int(getattr(config, "max_position_embeddings", 512))
    file = folder / "sentence_bert_config.json"
    said = _read(file).get("max_seq_length") if file.is_file() else None
    return min(limit, int(said)) if said else limit


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}", _REMEDY) from error

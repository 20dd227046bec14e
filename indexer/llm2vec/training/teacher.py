"""A sentence-transformers model with mean pooling, loaded with stock classes."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from indexer.errors import ModelError
from indexer.llm2vec.encoder import batches_by_length
from indexer.llm2vec.loading import DType, pick_dtype, quiet_transformers
from indexer.llm2vec.tokens import load_tokenizer, well_formed


def teacher_dir(name: str) -> Path:
    """Folder of a teacher: that of an installed package's model, or the name itself."""
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
    return Path(spec.origin).parent / "model" if spec and spec.origin else Path(name)


class Teacher:
    """Encodes texts as sentence-transformers would: special tokens kept, mean over all tokens, unit rows."""

    def __init__(self, folder: Path, max_tokens: int = 256, dtype: DType = "auto") -> None:
        """Load the model in `folder`.

        Raises:
            ModelError: the folder is no model.
        """
        from transformers import AutoModel

        self._tokenizer = load_tokenizer(folder)
        self._tokenizer.enable_truncation(max_tokens)
        try:
            with quiet_transformers():
                model = AutoModel.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError) as error:
            raise ModelError(f"Cannot load the teacher in {folder}: {error}", "Name a whole model's folder.") from error
        self._model = model.eval().to(pick_dtype(dtype, torch.device("cpu"))).requires_grad_(False)

    @torch.inference_mode()
    def encode(self, texts: Sequence[str], batch_tokens: int = 4096) -> Tensor:
        """Encode to unit rows (len(texts), D) in fp32."""
        ids = [encoding.ids for encoding in self._tokenizer.encode_batch_fast(well_formed(texts))]
        vectors = torch.empty(len(ids), self._model.config.hidden_size)
        for rows in batches_by_length([len(row) for row in ids], batch_tokens):
            length = len(ids[rows[0]])
            tokens = torch.tensor([ids[row] + [0] * (length - len(ids[row])) for row in rows])
            seen = torch.tensor([[1] * len(ids[row]) + [0] * (length - len(ids[row])) for row in rows])
            states = self._model(input_ids=tokens, attention_mask=seen).last_hidden_state.float()
            weights = seen / seen.sum(dim=1, keepdim=True)
            vectors[rows] = (states * weights.unsqueeze(-1)).sum(dim=1)
        return functional.normalize(vectors, dim=1)

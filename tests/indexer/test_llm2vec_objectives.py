"""Objectives by hand-computed values: MNTP, SimCSE, cached gradients, hard negatives."""

import json
import math
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from indexer.errors import ModelError
from indexer.llm2vec.loading import load_bidirectional
from indexer.llm2vec.tokens import load_tokenizer
from indexer.llm2vec.training.contrastive import Contrastive, contrastive_losses
from indexer.llm2vec.training.dev import rank_figures
from indexer.llm2vec.training.lora import add_lora, lora_parameters
from indexer.llm2vec.training.loss import info_nce, usable_negatives
from indexer.llm2vec.training.masking import NO_TARGET, Masking, Tokens, cut, mask, mask_id
from indexer.llm2vec.training.mntp import load_head, prepare, summed_mntp_loss, train_mntp
from indexer.llm2vec.training.pairs import Pair, read_pairs
from indexer.llm2vec.training.settings import ContrastiveSettings, MntpSettings, RunSettings, SimcseSettings
from indexer.llm2vec.training.simcse import halves, simcse_loss
from indexer.llm2vec.training.student import Student, new_student
from indexer.llm2vec.training.texts import Texts

WORDS = ["fox", "owl", "hen", "cod", "bee", "elk", "ant", "yak", "bat", "cow", "doe", "eel"]
TEXTS = Texts(
    tuple(f"The {a} and the {b} walk along the river in the early light of May." for a in WORDS for b in WORDS[:3]),
    "walks",
)
MASKING = Masking(mask_id=7, vocabulary=20, share=0.2, random_share=0.0, unchanged_share=0.0)


# --- masked next-token prediction


def test_a_masked_token_is_predicted_from_the_state_before_it() -> None:
    # Two dimensions, three tokens in the vocabulary; the state at position 1 decides the target at position 2.
    states = torch.tensor([[[0.0, 0.0], [1.0, 2.0], [5.0, -5.0], [0.5, 0.0]]])
    head = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    targets = torch.tensor([[NO_TARGET, NO_TARGET, 1, NO_TARGET]])
    expected = math.log(math.exp(1) + math.exp(2) + math.exp(3)) - 2  # logits [1, 2, 3], target 1
    assert summed_mntp_loss(states, head, targets).item() == pytest.approx(expected, abs=1e-6)
    with_another = torch.tensor([[NO_TARGET, NO_TARGET, 1, 0]])
    expected += math.log(math.exp(5) + math.exp(-5) + math.exp(0)) - 5  # from position 2: [5, -5, 0], target 0
    assert summed_mntp_loss(states, head, with_another).item() == pytest.approx(expected, abs=1e-6)
    capped = [2 * math.tanh(logit / 2) for logit in (1, 2, 3)]
    expected = math.log(sum(map(math.exp, capped))) - capped[1]
    assert summed_mntp_loss(states, head, targets, cap=2.0).item() == pytest.approx(expected, abs=1e-6)


def test_a_target_at_position_0_counts_for_nothing() -> None:
    states, head = torch.randn(1, 3, 4), torch.randn(5, 4)
    assert summed_mntp_loss(states, head, torch.tensor([[2, NO_TARGET, NO_TARGET]])).item() == 0


def test_the_loss_of_a_run_is_the_causal_models_own(tiny_dir: Path, tmp_path: Path) -> None:
    """With fresh LoRA the learner is the base model, so the stock class with its own head is an oracle."""
    from transformers import AutoModelForCausalLM

    settings = MntpSettings(model_dir=tiny_dir, out=tmp_path / "run", max_steps=1, batch_texts=3, learning_rate=0.0)
    train_mntp(settings, TEXTS)
    logged = json.loads((settings.out / "log.jsonl").read_text().splitlines()[1])
    stock = AutoModelForCausalLM.from_pretrained(tiny_dir, dtype=torch.float32)
    stock.config.is_causal = False
    seen = []
    for text in next(prepare(settings, TEXTS).order()):
        logits = stock(input_ids=torch.tensor([text.ids])).logits[0].log_softmax(dim=-1)
        seen += [-logits[p - 1, target].item() for p, target in enumerate(text.targets) if target != NO_TARGET]
    assert logged["masked"] == len(seen)
    assert logged["loss"] == pytest.approx(np.mean(seen), abs=0.02)  # the learner may run in bfloat16


@given(st.integers(0, 2), st.integers(2, 60), st.integers(0, 5))
def test_masking_keeps_its_promises(lead: int, own: int, seed: int) -> None:
    sequence = Tokens(tuple(range(100, 100 + lead + own)), lead)
    masked = mask(sequence, MASKING, np.random.default_rng(seed))
    chosen = [position for position, target in enumerate(masked.targets) if target != NO_TARGET]
    first = max(1, lead)
    assert len(chosen) == max(1, round(0.2 * (lead + own - first)))
    assert min(chosen) >= first
    for position, (seen, target) in enumerate(zip(masked.ids, masked.targets, strict=True)):
        assert seen == (MASKING.mask_id if position in chosen else sequence.ids[position])
        assert target == (sequence.ids[position] if position in chosen else NO_TARGET)


def test_of_the_masked_some_change_and_some_stay() -> None:
    masking = replace(MASKING, share=0.5, random_share=0.1, unchanged_share=0.1, vocabulary=5)
    sequence = Tokens(tuple(range(100, 8100)), 0)
    masked = mask(sequence, masking, np.random.default_rng(0))
    pairs = [(seen, wanted) for seen, wanted in zip(masked.ids, masked.targets, strict=True) if wanted != NO_TARGET]
    assert len(pairs) == 4000
    assert sum(seen == wanted for seen, wanted in pairs) / 4000 == pytest.approx(0.1, abs=0.02)
    assert sum(seen < 5 for seen, _ in pairs) / 4000 == pytest.approx(0.1, abs=0.02)


def test_texts_are_cut_evenly_and_never_joined(tiny_dir: Path) -> None:
    tokenizer = load_tokenizer(tiny_dir)
    pieces = cut(tokenizer, ["abcdefg", "x", "hi"], max_tokens=3)
    assert [len(piece.ids) for piece in pieces] == [3, 2, 2, 2]  # 7 bytes in three; one byte predicts nothing
    assert mask_id(tokenizer) == tokenizer.token_to_id("_")


def test_special_tokens_stay_in_every_piece_and_are_no_targets(tiny_dir: Path) -> None:
    from tokenizers.processors import TemplateProcessing

    tokenizer = load_tokenizer(tiny_dir)
    tokenizer.add_special_tokens(["<s>", "</s>"])
    ids = {name: tokenizer.token_to_id(name) for name in ("<s>", "</s>")}
    tokenizer.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=list(ids.items()))
    pieces = cut(tokenizer, ["abcdef"], max_tokens=4)
    assert [(piece.ids[0], len(piece.ids), piece.lead) for piece in pieces] == [(ids["<s>"], 4, 1)] * 2
    assert not any(ids["</s>"] in piece.ids for piece in pieces)


def test_an_untied_head_is_read_from_the_weights(tiny_dir: Path, tmp_path: Path) -> None:
    assert load_head(tiny_dir).weight is None
    config = json.loads((tiny_dir / "config.json").read_text()) | {"tie_word_embeddings": False}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="no language-model head"):
        load_head(tmp_path)
    save_file({"lm_head.weight": torch.ones(256, 32)}, tmp_path / "model.safetensors")
    head = load_head(tmp_path).weight
    assert head is not None and head.shape == (256, 32)


# --- SimCSE


def test_simcse_loss_by_hand() -> None:
    rows = torch.tensor([[1.0, 0], [0, 1], [0.6, 0.8], [0, 1]])  # first passes of a and b, then second passes
    # Cosines over 1/20: a: [12, 0], b: [16, 20].
    expected = (math.log(1 + math.exp(0 - 12)) + math.log(1 + math.exp(16 - 20))) / 2
    assert simcse_loss(["a", "b"], rows, 1 / 20).item() == pytest.approx(expected, abs=1e-5)


def test_dropout_differs_between_two_passes_and_is_off_in_evaluation(tiny_dir: Path, tmp_path: Path) -> None:
    student = new_student(SimcseSettings(model_dir=tiny_dir, out=tmp_path, max_steps=1))
    text = TEXTS.texts[0]
    with torch.no_grad():
        first, second = student.encode([text, text])
        again, _ = student.encode([text, text])
    assert not torch.allclose(first, second, atol=1e-3) and not torch.allclose(first, again, atol=1e-3)
    with student.evaluating():
        one, two = student.encode([text, text])
    assert torch.equal(one, two) and not one.requires_grad
    assert student.model.training


def test_without_attention_dropout_two_passes_are_one(tiny_dir: Path, tmp_path: Path) -> None:
    student = new_student(RunSettings(model_dir=tiny_dir, out=tmp_path, max_steps=1))
    with torch.no_grad():
        first, second = student.encode([TEXTS.texts[0]] * 2)
    torch.testing.assert_close(first, second)


def test_a_text_is_halved_by_words() -> None:
    assert halves("a b c d e f g") is None
    pair = halves("a b c d e f g h i")
    assert pair is not None and (pair.anchor, pair.positive) == ("a b c d", "e f g h i")


# --- cached gradients


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_cached_gradients_are_the_plain_ones(tiny_dir: Path, dropout: float) -> None:
    texts = [text[: 12 + 5 * index] for index, text in enumerate(TEXTS.texts[:8])]
    found = []
    for cached in (False, True):
        torch.manual_seed(1)
        model = load_bidirectional(tiny_dir, attention_dropout=dropout)
        model.set_attn_implementation("eager")
        model = add_lora(model, rank=4, alpha=8, base_name="tiny").train()
        with torch.no_grad():
            for _, parameter in lora_parameters(model):
                parameter.normal_(std=0.2)
        student = Student(model, load_tokenizer(tiny_dir), max_tokens=64, micro_tokens=80)
        assert len(student.micro_batches(texts * 2)) > 3
        losses = student.backward(texts * 2, lambda rows: {"loss": simcse_loss(texts, rows, 0.05)}, cached)
        gradients = {name: parameter.grad for name, parameter in lora_parameters(model)}
        found.append((losses["loss"].item(), gradients, torch.rand(1)))
    (plain_loss, plain, plain_next), (cached_loss, cached_gradients, cached_next) = found
    assert cached_loss == pytest.approx(plain_loss, abs=1e-5)
    assert torch.equal(plain_next, cached_next)  # and the generator goes on from the same place
    assert max(gradient.abs().max() for gradient in plain.values()) > 1e-3
    for name, gradient in plain.items():
        torch.testing.assert_close(cached_gradients[name], gradient, rtol=1e-4, atol=1e-5)


def test_anchors_are_encoded_as_the_encoder_will_encode_questions(tiny_dir: Path, tmp_path: Path) -> None:
    from indexer.llm2vec.encoder import load_encoder

    settings = RunSettings(model_dir=tiny_dir, out=tmp_path, max_steps=1, query_instruction="Find it:")
    student = new_student(replace(settings, pooling="weighted_mean"))
    served = load_encoder(tiny_dir, None, pooling="weighted_mean", query_instruction="Find it:")
    with student.evaluating():
        question, passage = student.encode(["a lighthouse", "a lighthouse"], asking=1)
    for row, instruction in ((question, "Find it:"), (passage, "")):
        expected = torch.tensor(served.encode(["a lighthouse"], instruction)[0])
        assert (row.float().cpu() @ expected).item() > 0.999
    assert (question @ passage).item() < 0.9999


# --- hard negatives


def test_hard_negatives_are_more_columns_by_hand() -> None:
    anchors = torch.tensor([[1.0, 0], [0, 1]])
    candidates = torch.tensor([[1.0, 0], [0, 1], [0.6, 0.8]])  # two positives and one more negative
    expected = (math.log(1 + math.exp(0 - 1) + math.exp(0.6 - 1)) + math.log(1 + math.exp(-1) + math.exp(0.8 - 1))) / 2
    usable = usable_negatives(["a", "b"], ["p", "q", "n"], None, 0.95)
    assert usable.tolist() == [[False, True, True], [True, False, True]]
    assert info_nce(anchors, candidates, usable, 1.0).item() == pytest.approx(expected, abs=1e-6)


def test_a_negative_that_is_another_answer_of_the_same_anchor_is_left_out() -> None:
    usable = usable_negatives(["a", "a", "b"], ["p", "q", "r", "q", "n"], None, 0.95)
    assert usable[0].tolist() == [False, False, True, False, True]
    assert usable[2].tolist() == [True, True, False, True, True]


def test_a_step_draws_from_a_pairs_negatives(tiny_dir: Path, pairs_file: Path, tmp_path: Path) -> None:
    settings = ContrastiveSettings(model_dir=tiny_dir, out=tmp_path / "run", pairs=pairs_file, batch_pairs=4)
    pairs = tuple(read_pairs(pairs_file))
    assert all(len(pair.negatives) == 2 for pair in pairs)
    stage = Contrastive(settings, pairs, pairs, (), None)
    drawn = [pair for batch in islice(stage.order(), 40) for pair in batch]
    assert {len(pair.negatives) for pair in drawn} == {1}
    assert len({pair.negatives for pair in drawn if pair.anchor == drawn[0].anchor}) > 1
    none = replace(stage, settings=replace(settings, hard_negatives=0))
    assert {pair.negatives for pair in next(none.order())} == {()}


def test_held_out_texts_are_no_negatives() -> None:
    from indexer.llm2vec.training.pairs import hold_out

    pairs = [Pair(f"a{i}", f"p{i}", "s", tuple(f"p{j}" for j in range(10) if j != i)) for i in range(10)]
    train, dev = hold_out(pairs, 3, seed=0)
    kept = {text for pair in train for text in pair.negatives}
    assert len(dev) == 3 and kept.isdisjoint(pair.positive for pair in dev) and kept


def test_contrastive_losses_add_the_teachers(tiny_dir: Path, pairs_file: Path, tmp_path: Path) -> None:
    settings = ContrastiveSettings(model_dir=tiny_dir, out=tmp_path, pairs=pairs_file)
    rows = torch.nn.functional.normalize(torch.randn(5, 4), dim=1)
    usable = torch.ones(2, 3, dtype=torch.bool)
    losses = contrastive_losses(rows, usable, torch.eye(5), [([], ())] * 2, replace(settings, distill_weight=0.5))
    assert losses["loss"].item() == pytest.approx(losses["contrast"].item() + 0.5 * losses["distill"].item())


# --- figures


def test_rank_figures_by_hand() -> None:
    figures = rank_figures(torch.tensor([1, 2, 11, 4]))
    ndcg = (1 + 1 / math.log2(3) + 0 + 1 / math.log2(5)) / 4
    assert figures["dev_ndcg_at_10"] == pytest.approx(ndcg, abs=1e-4)
    assert figures["dev_mrr_at_10"] == pytest.approx((1 + 0.5 + 0.25) / 4, abs=1e-4)
    assert figures["dev_recall_at_1"] == 0.25 and figures["dev_pairs"] == 4

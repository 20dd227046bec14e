"""MNTP and SimCSE by hand-computed values, cached gradients, and what stages share: resuming, refusing, going on."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from indexer.errors import ConfigError, DatasetError, FootnoteError, ModelError
from indexer.llm2vec.loading import load_bidirectional
from indexer.llm2vec.tokens import load_tokenizer
from indexer.llm2vec.training import run
from indexer.llm2vec.training.contrastive import Contrastive, contrastive_losses, train_contrastive
from indexer.llm2vec.training.dev import rank_figures
from indexer.llm2vec.training.lora import add_lora, lora_parameters
from indexer.llm2vec.training.loss import info_nce, usable_negatives
from indexer.llm2vec.training.masking import NO_TARGET, Masking, Tokens, cut, mask, mask_id
from indexer.llm2vec.training.mntp import load_head, prepare, summed_mntp_loss, train_mntp
from indexer.llm2vec.training.pairs import Pair, read_pairs
from indexer.llm2vec.training.settings import ContrastiveSettings, MntpSettings, RunSettings, SimcseSettings
from indexer.llm2vec.training.simcse import halves, simcse_loss, train_simcse
from indexer.llm2vec.training.student import Student, new_student
from indexer.llm2vec.training.texts import Texts, read_documents, read_texts

WORDS = ["fox", "owl", "hen", "cod", "bee", "elk", "ant", "yak", "bat", "cow", "doe", "eel"]
TEXTS = Texts(
    tuple(f"The {a} and the {b} walk along the river in the early light of May." for a in WORDS for b in WORDS[:3]),
    "walks",
)
MASKING = Masking(mask_id=7, vocabulary=20, share=0.2, random_share=0.0, unchanged_share=0.0)


@pytest.fixture(scope="module")
def tiny_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A decoder of two layers with random weights and a tokenizer of bytes."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "tie_word_embeddings": True}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=256, **shape, **heads)).save_pretrained(folder)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: index for index, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture
def pairs_file(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.jsonl"
    rows = [
        {
            "anchor": f"What does the {animal} do in year {year}?",
            "positive": f"In {year} the {animal} sleeps by day.",
            "negatives": [f"In {year + 1} the {animal} eats.", f"The {animal} tower was built in {year}."],
        }
        for animal in WORDS
        for year in (1, 2)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def stage_of(name: str, tiny_dir: Path, pairs_file: Path, out: Path) -> tuple[RunSettings, Callable[[Any], Any]]:
    """Settings of a short run of each stage, and what runs them."""
    common: dict[str, Any] = {"model_dir": tiny_dir, "out": out, "base_name": "tiny", "max_steps": 6, "rank": 4}
    common |= {"alpha": 8, "learning_rate": 1e-3, "dev_every_steps": 3}
    if name == "mntp":
        return MntpSettings(**common, batch_texts=4, dev_texts=3), lambda s: train_mntp(s, TEXTS)
    if name == "simcse":
        return SimcseSettings(**common, batch_texts=6, dev_pairs=3), lambda s: train_simcse(s, TEXTS)
    return ContrastiveSettings(**common, pairs=pairs_file, batch_pairs=4, dev_pairs=2), train_contrastive


STAGES = pytest.mark.parametrize("name", ["mntp", "simcse", "contrastive"])


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
    settings, _ = stage_of("contrastive", tiny_dir, pairs_file, tmp_path / "run")
    assert isinstance(settings, ContrastiveSettings)
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
    settings, _ = stage_of("contrastive", tiny_dir, pairs_file, tmp_path)
    assert isinstance(settings, ContrastiveSettings)
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


# --- what all stages share


@STAGES
def test_a_stage_leaves_adapter_card_log_and_curves(
    name: str, tiny_dir: Path, pairs_file: Path, tmp_path: Path
) -> None:
    settings, train = stage_of(name, tiny_dir, pairs_file, tmp_path / "run")
    figures = train(settings)
    measure = "dev_loss" if name == "mntp" else "dev_ndcg_at_10"
    assert figures["steps"] == 6 and figures[measure] >= 0
    rows = [json.loads(line) for line in (settings.out / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "loss" in row] == [1, 2, 3, 4, 5, 6]
    assert [row["step"] for row in rows if measure in row] == [0, 3, 6]
    curves = (settings.out / "curves.svg").read_text()
    assert curves.count('id="axes_') == 2 and "training loss" in curves and "nan" not in curves.lower()
    card = (settings.out / "README.md").read_text()
    assert name in card and "seed 0" in card
    facts = json.loads((settings.out / "training.json").read_text())
    assert facts["figures"] == figures and facts["data"]["sha256"] and str(tmp_path) not in json.dumps(facts)
    assert len(load_file(settings.out / "adapter_model.safetensors")) == 2 * 7 * 2


@STAGES
def test_gradients_reach_lora_alone(name: str, tiny_dir: Path, pairs_file: Path, tmp_path: Path) -> None:
    settings, train = stage_of(name, tiny_dir, pairs_file, tmp_path / "run")
    reached: list[set[str]] = []
    real = run.take_step

    def watched(stage: Any, student: Student, *rest: Any) -> Any:
        before = {key: value.clone() for key, value in student.model.named_parameters()}
        losses = real(stage, student, *rest)
        reached.append({k for k, v in student.model.named_parameters() if not torch.equal(v, before[k])})
        return losses

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "take_step", watched)
        train(replace(settings, max_steps=2))
    assert reached[-1] and all("lora_" in key for names in reached for key in names)
    # A starts at random and B at zero: B moves at once, A from the second step on.
    assert len(reached[-1]) == 2 * 7 * 2


def adapter(folder: Path) -> dict[str, torch.Tensor]:
    return dict(load_file(folder / "adapter_model.safetensors"))


def assert_same(one: Path, other: Path) -> None:
    first, second = adapter(one), adapter(other)
    assert first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@STAGES
def test_an_interrupted_run_goes_on_to_the_same_weights(
    name: str, tiny_dir: Path, pairs_file: Path, tmp_path: Path
) -> None:
    settings, train = stage_of(name, tiny_dir, pairs_file, tmp_path / "whole")
    train(settings)
    stopped = replace(settings, out=tmp_path / "stopped")
    real, taken = run.take_step, []

    def ctrl_c(*arguments: Any) -> Any:
        taken.append(None)
        if len(taken) == 4:
            os.kill(os.getpid(), signal.SIGINT)  # in the middle of a step
        return real(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "take_step", ctrl_c)
        with pytest.raises(KeyboardInterrupt):
            train(stopped)
    assert len(taken) == 4 and not (stopped.out / "adapter_model.safetensors").exists()
    figures = train(stopped)
    assert_same(settings.out, stopped.out)
    again = [json.loads(line) for line in (stopped.out / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in again if "loss" in row] == [1, 2, 3, 4, 5, 6]
    assert {k: v for k, v in figures.items() if k != "elapsed_s"} == {
        k: v for k, v in json.loads((settings.out / "training.json").read_text())["figures"].items() if k != "elapsed_s"
    }


KILLED = """
import sys, time
from pathlib import Path
sys.path[:0] = {paths!r}
import test_llm2vec_training_stages as stages
from indexer.llm2vec.training import run
real = run.take_step
def slowly(*arguments):
    time.sleep(0.5)
    return real(*arguments)
run.take_step = slowly
settings, train = stages.stage_of({name!r}, Path({model!r}), Path({pairs!r}), Path({out!r}))
train(stages.replace(settings, checkpoint_every_s=0))
"""


@STAGES
def test_a_killed_process_goes_on_to_the_same_weights(
    name: str, tiny_dir: Path, pairs_file: Path, tmp_path: Path
) -> None:
    settings, train = stage_of(name, tiny_dir, pairs_file, tmp_path / "whole")
    train(settings)
    out = tmp_path / "killed"
    here = Path(__file__).parent
    program = KILLED.format(
        paths=[str(here), str(here.parent.parent)], name=name, model=str(tiny_dir), pairs=str(pairs_file), out=str(out)
    )
    process = subprocess.Popen([sys.executable, "-c", program])
    log = out / "log.jsonl"
    until = time.monotonic() + 120
    while not (log.is_file() and '"step": 3, "elapsed_s"' in log.read_text()) and time.monotonic() < until:
        time.sleep(0.02)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (out / "adapter_model.safetensors").exists()
    train(replace(settings, out=out))
    assert_same(settings.out, out)


@STAGES
def test_a_seed_decides_the_adapter(name: str, tiny_dir: Path, pairs_file: Path, tmp_path: Path) -> None:
    for folder, seed in (("a", 5), ("b", 5), ("c", 6)):
        settings, train = stage_of(name, tiny_dir, pairs_file, tmp_path / folder)
        train(replace(settings, seed=seed, max_steps=3))
    assert_same(tmp_path / "a", tmp_path / "b")
    with pytest.raises(AssertionError):
        assert_same(tmp_path / "a", tmp_path / "c")


def test_a_run_may_turn_to_cached_gradients_on_the_way(tiny_dir: Path, pairs_file: Path, tmp_path: Path) -> None:
    settings, train = stage_of("contrastive", tiny_dir, pairs_file, tmp_path / "run")
    train(replace(settings, max_steps=3))
    assert train(replace(settings, grad_cache=True))["steps"] == 6


def test_mntp_learns(tiny_dir: Path, pairs_file: Path, tmp_path: Path) -> None:
    settings, train = stage_of("mntp", tiny_dir, pairs_file, tmp_path / "run")
    train(replace(settings, max_steps=60, learning_rate=1e-2, dev_every_steps=60))
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    dev = [row["dev_loss"] for row in rows if "dev_loss" in row]
    assert dev[-1] < dev[0] - 0.1  # random embeddings of this size leave little room


# --- one stage after another


def test_a_stage_goes_on_from_an_earlier_adapter(tiny_dir: Path, pairs_file: Path, tmp_path: Path) -> None:
    first, train_first = stage_of("mntp", tiny_dir, pairs_file, tmp_path / "first")
    train_first(replace(first, layers=1))
    second, train_second = stage_of("contrastive", tiny_dir, pairs_file, tmp_path / "second")
    train_second(replace(second, start=first.out, max_steps=1, learning_rate=0.0, rank=16, alpha=16))
    assert_same(first.out, second.out)  # nothing was learned, so nothing may have changed: rank, alpha and layers too
    config = json.loads((second.out / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"]) == (4, 8)
    assert json.loads((second.out / "llm2vec_config.json").read_text())["layers"] == 1
    facts = json.loads((second.out / "training.json").read_text())
    assert [stage["stage"] for stage in facts["earlier"]] == ["mntp"]
    assert "mntp, then contrastive" in (second.out / "README.md").read_text()
    train_second(replace(second, out=tmp_path / "third", start=second.out))
    facts = json.loads((tmp_path / "third" / "training.json").read_text())
    assert [stage["stage"] for stage in facts["earlier"]] == ["mntp", "contrastive"]


def test_an_adapter_that_does_not_fit_is_refused(tiny_dir: Path, pairs_file: Path, tmp_path: Path) -> None:
    settings, train = stage_of("simcse", tiny_dir, pairs_file, tmp_path / "run")
    with pytest.raises(ModelError, match="no adapter to go on from"):
        train(replace(settings, start=tmp_path))
    other = tmp_path / "other"
    other.mkdir()
    (other / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 4, "lora_alpha": 8}')
    save_file(
        {"base_model.model.layers.0.mlp.up_proj.lora_A.weight": torch.ones(4, 32)}, other / "adapter_model.safetensors"
    )
    with pytest.raises(ModelError, match="does not fit"):
        train(replace(settings, start=other))


# --- refusals


def test_a_folder_of_another_run_is_refused(tiny_dir: Path, pairs_file: Path, tmp_path: Path) -> None:
    settings, train = stage_of("contrastive", tiny_dir, pairs_file, tmp_path / "run")
    train(replace(settings, max_steps=2))
    with pytest.raises(ConfigError, match=r"learning_rate was 0\.001 and is 0\.5"):
        train(replace(settings, learning_rate=0.5))
    other, train_other = stage_of("mntp", tiny_dir, pairs_file, tmp_path / "run")
    with pytest.raises(ConfigError, match='stage was "contrastive" and is "mntp"'):
        train_other(other)
    pairs_file.write_text(pairs_file.read_text() + '{"anchor": "new", "positive": "newer"}\n')
    with pytest.raises(ConfigError, match="data was"):
        train(settings)


def test_an_adapter_that_no_run_left_is_not_overwritten(tiny_dir: Path, pairs_file: Path, tmp_path: Path) -> None:
    settings, train = stage_of("mntp", tiny_dir, pairs_file, tmp_path / "run")
    settings.out.mkdir()
    (settings.out / "adapter_config.json").write_text("{}")
    with pytest.raises(ConfigError, match="already holds an adapter"):
        train(settings)


def test_a_checkpoint_from_before_runs_were_written_down_goes_on(
    tiny_dir: Path, pairs_file: Path, tmp_path: Path
) -> None:
    settings, train = stage_of("contrastive", tiny_dir, pairs_file, tmp_path / "whole")
    train(settings)
    older = replace(settings, out=tmp_path / "older")
    train(replace(older, max_steps=6))
    (older.out / "run.json").unlink()
    state = torch.load(older.out / "checkpoint.pt", weights_only=True)
    assert set(state) - {"cuda_rng"} == {"step", "elapsed_s", "parameters", "optimizer", "rng"}
    train(older)
    assert_same(settings.out, older.out)


def test_too_little_to_train_on_is_said(tiny_dir: Path, pairs_file: Path, tmp_path: Path) -> None:
    mntp, _ = stage_of("mntp", tiny_dir, pairs_file, tmp_path / "m")
    with pytest.raises(DatasetError, match="two tokens"):
        train_mntp(mntp, Texts(("x",), "nothing"))
    simcse, _ = stage_of("simcse", tiny_dir, pairs_file, tmp_path / "s")
    with pytest.raises(DatasetError, match="has 1"):
        train_simcse(simcse, Texts(("alone",), "one"))
    pairs_file.write_text('{"anchor": "a", "positive": "b"}\n')
    contrastive, train_c = stage_of("contrastive", tiny_dir, pairs_file, tmp_path / "c")
    with pytest.raises(DatasetError, match="too few pairs"):
        train_c(contrastive)
    pairs_file.write_text("\n")
    with pytest.raises(DatasetError, match="holds no pair"):
        train_c(contrastive)


@pytest.mark.parametrize("name", ["missing", "folder"])
def test_a_missing_teacher_is_named(name: str, tiny_dir: Path, pairs_file: Path, tmp_path: Path) -> None:
    settings, train = stage_of("contrastive", tiny_dir, pairs_file, tmp_path / "run")
    (tmp_path / "folder").mkdir()
    with pytest.raises(FootnoteError, match=name):
        train(replace(settings, teacher_dir=tmp_path / name))


# --- texts


def test_texts_of_documents_are_cut_at_borders(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# Tower\n\nFirst lit in 1842.\n\n# Ferry\n\nLeaves at nine from the long pier.\n")
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.4 nothing")
    found = read_documents([tmp_path], lambda texts: [len(text.split()) for text in texts], max_tokens=6)
    assert len(found.texts) >= 3 and all(len(text.split()) <= 6 for text in found.texts)
    assert len(found.left_out) == 1 and "broken.pdf" in found.left_out[0]


def test_texts_of_a_jsonl(tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    rows = [{"text": "one"}, {"title": "T", "text": "two"}, {"anchor": "three", "positive": "four"}, {"text": "one"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_texts(path).texts == ("one", "T\ntwo", "three", "four")
    for bad in ('{"text": " "}', '{"title": "T"}', "[1]", '{"text": 3}', "{"):
        path.write_text('{"text": "a"}\n' + bad + "\n")
        with pytest.raises(DatasetError, match="line 2"):
            read_texts(path)
    path.write_bytes(b'{"text": "\xff"}\n')
    with pytest.raises(DatasetError, match="UTF-8"):
        read_texts(path)
    with pytest.raises(DatasetError, match="Cannot read"):
        read_texts(tmp_path / "none.jsonl")

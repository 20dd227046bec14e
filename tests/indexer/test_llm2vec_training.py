"""The contrastive trainer: hand-computed losses, batches that keep their promises, and runs that resume exactly."""

import json
import math
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from indexer.errors import ConfigError, DatasetError, ModelError
from indexer.llm2vec.encoder import load_encoder
from indexer.llm2vec.loading import load_bidirectional
from indexer.llm2vec.merge import merge_adapters
from indexer.llm2vec.tokens import load_tokenizer
from indexer.llm2vec.training import contrastive, run
from indexer.llm2vec.training.lean import LowRankLinear, RootMeanSquareNorm
from indexer.llm2vec.training.lora import add_lora, lora_parameters, save_adapter
from indexer.llm2vec.training.loss import info_nce, relation_kl, usable_negatives
from indexer.llm2vec.training.pairs import Pair, batches, by_source, cap_sources, hold_out, one_pass, read_pairs
from indexer.llm2vec.training.schedule import progress, rate_share
from indexer.llm2vec.training.settings import ContrastiveSettings

ANIMALS = ["fox", "owl", "hen", "cod", "bee", "elk", "ant", "yak", "bat", "cow", "doe", "eel"]
PAIRS = [Pair(f"What does the {a} do?", f"The {a} sleeps by day.", "animals") for a in ANIMALS] + [
    Pair(f"How old is the {a} tower?", f"The {a} tower was built in 18{n}0.", "towers") for n, a in enumerate(ANIMALS)
]


@pytest.fixture(scope="module")
def tiny_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A decoder of two layers with random weights and a tokenizer of bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=256, **shape, **heads)).save_pretrained(folder)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: index for index, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture
def settings(tiny_dir: Path, tmp_path: Path) -> ContrastiveSettings:
    pairs = tmp_path / "pairs.jsonl"
    rows = [{"source": pair.source, "anchor": pair.anchor, "positive": pair.positive} for pair in PAIRS]
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ContrastiveSettings(
        model_dir=tiny_dir, pairs=pairs, out=tmp_path / "run", max_steps=6, batch_pairs=4, dev_pairs=4, rank=4, alpha=8
    )


def test_info_nce_by_hand() -> None:
    anchors = torch.tensor([[1.0, 0], [0, 1]])
    positives = torch.tensor([[0.6, 0.8], [0, 1.0]])
    # Scores at temperature 1/2: [[1.2, 0], [1.6, 2]]
    expected = (math.log(1 + math.exp(0 - 1.2)) + math.log(1 + math.exp(1.6 - 2))) / 2
    everything = torch.ones(2, 2, dtype=torch.bool)
    assert info_nce(anchors, positives, everything, 0.5).item() == pytest.approx(expected, abs=1e-6)
    first_only = torch.tensor([[True, False], [True, False]])
    expected = (0 + math.log(1 + math.exp(1.6 - 2))) / 2  # the own positive counts even where it is marked unusable
    assert info_nce(anchors, positives, first_only, 0.5).item() == pytest.approx(expected, abs=1e-6)


def test_relation_kl_by_hand() -> None:
    student = torch.tensor([[1.0, 0], [0, 1], [0.6, 0.8]])
    assert relation_kl(student, student, 0.1).item() == pytest.approx(0, abs=1e-6)
    teacher = torch.tensor([[1.0, 0], [1, 0], [0, 1]])

    def kl(wanted: list[float], given: list[float]) -> float:
        p, q = np.exp(wanted) / np.exp(wanted).sum(), np.exp(given) / np.exp(given).sum()
        return float((p * np.log(p / q)).sum())

    # Each row holds a text's cosines to the two others.
    expected = (kl([1, 0], [0, 0.6]) + kl([1, 0], [0, 0.8]) + kl([0, 0], [0.6, 0.8])) / 3
    assert relation_kl(student, teacher, 1.0).item() == pytest.approx(expected, abs=1e-6)


def test_false_negatives_are_left_out() -> None:
    usable = usable_negatives(["a", "a", "b"], ["p", "q", "r"], None, 0.95)
    assert usable.tolist() == [[False, False, True], [False, False, True], [True, True, False]]
    scores = torch.tensor([[0.8, 0.77, 0.75], [0.1, 0.5, 0.2], [0.1, 0.2, 0.9]])
    usable = usable_negatives(["a", "b", "c"], ["p", "q", "r"], scores, 0.95)
    assert usable[0].tolist() == [False, False, True]  # .77 is above .95 times .8


def test_the_lean_linear_has_the_gradients_of_the_plain_formula() -> None:
    torch.manual_seed(1)
    x, w, a, b = (torch.randn(shape, dtype=torch.double) for shape in ((2, 3, 5), (7, 5), (2, 5), (7, 2)))
    learned = [tensor.requires_grad_() for tensor in (x, a, b)]
    weigh = torch.randn(2, 3, 7, dtype=torch.double)
    plain = x @ w.t() + 1.5 * (x @ a.t()) @ b.t()
    lean = LowRankLinear.apply(x, w, a, b, 1.5)
    torch.testing.assert_close(lean, plain)
    wanted = torch.autograd.grad((plain * weigh).sum(), learned)
    for got, want in zip(torch.autograd.grad((lean * weigh).sum(), learned), wanted, strict=True):
        torch.testing.assert_close(got, want)


def test_the_lean_norm_has_the_gradients_of_the_stock_one() -> None:
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    torch.manual_seed(2)
    stock = LlamaRMSNorm(6)
    torch.nn.init.normal_(stock.weight).requires_grad_(False)
    x, weigh = torch.randn(2, 3, 6, requires_grad=True), torch.randn(2, 3, 6)
    lean = RootMeanSquareNorm.apply(x, stock.weight, stock.variance_epsilon)
    torch.testing.assert_close(lean, stock(x))
    [wanted] = torch.autograd.grad((stock(x) * weigh).sum(), x)
    torch.testing.assert_close(torch.autograd.grad((lean * weigh).sum(), x)[0], wanted)


def test_the_learner_computes_what_stock_peft_computes(tiny_dir: Path, tmp_path: Path) -> None:
    from peft import PeftModel

    learner = add_lora(load_bidirectional(tiny_dir), rank=4, alpha=8, base_name="tiny")
    with torch.no_grad():
        for _, parameter in lora_parameters(learner):
            parameter.copy_(parameter.normal_(std=0.1).bfloat16())
    save_adapter(learner, tmp_path)
    stock = PeftModel.from_pretrained(load_bidirectional(tiny_dir), tmp_path)
    ids = torch.tensor([[5, 6, 7, 8]])
    torch.testing.assert_close(learner(input_ids=ids).last_hidden_state, stock(input_ids=ids).last_hidden_state)


def test_gradients_flow_through_lora_only(tiny_dir: Path) -> None:
    model = add_lora(load_bidirectional(tiny_dir), rank=4, alpha=8, base_name="tiny")
    model(input_ids=torch.tensor([[1, 2, 3]])).last_hidden_state.sum().backward()
    learned = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert len(learned) == 2 * 7 * 2
    assert all("lora_" in name for name in learned)


def test_a_run_leaves_a_stock_adapter_a_card_and_a_log(settings: ContrastiveSettings) -> None:
    figures = contrastive.train_contrastive(settings, "the command")
    assert figures["steps"] == 6 and 0 <= figures["dev_mrr_at_10"] <= 1
    facts = json.loads((settings.out / "training.json").read_text())
    assert facts["command"] == "the command" and str(settings.out) not in json.dumps(facts)
    assert "the command" in (settings.out / "README.md").read_text()
    log = [json.loads(line) for line in (settings.out / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in log if "contrast" in row] == [1, 2, 3, 4, 5, 6]
    config = json.loads((settings.out / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == settings.base_name
    base = load_bidirectional(settings.model_dir)
    before = base.layers[0].mlp.up_proj.weight.clone()
    merged = merge_adapters(base, [settings.out])
    assert merged.config.is_causal is False
    assert not torch.equal(merged.layers[0].mlp.up_proj.weight, before)


def test_an_adapter_of_the_lower_layers_is_served_on_them(settings: ContrastiveSettings) -> None:
    contrastive.train_contrastive(replace(settings, layers=1))
    served = load_encoder(settings.model_dir, settings.out, dtype="float32")
    shorter = merge_adapters(load_bidirectional(settings.model_dir, layers=1), [settings.out])
    assert len(shorter.layers) == 1
    ids = torch.tensor([load_tokenizer(settings.model_dir).encode("a lighthouse").ids])
    with torch.no_grad():
        expected = torch.nn.functional.normalize(shorter(input_ids=ids).last_hidden_state[0].mean(dim=0), dim=0)
    assert served.encode(["a lighthouse"])[0] @ expected.numpy() >= 0.9999
    with pytest.raises(ModelError, match="cannot keep 3"):
        load_bidirectional(settings.model_dir, layers=3)


def test_a_killed_run_goes_on_to_the_same_weights(
    settings: ContrastiveSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contrastive.train_contrastive(settings)
    settings = replace(settings, out=tmp_path / "killed", checkpoint_every_s=0)
    real = run.take_step
    taken = []

    def killed(*arguments: object) -> dict[str, float | str]:
        if len(taken) == 3:
            raise KeyboardInterrupt
        taken.append(None)
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(run, "take_step", killed)
    with pytest.raises(KeyboardInterrupt):
        contrastive.train_contrastive(settings)
    monkeypatch.setattr(run, "take_step", real)
    assert contrastive.train_contrastive(settings)["steps"] == 6
    assert_same_adapter(tmp_path / "run", tmp_path / "killed")


def assert_same_adapter(one: Path, other: Path) -> None:
    first, second = (load_file(folder / "adapter_model.safetensors") for folder in (one, other))
    assert first.keys() == second.keys() and any(value.abs().sum() > 0 for value in first.values())
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=0, atol=0)


def test_one_seed_gives_one_adapter_and_another_seed_another(settings: ContrastiveSettings, tmp_path: Path) -> None:
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        contrastive.train_contrastive(replace(settings, out=tmp_path / name, seed=seed))
    assert_same_adapter(tmp_path / "a", tmp_path / "b")
    with pytest.raises(AssertionError):
        assert_same_adapter(tmp_path / "a", tmp_path / "c")


def test_training_lowers_the_loss(settings: ContrastiveSettings) -> None:
    longer = replace(settings, max_steps=40, batch_pairs=8, learning_rate=5e-3, dev_pairs=0)
    contrastive.train_contrastive(longer)
    losses = [json.loads(line).get("contrast") for line in (settings.out / "log.jsonl").read_text().splitlines()]
    known = [loss for loss in losses if loss is not None]
    assert np.mean(known[-5:]) < 0.7 * np.mean(known[:5])


def test_a_run_without_an_end_is_refused(settings: ContrastiveSettings) -> None:
    with pytest.raises(ConfigError):
        contrastive.train_contrastive(replace(settings, max_steps=None))


def test_two_runs_cannot_share_a_folder(settings: ContrastiveSettings) -> None:
    settings.out.mkdir()
    with FileLock(settings.out / "run.lock"), pytest.raises(ConfigError, match="Another run"):
        contrastive.train_contrastive(settings)


def test_batches_are_of_one_source_and_resume_by_skipping() -> None:
    groups = by_source(PAIRS)
    rng = np.random.default_rng(0)
    vectors = {name: rng.normal(size=(len(group), 3)).astype(np.float32) for name, group in groups.items()}
    plan = {"batch_pairs": 4, "neighbourhoods": 2, "seed": 3}
    first = list(islice(batches(groups, vectors, **plan), 20))
    assert all(len({pair.source for pair in batch}) == 1 and len(batch) == 4 for batch in first)
    assert list(islice(batches(groups, vectors, **plan), 7, 20)) == first[7:]


@given(st.integers(2, 60), st.integers(1, 16), st.integers(0, 4))
def test_a_pass_uses_no_row_twice_and_loses_less_than_half_a_batch(count: int, size: int, groups: int) -> None:
    vectors = np.random.default_rng(count).normal(size=(count, 4)).astype(np.float32)
    passed = list(one_pass(count, vectors, size, groups, np.random.default_rng(0)))
    rows = [row for batch in passed for row in batch]
    assert len(rows) == len(set(rows)) and set(rows) <= set(range(count))
    assert passed and all(len(batch) <= size for batch in passed)
    assert count - len(rows) < (size + 1) // 2 or len(rows) == count


def test_a_neighbourhood_holds_the_nearest() -> None:
    angles = np.repeat([0.0, 1.0, 2.0, 3.0], 3) + np.tile([0, 0.01, 0.02], 4)
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    for batch in one_pass(12, vectors, 3, 1, np.random.default_rng(1)):
        assert len({row // 3 for row in batch}) == 1


def test_no_held_out_text_stays_in_training() -> None:
    pairs = [*PAIRS, Pair("What does the fox do?", "It hunts at night.", "animals")]
    train, dev = hold_out(pairs, 20, seed=0)
    kept = {text for pair in train for text in (pair.anchor, pair.positive)}
    assert len(dev) == 20
    assert kept.isdisjoint({text for pair in dev for text in (pair.anchor, pair.positive)})


def test_caps_bind_only_the_sources_they_name() -> None:
    kept = by_source(cap_sources(PAIRS, {"towers": 5}, seed=0))
    assert {name: len(group) for name, group in kept.items()} == {"animals": 12, "towers": 5}


@pytest.mark.parametrize(
    "line", ["{", '{"anchor": "a"}', '{"anchor": "a", "positive": " "}', "[1]", '{"anchor": 1, "positive": 2}']
)
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"anchor": "a", "positive": "b"}\n\n' + line + "\n")
    with pytest.raises(DatasetError, match="line 3"):
        read_pairs(path)


def test_the_rate_rises_then_falls() -> None:
    assert rate_share(0.05, 0.1) == pytest.approx(0.5)
    assert rate_share(0.1, 0.1) == pytest.approx(1)
    assert rate_share(0.55, 0.1) == pytest.approx(0.51)
    assert rate_share(1, 0.1) == pytest.approx(0.02)
    assert progress(5, 30, 10, None) == 0.5
    assert progress(5, 90, 10, 100) == 0.9

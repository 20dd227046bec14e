"""What training stages share: resuming, refusing, going on from one another."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from indexer.errors import ConfigError, DatasetError, FootnoteError, ModelError
from indexer.llm2vec.training import run
from indexer.llm2vec.training.contrastive import train_contrastive
from indexer.llm2vec.training.mntp import train_mntp
from indexer.llm2vec.training.settings import ContrastiveSettings, MntpSettings, RunSettings, SimcseSettings
from indexer.llm2vec.training.simcse import train_simcse
from indexer.llm2vec.training.student import Student
from indexer.llm2vec.training.texts import Texts, read_documents, read_texts

WORDS = ["fox", "owl", "hen", "cod", "bee", "elk", "ant", "yak", "bat", "cow", "doe", "eel"]
TEXTS = Texts(
    tuple(f"The {a} and the {b} walk along the river in the early light of May." for a in WORDS for b in WORDS[:3]),
    "walks",
)


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

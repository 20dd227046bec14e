"""`footnote train`: one command from texts or feedback to an adapter, and what it refuses."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.settings import ROOT

Footnote = Callable[..., Any]
ANIMALS = ("fox", "owl", "hen", "cod", "bee", "elk", "ant", "yak", "bat", "cow", "doe", "eel")
FAST = ("--steps", "2", "--batch", "4", "--rank", "2")


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A decoder of one layer with random weights and a tokenizer of bytes."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("decoders") / "tiny"
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=256, tie_word_embeddings=True, **shape)).save_pretrained(folder)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: index for index, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(autouse=True)
def small_model(decoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOOTNOTE_ENCODER__MODEL", str(decoder))


@pytest.fixture
def feedback(tmp_path: Path) -> Path:
    path = tmp_path / "feedback.jsonl"
    rows = [{"anchor": f"What does the {a} do?", "positive": f"The {a} sleeps by day."} for a in ANIMALS]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_feedback_becomes_an_adapter_in_one_command(footnote: Footnote, feedback: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    result = footnote("train", "contrastive", "--pairs", feedback, "--out", out)
    assert result.code == 0, result.stderr
    assert "contrastive: 10 steps" in result.stdout  # three passes over twelve pairs would be fewer
    assert f'encoder.adapter = "{out}"' in result.stdout and "footnote reindex" in result.stdout
    names = {path.name for path in out.iterdir()}
    assert names >= {"adapter_model.safetensors", "adapter_config.json", "README.md", "log.jsonl", "curves.svg"}
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "train contrastive --pairs feedback.jsonl --out mine" in card and str(tmp_path) not in card


@pytest.mark.parametrize("stage", ["mntp", "simcse"])
@pytest.mark.parametrize("source", ["folder", "collection", "texts"])
def test_texts_come_from_a_folder_a_collection_or_a_file(
    footnote: Footnote, papers: Path, feedback: Path, tmp_path: Path, stage: str, source: str
) -> None:
    if source == "collection":
        footnote("ingest", papers)
    where = {"folder": [papers], "collection": ["--collection", "default"], "texts": ["--texts", feedback]}[source]
    result = footnote("train", stage, *where, "--out", tmp_path / "run", *FAST, "--json")
    assert result.code == 0, result.stderr
    assert result.json["stage"] == stage and result.json["figures"]["steps"] == 2
    assert result.json["adapter"] == str(tmp_path / "run") and len(result.json["next"]) == 2
    facts = json.loads((tmp_path / "run" / "training.json").read_text(encoding="utf-8"))
    assert facts["data"]["from"] == {"folder": "papers", "collection": "collection default"}.get(source, feedback.name)


def test_stages_follow_each_other(footnote: Footnote, papers: Path, feedback: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert footnote("train", "mntp", papers, "--out", first, *FAST).code == 0
    follow = ("train", "contrastive", "--pairs", feedback, "--out", second, "--steps", "2", "--batch", "4")
    assert footnote(*follow, "--from", first).code == 0
    assert "Stages: mntp, then contrastive." in (second / "README.md").read_text(encoding="utf-8")
    refused = footnote(*follow, "--from", first, "--rank", "8", "--json")
    assert refused.code == 1 and "--rank cannot change" in refused.json["error"]["message"]


def test_a_finished_run_is_not_trained_again_and_another_one_is_refused(
    footnote: Footnote, feedback: Path, tmp_path: Path
) -> None:
    command = ("train", "contrastive", "--pairs", feedback, "--out", tmp_path / "run", *FAST)
    assert footnote(*command).code == 0
    log = (tmp_path / "run" / "log.jsonl").read_text(encoding="utf-8")
    assert footnote(*command).code == 0
    assert (tmp_path / "run" / "log.jsonl").read_text(encoding="utf-8") == log
    refused = footnote(*command, "--seed", "1", "--json")
    assert refused.code == 1 and "seed was 0 and is 1" in refused.json["error"]["message"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["mntp"], "one place"),
        (["mntp", "PAPERS", "--texts", "FEEDBACK"], "one place"),
        (["mntp", "nowhere"], "no such file"),
        (["simcse", "--collection", "absent"], "absent"),
        (["simcse", "--texts", "nowhere.jsonl"], "nowhere.jsonl"),
        (["contrastive", "--pairs", "nowhere.jsonl"], "nowhere.jsonl"),
        (["contrastive", "--pairs", "FEEDBACK", "--teacher", "nowhere"], "nowhere"),
        (["contrastive", "--pairs", "FEEDBACK", "--from", "nowhere"], "nowhere"),
        (["contrastive", "--pairs", "FEEDBACK", "--cap", "fox"], "SOURCE=NUMBER"),
    ],
)
def test_a_mistake_is_two_lines(
    footnote: Footnote, papers: Path, feedback: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    known = {"PAPERS": papers, "FEEDBACK": feedback}
    result = footnote("train", *(known.get(word, word) for word in arguments), "--out", tmp_path / "run", "--json")
    assert result.code == 1
    assert words in result.json["error"]["message"] and result.json["error"]["remedy"]


def test_files_that_cannot_be_read_are_named(footnote: Footnote, papers: Path, tmp_path: Path) -> None:
    (papers / "broken.pdf").write_bytes(b"")
    result = footnote("train", "mntp", papers, "--out", tmp_path / "run", *FAST)
    assert result.code == 0 and "left out:" in result.stdout and "broken.pdf" in result.stdout


def test_negatives_are_mined_from_positives_and_from_a_collection(
    footnote: Footnote, papers: Path, feedback: Path, tmp_path: Path
) -> None:
    out = tmp_path / "mined.jsonl"
    result = footnote("train", "mine", "--pairs", feedback, "--out", out, "--negatives", "2", "--json")
    assert result.code == 0, result.stderr
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == result.json["pairs"] == 12
    assert result.json["negatives"] == sum(len(row.get("negatives", [])) for row in rows) > 0
    assert all(row["positive"] not in row.get("negatives", []) for row in rows)
    footnote("ingest", papers)
    result = footnote("train", "mine", "--pairs", feedback, "--out", out, "--collection", "default", "--margin", "1")
    assert result.code == 0, result.stderr
    assert "from 3 texts" in result.stdout
    mined = "\n".join(out.read_text(encoding="utf-8").splitlines())
    assert "swarm in May" in mined
    trained = footnote("train", "contrastive", "--pairs", out, "--out", tmp_path / "run", *FAST)
    assert trained.code == 0, trained.stderr


def test_ctrl_c_saves_and_says_how_to_go_on(decoder: Path, feedback: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "FOOTNOTE_ENCODER__MODEL": str(decoder), "FOOTNOTE_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "app", "train", "contrastive", "--pairs", str(feedback), "--out"]
    command += [str(tmp_path / "run"), "--steps", "100000", "--batch", "4", "--rank", "2"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as process:
        log = tmp_path / "run" / "log.jsonl"
        until = time.monotonic() + 120
        while not (log.is_file() and '"loss"' in log.read_text(encoding="utf-8")) and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "The same command goes on" in told and "Traceback" not in told
    assert (tmp_path / "run" / "checkpoint.pt").is_file()
    assert not (tmp_path / "run" / "adapter_model.safetensors").exists()

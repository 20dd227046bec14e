"""`eval calibrate` and `eval sweep`: settings that are learned, and tried."""

import json
from pathlib import Path

import pytest

from app.settings import Settings, load_settings
from generator.chat import Pieces, Written
from generator.prompt import Prompt
from generator.usage import Usage
from tests.app.evaluation.conftest import FirstSentence, Footnote


def test_calibration_of_a_collection(footnote: Footnote, papers: Path, tmp_path: Path) -> None:
    folder = tmp_path / "judged"
    folder.mkdir()
    footnote("ingest", papers)
    source = next(d["source"] for d in footnote("documents", "--json").json["documents"] if "ferry" in d["source"])
    rows = [{"_id": f"q{n}", "text": f"ferry at {n}"} for n in range(24)]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "qrels.tsv").write_text("".join(f"q{n}\t{source}\t1\n" for n in range(24)))
    command = ("eval", "calibrate", "--dataset", folder, "--served", "default")
    told = footnote(*command, "--json").json
    assert (told["n"], told["metric"]) == (24, "ndcg@10")
    assert told["helps"] == bool(told["settings"])
    assert "nDCG@10 of 24 questions" in footnote(*command).stdout
    (folder / "qrels.tsv").write_text("q0\tnowhere.txt\t1\n")
    refused = footnote(*command)
    assert (refused.code, "is not in the collection" in refused.stderr) == (1, True)


def test_only_the_embedded_reader_s_choice_is_learned(footnote: Footnote, model: FirstSentence, dataset: Path) -> None:
    result = footnote("eval", "calibrate", "--reader", "--dataset", dataset)
    assert result.code == 1
    assert "is no embedded reader" in result.stderr


class Guesses(FirstSentence):
    """Always answers, and is sure of itself where there is an answer."""

    def stream(self, prompt: Prompt, max_tokens: int = 512) -> Pieces:
        known = prompt.question.startswith("How tall")
        yield "The tower is 34 metres tall [1]." if known else "It was first lit in 1842 [1]."
        return Written(Usage(1, 90, 9), -0.1 if known else -2.0)


@pytest.fixture
def guesses(monkeypatch: pytest.MonkeyPatch, dataset: Path) -> list[Settings]:
    """A server in name, which answers 24 questions that have an answer and 24 that have none; the settings it got."""
    seen: list[Settings] = []
    monkeypatch.setenv("FOOTNOTE_GENERATOR__BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setattr("app.commands.eval_answers.build_chat_model", lambda s: (seen.append(s), Guesses())[1])
    rows = [
        {"_id": f"{kind}{n}", "text": f"{text} tower {n}?", "answers": known, "answerable": bool(known)}
        for kind, text, known in (("a", "How tall is the", ["34 metres"]), ("b", "Who sold the", []))
        for n in range(24)
    ]
    (dataset / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (dataset / "qrels.tsv").write_text("".join(f"a{n}\ttower\t1\n" for n in range(24)))
    return seen


def test_abstention_is_learned_from_a_run_that_is_kept(
    footnote: Footnote, guesses: list[Settings], dataset: Path, tmp_path: Path
) -> None:
    out = tmp_path / "learned.toml"
    command = ("eval", "calibrate", "--abstention", "--dataset", dataset)
    told = footnote(*command, "--out", out, "--json").json
    assert guesses[0].generator.logprobs
    assert (told["helps"], told["n"]) == (True, 48)
    assert told["declining"]["held_out"]["f1"] > 0.95
    assert told["declining"]["present"]["recall"] == 0
    shown = footnote(*command)
    assert told["run"] in shown.stdout and "1 - F1 by doubt" in shown.stdout
    learned = load_settings(out, {}).generator
    assert learned.logprobs
    assert learned.abstention.model_dump() == told["settings"]

    report = footnote("eval", "report", told["run"], "--out", tmp_path / "run.md")
    assert report.code == 0
    assert "Declining: recall 0.000" in (tmp_path / "run.md").read_text()

    weighed = footnote("--config", out, "eval", "answers", "--dataset", dataset, "--json").json
    assert weighed["declining"]["f1"] > 0.95
    assert weighed["metrics"]["f1"]["mean"] > told["f1"]["present"]


def test_abstention_needs_a_server_and_is_learned_alone(footnote: Footnote, dataset: Path) -> None:
    refused = footnote("eval", "calibrate", "--abstention", "--dataset", dataset)
    assert (refused.code, "generator.base_url" in refused.stderr) == (1, True)
    assert footnote("eval", "calibrate", "--abstention", "--reader", "--dataset", dataset).code == 2


def test_a_file_of_settings_is_not_overwritten(footnote: Footnote, dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "footnote.toml").write_text("# mine\n")
    result = footnote("eval", "calibrate", "--dataset", dataset, "--out", tmp_path / "footnote.toml")
    assert (result.code, "is there already" in result.stderr) == (1, True)
    assert (tmp_path / "footnote.toml").read_text() == "# mine\n"


def test_a_sweep_finds_what_is_better_and_is_gone_on_with(footnote: Footnote, dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "best.toml"
    command = ("eval", "sweep", "--dataset", dataset, "--try", "retriever.mode=bm25,dense", "--out", out)
    told = footnote(*command, "--json").json
    assert (told["metric"], told["n"], len(told["standings"])) == ("ndcg@10", 2, 3)
    trials = [standing["trial"] for standing in told["standings"]]
    assert all(trial in trials for trial in ({}, {"retriever.mode": "bm25"}, {"retriever.mode": "dense"}))
    runs = footnote("eval", "runs", "--json").json["runs"]
    out.unlink(missing_ok=True)
    again = footnote(*command)
    assert (again.code, "pareto" in again.stdout) == (0, True)
    assert footnote("eval", "runs", "--json").json["runs"] == runs  # nothing was measured twice


def test_a_sweep_of_answers(footnote: Footnote, model: FirstSentence, dataset: Path) -> None:
    run = ("eval", "sweep", "--dataset", dataset, "--answers", "--try", "generator.passages=1,2", "--json")
    told = footnote(*run).json
    assert (told["metric"], told["n"]) == ("f1", 3)
    wrong = footnote(*run, "--metric", "beauty")
    assert (wrong.code, "Choose one of: em, f1" in json.dumps(wrong.json)) == (1, True)


@pytest.mark.parametrize("tried", ["retriever.beauty=1", "retriever.mode", "home=x", "ui.port=1"])
def test_a_sweep_of_what_is_no_setting(footnote: Footnote, dataset: Path, tried: str) -> None:
    assert footnote("eval", "sweep", "--dataset", dataset, "--try", tried).code == 2


def test_a_sweep_refuses_a_value_at_once(footnote: Footnote, dataset: Path) -> None:
    result = footnote("eval", "sweep", "--dataset", dataset, "--try", "retriever.dense_weight=0.1,7")
    assert (result.code, "retriever.dense_weight = 7 is not valid" in result.stderr) == (1, True)

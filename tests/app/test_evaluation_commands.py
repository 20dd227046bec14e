"""`footnote eval`: shapes, gates, exit codes, and what bad input gets."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from app.settings import Settings, load_settings
from generator.chat import Pieces, Written
from generator.prompt import Message, Prompt
from generator.server import Completion
from generator.usage import Usage
from indexer.errors import ModelError

Footnote = Callable[..., Any]
TEXTS = {
    "tower": "The tower is 34 metres tall. It was first lit in 1842.",
    "ferry": "The ferry leaves at nine. A ticket costs four crowns.",
    "bees": "The bees of the school swarm in May.",
}
ASKED = [
    ("q1", "How tall is the tower?", "The tower is 34 metres tall", "tower"),
    ("q2", "When does the ferry leave?", "at nine", "ferry"),
    ("q3", "Who keeps the goats?", None, None),
]


class FirstSentence:
    """Says the first sentence of the first passage; fails where it is told to."""

    name = "first-sentence"
    context_tokens = 4096
    follows_instructions = False

    def __init__(self) -> None:
        self.down_for = ""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def stream(self, prompt: Prompt, max_tokens: int = 512) -> Iterator[str]:
        if self.down_for and self.down_for in prompt.question:
            raise ModelError("The model server is down.", "Start it.")
        if "goats" in prompt.question:
            yield "The documents do not say."
        else:
            yield prompt.hits[0].chunk.text.split(". ")[0].rstrip(".") + ". [1]"


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> FirstSentence:
    chat = FirstSentence()
    monkeypatch.setattr("app.wiring._embedded", lambda *_: chat)
    return chat


class Judge:
    """Fills any schema: grades 4, finds one claim, says yes; fails where it is told to."""

    name = "judge"

    def __init__(self) -> None:
        self.failing = ""
        self.asked: list[str] = []

    def complete(self, messages: Sequence[Message], schema: Mapping[str, Any], max_tokens: int = 512) -> Completion:
        name = schema["required"][-1]
        self.asked.append(name)
        if name == self.failing:
            raise ModelError("The judge is down.", "Start it.")
        values = {
            "claims": ["a claim"],
            "verdicts": [{"source_says": "", "supported": True}],
            "verdict": {"gives": "", "useful": True},
            "made": {"questions": ["a", "b", "c"], "evasive": False},
            "grade": 4,
            "winner": "A",
            "steps": ["Read the answer.", "Compare it.", "Grade it."],
        }
        return Completion({"explanation": "", name: values[name]}, usage=Usage(1, 1000, 100))


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Judge:
    model = Judge()
    for module in ("judges", "eval_answers"):
        monkeypatch.setattr(f"app.commands.{module}.judge_model", lambda *_, **__: model)
    return model


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "island"
    folder.mkdir()
    rows = [{"_id": id_, "title": "", "text": text} for id_, text in TEXTS.items()]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    queries = [
        {"_id": id_, "text": text, "answers": [known] if known else [], "answerable": known is not None}
        for id_, text, known, _ in ASKED
    ]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in queries))
    (folder / "qrels.tsv").write_text("".join(f"{id_}\t{entry}\t1\n" for id_, _, _, entry in ASKED if entry))
    return folder


@pytest.fixture
def answers(footnote: Footnote, model: FirstSentence, dataset: Path) -> Callable[..., Any]:
    return lambda *more: footnote("eval", "answers", "--dataset", dataset, *more)


def test_answers_have_the_promised_shape(answers: Callable[..., Any]) -> None:
    result = answers("--json")
    assert result.code == 0
    report = result.json
    assert (report["dataset"], report["cases"], report["errors"], report["model"]) == (
        "island",
        3,
        {},
        "first-sentence",
    )
    em = report["metrics"]["em"]
    assert (em["mean"], em["n"], em["of"], em["method"]) == (pytest.approx(2 / 3), 3, 3, "rules")
    assert report["metrics"]["citation_precision"]["mean"] == 1.0
    assert report["metrics"]["abstention_recall"] | {"meaning": ""} == {
        "mean": 1.0, "ci95": [1.0, 1.0], "n": 1, "of": 3, "method": "rules", "meaning": "",
    }  # fmt: skip
    assert set(report["latency_ms"]["search"]) == {"p50", "p95"}
    assert "api_key" not in json.dumps(report)


def test_answers_are_a_table_for_people(answers: Callable[..., Any]) -> None:
    result = answers()
    assert result.code == 0
    assert "3 questions, answered by first-sentence" in result.stdout
    assert "1 of 3" in result.stdout


def test_a_limit_draws_the_same_questions_again(answers: Callable[..., Any]) -> None:
    first, second = answers("--limit", "2", "--json").json, answers("--limit", "2", "--json").json
    assert first["cases"] == second["cases"] == 2
    assert first["metrics"] == second["metrics"]
    assert first["run"] != second["run"]


def test_a_finished_run_is_taken_again_if_asked(footnote: Footnote, answers: Callable[..., Any], dataset: Path) -> None:
    first = answers("--json").json["run"]
    assert answers("--reuse", "--json").json["run"] == first
    assert answers("--reuse", "--limit", "2", "--json").json["run"] != first
    searched = ("eval", "retrieval", "--dataset", dataset, "--modes", "bm25", "--json")
    run = footnote(*searched).json["run"]
    assert footnote(*searched, "--reuse").json["run"] == run
    assert footnote(*searched).json["run"] != run


def test_a_failed_case_fails_the_command_and_only_it_is_tried_again(
    answers: Callable[..., Any], model: FirstSentence
) -> None:
    model.down_for = "ferry"
    failed = answers("--json")
    assert failed.code == 1
    assert failed.json["errors"] == {"ModelError": 1}
    assert "1 of 3 cases failed; the first, q2: The model server is down." in failed.stderr
    assert failed.json["metrics"]["em"]["n"] == 2
    model.down_for = ""
    again = answers("--json")
    assert (again.code, again.json["errors"], again.json["run"]) == (0, {}, failed.json["run"])


@pytest.mark.parametrize(("floor", "code"), [("em=0.6", 0), ("em=0.7", 1), (".em=0.7", 1), ("ndcg@10=0.1", 1)])
def test_a_floor_gates(answers: Callable[..., Any], floor: str, code: int) -> None:
    assert answers("--fail-below", floor).code == code


@pytest.mark.parametrize("floor", ["em", "em=high", "beauty=0.5", "=1"])
def test_a_floor_that_is_none_is_a_usage_mistake(answers: Callable[..., Any], floor: str) -> None:
    result = answers("--fail-below", floor)
    assert result.code == 2
    assert "--fail-below" in result.stderr


def test_a_mode_that_was_not_evaluated_does_not_pass(footnote: Footnote, dataset: Path) -> None:
    run = ("eval", "retrieval", "--dataset", dataset, "--modes", "bm25")
    assert footnote(*run, "--fail-below", "bm25.ndcg@10=0.9").code == 0
    result = footnote(*run, "--fail-below", "dense.ndcg@10=0.9")
    assert result.code == 1
    assert "dense was not evaluated" in result.stderr


def test_a_run_that_is_significantly_worse_does_not_pass(
    footnote: Footnote, model: FirstSentence, dataset: Path
) -> None:
    texts = [{"_id": f"q{n}", "text": f"How tall is the tower number {n}?", "answers": ["x"]} for n in range(30)]
    (dataset / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts))
    (dataset / "qrels.tsv").write_text("".join(f"q{n}\ttower\t1\n" for n in range(30)))
    run = ("eval", "answers", "--dataset", dataset)
    good = footnote(*run, "--json").json["run"]
    assert footnote(*run, "--no-worse-than", good).code == 0
    model.name = "worse"
    model.stream = lambda prompt, max_tokens=512: iter(["The documents do not say."])  # type: ignore[method-assign]
    result = footnote(*run, "--no-worse-than", good)
    assert result.code == 1
    assert "answered is worse than in" in result.stderr


def test_a_baseline_that_is_not_there_is_told_at_once(answers: Callable[..., Any]) -> None:
    result = answers("--no-worse-than", "nothing")
    assert result.code == 1
    assert "There is no run nothing." in result.stderr


def test_runs_are_listed_compared_reported_and_exported(
    footnote: Footnote, answers: Callable[..., Any], tmp_path: Path
) -> None:
    assert "no runs yet" in footnote("eval", "runs").stdout
    first, second = answers("--json").json["run"], answers("--limit", "2", "--json").json["run"]
    listed = footnote("eval", "runs", "--json").json["runs"]
    assert [run["run"] for run in listed] == [first, second]
    compared = footnote("eval", "compare", first, second, "--json").json
    assert compared["comparisons"][0]["metrics"]["em"]["n"] == 2
    table = footnote("eval", "compare", first, second).stdout
    assert "p (Holm)" in table
    page = tmp_path / "page.html"
    assert footnote("eval", "report", first, "--out", page, "--json").json["report"] == str(page)
    assert "<svg" in page.read_text()
    assert footnote("eval", "report", first).code == 0
    assert (tmp_path / f"{first}.html").is_file()
    lines, table_file = tmp_path / "run.jsonl", tmp_path / "run.csv"
    assert footnote("eval", "export", first, "--out", lines).code == 0
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [row["case"] for row in rows] == ["q1", "q2", "q3"]
    assert rows[0]["scores"]["em"] == 1.0
    assert "timings_ms" not in lines.read_text()
    assert footnote("eval", "export", first, "--out", table_file).code == 0
    (head, *body) = csv.reader(table_file.open(newline=""))
    assert head[:5] == ["case", "variant", "answer", "abstained", "error"]
    assert len(body) == 3


def test_a_place_that_cannot_be_written(footnote: Footnote, answers: Callable[..., Any], tmp_path: Path) -> None:
    run = answers("--json").json["run"]
    for command, name in (("report", "x.html"), ("export", "x.jsonl"), ("export", "x.csv")):
        result = footnote("eval", command, run, "--out", tmp_path / "nowhere" / name)
        assert result.code == 1
        assert "cannot be written" in result.stderr
        assert footnote("eval", command, run, "--out", tmp_path / "x.pdf").code == 2


def test_long_documents_are_cut_as_they_are_served(footnote: Footnote, model: FirstSentence, dataset: Path) -> None:
    long = " ".join(f"Sheep number {n} grazes on the hill." for n in range(600))
    rows = [{"_id": id_, "title": "", "text": f"{text} {long}"} for id_, text in TEXTS.items()]
    (dataset / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = footnote("eval", "answers", "--dataset", dataset, "--json").json
    assert report["chunking"]["max_tokens"] > 0


def test_judges_are_measured_without_a_server(footnote: Footnote, tmp_path: Path) -> None:
    pair = {"question": "when?", "reference": "in 1842", "a": {"text": "in May"}, "b": {"text": "in 1842"}}
    rows = [{"_id": f"p{n}", **pair, "labels": [1, 1]} for n in range(4)]
    (tmp_path / "pairs").mkdir()
    (tmp_path / "pairs/pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ("eval", "judge-agreement", "--dataset", tmp_path / "pairs")
    told = footnote(*command, "--json").json
    assert (told["pairs"], set(told["judges"])) == (4, {"f1", "rouge_l", "encoder"})
    assert told["judges"]["f1"]["figures"]["accuracy"]["value"] == 1.0
    assert told["people"]["accuracy"]["value"] == 1.0
    table = footnote(*command, "--judge", "f1").stdout
    assert "people, one by another" in table
    assert footnote("eval", "report", told["run"], "--out", tmp_path / "judges.html").code == 0
    refused = footnote(*command, "--judge", "pairwise")
    assert (refused.code, "needs a model server" in refused.stderr) == (1, True)
    unknown = footnote(*command, "--judge", "oracle")
    assert (unknown.code, "There is no judge oracle." in unknown.stderr) == (1, True)


def test_grading_needs_a_server(answers: Callable[..., Any]) -> None:
    result = answers("--judge")
    assert result.code == 1
    assert "needs a model server" in result.stderr


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


def test_attacks_are_counted_and_gated(footnote: Footnote, model: FirstSentence, tmp_path: Path) -> None:
    told = footnote("eval", "injection", "--json").json
    assert (told["attack_success"]["n"], len(told["families"])) == (64, 8)
    assert 0 < told["attack_success"]["mean"] < 1
    assert told["families"]["exfiltration"]["mean"] == 0
    assert len(told["obeyed"]) == round(64 * told["attack_success"]["mean"])
    shown = footnote("eval", "injection", "--fail-below", "resisted=1")
    assert (shown.code, "attack success" in shown.stdout) == (1, True)
    assert footnote("eval", "injection", "--fail-below", "exfiltration.resisted=1").code == 0
    missing = footnote("eval", "injection", "--dataset", tmp_path)
    assert (missing.code, "scenarios.jsonl" in missing.stderr) == (1, True)


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


def test_a_served_collection_is_evaluated(
    footnote: Footnote, model: FirstSentence, papers: Path, tmp_path: Path
) -> None:
    footnote("ingest", papers)
    file = tmp_path / "asked.csv"
    file.write_text("question,answer,source\nWhen does the ferry leave?,at nine,ferry.txt\n")
    found = footnote("eval", "retrieval", "--dataset", file, "--served", "default", "--modes", "bm25", "--json").json
    assert (found["modes"]["bm25"]["mrr@10"], found["entries"]) == (1.0, 3)
    told = footnote("eval", "answers", "--dataset", file, "--served", "default", "--json").json
    assert (told["metrics"]["contains"]["mean"], told["metrics"]["citation_precision"]["mean"]) == (1.0, 1.0)
    assert footnote("eval", "answers", "--dataset", file).code == 1
    nowhere = footnote("eval", "answers", "--dataset", file, "--served", "nowhere")
    assert (nowhere.code, "nowhere" in nowhere.stderr) == (1, True)
    file.write_text("question\nWho?\n")
    unjudged = footnote("eval", "retrieval", "--dataset", file, "--served", "default", "--modes", "bm25")
    assert (unjudged.code, "names no relevant document" in unjudged.stderr) == (1, True)


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


def test_a_judge_compares_two_runs(footnote: Footnote, answers: Callable[..., Any], model: FirstSentence) -> None:
    good = answers("--json").json["run"]
    model.name = "silent"
    model.stream = lambda prompt, max_tokens=512: iter(["The documents do not say."])  # type: ignore[method-assign]
    silent = answers("--json").json["run"]
    judged = footnote("eval", "compare", silent, good, "--judge", "f1", "--json").json["judged"]
    assert (judged["judge"], judged["wins"], judged["losses"], judged["n"]) == ("f1", 2, 0, 2)
    shown = footnote("eval", "compare", silent, good, "--judge", "f1")
    assert "B wins 2, loses 0, ties 0 of 2" in shown.stdout
    assert "never measured against people" in shown.stderr


def test_judged_metrics_are_scored_priced_and_told(answers: Callable[..., Any], judge: Judge) -> None:
    told = answers("--judge-metrics", "all", "--price-in", "1", "--price-out", "10", "--json").json
    metrics = told["metrics"]
    assert (metrics["faithfulness"]["mean"], metrics["faithfulness"]["n"], metrics["faithfulness"]["of"]) == (1.0, 2, 3)
    assert metrics["llm_context_recall"]["method"] == "judge: judge, claims-1, support-1"
    assert metrics["semantic_similarity"]["method"].startswith("encoder: ")
    calls = len(judge.asked)
    assert told["judge_usage"] == {
        "calls": calls, "prompt_tokens": 1000 * calls, "completion_tokens": 100 * calls,
        "cost": pytest.approx(calls * 0.002),
    }  # fmt: skip
    assert told["judged_metrics"]["prompts"]["faithfulness"] == ["claims-1", "support-1"]
    assert f"Judging took {calls} calls" in answers("--judge-metrics", "all").stdout


def test_a_failed_judgement_fails_the_command_and_only_it_is_tried_again(
    answers: Callable[..., Any], judge: Judge
) -> None:
    judge.failing = "verdict"
    failed = answers("--judge-metrics", "faithfulness,llm_context_precision", "--json")
    assert failed.code == 1
    assert failed.json["judge_failures"] == {"llm_context_precision": {"ModelError": 2}}
    assert "The judge failed: llm_context_precision on 2; the first, q1: The judge is down." in failed.stderr
    judge.failing = ""
    judge.asked.clear()
    again = answers("--judge-metrics", "faithfulness,llm_context_precision", "--json")
    assert (again.code, again.json["run"], set(judge.asked)) == (0, failed.json["run"], {"verdict"})


@pytest.mark.parametrize(
    "more",
    [
        ("--judge-metrics", "beauty"),
        ("--price-in", "1"),
        ("--grader", "oracle"),
        ("--domain", "poetry"),
        ("--domain", "math"),
        ("--judge", "--panel", "pointwise,geval"),
    ],
)
def test_what_a_judge_cannot_be_told_is_a_usage_mistake(answers: Callable[..., Any], more: Sequence[str]) -> None:
    assert answers(*more).code == 2


def test_a_panel_that_grades_takes_only_who_can(answers: Callable[..., Any], judge: Judge) -> None:
    refused = answers("--grader", "panel", "--panel", "pairwise,pointwise")
    assert (refused.code, "There is no judge pairwise." in refused.stderr) == (1, True)


def test_judged_metrics_need_a_server(answers: Callable[..., Any]) -> None:
    result = answers("--judge-metrics", "faithfulness")
    assert (result.code, "needs a model server" in result.stderr) == (1, True)


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ((), "judge, pointwise-1"),
        (("--domain", "math"), "judge, pointwise-domain-1, math-1"),
        (("--grader", "geval"), "judge, geval-1, general-1, steps "),
        (("--grader", "panel"), "panel of judge, pointwise-1; judge, geval-1, general-1, steps "),
    ],
)
def test_who_grades_is_in_the_run(answers: Callable[..., Any], judge: Judge, more: Sequence[str], named: str) -> None:
    told = answers("--judge", *more, "--json").json
    assert told["judge"].startswith(named)
    assert told["metrics"]["judged"]["mean"] == 0.75  # 4 of 1 to 5
    assert ("steps" in judge.asked) == ("geval" in named)


def test_judges_of_every_kind_are_measured_and_repeated(footnote: Footnote, judge: Judge, tmp_path: Path) -> None:
    pair = {"question": "when?", "reference": "in 1842", "a": {"text": "in May"}, "b": {"text": "in 1842"}}
    rows = [{"_id": f"p{n}", **pair, "labels": [1, 1]} for n in range(3)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ("eval", "judge-agreement", "--dataset", tmp_path / "pairs.jsonl")
    told = footnote(
        *command, "--judges", "pairwise,pointwise,geval,panel", "--panel", "f1,rouge_l,geval", "--json"
    ).json
    assert [name.partition(" ")[0] for name in told["judges"]] == ["judge,", "judge,", "judge,", "panel"]
    panel = next(judged for name, judged in told["judges"].items() if name.startswith("panel of f1; rouge_l; judge,"))
    assert panel["figures"]["accuracy"]["value"] == 1.0  # two rules outvote a judge that always takes the first
    repeated = footnote(*command, "--judge", "pairwise", "--repeat", "3", "--json").json
    assert len(repeated["judges"]) == 3
    assert repeated["repeats"]["judge, pairwise-1"]["flipped"] == {"value": 0.0, "ci95": [0.0, 0.0]}
    assert (
        "Asked 3 times, judge, pairwise-1: sd 0.00" in footnote(*command, "--judge", "pairwise", "--repeat", "3").stdout
    )
    rules = footnote(*command, "--judge", "f1", "--repeat", "3")
    assert (rules.code, "nothing to repeat" in rules.stderr) == (1, True)
    assert footnote(*command, "--judge", "f1", "--panel", "f1,geval").code == 2
    assert footnote(*command, "--judge", "pairwise", "--temperature", "1").code == 2
    for wrong in ("oracle", "f1@model", "pairwise,panel@model"):
        assert footnote(*command, "--judge", wrong).code == 1

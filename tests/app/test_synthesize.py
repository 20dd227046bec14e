"""`eval synthesize` and `eval review` as a user gives them: shapes, exit codes, and the way to `eval answers`."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from app.ui import rooms
from eval.synthesis.question_set import decide
from generator.prompt import Prompt
from tests.eval.written import Islander, island

Footnote = Callable[..., Any]
NAMES = ("Arran", "Bute", "Canna", "Danna", "Eigg", "Foula", "Gigha", "Hoy", "Iona", "Jura")


class FirstSentences:
    """Answers with the whole first passage."""

    name = "first-sentences"
    context_tokens = 4096
    follows_instructions = False

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def stream(self, prompt: Prompt, max_tokens: int = 512) -> Iterator[str]:
        yield f"{prompt.hits[0].chunk.text.split('. ')[1]}. [1]"


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Islander:
    """An author in place of the model server, and a reader in place of the embedded one."""
    islander = Islander(badly_on=["Eigg"])
    monkeypatch.setattr("app.commands.eval_synthesize.server_model", lambda settings, purpose: islander)
    monkeypatch.setattr("app.wiring._embedded", lambda *_: FirstSentences())
    return islander


@pytest.fixture
def islands(footnote: Footnote, tmp_path: Path) -> Path:
    folder = tmp_path / "islands"
    folder.mkdir()
    for number, name in enumerate(NAMES):
        (folder / f"{name}.txt").write_text(island(name, number))
    (folder / "short.txt").write_text("Too short.")
    assert footnote("ingest", folder, "--collection", "isles").code == 0
    return folder


@pytest.fixture
def synthesize(footnote: Footnote, islands: Path, model: Islander) -> Callable[..., Any]:
    return lambda *more: footnote("eval", "synthesize", "--collection", "isles", "--out", "asked", *more)


def test_from_a_collection_to_scored_answers(footnote: Footnote, synthesize: Callable[..., Any]) -> None:
    told = synthesize("--count", "8", "--attempts", "10", "--json")
    assert told.code == 0, told.stderr
    report = told.json
    assert (report["kept"], report["errors"], report["questions"]) == (8, [], "asked")
    assert report["passages"] == {"usable": 10, "too_short": 1}
    assert {kind: figures["kept"] for kind, figures in report["kinds"].items()} == {
        "single": 2, "two": 2, "unanswerable": 2, "follow-up": 2,
    }  # fmt: skip
    assert report["review"] == {"accepted": 0, "rejected": 0, "undecided": 8, "used": 8}
    assert [run["run"] for run in footnote("eval", "runs", "--json").json["runs"]] == [report["run"]]

    answers = footnote("eval", "answers", "--dataset", "asked", "--served", "isles", "--json")
    assert answers.code == 0, answers.stderr
    assert (answers.json["cases"], answers.json["metrics"]["f1"]["n"]) == (8, 8)
    found = footnote("eval", "retrieval", "--dataset", "asked", "--served", "isles", "--modes", "hybrid", "--json")
    assert (found.code, found.json["modes"]["hybrid"]["n"]) == (0, 6)
    spans = footnote("eval", "retrieval", "--dataset", "asked", "--served", "isles", "--spans", "--json")
    assert spans.code == 0
    assert footnote("eval", "report", report["run"], "--out", "page.html").code == 0
    assert footnote("eval", "export", report["run"], "--out", "all.jsonl").code == 0
    refused = footnote("eval", "answers", "--dataset", "asked")
    assert (refused.code, "--served NAME" in refused.stderr) == (1, True)


def test_the_same_command_asks_nothing_again(synthesize: Callable[..., Any], model: Islander) -> None:
    command = ("--count", "4", "--kinds", "single,follow-up", "--json")
    first, calls = synthesize(*command), model.calls
    again = synthesize(*command)
    assert (again.code, again.json, model.calls) == (0, first.json, calls)
    other = synthesize(*command, "--seed", "1")
    assert (other.code, "written in another way" in other.stderr) == (1, True)


def test_fewer_than_wanted_is_told(synthesize: Callable[..., Any]) -> None:
    told = synthesize("--count", "12", "--kinds", "single")
    assert told.code == 1
    assert "Missing: 3 of 12 single." in told.stderr  # ten islands, and one is written of badly
    assert "leak" in told.stdout
    assert "the question speaks of the passage" in told.stdout
    assert "footnote eval answers --dataset asked --served isles" in told.stdout
    assert len(Path("asked/queries.jsonl").read_text().splitlines()) == 9


def test_a_failure_is_told_and_tried_again(synthesize: Callable[..., Any], model: Islander) -> None:
    model.down_for = ["Hoy"]
    command = ("--count", "9", "--kinds", "single", "--json")
    failed = synthesize(*command)
    assert failed.code == 1
    assert [error["error"] for error in failed.json["errors"]] == ["ModelError"]
    assert "1 passage failed; the first: The server is down." in failed.stderr
    model.down_for = []
    again = synthesize(*command)
    assert (again.code, again.json["kept"], again.json["run"]) == (0, 9, failed.json["run"])


def test_decisions_are_told_and_the_set_follows(
    footnote: Footnote, synthesize: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    synthesize("--count", "4")
    folder = Path("asked")
    monkeypatch.setattr("sys.argv", ["main.py"])
    rooms.settings.cache_clear()
    assert rooms.question_folders() == [folder.resolve()]  # the page finds it by its run
    rooms.settings.cache_clear()
    (first, *_) = (json.loads(line)["_id"] for line in (folder / "queries.jsonl").read_text().splitlines())
    decide(folder, first, "accepted")
    told = footnote("eval", "review", folder, "--json")
    assert (told.code, told.json) == (
        0,
        {"questions": "asked", "accepted": 1, "rejected": 0, "undecided": 3, "used": 4, "accepted_only": False},
    )
    only = footnote("eval", "review", folder, "--no-ui", "--accepted-only")
    assert (only.code, "1 question in the set" in only.stdout) == (0, True)
    assert len((folder / "queries.jsonl").read_text().splitlines()) == 1
    assert footnote("eval", "review", folder, "--undecided-too", "--json").json["used"] == 4
    refused = footnote("eval", "review", "nowhere", "--no-ui")
    assert (refused.code, "holds no questions to review" in refused.stderr) == (1, True)


def test_without_a_model_server_it_says_how_to_set_one(footnote: Footnote, islands: Path) -> None:
    told = footnote("eval", "synthesize", "--collection", "isles", "--out", "asked", "--json")
    assert told.code == 1
    assert told.json["error"]["message"] == "Writing questions needs a model server."
    assert "generator.base_url" in told.json["error"]["remedy"]
    assert not Path("asked").exists()


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (("--kinds", "single,hard"), "--kinds"),
        (("--kinds", ","), "--kinds"),
        (("--count", "3"), "--count"),
        (("--k", "0"), "--k"),
    ],
)
def test_usage_mistakes(footnote: Footnote, wrong: tuple[str, ...], named: str) -> None:
    told = footnote("eval", "synthesize", "--out", "asked", *wrong)
    assert (told.code, named in told.stderr) == (2, True)


def test_a_collection_that_is_not_there_and_a_folder_that_is_taken(
    footnote: Footnote, synthesize: Callable[..., Any]
) -> None:
    missing = footnote("eval", "synthesize", "--collection", "nowhere", "--out", "asked")
    assert (missing.code, "There is no collection 'nowhere'" in missing.stderr) == (1, True)
    Path("asked").mkdir()
    Path("asked/mine.txt").write_text("mine")
    taken = synthesize("--count", "4")
    assert (taken.code, "holds no questions of ours" in taken.stderr) == (1, True)
    assert [path.name for path in Path("asked").iterdir()] == ["mine.txt"]

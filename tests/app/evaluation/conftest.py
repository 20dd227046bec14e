"""Fixtures of the tests of `footnote eval`: three documents, questions about them, a model and a judge."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

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

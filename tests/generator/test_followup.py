import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from generator.abstain import DECLINE
from generator.followup import by_rule, needs_context, self_contained, switches_topic
from generator.prompt import Prompt
from indexer.errors import ModelError


class Writer:
    """A chat model that writes what it was told to, or fails."""

    name, context_tokens, follows_instructions = "writer", 4096, True

    def __init__(self, *pieces: str, fails: bool = False) -> None:
        self.pieces, self.fails = pieces, fails
        self.prompts: list[Prompt] = []

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def stream(self, prompt: Prompt, max_tokens: int = 512) -> Iterator[str]:
        self.prompts.append(prompt)
        if self.fails:
            raise ModelError("down", "start it")
        yield from self.pieces


HISTORY = (("Who founded the observatory?", "Ada Marsh [1]"),)


@pytest.mark.parametrize(
    ("question", "before", "answer", "expected"),
    [
        ("And the Louvre?", "How tall is the Eiffel Tower?", "330 metres [1]", "How tall is the Louvre?"),
        ("What about its weight?", "How tall is the Ark?", "139 m [1]", "What about the Ark's weight?"),
        ("When did she die?", *HISTORY[0], "When did Ada Marsh die?"),
        ("What is her book called?", *HISTORY[0], "What is Ada Marsh's book called?"),
        ("When was it built?", "Who designed the new pier?", "J. Cole [1]", "When was the new pier built?"),
        ("And in winter?", "When does the museum open in summer?", "9 am [1]", "When does the museum open in winter?"),
        ("And who painted it?", "When was the hall built?", "1911 [1]", "And who painted the hall?"),
        ("Why?", "Was the ferry cancelled?", "Yes [1]", "Why? Was the ferry cancelled?"),
        ("The price?", "Which boat is the largest?", "The Petrel [1]", "The price? (boat largest The Petrel)"),
    ],
)  # fmt: skip
def test_rule(question: str, before: str, answer: str, expected: str) -> None:
    assert by_rule(question, ((before, answer),)) == expected


@pytest.mark.parametrize(
    "question", ["How many people live in Oslo?", "Is there a ferry to Skye?", "Who wrote the field guide to mosses?"]
)
def test_whole_question_is_left_alone(question: str) -> None:
    assert not needs_context(question)
    model = Writer("changed")
    assert self_contained(question, HISTORY, model) == question
    assert model.prompts == []


def test_first_question_is_left_alone() -> None:
    assert self_contained("When did she die?", ()) == "When did she die?"


def test_model_rewrites_if_it_can() -> None:
    model = Writer("When did ", "Ada Marsh die?")
    assert self_contained("When did she die?", HISTORY, model) == "When did Ada Marsh die?"
    assert "Ada Marsh" in model.prompts[0].messages[-1].content


@pytest.mark.parametrize(
    "model",
    [Writer(fails=True), Writer(""), Writer("Sure! Here it is:\nWhen did she die?"), Writer("long " * 200)],
    ids=["down", "nothing", "chatter", "endless"],
)
def test_rule_takes_over_when_the_model_does_not_give_a_question(model: Writer) -> None:
    assert self_contained("When did she die?", HISTORY, model) == "When did Ada Marsh die?"


LIT = (("When was the lighthouse at Hollow Head first lit?", "On 1 December 1842. [1]"),)


@pytest.mark.parametrize(
    "question",
    [
        "And who built the Quernhaven pier?",
        "How far is it from Oslo to Bergen?",
        "What time is it in Tokyo?",
        "When did Ada Marsh move to Skye, and why did she leave?",
        "Which rules apply to dogs on board the ferry?",
        "Who wrote the Annals of Tole?",
        "How many workers lost their lives while the new barrage was raised?",
        "How long is lost property kept before it is disposed of?",
        "How many nests were counted on the stack that is 49 metres high?",
        "By how much did Tideward raise output in its second year?",
        "The ribs of the dome were lost with a steamer. On which rock did she strand?",
        "What does it cost to charge an electric car?",
    ],
)
def test_another_topic_is_seen_and_left_as_it_is(question: str) -> None:
    assert switches_topic(question, LIT)
    model = Writer("changed")
    assert self_contained(question, LIT, model) == question
    assert model.prompts == []


@pytest.mark.parametrize(
    "question",
    [
        "And the Louvre?",
        "Why?",
        "And how tall is the tower?",
        "Who looks after it?",
        "What did Ada Marsh think of it?",
        "How far is it from there to Oslo?",
        "Is the lighthouse at Hollow Head still in use by the coastguard today?",
        "What does the winner get?",
        "How wide are their runners?",
        "What did the council say about its weight?",
        "How long is that cheese kept before it is sold?",
        "Is there a school?",
    ],
)
def test_the_same_topic_is_no_switch(question: str) -> None:
    assert not switches_topic(question, LIT)


NOT_FOUND = (("Who lives in Carrowmouth?", DECLINE),)


@pytest.mark.parametrize(
    "question",
    [
        "What is a dwam?",
        "How is the weather?",
        "Is there a school?",
        "What is the most pots that one boat may work?",
        "What yearly amount does a household pay for its water?",
        "What was the keeper's yearly wage when he came to Hollow Head?",
    ],
)
def test_a_question_of_which_nothing_was_found_does_not_follow_into_another(question: str) -> None:
    assert self_contained(question, NOT_FOUND) == question


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("And how large is it?", "And how large is Carrowmouth?"),
        ("And in winter?", "Who lives in winter?"),
        ("The price?", "The price? (lives Carrowmouth)"),
        ("Why?", "Why? Who lives in Carrowmouth?"),
    ],
)
def test_a_question_of_which_nothing_was_found_can_still_be_meant(question: str, expected: str) -> None:
    assert self_contained(question, NOT_FOUND) == expected


def test_there_is_no_switch_without_a_conversation() -> None:
    assert not switches_topic("Who wrote the Annals of Tole?", ())


def test_switches_in_the_sample_conversations() -> None:
    """Its own follow-up after each conversation, and the questions on other documents."""
    lines = (
        (Path(__file__).parents[2] / "data" / "questions" / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    )
    rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
    documents = {row["_id"]: {piece["document"] for piece in row["evidence"]} for row in rows}
    conversations = [row for row in rows if row["kind"] == "follow-up"]
    singles = [row for row in rows if row["kind"] == "single"]
    mistaken = seen = foreign = 0
    for row in conversations:
        history = [(turn["question"], turn["answer"]) for turn in row["turns"]]
        mistaken += switches_topic(row["text"], history)
        others = [single for single in singles if not documents[row["_id"]] & documents[single["_id"]]]
        foreign += len(others)
        seen += sum(switches_topic(single["text"], history) for single in others)
    assert len(conversations) == 26
    assert mistaken <= 1
    assert seen / foreign >= 0.85

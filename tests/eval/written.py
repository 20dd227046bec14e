"""A small island in passages, and a model that writes about it what it is told to."""

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.synthesis.candidate import Candidate, Kind
from eval.synthesis.filters import locate
from eval.synthesis.question_set import save_questions
from eval.synthesis.synthesize import Plan, Written
from generator.prompt import Message, Turn
from generator.server import Completion
from indexer.document import Chunk
from indexer.errors import ModelError
from indexer.store.records import StoredChunk
from retriever.hit import Hit

TOWER = (
    "The lighthouse on Skerry Point stands on bare rock. The tower is 34 metres tall and was first lit in 1842. "
    "Ann Moray was its first keeper, and lived in the low house beside it for thirty years."
)
FERRY = (
    "The ferry Meridian leaves the harbour at nine in the morning. A ticket costs four crowns, and a bicycle one more. "
    "The Meridian is steered by the light of Skerry Point when it comes home after dark."
)
Says = Callable[[str, str], Mapping[str, Any]]  # kind of request, text of the user's message


def passage(text: str = TOWER, document: str = "tower", start: int = 100) -> StoredChunk:
    """A chunk that begins `start` characters into its document."""
    chunk = Chunk(f"{document}:3", document, text, start, start + len(text))
    return StoredChunk(chunk, f"/island/{document}.md", document.capitalize())


def hits(*passages: StoredChunk) -> tuple[Hit, ...]:
    """Passages as a search gives them."""
    return tuple(Hit(p.chunk, p.source, p.title, 1 / rank, rank, "convex") for rank, p in enumerate(passages, start=1))


def candidate(
    number: int, kind: Kind, question: str, answer: str, *quoted: str, turns: tuple[Turn, ...] = ()
) -> Candidate:
    """A question as the filters leave it, about the tower, and with a second quote about the ferry."""
    passages = (passage(), passage(FERRY, "ferry"))[: len(quoted) or 1]
    quotes = tuple(quote for text, held in zip(quoted, passages, strict=False) if (quote := locate(text, held)))
    scores = {"rank_1": 2.0, "reading_f1": 1.0}
    return Candidate(
        f"{kind}-{number:04}", kind, passages, {}, question, answer, turns, f"{question} (in full)", quotes, scores
    )


LIT = "The tower is 34 metres tall and was first lit in 1842."
HOME = "The Meridian is steered by the light of Skerry Point when it comes home after dark."
HOSTILE = "How tall is the <img src=x onerror=alert(1)> **tower** [of](http://evil.example)?"


def question_folder(out: Path) -> Path:
    """Four questions to review, one of each kind."""
    before = ("Who was the <b>first</b> keeper?", "Ann Moray")
    candidates = [
        candidate(1, "single", HOSTILE, "34 metres", LIT),
        candidate(2, "two", "How tall is the light that steers the Meridian?", "34 metres", LIT, HOME),
        candidate(3, "unanswerable", "What did the tower cost?", ""),
        candidate(4, "follow-up", "When was it first lit?", "1842", LIT, turns=(before,)),
    ]
    plan = Plan({c.kind: 1 for c in candidates}, {c.kind: 10 for c in candidates}, seed=7)
    identity = {"model": "scripted", "dataset": "island", "fingerprint": "f1"}
    save_questions(out, "run-1", Written(candidates=candidates), plan, identity)
    return out


class Author:
    """Says what a function of the request says. A request is "read", or the kind of question that is to be written."""

    name = "scripted"

    def __init__(self, says: Says) -> None:
        self._says = says
        self._counting = threading.Lock()
        self.asked: list[tuple[str, str]] = []

    def complete(self, messages: Sequence[Message], schema: Mapping[str, Any], max_tokens: int = 512) -> Completion:
        kind = _KINDS[tuple(schema["properties"])]
        with self._counting:
            self.asked.append((kind, messages[1].content))
        return Completion(self._says(kind, messages[1].content))


_KINDS = {
    ("answerable", "answer"): "read",
    ("quote", "question", "answer"): "single",
    ("first_quote", "second_quote", "question", "answer"): "two",
    ("left_out", "question"): "unanswerable",
    ("first_question", "first_answer", "quote", "question", "self_contained", "answer"): "follow-up",
}


def island(name: str, number: int) -> str:
    """A passage with two facts."""
    return (
        f"{name} is one of the northern islands, and few people go there in winter. The hill of {name} is "
        f"{100 + number} metres high and has a cairn. A path to the top was laid in {1800 + number} by the parish."
    )


class Islander:
    """Writes good questions about `island` passages, and reads them well; on some islands it writes badly."""

    name = "islander"

    def __init__(self, badly_on: Sequence[str] = (), pause_s: float = 0.0) -> None:
        self._badly_on = badly_on
        self._pause_s = pause_s
        self.left = 10**9  # calls until it is interrupted
        self.down_for: Sequence[str] = ()
        self.calls = 0
        self._author = Author(self._says)

    def complete(self, messages: Sequence[Message], schema: Mapping[str, Any], max_tokens: int = 512) -> Completion:
        time.sleep(self._pause_s)
        self.calls += 1
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        if any(f"hill of {name}" in messages[1].content for name in self.down_for):
            raise ModelError("The server is down.", "Start it.")
        return self._author.complete(messages, schema, max_tokens)

    def _says(self, kind: str, text: str) -> Mapping[str, Any]:
        named = re.findall(r"The hill of (\w+) is (\d+) metres high and has a cairn\.", text)
        if kind == "read":
            return self._reads(text.split("Passage")[0], dict(named), dict(re.findall(_PATH, text)))
        (first, high), (last, _) = named[0], named[-1]
        quote = f"The hill of {first} is {high} metres high and has a cairn."
        height = {"quote": quote, "question": f"How high is the hill of {first}?", "answer": f"{high} metres"}
        if first in self._badly_on:
            height["question"] = "How high is the hill in the passage?"
        if kind == "single":
            return height
        if kind == "unanswerable":
            return {"left_out": "the owner", "question": f"Who owns the sheep that graze upon {first}?"}
        if kind == "two":
            question = f"How much higher or lower than {last} does {first} rise?"
            other = f"The hill of {last} is {dict(named)[last]} metres high and has a cairn."
            return {"first_quote": quote, "second_quote": other, "question": question, "answer": f"{high} metres"}
        year = dict(re.findall(_PATH, text))[first]
        return {
            "first_question": f"How high is the hill of {first}?",
            "first_answer": f"{high} metres",
            "quote": f"A path to the top was laid in {year} by the parish.",
            "question": "When was its path laid?",
            "self_contained": f"In which year was the path upon {first} laid?",
            "answer": year,
        }

    def _reads(self, question: str, heights: Mapping[str, str], years: Mapping[str, str]) -> Mapping[str, Any]:
        asked = [name for name in heights if re.search(rf"\b{name}\b", question)]
        answer = ""
        if "How high" in question and asked:
            answer = f"{heights[asked[0]]} metres"
        elif "In which year" in question and asked:
            answer = years[asked[0]]
        elif "How much" in question and len(asked) == 2:
            answer = f"{heights[min(asked, key=lambda name: -question.index(name))]} metres"
        return {"answerable": bool(answer), "answer": answer}


_PATH = r"The hill of (\w+) is [^.]*\. A path to the top was laid in (\d+) by"

"""The model as author of questions, and as a reader who has only passages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from eval.judge import JudgeModel
from eval.prompting import messages
from eval.synthesis.candidate import Candidate, Kind
from generator.abstain import declines
from indexer.errors import ModelError, UnfinishedError
from indexer.store.records import StoredChunk

PROMPTS: Mapping[Kind, str] = MappingProxyType({
    "single": "synthesize-single-1",
    "two": "synthesize-two-1",
    "unanswerable": "synthesize-unanswerable-1",
    "follow-up": "synthesize-follow-up-1",
})  # fmt: skip
READ_PROMPT = "read-1"
_QUOTE, _QUESTION, _ANSWER = 400, 240, 120  # characters at most
# In this order: the model picks its evidence before it asks.
_FIELDS: Mapping[Kind, Mapping[str, int]] = MappingProxyType({
    "single": {"quote": _QUOTE, "question": _QUESTION, "answer": _ANSWER},
    "two": {"first_quote": _QUOTE, "second_quote": _QUOTE, "question": _QUESTION, "answer": _ANSWER},
    "unanswerable": {"left_out": _ANSWER, "question": _QUESTION},
    "follow-up": {
        "first_question": _QUESTION, "first_answer": _ANSWER, "quote": _QUOTE, "question": _QUESTION,
        "self_contained": _QUESTION, "answer": _ANSWER,
    },
})  # fmt: skip
_TOKENS_LEFT = 100  # for the keys and signs of the JSON, beyond a token for every two characters of the fields
_READ_TOKENS = 200


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reader of passages alone answers; empty when the passages do not say."""

    answer: str

    @property
    def declined(self) -> bool:
        """Whether there was no answer."""
        return not self.answer


def write_question(model: JudgeModel, candidate: Candidate) -> Candidate:
    """Let the model write a question of the candidate's kind about its passages.

    Returns:
        The candidate with what was written; with the reason "unfinished" where that has no end, and "empty" where a
        field is missing.

    Raises:
        ModelError: the model failed.
    """
    fields = _FIELDS[candidate.kind]
    asked = messages(PROMPTS[candidate.kind], _shown(candidate.passages))
    try:
        value = model.complete(asked, _schema(fields), sum(fields.values()) // 2 + _TOKENS_LEFT).value
    except UnfinishedError:
        return replace(candidate, reason="unfinished")
    written = {name: " ".join(str(value.get(name) or "").split()) for name in fields}
    return replace(
        candidate,
        written=written,
        question=written["question"],
        answer=written.get("answer", ""),
        turns=((written["first_question"], written["first_answer"]),) if "first_question" in written else (),
        self_contained=written.get("self_contained", written["question"]),
        reason="" if all(written.values()) else "empty",
    )


def read(model: JudgeModel, question: str, passages: Sequence[StoredChunk]) -> Reading:
    """Answer a question from passages alone, without knowing what is expected.

    Raises:
        ModelError: the model failed, or gave no answer that fits the schema.
    """
    schema = {
        "type": "object",
        "properties": {"answerable": {"type": "boolean"}, "answer": {"type": "string", "maxLength": 2 * _ANSWER}},
        "required": ["answerable", "answer"],
        "additionalProperties": False,
    }
    try:
        value = model.complete(
            messages(READ_PROMPT, {"Question": question, **_shown(passages)}), schema, _READ_TOKENS
        ).value
    except UnfinishedError:
        return Reading("")
    answerable, answer = value.get("answerable"), value.get("answer")
    if not isinstance(answerable, bool) or not isinstance(answer, str):
        raise ModelError(f"{model.name} gave no answer.", "Serve a model that follows a JSON schema.")
    return Reading(answer.strip() if answerable and not declines(answer) else "")


def _shown(passages: Sequence[StoredChunk]) -> dict[str, str]:
    shown: dict[str, str] = {}
    for number, passage in enumerate(passages, start=1):
        place = " / ".join(dict.fromkeys(filter(None, (passage.title, *passage.chunk.heading_path))))
        which = f" {number}" if len(passages) > 1 else ""
        shown |= {f"Title{which}": place} if place else {}
        shown[f"Passage{which}"] = passage.chunk.text
    return shown


def _schema(fields: Mapping[str, int]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: {"type": "string", "maxLength": longest} for name, longest in fields.items()},
        "required": list(fields),
        "additionalProperties": False,
    }

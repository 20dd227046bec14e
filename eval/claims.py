"""Asking a language model for claims, verdicts on claims, and questions: what the metrics of claim_metrics.py rest on.

Three things differ from ragas: a JSON schema holds every list of verdicts to the number of claims, and claims to the
length of the text; a claim that is repeated counts once; the questions to an answer are written in one call, not drawn
in several.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eval.judge import JudgeModel
from eval.prompting import messages
from generator.usage import Usage
from indexer.encoder import Encoder
from indexer.errors import ModelError

QUESTIONS = 3  # made from an answer: ragas' strictness
MOST_CLAIMS, FEW_CLAIMS, WORDS_PER_CLAIM = 20, 3, 3  # small models go on and on: two words cannot make twenty claims
_MAX_TOKENS = 1500
_TOKENS_PER_VERDICT = 100  # more than a reason of its longest and its verdict need
CLAIMS, SUPPORT, USEFUL, MADE_QUESTIONS = "claims-1", "support-1", "useful-1", "questions-1"  # prompts


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model said to one question or to several alike, and what it took."""

    value: Any
    usage: Usage = field(default_factory=Usage)
    reasons: Sequence[Any] = ()  # of verdicts: why, in the model's words and in the verdicts' order


class ClaimChecker:
    """Puts single questions to a model. Thread-safe if model and encoder are."""

    def __init__(self, model: JudgeModel, encoder: Encoder | None = None) -> None:
        self._model = model
        self._encoder = encoder

    def extract(self, question: str, text: str) -> Reply:
        """Claims of a text that answers a question, each once; one at least."""
        most = min(MOST_CLAIMS, max(FEW_CLAIMS, len(text.split()) // WORDS_PER_CLAIM))
        items = {"type": "array", "minItems": 1, "maxItems": most, "items": _text(300)}
        claims, usage = self._ask(CLAIMS, {"Question": question, "Text": text}, "claims", items)
        if not claims:
            raise _disobeyed(self._model.name, "no claim")
        return Reply(list(dict.fromkeys(claims)), usage)

    def verify(self, claims: Sequence[str], source: str) -> Reply:
        """Whether a source supports each claim; an empty source supports none, and nothing is asked."""
        if not claims or not source.strip():
            return Reply([False] * len(claims))
        verdict = _object({"source_says": _text(160), "supported": {"type": "boolean"}})
        items = {"type": "array", "minItems": len(claims), "maxItems": len(claims), "items": verdict}
        numbered = "\n".join(f"{number}. {' '.join(claim.split())}" for number, claim in enumerate(claims, start=1))
        room = 100 + _TOKENS_PER_VERDICT * len(claims)
        given, usage = self._ask(SUPPORT, {"Source": source, "Claims": numbered}, "verdicts", items, room)
        if len(given) != len(claims):
            raise _disobeyed(self._model.name, f"{len(given)} verdicts on {len(claims)} claims")
        return Reply([bool(one["supported"]) for one in given], usage, [one["source_says"] for one in given])

    def verify_each(self, claims: Sequence[str], sources: Sequence[str]) -> Reply:
        """Verdicts by source, then by claim."""
        return _added([self.verify(claims, source) for source in sources])

    def useful(self, question: str, reference: str, passages: Sequence[str]) -> Reply:
        """Whether each passage was useful for arriving at the reference."""

        def ask(passage: str) -> Reply:
            fields = {"Question": question, "Answer": reference, "Passage": passage}
            schema = _object({"gives": _text(200), "useful": {"type": "boolean"}})
            verdict, usage = self._ask(USEFUL, fields, "verdict", schema, 200)
            return Reply(bool(verdict["useful"]), usage, verdict["gives"])

        return _added([ask(passage) for passage in passages])

    def make_questions(self, answer: str) -> Reply:
        """{"questions", "evasive"}: what the answer could have been given to."""
        texts = {"type": "array", "minItems": QUESTIONS, "maxItems": QUESTIONS, "items": _text(200, least=3)}
        schema = _object({"questions": texts, "evasive": {"type": "boolean"}})
        return Reply(*self._ask(MADE_QUESTIONS, {"Answer": answer}, "made", schema, 400))

    def cosines(self, text: str, others: Sequence[str]) -> Reply:
        """Cosine of a text with each of the others; nothing is asked of the model."""
        assert self._encoder is not None
        first, *rest = self._encoder.encode([text, *others])
        return Reply([round(float(first @ other), 6) for other in rest])

    def _ask(
        self, prompt: str, fields: Mapping[str, str], name: str, kind: Mapping[str, Any], room: int = _MAX_TOKENS
    ) -> tuple[Any, Usage]:
        written = self._model.complete(messages(prompt, fields), _object({name: kind}), room)
        if not _fits(written.value.get(name), kind):
            raise _disobeyed(self._model.name, f"no {name}")
        return written.value[name], written.usage


def _added(replies: Sequence[Reply]) -> Reply:
    usage = sum((reply.usage for reply in replies), Usage())
    return Reply([reply.value for reply in replies], usage, [reply.reasons for reply in replies])


def _text(longest: int, least: int = 1) -> dict[str, Any]:
    return {"type": "string", "minLength": least, "maxLength": longest}


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    required = list(properties)
    return {"type": "object", "properties": dict(properties), "required": required, "additionalProperties": False}


def _fits(value: Any, kind: Mapping[str, Any]) -> bool:
    """Whether a value has the shape asked for: servers without constrained decoding may write another."""
    if kind["type"] == "array":
        return isinstance(value, list) and all(_fits(item, kind["items"]) for item in value)
    if kind["type"] == "object":
        return isinstance(value, dict) and all(_fits(value.get(key), k) for key, k in kind["properties"].items())
    return isinstance(value, {"string": str, "boolean": bool}[kind["type"]])


def _disobeyed(model: str, what: str) -> ModelError:
    return ModelError(f"{model} gave {what}.", "Serve a model that follows a JSON schema.")

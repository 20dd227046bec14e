"""Who says which of two answers is better: a language model, in both orders, or a rule.

What the literature found about such judges is built in: the explanation comes before the verdict (Zheng et al. 2023,
arXiv:2306.05685), a pair counts only if it is judged alike in both orders (ibid.), a grade is the mean over the
probabilities of all grades (G-Eval, Liu et al. 2023, arXiv:2303.16634), and a reference is at hand.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Protocol

from eval.answer_metrics import rouge_l, token_f1
from eval.dataset import Case
from eval.prompting import Rubric
from generator.answer import Answer
from generator.prompt import Message
from generator.server import Completion
from generator.usage import Usage
from indexer.encoder import Encoder
from indexer.errors import ModelError

GRADES = (1, 2, 3, 4, 5)
MARGIN = 0.25  # grades nearer than this are a tie
PAIRWISE, POINTWISE = Rubric("pairwise-1"), Rubric("pointwise-1")
_EXPLANATION = {"type": "string", "maxLength": 700}
_MAX_TOKENS = 700  # more than the explanation may fill: cut JSON is no verdict


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers to one question."""

    id: str
    question: str
    reference: str
    a: str
    b: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which answer is better: `preference` is 1 for b, -1 for a, 0 for neither; `value` says how much, rising to b.

    `consistent` is None where order plays no part.
    """

    preference: int
    value: float
    consistent: bool | None = None
    said: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    usage: Usage = field(default_factory=Usage)


class Judge(Protocol):
    """Compares answers. Thread-safe."""

    @property
    def name(self) -> str:
        """What judges: model, prompt, version."""

    def compare(self, pair: Pair) -> Verdict:
        """Compare two answers.

        Raises:
            ModelError: the model failed.
        """


class JudgeModel(Protocol):
    """What a judge needs of a ServerModel."""

    @property
    def name(self) -> str:
        """The model's name."""

    def complete(self, messages: Sequence[Message], schema: Mapping[str, Any], max_tokens: int = 512) -> Completion:
        """Write a JSON object that fits the schema."""


class PairwiseJudge:
    """Asks a model for the winner twice, the second time with the answers exchanged."""

    def __init__(self, model: JudgeModel, rubric: Rubric = PAIRWISE) -> None:
        self._model = model
        self._rubric = rubric

    @property
    def name(self) -> str:
        """Model and prompt."""
        return f"{self._model.name}, {self._rubric.name}"

    def compare(self, pair: Pair) -> Verdict:
        """Prefer an answer only if it wins in both orders; else neither."""
        forth, first_usage = self._ask(pair, pair.a, pair.b)
        back, second_usage = self._ask(pair, pair.b, pair.a)
        first, second = _SIDES[forth["winner"]], -_SIDES[back["winner"]]
        alike = first == second
        said = {"forth": dict(forth), "back": dict(back)}
        return Verdict(first if alike else 0, (first + second) / 2, alike, said, first_usage + second_usage)

    def _ask(self, pair: Pair, first: str, second: str) -> tuple[Mapping[str, Any], Usage]:
        schema = _schema("winner", {"type": "string", "enum": list(_SIDES)})
        fields = {"Question": pair.question, "Reference": pair.reference, "Answer A": first, "Answer B": second}
        written = self._model.complete(self._rubric.messages(fields), schema, _MAX_TOKENS)
        if written.value.get("winner") not in _SIDES:
            raise ModelError(f"{self._model.name} named no winner.", "Serve a model that follows a JSON schema.")
        return written.value, written.usage


class PointwiseJudge:
    """Grades each answer by itself, and compares the grades."""

    def __init__(self, model: JudgeModel, rubric: Rubric = POINTWISE, margin: float = MARGIN) -> None:
        self._model = model
        self._rubric = rubric
        self._margin = margin

    @property
    def name(self) -> str:
        """Model and prompt."""
        return f"{self._model.name}, {self._rubric.name}"

    @property
    def needs_reference(self) -> bool:
        """Whether the prompt is about a reference that must be there."""
        return not self._rubric.domain

    def compare(self, pair: Pair) -> Verdict:
        """Prefer the answer with the higher grade."""
        return compare_grades(self, pair, self._margin)

    def grade(self, question: str, reference: str, answer: str) -> dict[str, Any]:
        """{"grade": 1 to 5, the mean over what the model held possible, "explanation", "usage"}."""
        schema = _schema("grade", {"type": "integer", "enum": list(GRADES)})
        fields = {"Question": question, "Reference": reference, "Answer": answer}
        written = self._model.complete(self._rubric.messages(fields), schema, _MAX_TOKENS)
        return {**read_grade(written, self._model.name), "explanation": written.value.get("explanation")}


@dataclass(frozen=True, slots=True)
class RuleJudge:
    """Prefers the answer that is nearer to the reference by a score from 0 to 1."""

    name: str
    score: Callable[[str, str], float]  # answer, reference
    margin: float = 0.05  # scores nearer than this are a tie

    def compare(self, pair: Pair) -> Verdict:
        """Prefer the answer with the higher score."""
        a, b = (self.score(text, pair.reference) for text in (pair.a, pair.b))
        return _by_score(a, b, self.margin, {"a": a, "b": b})


def rule_judges(encoder: Encoder | None) -> tuple[RuleJudge, ...]:
    """Judges that need no language model: words in common, their order, and with an encoder the meaning."""
    judges = (RuleJudge("f1", _scored(token_f1)), RuleJudge("rouge_l", _scored(rouge_l)))
    return judges if encoder is None else (*judges, RuleJudge("encoder", _cosine(encoder)))


class Grader(Protocol):
    """Grades one answer. Thread-safe."""

    @property
    def name(self) -> str:
        """Model and prompt."""

    @property
    def needs_reference(self) -> bool:
        """Whether it grades only answers for which a known one is at hand."""

    def grade(self, question: str, reference: str, answer: str) -> dict[str, Any]:
        """{"grade": from 1 to 5, "explanation", "usage"}."""


def compare_grades(grader: Grader, pair: Pair, margin: float = MARGIN) -> Verdict:
    """Grade both answers, and prefer the one with the higher grade."""
    a, b = (grader.grade(pair.question, pair.reference, text) for text in (pair.a, pair.b))
    usage = Usage(**a["usage"]) + Usage(**b["usage"])
    return replace(_by_score(a["grade"], b["grade"], margin, {"a": a, "b": b}), usage=usage)


def read_grade(written: Completion, model: str) -> dict[str, Any]:
    """{"grade", "usage"} of a completion.

    Raises:
        ModelError: it holds no grade.
    """
    grade = written.value.get("grade")
    if grade not in GRADES:
        raise ModelError(f"{model} gave no grade.", "Serve a model that follows a JSON schema.")
    return {"grade": round(expected_grade(written, int(grade)), 4), "usage": written.usage.as_json()}


def expected_grade(written: Completion, grade: int) -> float:
    """Mean grade under the model's probabilities where it wrote the grade; `grade` itself where it gave none."""
    before = ""
    for token, alternatives in written.tokens:
        if '"grade"' in before and token.strip() == str(grade):
            held = {int(other): math.exp(p) for other, p in alternatives.items() if other.strip() in _DIGITS}
            total = sum(held.values())
            return sum(value * p for value, p in held.items()) / total if total else float(grade)
        before += token
    return float(grade)


_SIDES = {"A": -1, "B": 1, "tie": 0}
_DIGITS = frozenset(map(str, GRADES))


def _by_score(a: float, b: float, margin: float, said: Mapping[str, Any]) -> Verdict:
    difference = b - a
    preference = 0 if abs(difference) < margin else (1 if difference > 0 else -1)
    return Verdict(preference, difference, None, said)


def _schema(verdict: str, kind: Mapping[str, Any]) -> dict[str, Any]:
    """An explanation, then the verdict: in this order, so that the model thinks first."""
    return {
        "type": "object",
        "properties": {"explanation": _EXPLANATION, verdict: dict(kind)},
        "required": ["explanation", verdict],
        "additionalProperties": False,
    }


def _scored(metric: Callable[[Case, Answer], float | None]) -> Callable[[str, str], float]:
    def score(answer: str, reference: str) -> float:
        case = Case("", "", answers=(reference,))
        return metric(case, Answer(answer, (), (), abstained=False, query="")) or 0.0

    return score


def _cosine(encoder: Encoder) -> Callable[[str, str], float]:
    def score(answer: str, reference: str) -> float:
        if not answer.strip() or not reference.strip():
            return 0.0
        a, b = encoder.encode([answer, reference])
        return float(a @ b)

    return score

"""Metrics that a language model judges, as ragas defines them.

A judgement is made of steps, each taken once for an answer and kept in the run: claims of the answer and of the
reference, verdicts on them against passages, reference or answer, questions, cosines. Metrics share steps; what a
metric makes of them is arithmetic (claim_scores.py).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from eval.claim_scores import average_precision, claim_f1, correctness, noise_sensitivity, relevancy, supported_share
from eval.claims import CLAIMS, MADE_QUESTIONS, QUESTIONS, SUPPORT, USEFUL, ClaimChecker, Reply
from eval.dataset import Case
from eval.judge import JudgeModel
from generator.answer import Answer
from generator.citations import without_markers
from indexer.encoder import Encoder
from indexer.errors import ConfigError, FootnoteError


@dataclass(frozen=True, slots=True)
class Subject:
    """What is judged. An answer is empty when the question was declined, a reference when none is known."""

    question: str
    answer: str
    reference: str
    passages: tuple[str, ...]
    before: tuple[str, ...] = ()  # questions asked before in the same conversation

    @property
    def asked(self) -> str:
        """The question with those before it, without which "And then?" means nothing."""
        return f"{' / '.join(self.before)} / {self.question}" if self.before else self.question


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to ask: the steps before it, the prompt it uses (if any), and how it is done."""

    needs: tuple[str, ...]
    prompt: str
    take: Callable[[ClaimChecker, Subject, Mapping[str, Any]], Reply]


@dataclass(frozen=True, slots=True)
class ClaimMetric:
    """A score from steps. It applies where each of `of` (fields of a subject) is not empty."""

    of: tuple[str, ...]
    needs: tuple[str, ...]
    score: Callable[[Mapping[str, Any]], float | None]
    meaning: str


class ClaimJudge:
    """Takes the steps that the chosen metrics need. Thread-safe if model and encoder are."""

    def __init__(self, model: JudgeModel, metrics: Sequence[str], encoder: Encoder | None = None) -> None:
        """Choose metrics by name.

        Raises:
            ConfigError: a name is unknown, or a metric needs an encoder and there is none.
        """
        self._model = model
        self._checker = ClaimChecker(model, encoder)
        self.metrics = tuple(name for name in CLAIM_METRICS if name in check_claim_metrics(metrics))
        self._encoder = encoder
        if encoder is None and any(needs_encoder(name) for name in self.metrics):
            raise ConfigError("answer_relevancy and answer_correctness need an encoder.", "Choose other metrics.")

    @property
    def model(self) -> str:
        """The model's name."""
        return self._model.name

    @property
    def encoder_fingerprint(self) -> str | None:
        """Of the encoder that gives the cosines, where a metric needs one."""
        return self._encoder.fingerprint if self._encoder and any(map(needs_encoder, self.metrics)) else None

    def judge(self, subject: Subject, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Take every step that is not in the judgement `before`.

        Returns:
            {"steps": {step: {"value", "usage", "reasons"}}, "failed": {metric: {"error", "message"}}}; only verdicts
            have reasons. A step that failed fails the metrics that need it and no others.
        """
        steps: dict[str, Any] = dict(before["steps"]) if before else {}
        broken: dict[str, FootnoteError] = {}
        failed = {}
        for metric in self.metrics:
            if not _applies(metric, subject):
                continue
            for step in _all_steps(metric):
                if step not in steps and step not in broken:
                    try:
                        steps[step] = self._taken(step, subject, steps)
                    except FootnoteError as error:
                        broken[step] = error
                if step in broken:
                    failed[metric] = {"error": broken[step].kind, "message": broken[step].message}
                    break
        return {"steps": steps, "failed": failed}

    def _taken(self, name: str, subject: Subject, steps: Mapping[str, Any]) -> dict[str, Any]:
        step = STEPS[name]
        reply = step.take(self._checker, subject, {need: steps[need]["value"] for need in step.needs})
        told = {"reasons": reply.reasons} if reply.reasons else {}
        return {"value": reply.value, "usage": reply.usage.as_json(), **told}


def subject_of(case: Case, answer: Answer) -> Subject:
    """What is judged of an answered case. Alternative known answers are one reference, with " / " between."""
    said = "" if answer.abstained else without_markers(answer.text).strip()
    passages = tuple(hit.chunk.text for hit in answer.hits)
    before = tuple(question for question, _ in case.turns)
    return Subject(case.question, said, " / ".join(case.answers), passages, before)


def score_claims(judgement: Mapping[str, Any], metrics: Sequence[str]) -> dict[str, float]:
    """Every metric whose steps are all there and that says something about them."""
    values = {step: taken["value"] for step, taken in judgement["steps"].items()}
    scores = {
        name: CLAIM_METRICS[name].score(values)
        for name in metrics
        if name not in judgement["failed"] and all(step in values for step in CLAIM_METRICS[name].needs)
    }
    return {name: score for name, score in scores.items() if score is not None}


def check_claim_metrics(names: Sequence[str]) -> Sequence[str]:
    """The names themselves.

    Raises:
        ConfigError: one is no metric of these.
    """
    for name in names:
        if name not in CLAIM_METRICS:
            raise ConfigError(f"There is no judged metric {name}.", f"Choose from: {', '.join(CLAIM_METRICS)}, or all.")
    return names


def prompts_of(metric: str) -> tuple[str, ...]:
    """Names of the prompts that a metric rests on."""
    return tuple(dict.fromkeys(STEPS[step].prompt for step in _all_steps(metric) if STEPS[step].prompt))


def needs_encoder(metric: str) -> bool:
    """Whether a metric takes a cosine."""
    return bool({"question_cosines", "similarity"} & set(CLAIM_METRICS[metric].needs))


def _with_question(question: str, text: str) -> str:
    """A short answer means something only beside its question."""
    return f"Asked: {question}\nAnswered: {text}" if text else ""


def _noise(values: Mapping[str, Any]) -> tuple[float | None, float | None]:
    relevant = [any(verdicts) for verdicts in values["reference_in_each_passage"]]
    return noise_sensitivity(values["answer_in_reference"], values["answer_in_each_passage"], relevant)


def _correctness(values: Mapping[str, Any]) -> float | None:
    f1 = claim_f1(values["answer_in_reference"], values["reference_in_answer"])
    return correctness(f1, values["similarity"][0])


STEPS: Mapping[str, Step] = MappingProxyType(
    {
        "answer_claims": Step((), CLAIMS, lambda checker, s, _: checker.extract(s.asked, s.answer)),
        "reference_claims": Step((), CLAIMS, lambda checker, s, _: checker.extract(s.asked, s.reference)),
        "answer_in_passages": Step(
            ("answer_claims",), SUPPORT, lambda checker, s, had: checker.verify(had["answer_claims"], _joined(s))
        ),
        "reference_in_passages": Step(
            ("reference_claims",), SUPPORT, lambda checker, s, had: checker.verify(had["reference_claims"], _joined(s))
        ),
        "answer_in_reference": Step(
            ("answer_claims",),
            SUPPORT,
            lambda checker, s, had: checker.verify(had["answer_claims"], _with_question(s.asked, s.reference)),
        ),
        "reference_in_answer": Step(
            ("reference_claims",),
            SUPPORT,
            lambda checker, s, had: checker.verify(had["reference_claims"], _with_question(s.asked, s.answer)),
        ),
        "answer_in_each_passage": Step(
            ("answer_claims",), SUPPORT, lambda checker, s, had: checker.verify_each(had["answer_claims"], s.passages)
        ),
        "reference_in_each_passage": Step(
            ("reference_claims",),
            SUPPORT,
            lambda checker, s, had: checker.verify_each(had["reference_claims"], s.passages),
        ),
        "useful_passages": Step((), USEFUL, lambda checker, s, _: checker.useful(s.asked, s.reference, s.passages)),
        "questions": Step((), MADE_QUESTIONS, lambda checker, s, _: checker.make_questions(s.answer)),
        "question_cosines": Step(
            ("questions",), "", lambda checker, s, had: checker.cosines(s.asked, had["questions"]["questions"])
        ),
        "similarity": Step((), "", lambda checker, s, _: checker.cosines(s.reference, [s.answer])),
    }
)
_NOISE_STEPS = ("answer_in_reference", "answer_in_each_passage", "reference_in_each_passage")
CLAIM_METRICS: Mapping[str, ClaimMetric] = MappingProxyType(
    {
        "faithfulness": ClaimMetric(
            ("answer",),
            ("answer_in_passages",),
            lambda values: supported_share(values["answer_in_passages"]),
            "of the answer's claims: supported by the passages found",
        ),
        "answer_relevancy": ClaimMetric(
            ("answer",),
            ("questions", "question_cosines"),
            lambda values: relevancy(values["question_cosines"], values["questions"]["evasive"]),
            f"cosine of the question with {QUESTIONS} made from the answer; 0 if it is evasive",
        ),
        "answer_correctness": ClaimMetric(
            ("answer", "reference"),
            ("answer_in_reference", "reference_in_answer", "similarity"),
            _correctness,
            "0.75 F1 of claims with the known answer's + 0.25 cosine with it",
        ),
        "llm_context_precision": ClaimMetric(
            ("reference",),
            ("useful_passages",),
            lambda values: average_precision(values["useful_passages"]),
            "passages useful for the known answer stand first",
        ),
        "llm_context_recall": ClaimMetric(
            ("reference",),
            ("reference_in_passages",),
            lambda values: supported_share(values["reference_in_passages"]),
            "of the known answer's claims: supported by the passages found",
        ),
        "llm_noise_relevant": ClaimMetric(
            ("answer", "reference"),
            _NOISE_STEPS,
            lambda values: _noise(values)[0],
            "of claims: wrong, and from a relevant passage; lower is better",
        ),
        "llm_noise_irrelevant": ClaimMetric(
            ("answer", "reference"),
            _NOISE_STEPS,
            lambda values: _noise(values)[1],
            "of claims: wrong, and from irrelevant passages alone; lower is better",
        ),
    }
)


def _joined(subject: Subject) -> str:
    return "\n\n".join(subject.passages)


def _applies(metric: str, subject: Subject) -> bool:
    return all(getattr(subject, name) for name in CLAIM_METRICS[metric].of)


def _all_steps(metric: str) -> list[str]:
    """Steps of a metric, each after those it needs."""
    ordered = [before for step in CLAIM_METRICS[metric].needs for before in (*STEPS[step].needs, step)]
    return list(dict.fromkeys(ordered))

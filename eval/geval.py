"""G-Eval (Liu et al. 2023, arXiv:2303.16634): the model writes the steps of the evaluation, then fills in grades.

The grade is weighted by the probabilities of all grades. Steps are written once for a model and a domain, kept on disk
and in every run that used them: two runs are graded by the same steps, or are told apart by the judge's name.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval.judge import GRADES, JudgeModel, Pair, Verdict, compare_grades, read_grade
from eval.prompting import Rubric
from generator.prompt import Message
from indexer.errors import ModelError
from indexer.store.disk import write_json

WRITING, GRADING = "geval-steps-1", "geval-1"
_STEPS = {"type": "array", "minItems": 3, "maxItems": 8, "items": {"type": "string", "minLength": 10, "maxLength": 300}}


class GEvalJudge:
    """Grades each answer by generated steps, and compares the grades."""

    def __init__(self, model: JudgeModel, domain: str, steps: Sequence[str]) -> None:
        self._model = model
        self._rubric = Rubric(GRADING, domain)
        self.steps = tuple(steps)

    @property
    def name(self) -> str:
        """Model, prompt and a hash of the steps."""
        digest = hashlib.sha256("\n".join(self.steps).encode()).hexdigest()[:8]
        return f"{self._model.name}, {self._rubric.name}, steps {digest}"

    @property
    def needs_reference(self) -> bool:
        """A reference is used where there is one."""
        return False

    def compare(self, pair: Pair) -> Verdict:
        """Prefer the answer with the higher grade."""
        return compare_grades(self, pair)

    def grade(self, question: str, reference: str, answer: str) -> dict[str, Any]:
        """{"grade": 1 to 5, the mean over what the model held possible, "explanation": none is asked for, "usage"}."""
        schema = {
            "type": "object",
            "properties": {"grade": {"type": "integer", "enum": list(GRADES)}},
            "required": ["grade"],
            "additionalProperties": False,
        }
        fields = {"Question": question, "Reference": reference, "Answer": answer}
        numbered = "\n".join(f"{number}. {step}" for number, step in enumerate(self.steps, start=1))
        written = self._model.complete(self._rubric.messages(fields, {"steps": numbered}), schema, 32)
        return {**read_grade(written, self._model.name), "explanation": ""}


def evaluation_steps(model: JudgeModel, domain: str, home: Path) -> tuple[str, ...]:
    """The steps of a model for a domain: read from HOME/eval/steps, or written by the model and kept there.

    Raises:
        ConfigError: there is no such domain.
        ModelError: the model failed or wrote no steps.
    """
    rubric = Rubric(WRITING, domain)
    asked = rubric.messages({})[0].content
    key = hashlib.sha256(json.dumps([model.name, rubric.name, asked]).encode()).hexdigest()[:16]
    path = home / "eval" / "steps" / f"{key}.json"
    if path.is_file():
        return tuple(json.loads(path.read_text(encoding="utf-8"))["steps"])
    schema = {"type": "object", "properties": {"steps": _STEPS}, "required": ["steps"], "additionalProperties": False}
    question = Message("user", "Write the steps.")
    steps = model.complete((Message("system", asked), question), schema, 1500).value.get("steps")
    if not isinstance(steps, list) or not steps or not all(isinstance(step, str) for step in steps):
        raise ModelError(f"{model.name} wrote no steps.", "Serve a model that follows a JSON schema.")
    told = {"model": model.name, "prompt": rubric.name, "steps": [" ".join(step.split()) for step in steps]}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, told)
    return tuple(told["steps"])

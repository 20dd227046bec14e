"""G-Eval, domains, panels and repeats, with scripted models and by hand."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from eval.geval import GEvalJudge, evaluation_steps
from eval.human import Compared
from eval.judge import Pair, PairwiseJudge, PointwiseJudge, RuleJudge, Verdict
from eval.judgements import told_usage
from eval.judging import measure_judges
from eval.panel import PanelGrader, PanelJudge, majority
from eval.prompting import DOMAINS, Rubric, messages
from eval.repeat import RepeatedJudge, variation
from generator.prompt import Message
from generator.server import Completion
from generator.usage import Prices, Usage
from indexer.errors import ConfigError, ModelError

PAIR = Pair("p", "when was it lit?", "In 1842, by John.", "In 1842.", "In 1842, by John.")
STEPS = ["Read the question and the answer.", "Compare the answer with what is right.", "Give the grade."]


class Scripted:
    """Gives the next of its values, and the tokens with it."""

    def __init__(self, *values: Mapping[str, Any], name: str = "scripted", tokens: Sequence[Any] = ()) -> None:
        self.name = name
        self._values = list(values)
        self._tokens = tuple(tokens)
        self.seen: list[Sequence[Message]] = []

    def complete(self, messages: Sequence[Message], schema: Mapping[str, Any], max_tokens: int = 512) -> Completion:
        self.seen.append(messages)
        return Completion(self._values.pop(0), self._tokens, Usage(1, 50, 5))


def test_steps_are_written_once_for_a_model_and_a_domain(tmp_path: Path) -> None:
    model = Scripted({"steps": STEPS}, {"steps": ["Run the code in your head."] * 3})
    steps = evaluation_steps(model, "general", tmp_path)
    assert steps == evaluation_steps(model, "general", tmp_path) == tuple(STEPS)
    assert len(model.seen) == 1
    assert "The question is a general one" in model.seen[0][0].content
    assert evaluation_steps(model, "coding", tmp_path) != steps
    other = Scripted({"steps": STEPS[::-1]}, name="other")
    assert evaluation_steps(other, "general", tmp_path) == tuple(STEPS[::-1])


def test_a_model_without_steps_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="wrote no steps"):
        evaluation_steps(Scripted({"steps": []}), "general", tmp_path)
    assert not list(tmp_path.rglob("*.json"))


def test_geval_weighs_the_grade_by_probability() -> None:
    held = {"2": math.log(0.5), "4": math.log(0.25), "x": math.log(0.25)}
    model = Scripted({"grade": 2}, tokens=[('{"', {}), ("grade", {}), ('":', {}), ("2", held), ("}", {})])
    judge = GEvalJudge(model, "math", STEPS)
    given = judge.grade(PAIR.question, PAIR.reference, PAIR.a)
    assert given["grade"] == pytest.approx((2 * 0.5 + 4 * 0.25) / 0.75, abs=1e-4)
    rules = model.seen[0][0].content
    assert "2. Compare the answer with what is right." in rules
    assert "about mathematics" in rules
    assert "{" not in rules.replace('{"', "")
    assert judge.name != GEvalJudge(model, "math", STEPS[:2]).name


def test_geval_prefers_the_higher_grade_and_counts_what_it_took() -> None:
    verdict = GEvalJudge(Scripted({"grade": 3}, {"grade": 5}), "general", STEPS).compare(PAIR)
    assert (verdict.preference, verdict.value, verdict.usage) == (1, 2.0, Usage(2, 100, 10))


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_domain_has_criteria_of_its_own(domain: str) -> None:
    criteria = {Rubric("pairwise-domain-1", name).criteria for name in DOMAINS}
    assert len(criteria) == len(DOMAINS)
    rubric = Rubric("pairwise-domain-1", domain)
    guided, alone = (rubric.messages({"Question": "q", "Reference": known}) for known in ("r", ""))
    assert rubric.criteria in guided[0].content
    assert ("A reference answer is given" in guided[0].content, 'what="Reference"' in guided[1].content) == (True, True)
    assert ("There is no reference" in alone[0].content, 'what="Reference"' in alone[1].content) == (True, False)
    assert rubric.name == f"pairwise-domain-1, {domain}-1"


def test_an_unknown_domain_or_prompt_is_refused() -> None:
    with pytest.raises(ConfigError, match="no domain poetry"):
        _ = Rubric("pairwise-domain-1", "poetry").criteria
    with pytest.raises(ConfigError, match="no prompt nothing-1"):
        messages("nothing-1", {})


def test_only_a_prompt_about_the_reference_needs_one() -> None:
    assert PointwiseJudge(Scripted()).needs_reference
    assert not PointwiseJudge(Scripted(), Rubric("pointwise-domain-1", "writing")).needs_reference


def says(name: str, value: float, margin: float = 0.05) -> RuleJudge:
    """A judge by whose score b is better by `value`."""
    return RuleJudge(name, lambda answer, _: value if answer == PAIR.b else 0.0, margin)


def test_the_majority_of_a_panel_decides() -> None:
    judge = PanelJudge([says("one", 0.9), says("two", 0.2), says("three", -0.5)])
    verdict = judge.compare(PAIR)
    assert (verdict.preference, verdict.value) == (1, pytest.approx(1 / 3))
    assert {name: said["preference"] for name, said in verdict.said.items()} == {"one": 1, "two": 1, "three": -1}
    assert judge.name == "panel of one; two; three"
    assert verdict.consistent is None
    assert [majority(votes) for votes in ([1, -1], [1, 0, -1], [0, 0, 1], [-1, -1, 1])] == [0, 0, 0, -1]


def test_a_panel_is_as_consistent_as_its_members() -> None:
    steady = PairwiseJudge(Scripted({"winner": "A"}, {"winner": "B"}, name="steady"))
    first = PairwiseJudge(Scripted({"winner": "A"}, {"winner": "A"}, name="first"))
    verdict = PanelJudge([steady, first]).compare(PAIR)
    assert (verdict.consistent, verdict.preference, verdict.usage.calls) == (False, 0, 4)


def test_a_panel_grades_by_the_mean_and_one_failure_fails_it() -> None:
    graders = [PointwiseJudge(Scripted({"grade": grade, "explanation": "x"}, name=f"m{grade}")) for grade in (2, 5)]
    given = PanelGrader(graders).grade(PAIR.question, PAIR.reference, PAIR.a)
    assert (given["grade"], given["usage"]["calls"]) == (3.5, 2)
    assert set(given["said"]) == {"m2, pointwise-1", "m5, pointwise-1"}
    broken = PanelJudge([says("one", 1.0), PairwiseJudge(Scripted({"winner": "nobody"}))])
    with pytest.raises(ModelError, match="named no winner"):
        broken.compare(PAIR)
    with pytest.raises(ConfigError, match="two judges at least"):
        PanelJudge([says("one", 1.0)])


def test_variation_by_hand() -> None:
    # p: 1, 1, -1 -> flips, two of three pairs of repeats differ; q: always 0.
    repeats = [{"p": Verdict(sign, float(sign)), "q": Verdict(0, 0.0)} for sign in (1, 1, -1)]
    figures = variation(repeats)
    assert figures is not None
    assert (figures["repeats"], figures["n"]) == (3, 2)
    assert figures["flipped"]["value"] == 0.5
    assert figures["disagreement"]["value"] == pytest.approx(1 / 3, abs=1e-4)
    # Mean 1/3, squared deviations 4/9, 4/9, 16/9 over 2: the variance is 4/3; that of q is 0.
    assert figures["sd"]["value"] == pytest.approx(math.sqrt(4 / 3) / 2, abs=1e-4)
    assert variation(repeats[:1]) is None
    assert variation([{"p": Verdict(1, 1.0)}, {"q": Verdict(1, 1.0)}]) is None


def test_repeats_are_kept_apart_and_their_cost_is_told(tmp_path: Path) -> None:
    compared = [Compared(Pair(f"p{n}", "?", "r", PAIR.a, PAIR.b), "m", "n", (1,)) for n in range(2)]

    def repeat(seed: int, *winners: str) -> RepeatedJudge:
        return RepeatedJudge(PairwiseJudge(Scripted(*({"winner": winner} for winner in winners))), 0.7, seed)

    # In both orders: b wins twice; then once b and once a.
    judges = [repeat(1, "B", "A", "B", "A"), repeat(2, "B", "A", "A", "B")]
    run, told = measure_judges(judges, compared, tmp_path, "tiny", {}, prices=Prices(1, 1))
    varied = told["repeats"]["scripted, pairwise-1"]
    assert (varied["flipped"]["value"], varied["n"]) == (0.5, 2)
    assert set(told["judges"]) == {f"scripted, pairwise-1, temperature 0.7, seed {seed}" for seed in (1, 2)}
    assert told_usage(run) == {"calls": 8, "prompt_tokens": 400, "completion_tokens": 40, "cost": 0.00044}
    assert json.loads(json.dumps(told))

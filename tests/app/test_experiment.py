"""Two settings side by side: who gets which, what is kept of it, and how `eval ab` compares them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from scipy.stats import binom

from app.conversations import Conversations
from app.database import Database
from app.experiment import Arm, arm_settings, assign, experiments, exposures, record_exposure
from app.feedback import IndexState, Thumb, served, store_thumb
from app.sections.serving import ExperimentSection
from app.settings import load_settings
from generator.answer import Answer
from indexer.errors import ConfigError

Footnote = Callable[..., Any]
ANSWER = Answer("41.", (), (), False, "How high?", MappingProxyType({"total": 100.0}))
SECTION = ExperimentSection(name="passages", share=0.3, overrides={"generator.passages": 8})


def drawn(section: ExperimentSection, unit: str) -> Arm:
    arm = assign(section, unit)
    assert arm is not None
    return arm


def test_without_a_name_nobody_has_an_arm() -> None:
    assert assign(ExperimentSection(), "conversation 1") is None


def test_an_arm_is_a_function_of_name_and_unit() -> None:
    first = drawn(SECTION, "conversation 1")
    assert first == drawn(SECTION.model_copy(), "conversation 1")
    # Known values: a change of the hash would move running conversations to the other arm.
    assert [drawn(SECTION, f"conversation {n}").name for n in range(8)] == list("aababaab")
    other = drawn(ExperimentSection(name="other", share=0.3), "conversation 1")
    assert (other.unit, other.definition) != (first.unit, first.definition)
    changed = drawn(SECTION.model_copy(update={"overrides": {"generator.passages": 9}}), "conversation 1")
    assert changed.unit == first.unit and changed.definition != first.definition


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 1.0])
def test_the_share_is_kept_within_chance(share: float) -> None:
    section = ExperimentSection(name="share", share=share)
    in_b = sum(drawn(section, f"conversation {n}").name == "b" for n in range(10_000))
    low, high = binom.interval(0.999, 10_000, share) if 0 < share < 1 else (10_000 * share, 10_000 * share)
    assert low <= in_b <= high


def test_a_larger_share_moves_nobody_back_and_names_draw_independently() -> None:
    small, large = (ExperimentSection(name="grow", share=share) for share in (0.2, 0.6))
    units = [f"conversation {n}" for n in range(2_000)]
    assert all(drawn(large, unit).name == "b" for unit in units if drawn(small, unit).name == "b")
    other = ExperimentSection(name="other", share=0.6)
    both = sum(drawn(large, unit).name == drawn(other, unit).name == "b" for unit in units)
    low, high = binom.interval(0.999, 2_000, 0.36)
    assert low <= both <= high


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "settings.toml"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    "text",
    [
        "[experiment.overrides]\nretriever.dense_weight = 0.4\ngenerator.choice.bias = 1\n",
        '[experiment.overrides]\n"retriever.dense_weight" = 0.4\n',
        "[experiment.overrides.retriever]\ndense_weight = 0.4\n",
    ],
)
def test_overrides_are_written_as_toml_likes(tmp_path: Path, text: str) -> None:
    text = text.replace("choice.bias", "choice.span_weight")
    settings = load_settings(written(tmp_path, f'[experiment]\nname = "x"\n{text}'), {})
    b = arm_settings(settings, "b")
    assert (settings.retriever.dense_weight, b.retriever.dense_weight) == (0.25, 0.4)
    assert arm_settings(settings, "a") is settings
    assert b.generator.choice.span_weight == (1 if "choice" in text else None)
    assert b.encoder.model_fields_set == settings.encoder.model_fields_set


def test_overrides_come_from_variables_and_keep_what_the_file_says(tmp_path: Path) -> None:
    file = written(tmp_path, '[generator]\npassages = 4\ntemperature = 0.3\n[retriever]\nreranker = "r"\n')
    environ = {
        "FOOTNOTE_EXPERIMENT__NAME": "x",
        "FOOTNOTE_EXPERIMENT__OVERRIDES__GENERATOR__PASSAGES": "7",
        "FOOTNOTE_EXPERIMENT__OVERRIDES__RETRIEVER__RERANKER": "~/other",
        "FOOTNOTE_GENERATOR__API_KEY": "hush",
    }
    settings = load_settings(file, environ)
    b = arm_settings(settings, "b")
    assert (settings.generator.passages, b.generator.passages, b.generator.temperature) == (4, 7, 0.3)
    assert b.retriever.reranker == str(Path("~/other").expanduser())
    assert settings.retriever.reranker == str(tmp_path / "r")
    assert b.generator.api_key.get_secret_value() == "hush"


@pytest.mark.parametrize(
    ("text", "message", "remedy"),
    [
        ("overrides.retriever.dense_wieght = 1", "experiment.overrides.retriever.dense_wieght", "dense_weight"),
        ("overrides.retriever.dense_weight = 5", "experiment.overrides.retriever.dense_weight = 5", "less than"),
        (
            "overrides.indexer.chunk_tokens = 64",
            "experiment.overrides.indexer.chunk_tokens",
            "retriever. or generator.",
        ),
        ("overrides.generator.api_key = 'k'", "experiment.overrides.generator.api_key", "api_key"),
        ("overrides = 5", "experiment.overrides = 5", "dictionary"),
        ("share = 2", "experiment.share = 2", "less than or equal to 1"),
        ("name = 'a b'", "experiment.name = 'a b'", "pattern"),
    ],
)
def test_mistakes_are_named_in_full(tmp_path: Path, text: str, message: str, remedy: str) -> None:
    name = "" if text.startswith("name") else 'name = "x"\n'
    with pytest.raises(ConfigError) as caught:
        load_settings(written(tmp_path, f"[experiment]\n{name}{text}\n"), {})
    assert message in caught.value.message and remedy in caught.value.remedy


def test_overrides_without_a_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"experiment\.name is not"):
        load_settings(written(tmp_path, "[experiment.overrides]\nretriever.rrf_k = 10\n"), {})


def test_an_exposure_has_the_last_thumb_and_goes_with_its_conversation(tmp_path: Path) -> None:
    database = Database(tmp_path)
    kept = Conversations(database)
    made = kept.begin("default", "How high?")
    record = kept.ask(made.id, "How high?")
    arm = drawn(SECTION, made.id)
    record_exposure(database, None, "unseen", ANSWER)
    record_exposure(database, arm, record.id, ANSWER)
    about = served("How high?", ANSWER, IndexState(1, 1, "e"), arm)
    assert about["experiment"] == {
        "experiment": "passages",
        "name": arm.name,
        "unit": arm.unit,
        "definition": arm.definition,
    }
    for verdict in ("up", "down"):
        store_thumb(database, record.id, Thumb(verdict), "default", about)
    (found,) = exposures(database, "passages")
    assert (found.arm, found.unit, found.thumb, found.abstained, found.total_ms) == (
        arm.name,
        arm.unit,
        "down",
        False,
        100.0,
    )
    kept.save(replace(record, done=True, answer=ANSWER, arm=arm))
    assert kept.turns(made.id)[0].arm == arm
    kept.delete(made.id)
    assert (exposures(database, "passages"), experiments(database)) == ([], [])


def fill(home: Path, arm: str, conversations: int, likes: int, ms: float, definition: str = "d") -> None:
    """Conversations of two answers each; both of the first `likes` are liked, those of the others disliked."""
    database = Database(home)
    for number in range(conversations):
        for turn in range(2):
            id_ = f"{arm}{number}.{turn}"
            answer = replace(ANSWER, timings_ms={"total": ms + number % 5}, abstained=number == 0)
            record_exposure(database, Arm("exp", arm, f"{arm}{number}", definition), id_, answer)  # type: ignore[arg-type]
            thumb = Thumb("up" if number < likes else "down")
            store_thumb(database, id_, thumb, "default", served("?", answer, IndexState(1, 1, "e")))


def test_ab_tells_arms_apart_by_conversation(footnote: Footnote, home: Path) -> None:
    fill(home, "a", 30, 6, 100)
    fill(home, "b", 30, 24, 101)
    told = footnote("eval", "ab", "--json").json
    assert told["experiment"] == "exp" and told["warnings"] == []
    assert told["arms"]["a"] == {
        "conversations": 30,
        "answers": 60,
        "up": 12,
        "down": 48,
        "abstained": 2,
        "p50_ms": 102.0,
        "p95_ms": 104.0,
    }
    liked = told["measures"]["liked"]
    assert (liked["mean_a"], liked["mean_b"], liked["verdict"]) == (0.2, 0.8, "different")
    assert (liked["n_a"], liked["clusters_a"], liked["test"]) == (60, 30, "randomisation")
    assert liked["p_holm"] == pytest.approx(4 * liked["p"])  # the smallest of four
    assert told["measures"]["abstained"]["verdict"] == told["measures"]["judged"]["verdict"] == "no difference shown"
    assert told["measures"]["latency_ms"]["difference"] == pytest.approx(1.0)
    shown = footnote("eval", "ab", "exp").stdout
    assert "Experiment exp" in shown and "different" in shown and "+0.600" in shown


def test_ab_says_that_there_is_not_enough(footnote: Footnote, home: Path) -> None:
    fill(home, "a", 9, 5, 100)
    fill(home, "b", 30, 5, 100)
    told = footnote("eval", "ab", "exp", "--json").json
    assert {test["verdict"] for test in told["measures"].values()} == {"not enough data"}
    assert told["measures"]["liked"]["p_holm"] is None
    assert "Not enough data: a measure needs 10 conversations" in footnote("eval", "ab").stdout


def test_ab_warns_of_a_changed_experiment_and_of_lost_answers(
    footnote: Footnote, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOOTNOTE_EXPERIMENT__NAME", "exp")
    fill(home, "a", 60, 5, 100)
    fill(home, "b", 20, 5, 100, definition="other")
    changed, lost = footnote("eval", "ab", "--json").json["warnings"]
    assert "changed under way" in changed
    assert "20 of 80 conversations are in arm b, and 50% should be" in lost
    assert "changed under way" in footnote("eval", "ab").stderr


def test_ab_of_nothing_is_refused(footnote: Footnote, home: Path) -> None:
    refused = footnote("eval", "ab", "--json")
    assert refused.code == 1 and "docs/feedback.md" in refused.json["error"]["remedy"]
    fill(home, "a", 1, 0, 100)
    refused = footnote("eval", "ab", "none", "--json")
    assert refused.code == 1 and "There are: exp." in refused.json["error"]["remedy"]

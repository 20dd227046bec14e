"""Comparing stored runs: pairing by case, refusing what cannot be paired, and the order of what moved."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from eval.compare import compare_runs
from eval.dataset import Case
from eval.run import Record, Run, load_run, runs_folder, writing
from eval.statistics import compare_paired
from indexer.errors import DatasetError

Scores = Mapping[str, Mapping[str, Mapping[str, float]]]


def stored(home: Path, scores: Scores, kind: str = "answers", data: str = "x") -> Run:
    ids = sorted({case for metrics in scores.values() for values in metrics.values() for case in values})
    identity = {"kind": kind, "dataset": "tiny", "dataset_sha256": data, "settings": repr(scores)}
    with writing(runs_folder(home), identity, {}, [Case(id_, "?") for id_ in ids]) as run:
        run.add(*(Record(id_, place, variant, {}) for variant in scores for place, id_ in enumerate(ids)))
        run.finish(scores)
    return load_run(home, str(run.path))


def test_metrics_are_paired_by_case(tmp_path: Path) -> None:
    a = stored(tmp_path, {"": {"f1": {"a": 0.0, "b": 0.5, "c": 1.0}, "em": {"a": 0, "b": 0, "c": 1}}})
    b = stored(tmp_path, {"": {"f1": {"b": 0.5, "c": 0.75, "a": 1.0, "d": 1.0}, "em": {"a": 1, "b": 0, "c": 1}}})
    (comparison,) = compare_runs(a, b)["comparisons"]
    by_hand = compare_paired([0.0, 0.5, 1.0], [1.0, 0.5, 0.75])
    f1 = comparison["metrics"]["f1"]
    assert (f1["difference"], f1["wins"], f1["losses"], f1["ties"]) == (by_hand.difference, 1, 1, 1)
    assert f1["p"] == by_hand.p
    assert (comparison["only_a"], comparison["only_b"]) == (0, 1)
    assert [case["case"] for case in comparison["moved"]["f1"]] == ["a", "c"]
    assert comparison["metrics"]["em"]["test"] == "mcnemar"
    assert comparison["metrics"]["em"]["p_holm"] == 1.0


def test_less_noise_is_a_win(tmp_path: Path) -> None:
    a = stored(tmp_path, {"": {"noise_relevant": {"a": 0.5, "b": 0.5, "c": 0.25}}})
    b = stored(tmp_path, {"": {"noise_relevant": {"a": 0.0, "b": 0.25, "c": 0.5}}})
    noise = compare_runs(a, b)["comparisons"][0]["metrics"]["noise_relevant"]
    assert (noise["wins"], noise["losses"]) == (2, 1)
    assert noise["difference"] == pytest.approx(-0.5 / 3)


def test_what_another_judge_gave_is_not_compared(tmp_path: Path) -> None:
    def judged(model: str) -> Run:
        told = {"model": model, "prompts": {"faithfulness": ["claims-1"]}, "encoder": None}
        facts = {"kind": "answers", "dataset": "t", "dataset_sha256": "x", "judged_metrics": told, "judge": model}
        with writing(runs_folder(tmp_path), facts, {}, [Case("a", "?")]) as run:
            run.add(Record("a", 0, "", {}))
            run.finish({"": {"f1": {"a": 1.0}, "faithfulness": {"a": 1.0}, "judged": {"a": 1.0}}})
        return load_run(tmp_path, str(run.path))

    one, same, other = judged("small"), judged("small"), judged("large")
    (alike,) = compare_runs(one, same)["comparisons"]
    assert (set(alike["metrics"]), alike["unlike"]) == ({"f1", "judged", "faithfulness"}, [])
    (differs,) = compare_runs(one, other)["comparisons"]
    assert (set(differs["metrics"]), differs["unlike"]) == ({"f1"}, ["judged", "faithfulness"])


def test_holm_allows_for_every_metric(tmp_path: Path) -> None:
    low = {f"q{n}": 0.2 for n in range(12)}
    high = {f"q{n}": 0.2 + 0.01 * n for n in range(12)}
    a = stored(tmp_path, {"": {"f1": low, "rouge_l": low}})
    b = stored(tmp_path, {"": {"f1": high, "rouge_l": high}})
    metrics = compare_runs(a, b)["comparisons"][0]["metrics"]
    assert metrics["f1"]["p_holm"] == pytest.approx(2 * metrics["f1"]["p"])


def test_modes_are_compared_each_or_as_named(tmp_path: Path) -> None:
    one, two = {"ndcg@10": {"a": 0.1, "b": 0.2}}, {"ndcg@10": {"a": 0.3, "b": 0.2}}
    a = stored(tmp_path, {"bm25": one, "dense": two}, "retrieval")
    b = stored(tmp_path, {"bm25": two, "hybrid": one}, "retrieval")
    assert [c["variants"] for c in compare_runs(a, b)["comparisons"]] == [["bm25", "bm25"]]
    named = compare_runs(a, b, variant_a="dense", variant_b="hybrid")["comparisons"]
    assert [c["variants"] for c in named] == [["dense", "hybrid"]]
    with pytest.raises(DatasetError, match="has no dense"):
        compare_runs(a, b, variant_b="dense")
    with pytest.raises(DatasetError, match="2 variants"):
        compare_runs(a, b, variant_b="hybrid")


def test_what_cannot_be_paired_is_refused(tmp_path: Path) -> None:
    a = stored(tmp_path, {"": {"f1": {"a": 0.1}}})
    with pytest.raises(DatasetError, match="differ in their dataset"):
        compare_runs(a, stored(tmp_path, {"": {"f1": {"a": 0.2}}}, data="y"))
    with pytest.raises(DatasetError, match="differ in their kind"):
        compare_runs(a, stored(tmp_path, {"": {"f1": {"a": 0.2}}}, "retrieval"))
    with pytest.raises(DatasetError, match="no scored case in common"):
        compare_runs(a, stored(tmp_path, {"": {"f1": {"b": 0.2}}}))


def test_one_case_makes_json(tmp_path: Path) -> None:
    a, b = (stored(tmp_path, {"": {"f1": {"a": value}}}) for value in (0.1, 0.9))
    assert compare_runs(a, b)["comparisons"][0]["metrics"]["f1"]["detectable"] is None

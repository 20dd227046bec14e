"""Metrics against values computed by hand and against pytrec_eval called directly."""

import math
import os
import random
from pathlib import Path

import pytest
import pytrec_eval

from eval.dataset import load_dataset
from eval.metrics import check_measures, score_rankings
from indexer.errors import ConfigError

BENCH = Path(os.environ.get("FOOTNOTE_BENCH", Path(__file__).parents[3] / "shared/bench"))


def test_graded_ndcg_recall_and_mrr_by_hand() -> None:
    relevant = {"q1": {"a": 2, "b": 1, "c": 0}}
    values = score_rankings(relevant, {"q1": ["x", "b", "a"]})
    gained = 1 / math.log2(3) + 2 / math.log2(4)
    ideal = 2 / math.log2(2) + 1 / math.log2(3)
    assert values["ndcg@10"]["q1"] == pytest.approx(gained / ideal)
    assert values["recall@100"]["q1"] == 1.0
    assert values["mrr@10"]["q1"] == 0.5


def test_a_grade_of_zero_is_not_relevant() -> None:
    values = score_rankings({"q1": {"a": 1, "c": 0}}, {"q1": ["c", "a"]})
    assert values["mrr@10"]["q1"] == 0.5


def test_cuts_are_at_10_and_at_100() -> None:
    filler = [f"x{i}" for i in range(200)]
    relevant = {"q1": {"a": 1, "b": 1}}
    values = score_rankings(relevant, {"q1": [*filler[:10], "a", *filler[10:99], "b"]})
    assert values["mrr@10"]["q1"] == 0.0
    assert values["ndcg@10"]["q1"] == 0.0
    assert values["recall@100"]["q1"] == 0.5


def test_a_question_without_results_scores_zero_and_counts() -> None:
    relevant = {"q1": {"a": 1}, "q2": {"a": 1}, "q3": {"a": 1}}
    values = score_rankings(relevant, {"q1": ["a"], "q2": []})
    for scores in values.values():
        assert scores == {"q1": 1.0, "q2": 0.0, "q3": 0.0}


def test_no_question_has_results() -> None:
    assert score_rankings({"q1": {"a": 1}}, {})["ndcg@10"] == {"q1": 0.0}


def test_a_question_without_judgements_is_left_out() -> None:
    assert set(score_rankings({"q1": {"a": 1}}, {"q1": ["a"], "q9": ["a"]})["ndcg@10"]) == {"q1"}


def test_a_repeated_document_counts_where_it_stands_first() -> None:
    values = score_rankings({"q1": {"a": 1, "b": 1}}, {"q1": ["a", "a", "b"]})
    assert values["ndcg@10"]["q1"] == pytest.approx(1.0)


def test_agrees_with_pytrec_eval() -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval")
    draw = random.Random(4)
    documents = [f"d{i}" for i in range(300)]
    relevant = {f"q{i}": {d: draw.choice([0, 1, 2, 3]) for d in draw.sample(documents, 20)} for i in range(40)}
    rankings = {q: draw.sample(documents, draw.choice([0, 5, 150])) for q in relevant}
    ours = score_rankings(relevant, rankings)
    run = {q: {d: float(-i) for i, d in enumerate(ranking)} for q, ranking in rankings.items() if ranking}
    theirs = pytrec_eval.RelevanceEvaluator(relevant, {"ndcg_cut_10", "recall_100"}).evaluate(run)
    for question in run:
        assert ours["ndcg@10"][question] == pytest.approx(theirs[question]["ndcg_cut_10"], abs=1e-9)
        assert ours["recall@100"][question] == pytest.approx(theirs[question]["recall_100"], abs=1e-9)


def test_more_measures_are_those_of_ir_measures() -> None:
    values = score_rankings({"q": {"a": 1, "b": 1, "z": 0}}, {"q": ["a", "z", "x", "b"]}, ["AP", "P@2", "Judged@4"])
    assert values["AP"]["q"] == pytest.approx((1 / 1 + 2 / 4) / 2)
    assert (values["P@2"]["q"], values["Judged@4"]["q"]) == (0.5, 0.75)
    assert score_rankings({"q": {"a": 1}}, {"q": ["a"]}, ["nDCG@10"])["nDCG@10"] == {"q": 1.0}


@pytest.mark.parametrize(
    ("name", "said"), [("beauty", "is no measure"), ("P@@5", "is no measure"), ("R@1000", "deeper")]
)
def test_measures_that_cannot_be_had(name: str, said: str) -> None:
    check_measures(["AP", "P@5"], 100)
    with pytest.raises(ConfigError, match=said):
        check_measures([name], 100)


@pytest.mark.parametrize("name", ["cranfield", "scifact", "squad2-dev", "clapnq-dev", "covid-qa", "qed-dev"])
def test_every_shared_set_is_scored_as_by_pytrec_eval(name: str) -> None:
    folder = BENCH / name
    if not folder.is_dir():
        pytest.skip(f"there is no {folder}; FOOTNOTE_BENCH names the shared sets")
    dataset = load_dataset(folder)
    entries, draw = [entry.id for entry in dataset.entries], random.Random(name)
    relevant = {case.id: dict(case.relevant) for case in dataset.judged}
    rankings = {
        case: list(
            dict.fromkeys([*draw.sample(entries, 60), *draw.sample(list(known), len(known) // 2 + 1), entries[0]])
        )
        for case, known in relevant.items()
    }
    for ranking in rankings.values():
        draw.shuffle(ranking)
    ours = score_rankings(relevant, rankings, ["AP", "P@5"])
    run = {case: {entry: -float(rank) for rank, entry in enumerate(found)} for case, found in rankings.items()}
    asked = {"ndcg_cut.10", "recall.100", "recip_rank", "map", "P.5"}
    theirs = pytrec_eval.RelevanceEvaluator(relevant, asked).evaluate(run)
    for case, found in rankings.items():
        first = next((rank for rank, entry in enumerate(found, 1) if relevant[case].get(entry, 0) > 0), 11)
        assert ours["ndcg@10"][case] == pytest.approx(theirs[case]["ndcg_cut_10"], abs=1e-9)
        assert ours["recall@100"][case] == pytest.approx(theirs[case]["recall_100"], abs=1e-9)
        assert ours["mrr@10"][case] == pytest.approx(theirs[case]["recip_rank"] if first <= 10 else 0, abs=1e-9)
        assert ours["AP"][case] == pytest.approx(theirs[case]["map"], abs=1e-9)
        assert ours["P@5"][case] == pytest.approx(theirs[case]["P_5"], abs=1e-9)

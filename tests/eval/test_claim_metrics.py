"""Judged metrics with a scripted model: what is asked, what is shared, what fails, and what it took."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval.answers import evaluate_answers
from eval.claim_metrics import CLAIM_METRICS, ClaimJudge, Subject, score_claims, subject_of
from eval.claims import ClaimChecker
from eval.dataset import Case, load_dataset
from eval.judgements import JUDGEMENTS, failures, told_usage
from eval.run import load_run
from eval.summary import summarise
from generator.answer import Answer
from generator.pipeline import Done, Event
from generator.prompt import Message, Turn
from generator.server import Completion
from generator.usage import Prices, Usage, count
from indexer.document import Chunk
from indexer.encoder import Vectors
from indexer.errors import ConfigError, ModelError
from retriever.hit import Hit

LIT, OIL, GAS = "The lamp was lit in 1842.", "The lamp burned oil.", "The lamp burned gas."
SUBJECT = Subject("When was the lamp lit, and what did it burn?", f"{LIT} {GAS}", f"{LIT} {OIL}", (f"{LIT}", f"{GAS}"))


class Reader:
    """A judge that cuts at full stops, and holds a claim supported if the source has its words."""

    name = "reader"

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.failing = ""

    def complete(self, messages: Sequence[Message], schema: Mapping[str, Any], max_tokens: int = 512) -> Completion:
        (wanted,) = schema["required"]
        self.asked.append(wanted)
        count(Usage(1, 100, 10))
        if wanted == self.failing:
            raise ModelError("The judge is down.", "Start it.")
        text = messages[1].content
        return Completion({wanted: getattr(self, wanted)(text, schema)}, usage=Usage(1, 100, 10))

    def claims(self, text: str, schema: Mapping[str, Any]) -> list[str]:
        return [f"{claim.rstrip('.')}." for claim in field(text, "Text").split(". ")]

    def verdicts(self, text: str, schema: Mapping[str, Any]) -> list[dict[str, Any]]:
        claims = [line.partition(". ")[2] for line in field(text, "Claims").splitlines()]
        assert schema["properties"]["verdicts"]["minItems"] == len(claims)
        return [{"source_says": f"on {claim}", "supported": claim in field(text, "Source")} for claim in claims]

    def verdict(self, text: str, schema: Mapping[str, Any]) -> dict[str, Any]:
        return {"gives": "the date", "useful": field(text, "Passage") in field(text, "Answer")}

    def made(self, text: str, schema: Mapping[str, Any]) -> dict[str, Any]:
        return {"questions": ["one", "two", "three"], "evasive": False}


class Directions:
    """An encoder that gives each text its own known direction."""

    fingerprint = "directions"
    dim = 2
    max_tokens = 100
    query_instruction = ""

    def encode(
        self, texts: Sequence[str], instruction: str = "", on_progress: Callable[[int], None] | None = None
    ) -> Vectors:
        cosines = {"one": 1.0, "two": 0.8, "three": 0.6, SUBJECT.answer: 0.8}
        return np.array([[c := cosines.get(text, 1.0), (1 - c * c) ** 0.5] for text in texts], np.float32)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [1] * len(texts)


def field(text: str, name: str) -> str:
    return text.split(f'what="{name}">\n')[1].split("\n</passage-")[0]


def scores(judgement: Mapping[str, Any], metrics: Sequence[str] = tuple(CLAIM_METRICS)) -> dict[str, float]:
    return score_claims(judgement, metrics)


def test_every_metric_by_hand() -> None:
    judgement = ClaimJudge(Reader(), tuple(CLAIM_METRICS), Directions()).judge(SUBJECT)
    assert judgement["failed"] == {}
    assert scores(judgement) == {
        "faithfulness": 1.0,  # both claims stand in a passage
        "answer_relevancy": pytest.approx((1 + 0.8 + 0.6) / 3, abs=1e-6),
        "answer_correctness": pytest.approx(0.75 * (2 * 1 / (2 * 1 + 1 + 1)) + 0.25 * 0.8, abs=1e-6),
        "llm_context_precision": 1.0,  # the first passage is useful, the second is not
        "llm_context_recall": 0.5,  # oil is in no passage
        "llm_noise_relevant": 0.0,
        "llm_noise_irrelevant": 0.5,  # gas is wrong, and from a passage that supports nothing of the reference
    }


def test_a_verdict_is_kept_with_its_reason() -> None:
    steps = ClaimJudge(Reader(), tuple(CLAIM_METRICS), Directions()).judge(SUBJECT)["steps"]
    assert steps["reference_in_passages"]["reasons"] == [f"on {LIT}", f"on {OIL}"]
    assert steps["answer_in_each_passage"]["reasons"] == [[f"on {LIT}", f"on {GAS}"]] * 2
    assert steps["useful_passages"]["reasons"] == ["the date"] * 2
    assert "reasons" not in steps["similarity"]


def test_steps_are_shared_between_metrics() -> None:
    model = Reader()
    ClaimJudge(model, tuple(CLAIM_METRICS), Directions()).judge(SUBJECT)
    assert {name: model.asked.count(name) for name in set(model.asked)} == {
        "claims": 2,  # of the answer and of the reference
        "verdicts": 4 + 2 * len(SUBJECT.passages),
        "verdict": len(SUBJECT.passages),
        "made": 1,
    }
    model.asked.clear()
    ClaimJudge(model, ["faithfulness"]).judge(SUBJECT)
    assert model.asked == ["claims", "verdicts"]


def test_what_is_not_known_is_not_asked() -> None:
    model = Reader()
    judge = ClaimJudge(model, tuple(CLAIM_METRICS), Directions())
    declined = Subject("when?", "", LIT, (LIT,))
    assert set(scores(judge.judge(declined))) == {"llm_context_precision", "llm_context_recall"}
    unknown = Subject("when?", LIT, "", (LIT,))
    assert set(scores(judge.judge(unknown))) == {"faithfulness", "answer_relevancy"}
    assert scores(judge.judge(Subject("when?", LIT, LIT, ())), ["faithfulness"]) == {"faithfulness": 0.0}


def test_a_follow_up_is_judged_with_what_was_asked_before() -> None:
    seen: list[str] = []

    class Listening(Reader):
        def claims(self, text: str, schema: Mapping[str, Any]) -> list[str]:
            seen.append(field(text, "Question"))
            return super().claims(text, schema)

    case = Case("q", "And what burned?", answers=(OIL,), turns=(("When was it lit?", LIT),))
    subject = subject_of(case, Answer(f"{OIL} [1]", (), (), False, "what burned in the lamp?"))
    ClaimJudge(Listening(), ["faithfulness"]).judge(subject)
    assert seen == ["When was it lit? / And what burned?"]
    assert (subject.answer, subject.reference) == (OIL, OIL)


def test_a_failed_step_fails_what_rests_on_it_and_is_asked_again() -> None:
    model = Reader()
    model.failing = "verdicts"
    judge = ClaimJudge(model, ("faithfulness", "answer_relevancy", "llm_context_recall"), Directions())
    judgement = judge.judge(SUBJECT)
    assert judgement["failed"] == {
        name: {"error": "ModelError", "message": "The judge is down."}
        for name in ("faithfulness", "llm_context_recall")
    }
    assert set(scores(judgement)) == {"answer_relevancy"}
    model.failing = ""
    model.asked.clear()
    again = judge.judge(SUBJECT, json.loads(json.dumps(judgement)))
    assert model.asked == ["verdicts", "verdicts"]  # the claims are there already
    assert (again["failed"], len(scores(again))) == ({}, 3)


@pytest.mark.parametrize("written", [{}, {"claims": []}, {"claims": "one"}, {"claims": [1]}])
def test_what_does_not_fit_is_an_error(written: Mapping[str, Any]) -> None:
    class Wrong(Reader):
        def complete(self, messages: Sequence[Message], schema: Mapping[str, Any], max_tokens: int = 512) -> Completion:
            return Completion(written)

    with pytest.raises(ModelError, match="reader gave no claim"):
        ClaimChecker(Wrong()).extract("when?", LIT)


def test_claims_are_few_where_words_are_few_and_none_is_repeated() -> None:
    class Counting(Reader):
        def claims(self, text: str, schema: Mapping[str, Any]) -> list[str]:
            self.most = schema["properties"]["claims"]["maxItems"]
            return ["It is 34 metres tall."] * 2

    model = Counting()
    for words, most in ((2, 3), (30, 10), (100, 20)):
        assert ClaimChecker(model).extract("how tall?", "word " * words).value == ["It is 34 metres tall."]
        assert model.most == most


def test_as_many_verdicts_as_claims() -> None:
    class Short(Reader):
        def verdicts(self, text: str, schema: Mapping[str, Any]) -> list[dict[str, Any]]:
            return [{"source_says": "", "supported": True}]

    with pytest.raises(ModelError, match="1 verdicts on 2 claims"):
        ClaimChecker(Short()).verify([LIT, OIL], LIT)


def test_metrics_are_checked_before_anything_is_asked() -> None:
    with pytest.raises(ConfigError, match="no judged metric beauty"):
        ClaimJudge(Reader(), ["beauty"])
    with pytest.raises(ConfigError, match="need an encoder"):
        ClaimJudge(Reader(), ["answer_relevancy"])


class Lamps:
    """Answers with the wrong fuel, from two passages."""

    def ask(self, question: str, history: Sequence[Turn] = ()) -> "list[Event]":
        hits = [Hit(Chunk(f"{n}", n, text, 0, len(text)), n, "", 1.0, rank, "bm25")
                for rank, (n, text) in enumerate((("lit", LIT), ("gas", GAS)), start=1)]  # fmt: skip
        return [Done(Answer(f"{LIT} [1] {GAS} [2]", (), tuple(hits), False, question, {"total": 1.0}, "lamps"), None)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "lamps"
    made.mkdir()
    (made / "corpus.jsonl").write_text('{"_id": "lit", "title": "", "text": "x"}\n{"_id": "gas", "text": "y"}\n')
    queries = [{"_id": f"q{n}", "text": f"what, {n}?", "answers": [f"{LIT} {OIL}"]} for n in range(3)]
    (made / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in queries))
    (made / "qrels.tsv").write_text("q0\tlit\t1\n")
    return made


def test_a_run_keeps_judgements_and_tries_failed_ones_again(tmp_path: Path, folder: Path) -> None:
    model = Reader()
    model.failing = "verdict"
    judge = ClaimJudge(model, ("faithfulness", "llm_context_precision"))

    def evaluate() -> Any:
        return evaluate_answers(
            Lamps(), load_dataset(folder), tmp_path, {"model": "lamps"}, claim_judge=judge, judge_concurrency=2,
            prices=Prices(1.0, 10.0),
        )  # fmt: skip

    run = evaluate()
    summary = summarise(run)
    assert summary["judge_failures"] == {"llm_context_precision": {"ModelError": 3}}
    assert (summary["errors"], summary["finished"]) == ({}, None)
    metrics = summary["variants"][""]
    assert "llm_context_precision" not in metrics
    assert (metrics["faithfulness"]["mean"], metrics["faithfulness"]["n"]) == (1.0, 3)
    assert metrics["faithfulness"]["method"] == "judge: reader, claims-1, support-1"
    model.failing = ""
    model.asked.clear()
    again = evaluate()
    assert (again.id, failures(again.records)) == (run.id, {})
    assert model.asked == ["verdict"] * 6
    assert again.scores[""]["llm_context_precision"] == dict.fromkeys(("q0", "q1", "q2"), 1.0)
    # Of each answer: claims, their verdicts, two passages, and one call that failed; 100 tokens in and 10 out a call.
    usage = {"calls": 15, "prompt_tokens": 1500, "completion_tokens": 150, "cost": pytest.approx(0.003)}
    assert told_usage(again) == usage
    kept = load_run(tmp_path, again.id).records[0].outcome
    assert kept is not None
    assert kept[JUDGEMENTS]["steps"]["answer_claims"]["value"] == [LIT, GAS]
    assert summarise(again)["finished"]


def test_a_run_that_was_stopped_keeps_its_judgements(tmp_path: Path, folder: Path) -> None:
    class Stopping(Reader):
        left = 3

        def complete(self, messages: Sequence[Message], schema: Mapping[str, Any], max_tokens: int = 512) -> Completion:
            if self.left == 0:
                raise KeyboardInterrupt
            self.left -= 1
            return super().complete(messages, schema, max_tokens)

    model = Stopping()
    judge = ClaimJudge(model, ("faithfulness",))

    def evaluate() -> Any:
        return evaluate_answers(Lamps(), load_dataset(folder), tmp_path, {"model": "lamps"}, claim_judge=judge)

    with pytest.raises(KeyboardInterrupt):
        evaluate()
    stopped = load_run(tmp_path, "last")
    assert sum(JUDGEMENTS in (record.outcome or {}) for record in stopped.records) == 1
    model.left = 99
    run = evaluate()
    assert (run.id, set(run.scores[""]["faithfulness"])) == (stopped.id, {"q0", "q1", "q2"})
    assert model.left == 99 - 2 * 2  # claims and verdicts of the two that were missing


def test_judge_and_prompts_name_the_run(tmp_path: Path, folder: Path) -> None:
    def run_id(judge: ClaimJudge | None) -> str:
        return evaluate_answers(Lamps(), load_dataset(folder), tmp_path, {"model": "lamps"}, claim_judge=judge).id[20:]

    other = Reader()
    other.name = "other"
    named = [run_id(judge) for judge in (
        None, ClaimJudge(Reader(), ["faithfulness"]), ClaimJudge(Reader(), ["llm_context_recall"]),
        ClaimJudge(other, ["faithfulness"]),
    )]  # fmt: skip
    assert len(set(named)) == 4
    assert run_id(ClaimJudge(Reader(), ["faithfulness"])) == named[1]


def test_similarity_needs_no_judge(tmp_path: Path, folder: Path) -> None:
    run = evaluate_answers(Lamps(), load_dataset(folder), tmp_path, {"model": "lamps"}, encoder=Directions())
    assert run.scores[""]["semantic_similarity"]["q0"] == pytest.approx(0.8, abs=1e-6)
    assert run.scores[""]["question_similarity"]["q0"] == pytest.approx(0.8, abs=1e-6)

"""ServerModel against a real server, such as FOOTNOTE_TEST_SERVER=http://127.0.0.1:8000/v1."""

import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from generator.prompt import Message, Prompt
from generator.server import ServerModel, ServerSettings
from indexer.errors import ModelError

URL = os.environ.get("FOOTNOTE_TEST_SERVER", "")
pytestmark = pytest.mark.skipif(not URL, reason="FOOTNOTE_TEST_SERVER names no OpenAI-compatible server")
SETTINGS = ServerSettings(URL, read_timeout_s=120)


def ask(text: str) -> Prompt:
    return Prompt((Message("user", text),), (), 100)


def test_answers_in_several_pieces() -> None:
    pieces = list(ServerModel(SETTINGS).stream(ask("Name three colours."), max_tokens=24))
    assert len(pieces) > 1
    assert "".join(pieces).strip()


def test_tells_its_tokens_and_how_sure_it_was() -> None:
    stream, pieces = ServerModel(replace(SETTINGS, logprobs=True)).stream(ask("Name three colours."), max_tokens=12), []
    while True:
        try:
            pieces.append(next(stream))
        except StopIteration as end:
            written = end.value
            break
    assert pieces
    assert written.usage.prompt_tokens > 4
    assert 1 <= written.usage.completion_tokens <= 12
    assert -20 < written.log_p_token < 0


def test_knows_its_name_and_context_and_counts_tokens() -> None:
    model = ServerModel(SETTINGS)
    assert model.name
    assert model.context_tokens >= 512
    short, long = model.count_tokens(["one", "one two three four five six seven"])
    assert 1 <= short < long <= 40


def test_several_questions_at_once() -> None:
    model = ServerModel(SETTINGS)
    answers: list[str] = []

    def work(number: int) -> None:
        answers.append("".join(model.stream(ask(f"Count from {number} to {number + 3}."), max_tokens=24)))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(answers) == 8
    assert all(answers)


def test_a_closed_stream_leaves_the_server_usable() -> None:
    model = ServerModel(SETTINGS)
    pieces = model.stream(ask("Tell a very long story."), max_tokens=400)
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert list(model.stream(ask("Say yes."), max_tokens=4))


def test_too_long_a_prompt_is_explained() -> None:
    model = ServerModel(SETTINGS)
    with pytest.raises(ModelError, match="too long"):
        list(model.stream(ask("word " * (model.context_tokens + 100)), max_tokens=8))


def test_a_model_that_is_not_there_is_explained() -> None:
    with pytest.raises(ModelError, match="no model"):
        list(ServerModel(replace(SETTINGS, model="no-such-model")).stream(ask("Hello"), max_tokens=4))


def test_json_that_fits_a_schema_with_alternatives() -> None:
    schema = {
        "type": "object",
        "properties": {
            "explanation": {"type": "string", "maxLength": 80},
            "grade": {"type": "integer", "enum": [1, 2, 3, 4, 5]},
        },
        "required": ["explanation", "grade"],
        "additionalProperties": False,
    }
    written = ServerModel(SETTINGS).complete((Message("user", "Grade the word 'lamp'."),), schema, 200)
    assert set(written.value) == {"explanation", "grade"}
    assert written.value["grade"] in (1, 2, 3, 4, 5)
    assert all(len(alternatives) > 1 for _, alternatives in written.tokens)
    assert (written.usage.calls, written.usage.completion_tokens) == (1, len(written.tokens))
    assert 5 < written.usage.prompt_tokens < 200


def test_another_seed_draws_another_text() -> None:
    schema = {"type": "object", "properties": {"story": {"type": "string", "maxLength": 80}}, "required": ["story"]}
    told = {
        str(ServerModel(replace(SETTINGS, temperature=1.0, seed=seed)).complete(
            (Message("user", "Tell a story."),), schema, 100
        ).value)
        for seed in (1, 2, 3)
    }  # fmt: skip
    assert len(told) > 1


def test_an_object_that_was_cut_is_an_error() -> None:
    schema = {"type": "object", "properties": {"story": {"type": "string", "minLength": 400}}, "required": ["story"]}
    with pytest.raises(ModelError, match="more than 10 tokens"):
        ServerModel(SETTINGS).complete((Message("user", "Tell a story."),), schema, 10)


def test_judges_run_against_the_server() -> None:
    from eval.judge import Pair, PairwiseJudge, PointwiseJudge

    model = ServerModel(SETTINGS)
    pair = Pair("p", "When was the lamp lit?", "In 1842.", "In 1842.", "It was never lit.")
    verdict = PairwiseJudge(model).compare(pair)
    assert verdict.preference in (-1, 0, 1)
    assert verdict.consistent in (True, False)
    grade = PointwiseJudge(model).grade(pair.question, pair.reference, pair.a)
    assert 1 <= grade["grade"] <= 5
    assert grade["grade"] != int(grade["grade"])  # weighed by probabilities, and no model is that sure


def test_claims_and_steps_come_from_the_server(tmp_path: Path) -> None:
    from eval.claims import ClaimChecker
    from eval.geval import GEvalJudge, evaluation_steps

    model = ServerModel(SETTINGS)
    checker = ClaimChecker(model)
    claims = checker.extract("When was the lamp lit?", "The lamp was lit in 1842. It burned oil.")
    assert 1 <= len(claims.value) <= 3
    assert claims.usage.calls == 1
    verdicts = checker.verify(claims.value, "The lamp was lit in 1842.")
    assert len(verdicts.value) == len(verdicts.reasons) == len(claims.value)
    assert len(checker.make_questions("In 1842.").value["questions"]) == 3
    steps = evaluation_steps(model, "general", tmp_path)
    assert 3 <= len(steps) <= 8
    grade = GEvalJudge(model, "general", steps).grade("When was the lamp lit?", "In 1842.", "In 1842.")["grade"]
    assert 1 < grade < 5


def test_a_judge_of_support_is_asked_through_the_server() -> None:
    from generator.entailment import Pair
    from generator.judge import JudgeEntailment

    judge = JudgeEntailment(ServerModel(SETTINGS))
    pairs = [Pair(f"The lamp was lit in {year}.", "The lamp was lit in 1842.", "When?", 0.4) for year in (1842, 1903)]
    supports = judge.supports(pairs)
    assert all(0 < support < 1 for support in supports)  # probabilities, not verdicts
    assert supports[0] != supports[1]


def test_seeded_draws_of_long_prompts_at_once_leave_the_server_alive() -> None:
    """vLLM on a processor dies of a seeded request that it reads in pieces; scripts/vllm-cpu reads them whole."""
    model = ServerModel(replace(SETTINGS, temperature=0.7, seed=3))
    schema = {"type": "object", "properties": {"word": {"type": "string", "maxLength": 8}}, "required": ["word"]}
    long = "The harbour opens at nine and closes at five, every day but Sunday. " * 60
    written: list[object] = []

    def work(number: int) -> None:
        message = Message("user", f"{long} Give a word for {number}.")
        written.append(model.complete([message], schema, max_tokens=24).value)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert len(written) == 6
    assert model.count_tokens(["alive"])


def test_the_first_token_comes_with_its_alternatives() -> None:
    likely = ServerModel(SETTINGS).first_token((Message("user", "Is the sky blue? Reply with one word: yes or no."),))
    assert 10 < len(likely) <= 20  # two tokens may read alike
    assert all(log_p <= 0 for log_p in likely.values())
    assert {token.strip().lower() for token in likely} & {"yes", "no"}


def test_passages_are_reranked_by_yes_and_no() -> None:
    from generator.rerank import YesNoReranker

    passages = [f"Passage {number}: the lamp was lit in {1840 + number}." for number in range(6)]
    reranker = YesNoReranker(ServerModel(SETTINGS), at_once=4)
    scores = reranker.score("When was the lamp lit?", passages)
    assert len(scores) == 6 and len({round(score, 4) for score in scores}) > 1
    assert scores == pytest.approx(reranker.score("When was the lamp lit?", passages), abs=0.3)  # batches round


@pytest.mark.parametrize("kind", ["hyde", "multi-query", "decompose"])
def test_questions_are_expanded_within_their_bounds(kind: Any) -> None:
    from generator.expand import Expander, ExpansionSettings

    model = ServerModel(SETTINGS)
    expansion = Expander(model, ExpansionSettings(kind, queries=2, max_tokens=48)).expand("When was the lamp lit?")
    assert expansion.kind == kind and len(expansion.texts) <= (1 if kind == "hyde" else 2)
    assert bool(expansion.texts) != bool(expansion.failed)  # a small model may write nothing of use, and that is said
    assert sum(model.count_tokens(expansion.texts)) <= 56

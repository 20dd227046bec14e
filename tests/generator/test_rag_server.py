"""RAG-Sequence over a server: a fake one whose probabilities are known, and the real one of FOOTNOTE_TEST_SERVER."""

import math
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.sections.generation import GeneratorSection, MarginalSection
from app.settings import Settings
from app.wiring import build_chat_model
from generator.abstain import DECLINE
from generator.citations import cite
from generator.marginal import MarginalSettings
from generator.prompt import Message, Prompt, answer_prompt
from generator.rag_server import SequenceModel
from generator.server import ServerSettings
from indexer.errors import ConfigError, ModelError
from retriever.hit import Hit

sys.path.insert(0, str(Path(__file__).parent))
from fake_server import FakeServer, serving

URL = os.environ.get("FOOTNOTE_TEST_SERVER", "")
THOROUGH, FAST = MarginalSettings("sequence"), MarginalSettings("sequence", "fast")
END = 2
# Passage A yields "yes [1]" with .3, passage B "no" with .4; the retriever gives A .6 and B .4.
#   fast:     yes .6 * .3 = .18             no .4 * .4 = .16
#   thorough: yes .18 + .4 * .05 = .20      no .16 + .6 * .2 = .28
SAID = {"A": ("yes [1]", 5, 0.3), "B": ("no", 6, 0.4)}
GIVEN_OTHER = {(1, 6): 0.2, (9, 5): 0.05}  # (last token of the request, first of the answer)
ASKED = {"A": [7, 1], "B": [7, 9]}


class Backend:
    """Answers and scores two passages as vLLM does, or leaves out what other servers leave out."""

    def __init__(self, *lacks: str, declining: str = "") -> None:
        self.lacks, self.declining = lacks, declining

    def __call__(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        head = {"id": "c", "created": 0, "model": "tiny"}
        if path == "/v1/completions":
            choices = [self._scored(index, ids) for index, ids in enumerate(body["prompt"])]
            return {**head, "object": "text_completion", "choices": choices}
        passage = "A" if "the passage A" in body["messages"][-1]["content"] else "B"
        text, first, p = SAID[passage]
        if passage in self.declining:
            text = DECLINE
        content = [{"token": t, "logprob": math.log(p) / 2, "top_logprobs": []} for t in ("w", "<end>")]
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "finish_reason": "stop",
            "logprobs": None if "logprobs" in self.lacks else {"content": content},
        }
        if "ids" in self.lacks:
            return {**head, "object": "chat.completion", "choices": [choice]}
        choice["token_ids"] = [first, END]
        return {**head, "object": "chat.completion", "choices": [choice], "prompt_token_ids": ASKED[passage]}

    def _scored(self, index: int, ids: list[int]) -> dict[str, Any]:
        p = GIVEN_OTHER[ids[1], ids[2]]
        # Beside the token itself a server may tell more probable ones.
        rows = [None, {str(ids[1]): {"logprob": -9.0}}]
        rows += [{str(token): {"logprob": math.log(p) / 2}, "99": {"logprob": -0.1}} for token in ids[2:]]
        told = None if "prompt" in self.lacks else rows
        return {"index": index, "text": "x", "finish_reason": "length", "logprobs": None, "prompt_logprobs": told}


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving() as running:
        running.whole = Backend()
        yield running


@pytest.fixture
def hits(hit: Callable[..., Hit]) -> list[Hit]:
    score = math.log(0.6 / 0.4)
    found = [hit("This is the passage A: yes."), hit("This is the passage B: no.", 100)]
    return [replace(found[0], score=score, stage="rerank"), replace(found[1], score=0.0, stage="rerank")]


def model(server: FakeServer, marginal: MarginalSettings) -> SequenceModel:
    return SequenceModel(ServerSettings(server.base_url, read_timeout_s=5, retries=0), marginal)


def ask(model: SequenceModel, hits: list[Hit]) -> str:
    return "".join(model.stream(answer_prompt("Is it?", hits, 10_000, model.count_tokens)))


def test_fast_decoding_by_hand(server: FakeServer, hits: list[Hit]) -> None:
    assert ask(model(server, FAST), hits) == "yes [1]"
    assert not [path for path, _, _ in server.requests if path == "/v1/completions"]


def test_thorough_decoding_by_hand(server: FakeServer, hits: list[Hit]) -> None:
    # "no" comes from B: .4 * .4 is more than .6 * .2.
    assert ask(model(server, THOROUGH), hits) == "no [2]"
    scored = sorted(body["prompt"] for path, _, body in server.requests if path == "/v1/completions")
    assert scored == [[[7, 1, 6, END]], [[7, 9, 5, END]]]


def test_every_request_holds_one_passage(server: FakeServer, hits: list[Hit]) -> None:
    ask(model(server, FAST), hits)
    told = [body["messages"][-1]["content"] for path, _, body in server.requests if path == "/v1/chat/completions"]
    assert sorted(("passage A" in text, "passage B" in text) for text in told) == [(False, True), (True, False)]


def test_an_answer_has_the_marker_of_its_own_passage(server: FakeServer, hits: list[Hit]) -> None:
    # In the other order "yes [1]" comes from the second passage.
    assert ask(model(server, FAST), [hits[1], hits[0]]) == "yes [2]"


def test_declines_only_where_every_passage_declines(server: FakeServer, hits: list[Hit]) -> None:
    server.whole = Backend(declining="A")
    assert ask(model(server, FAST), hits) == "no [2]"
    server.whole = Backend(declining="AB")
    assert ask(model(server, THOROUGH), hits) == DECLINE


def test_a_prompt_without_passages_is_streamed_as_ever(server: FakeServer) -> None:
    prompt = Prompt((Message("user", "Rewrite."),), (), 10)
    assert list(model(server, THOROUGH).stream(prompt)) == server.pieces


@pytest.mark.parametrize(
    ("lacks", "marginal", "message", "remedy"),
    [
        ("logprobs", FAST, "gives no log-probabilities", "generator.marginal.mode to none"),
        ("logprobs", THOROUGH, "gives no log-probabilities", "generator.marginal.mode to none"),
        ("ids", THOROUGH, "gives no token ids", "generator.marginal.decoding to fast"),
        ("prompt", THOROUGH, "gives no log-probabilities of a prompt", "generator.marginal.decoding to fast"),
    ],
)
def test_what_a_server_lacks_is_named(
    server: FakeServer, hits: list[Hit], lacks: str, marginal: MarginalSettings, message: str, remedy: str
) -> None:
    server.whole = Backend(lacks)
    with pytest.raises(ModelError) as caught:
        ask(model(server, marginal), hits)
    assert message in caught.value.message
    assert remedy in caught.value.remedy


def test_a_server_without_token_ids_is_enough_for_fast(server: FakeServer, hits: list[Hit]) -> None:
    server.whole = Backend("ids")
    assert ask(model(server, FAST), hits) == "yes [1]"


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (MarginalSection(mode="token"), "no server offers"),
        (MarginalSection(mode="token", decoding="fast"), "RAG-Token has one decoding"),
    ],
)
def test_settings_that_make_no_sense_are_refused(section: MarginalSection, message: str) -> None:
    generator = GeneratorSection(base_url="http://127.0.0.1:9/v1", marginal=section)
    with pytest.raises(ConfigError, match=message):
        build_chat_model(Settings(generator=generator))


def test_settings_choose_the_model() -> None:
    section = GeneratorSection(base_url="http://127.0.0.1:9/v1", marginal=MarginalSection(mode="sequence"))
    assert isinstance(build_chat_model(Settings(generator=section)), SequenceModel)
    plain = build_chat_model(Settings(generator=GeneratorSection(base_url="http://127.0.0.1:9/v1")))
    assert not isinstance(plain, SequenceModel)


@pytest.mark.skipif(not URL, reason="FOOTNOTE_TEST_SERVER names no OpenAI-compatible server")
@pytest.mark.parametrize("marginal", [THOROUGH, FAST])
def test_against_a_real_server(marginal: MarginalSettings, hit: Callable[..., Hit]) -> None:
    real = SequenceModel(ServerSettings(URL, read_timeout_s=120), marginal)
    hits = [
        replace(hit("The lamp was lit in 1842 by Anna Berg."), score=8.0, stage="bm25"),
        replace(hit("The harbour opens at nine.", 100, "harbour"), score=3.0, stage="bm25"),
    ]
    prompt = answer_prompt("When was the lamp lit?", hits, 4000, real.count_tokens)
    answer = "".join(real.stream(prompt, 40))
    assert answer.strip()
    assert all(1 <= c.number <= 2 for c in cite(answer, hits, prompt.question).citations)


@pytest.mark.skipif(not URL, reason="FOOTNOTE_TEST_SERVER names no OpenAI-compatible server")
def test_a_real_server_scores_its_own_answer_alike(hit: Callable[..., Hit]) -> None:
    """The log-probability of what was written is that of the same words when they are given (but for rounding)."""
    real = SequenceModel(ServerSettings(URL, read_timeout_s=120), THOROUGH)
    asked = answer_prompt("When was the lamp lit?", [hit("The lamp was lit in 1842.")], 4000, real.count_tokens)
    said = real._say(asked, 24)
    other = replace(said, tokens=(*said.tokens[:-1], END))
    rescored = real._score(replace(said, tokens=(), text="none"), [said])[0]
    assert rescored == pytest.approx(said.log_p, abs=0.05 * len(said.tokens))
    assert real._score(said, [said, other])[0] == said.log_p

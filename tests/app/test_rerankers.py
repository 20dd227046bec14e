"""The reranker and the expansion that the settings name, through the command line and the doors that show notes."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.feedback import index_state, served
from app.rerankers import build_expander, build_reranker
from app.settings import ROOT, load_settings
from app.ui.turn import Turn
from app.ui.views import turn_html
from app.wiring import build_pipeline, open_collection
from generator.pipeline import Done
from indexer.errors import ConfigError, ModelError

sys.path += [str(ROOT / "tests" / "generator"), str(ROOT / "tests" / "retriever")]
from fake_server import FakeServer, serving

QUESTION = "How tall is the tower?"


def settings(**values: Any) -> Any:
    return load_settings(None, {f"FOOTNOTE_{key.upper()}": str(value) for key, value in values.items()})


@pytest.fixture
def model() -> Iterator[FakeServer]:
    with serving() as server:
        server.pieces = ["The tower is 34 metres tall [1]."]
        yield server


def chances(yes: float, no: float) -> dict[str, Any]:
    """A completion of one token, yes or no with these log-probabilities."""
    likely = [{"token": "yes", "logprob": yes, "bytes": None}, {"token": "no", "logprob": no, "bytes": None}]
    message = {"role": "assistant", "content": "yes"}
    token = {**likely[0], "top_logprobs": likely}
    choice = {"index": 0, "finish_reason": "length", "message": message, "logprobs": {"content": [token]}}
    return {"id": "c", "object": "chat.completion", "created": 0, "model": "tiny", "choices": [choice], "usage": None}


def test_none_is_built_without_a_name() -> None:
    assert build_reranker(settings()) is None
    assert build_expander(settings()) is None


def test_a_hub_name_that_is_not_here_says_how_to_fetch_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match="nobody/no-ranker is no folder") as error:
        build_reranker(settings(retriever__reranker="nobody/no-ranker"))
    assert "HF_HUB_OFFLINE=0" in error.value.remedy
    with pytest.raises(ModelError, match="no folder"):
        build_reranker(settings(retriever__reranker=tmp_path / "nothing"))


def test_a_folder_with_a_cross_encoder_is_loaded_once(tmp_path: Path) -> None:
    from tiny_ranker import save_model

    named = settings(retriever__reranker=save_model(tmp_path / "ranker", num_labels=1))
    reranker = build_reranker(named)
    assert reranker is not None and reranker.name == "ranker"
    assert len(reranker.score("lamp", ["lamp storm", "goat"])) == 2
    assert build_reranker(named) is reranker


@pytest.mark.parametrize(
    ("values", "words", "remedy"),
    [
        ({"retriever__reranker": "generator", "retriever__rerank": "true"}, "no server is named", "base_url"),
        ({"retriever__expansion": "hyde"}, "no server is named to write it", "follows no instructions"),
        (
            {
                "retriever__expansion": "multi-query",
                "generator__base_url": "http://h/v1",
                "generator__kind": "embedded",
            },
            "no server is named to write it",
            "base_url",
        ),
        (
            {"retriever__expansion": "hyde", "retriever__mode": "bm25", "generator__base_url": "http://h/v1"},
            "retriever.mode is bm25",
            "hybrid or dense",
        ),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_loaded(
    footnote: Any, papers: Path, home: Path, values: dict[str, str], words: str, remedy: str
) -> None:
    footnote("ingest", papers)
    with pytest.raises(ConfigError, match=words) as error:
        own = settings(home=home, **values)
        build_pipeline(own, open_collection(own, "default"))
    assert remedy in error.value.remedy


def test_the_generator_reranks_a_search(
    footnote: Any, papers: Path, model: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    footnote("ingest", papers)
    monkeypatch.setenv("FOOTNOTE_GENERATOR__BASE_URL", model.base_url)
    monkeypatch.setenv("FOOTNOTE_RETRIEVER__RERANKER", "generator")
    plain = footnote("search", QUESTION, "--json").json
    worst = plain["hits"][-1]["text"]
    model.whole = lambda path, body: chances(*((-0.1, -3.0) if worst in str(body["messages"]) else (-3.0, -0.1)))
    found = footnote("search", QUESTION, "--rerank", "--json").json
    assert found["hits"][0]["text"] == worst
    assert found["hits"][0]["parts"]["rerank"] == {"score": pytest.approx(2.9), "rank": 1}
    assert found["notes"] == plain["notes"] == []


def test_a_server_that_fails_costs_the_order_and_not_the_search(
    footnote: Any, papers: Path, model: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    footnote("ingest", papers)
    monkeypatch.setenv("FOOTNOTE_GENERATOR__BASE_URL", model.base_url)
    monkeypatch.setenv("FOOTNOTE_RETRIEVER__RERANKER", "generator")
    plain = footnote("search", QUESTION, "--json").json
    model.behaviour = "busy"
    found = footnote("search", QUESTION, "--rerank", "--json").json
    assert found["hits"] == plain["hits"]
    (note,) = found["notes"]
    assert note.startswith("Not reranked: The model server at ") and "too much to do" in note
    assert f"({note})" in footnote("search", QUESTION, "--rerank").stderr


def test_a_server_that_is_late_is_not_waited_for(
    footnote: Any, papers: Path, model: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    footnote("ingest", papers)
    monkeypatch.setenv("FOOTNOTE_GENERATOR__BASE_URL", model.base_url)
    monkeypatch.setenv("FOOTNOTE_RETRIEVER__RERANKER", "generator")
    monkeypatch.setenv("FOOTNOTE_RETRIEVER__RERANK_BUDGET_MS", "150")
    model.behaviour = "slow"  # three seconds, then an error of its own
    (note,) = footnote("search", QUESTION, "--rerank", "--json").json["notes"]
    assert "did not answer in 0.15 s" in note


def test_an_answer_says_what_was_searched_for_and_what_was_left_out(
    footnote: Any, papers: Path, home: Path, model: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    footnote("ingest", papers)
    monkeypatch.setenv("FOOTNOTE_GENERATOR__BASE_URL", model.base_url)
    monkeypatch.setenv("FOOTNOTE_RETRIEVER__EXPANSION", "multi-query")
    monkeypatch.setenv("FOOTNOTE_RETRIEVER__RERANKER", "generator")
    monkeypatch.setenv("FOOTNOTE_RETRIEVER__RERANK", "true")
    model.whole = lambda path, body: {"nothing": "of a completion"}
    answer = footnote("ask", QUESTION, "--json").json
    assert answer["answer"] == "The tower is 34 metres tall [1]."
    assert answer["expansion"]["texts"] == ["The tower is 34 metres tall [1]."]  # the only words that this server has
    assert {"expand", "search"} <= set(answer["timings_ms"])
    assert "queries" in answer["hits"][0]["parts"]
    (note,) = answer["notes"]
    assert note.startswith("Not reranked: ")
    assert f"({note})" in footnote("ask", QUESTION).stderr


def test_the_page_says_it_in_a_line_of_its_own(papers: Path, home: Path, footnote: Any, model: FakeServer) -> None:
    footnote("ingest", papers)
    named = {"retriever__expansion": "hyde", "retriever__rerank": "true", "retriever__reranker": "generator"}
    own = settings(home=home, generator__base_url=model.base_url, retriever__rerank_budget_ms=400, **named)
    pipeline = build_pipeline(own, open_collection(own, "default"))
    model.whole = lambda path, body: {"nothing": "of a completion"}
    turn = Turn(QUESTION)
    turn.start(lambda: pipeline.ask(QUESTION))
    while not turn.done:
        turn.wait(-1, 0.05)
    html = turn_html(turn, 0)
    assert '<p class="fn-meta fn-left-out">Not reranked: ' in html
    assert "searched for by hyde, too: The tower is 34 metres tall" in html
    assert "expand" in html


def test_an_evaluation_reranks_as_the_settings_say_and_tells_when_it_could_not(
    footnote: Any, tmp_path: Path, model: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    texts = {"first": "lamp lamp lamp", "second": "lamp lamp of the keeper", "third": "a lamp beside goats"}
    rows = [{"_id": name, "title": "", "text": text} for name, text in texts.items()]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    questions = [{"_id": name, "text": f"lamp {name}"} for name in ("a", "b", "c")]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions))
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\na\tthird\t1\nb\tthird\t1\nc\tthird\t1\n")
    arguments = ("eval", "retrieval", "--dataset", folder, "--modes", "bm25", "--limit", "2")
    plain = footnote(*arguments, "--json").json["modes"]["bm25"]
    monkeypatch.setenv("FOOTNOTE_GENERATOR__BASE_URL", model.base_url)
    monkeypatch.setenv("FOOTNOTE_RETRIEVER__RERANKER", "generator")
    monkeypatch.setenv("FOOTNOTE_RETRIEVER__RERANK", "true")
    model.whole = lambda path, body: chances(*((-0.1, -3.0) if "goats" in str(body["messages"]) else (-3.0, -0.1)))
    reranked = footnote(*arguments, "--json").json["modes"]["bm25"]
    assert (plain["n"], reranked["n"], reranked["left_out"]) == (2, 2, 0)
    assert reranked["mrr@10"] == 1.0 > plain["mrr@10"]
    model.whole, model.behaviour = None, "busy"
    result = footnote(*arguments)
    assert "bm25: 2 questions without the reranker or the expansion" in result.stderr


@pytest.mark.parametrize(("reranks", "budget_ms", "named"), [(True, 0, "ranker"), (True, 1e-9, ""), (False, 0, "")])
def test_a_thumb_is_stored_with_the_reranker_that_ordered_the_passages(
    footnote: Any,
    papers: Path,
    home: Path,
    model: FakeServer,
    tmp_path: Path,
    reranks: bool,
    budget_ms: float,
    named: str,
) -> None:
    from tiny_ranker import save_model

    footnote("ingest", papers)
    folder = save_model(tmp_path / "ranker", num_labels=1)
    wanted = {"reranker": folder, "rerank": reranks, "rerank_budget_ms": budget_ms, "rerank_batch": 1}
    own = settings(
        home=home, generator__base_url=model.base_url, **{f"retriever__{key}": value for key, value in wanted.items()}
    )
    collection = open_collection(own, "default")
    (done,) = [event for event in build_pipeline(own, collection).ask(QUESTION) if isinstance(event, Done)]
    assert len(done.answer.hits) == 3
    assert served(QUESTION, done.answer, index_state(collection))["reranker"] == named

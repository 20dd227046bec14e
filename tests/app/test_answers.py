"""`ask` and `demo`, with a chat model that says what the test wants it to say."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from app.demo import QUESTIONS, find_problem, read_samples
from generator.abstain import DECLINE
from generator.answer import Answer, Citation
from generator.prompt import Prompt
from indexer.collection import Collection
from indexer.errors import ConfigError

Footnote = Callable[..., Any]


@dataclass(slots=True)
class Parrot:
    """Says `words` word by word; without any, the first sentence of the first passage."""

    words: str = ""
    name: str = "parrot"
    context_tokens: int = 4096
    follows_instructions: bool = False

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def stream(self, prompt: Prompt, max_tokens: int = 512) -> Iterator[str]:
        text = prompt.hits[0].chunk.text.split("\n")[-1]
        said = self.words or text.split(". ")[0].rstrip(".") + ". [1]"
        for word in said.split(" "):
            yield word + " "


@pytest.fixture
def parrot(monkeypatch: pytest.MonkeyPatch) -> Parrot:
    """The chat model of this process, replaced."""
    model = Parrot()
    monkeypatch.setattr("app.wiring._embedded", lambda *_: model)
    return model


def test_ask_has_the_promised_shape(footnote: Footnote, papers: Path, parrot: Parrot, home: Path) -> None:
    footnote("ingest", papers)
    result = footnote("ask", "When does the ferry leave?", "--json")
    assert result.code == 0
    answer = result.json
    assert set(answer) >= {"answer", "abstained", "query", "citations", "hits", "timings_ms", "model"}
    assert set(answer) >= {"dropped_markers", "moved_markers", "sentences", "checked_by"}
    assert answer["answer"].strip() == "The ferry leaves at nine. [1]"
    assert (answer["abstained"], answer["model"]) == (False, "parrot")
    (citation,) = answer["citations"]
    assert set(citation) >= {"number", "source", "page", "start", "end", "quote", "support"}
    document = Collection.open(home, "default").document(citation["document"])
    assert document.text[citation["start"] : citation["end"]] == citation["quote"] == "The ferry leaves at nine."
    assert answer["hits"][0]["text"] == document.text.strip()


def test_ask_for_people(footnote: Footnote, papers: Path, parrot: Parrot) -> None:
    footnote("ingest", papers)
    result = footnote("ask", "When does the ferry leave?")
    assert result.stdout.split("\n\n") == [
        "The ferry leaves at nine. [1]",
        '[1] papers/ferry.txt: "The ferry leaves at nine."\n',
    ]


def test_what_was_found_is_shown_when_the_model_fails(
    footnote: Footnote, papers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    footnote("ingest", papers)
    monkeypatch.setenv("FOOTNOTE_GENERATOR__BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("FOOTNOTE_GENERATOR__RETRIES", "0")
    result = footnote("ask", "When does the ferry leave?")
    assert result.code == 1
    assert "papers/ferry.txt: The ferry leaves at nine." in result.stdout
    assert "No model server answers" in result.stderr
    assert "footnote serve-model" in result.stderr


def test_a_sentence_that_no_passage_supports_is_told(footnote: Footnote, papers: Path, parrot: Parrot) -> None:
    parrot.words = "The ferry leaves at nine [1]. Whales sing loudly. A ticket costs four crowns [1][9]."
    footnote("ingest", papers)
    answer = footnote("ask", "When does the ferry leave?", "--json").json
    text = "The ferry leaves at nine [1]. Whales sing loudly. A ticket costs four crowns [2]."
    assert answer["answer"] == text
    assert answer["sentences"] == [
        {"text": text[:29], "start": 0, "end": 29, "support": 1.0, "supported": True, "citations": [1]},
        {"text": text[30:49], "start": 30, "end": 49, "support": 0.0, "supported": False, "citations": []},
        {"text": text[50:], "start": 50, "end": 81, "support": 1.0, "supported": True, "citations": [2]},
    ]
    assert (answer["dropped_markers"], answer["moved_markers"], answer["checked_by"]) == (1, 0, "words")

    told = footnote("ask", "When does the ferry leave?")
    assert told.stdout.startswith(
        "The ferry leaves at nine [1]. Whales sing loudly. [?] A ticket costs four crowns [2].\n"
    )
    assert "[?] No passage found says so: 1 sentence." in told.stdout
    assert "1 marker dropped" in told.stderr


def test_a_marker_on_the_wrong_passage_is_moved(footnote: Footnote, papers: Path, parrot: Parrot) -> None:
    footnote("ingest", papers)
    sources = [Path(hit["source"]).name for hit in footnote("ask", "When do the bees swarm?", "--json").json["hits"]]
    parrot.words = f"The bees of the school swarm in May [{sources.index('ferry.txt') + 1}]."
    result = footnote("ask", "When do the bees swarm?", "--json")
    (citation,) = result.json["citations"]
    assert (Path(citation["source"]).name, citation["quote"]) == ("bees.txt", "The bees of the school swarm in May.")
    assert (result.json["moved_markers"], result.json["dropped_markers"]) == (1, 0)
    assert "1 marker moved" in footnote("ask", "When do the bees swarm?").stderr


@pytest.mark.parametrize(("method", "key"), [("nli", "generator.nli_model"), ("judge", "generator.base_url")])
def test_a_check_without_its_model_is_refused(
    footnote: Footnote, papers: Path, parrot: Parrot, monkeypatch: pytest.MonkeyPatch, method: str, key: str
) -> None:
    footnote("ingest", papers)
    monkeypatch.setenv("FOOTNOTE_GENERATOR__ENTAILMENT", method)
    result = footnote("ask", "When does the ferry leave?")
    assert result.code == 1
    assert key in result.stderr


def test_the_encoder_can_check(
    footnote: Footnote, papers: Path, parrot: Parrot, monkeypatch: pytest.MonkeyPatch
) -> None:
    footnote("ingest", papers)
    monkeypatch.setenv("FOOTNOTE_GENERATOR__ENTAILMENT", "encoder")
    parrot.words = "The small ferry always leaves at nine [1]."
    assert footnote("ask", "When does the ferry leave?", "--json").json["checked_by"] == "words and encoder words-1"


def test_ask_takes_the_query_itself(footnote: Footnote, papers: Path, parrot: Parrot) -> None:
    footnote("ingest", papers)
    answer = footnote("ask", "And when?", "--query", "When does the ferry leave?", "--json").json
    assert (answer["question"], answer["query"]) == ("And when?", "When does the ferry leave?")
    assert answer["answer"].strip() == "The ferry leaves at nine. [1]"
    assert (answer["prompt_version"], answer["usage"], answer["doubt"]) == ("answer-1", None, None)


def test_ask_reads_only_what_a_filter_leaves(footnote: Footnote, papers: Path, parrot: Parrot) -> None:
    footnote("ingest", papers)
    answered = footnote("ask", "How tall is the tower?", "-f", "source=ferry.txt", "--json").json
    assert {Path(hit["source"]).name for hit in answered["hits"]} == {"ferry.txt"}


def test_declining_shows_the_closest_passages(footnote: Footnote, papers: Path, parrot: Parrot) -> None:
    parrot.words = DECLINE
    footnote("ingest", papers)
    told = footnote("ask", "When does the ferry sink?").stdout
    assert told.startswith(f"{DECLINE}\n\nThe closest passages:\n")
    assert "papers/ferry.txt: The ferry leaves at nine." in told


def test_declining_is_no_failure(footnote: Footnote, papers: Path, parrot: Parrot) -> None:
    parrot.words = DECLINE
    footnote("ingest", papers)
    answer = footnote("ask", "Who painted the ferry?", "--json")
    assert answer.code == 0
    assert (answer.json["abstained"], answer.json["citations"]) == (True, [])


@pytest.mark.parametrize(("question", "words"), [("  ", "empty"), ("why " * 12_500, "50,000 characters")])
def test_ask_refuses(footnote: Footnote, papers: Path, parrot: Parrot, question: str, words: str) -> None:
    footnote("ingest", papers)
    result = footnote("ask", question, "--json")
    assert result.code == 1
    assert words in result.json["error"]["message"]


def test_a_server_without_an_address_is_refused(
    footnote: Footnote, papers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    footnote("ingest", papers)
    monkeypatch.setenv("FOOTNOTE_GENERATOR__KIND", "server")
    result = footnote("ask", "When?")
    assert result.code == 1
    assert "generator.base_url" in result.stderr


def test_a_server_that_is_away_is_named(footnote: Footnote, papers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    footnote("ingest", papers)
    monkeypatch.setenv("FOOTNOTE_GENERATOR__BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("FOOTNOTE_GENERATOR__RETRIES", "0")
    result = footnote("ask", "When does the ferry leave?")
    assert result.code == 1
    assert "http://127.0.0.1:9/v1" in result.stderr


def test_the_samples_are_there() -> None:
    samples = list(read_samples(QUESTIONS))
    assert len(samples) >= 6
    assert all(sample.question for sample in samples)


def test_samples_bring_their_conversation(tmp_path: Path) -> None:
    turn = {"question": "When was it lit?", "answer": "In 1842."}
    cases = [{"_id": "a", "text": "How tall is it?", "turns": [turn]}, {"_id": "b", "text": "Who?"}]
    (tmp_path / "queries.jsonl").write_text("\n".join(map(json.dumps, cases)), encoding="utf-8")
    (tmp_path / "samples.json").write_text('["b", "a"]', encoding="utf-8")
    second, first = read_samples(tmp_path)
    assert (second.id, second.history) == ("b", ())
    assert (first.id, first.history) == ("a", (("When was it lit?", "In 1842."),))
    (tmp_path / "samples.json").write_text('["c"]', encoding="utf-8")
    with pytest.raises(ConfigError):
        list(read_samples(tmp_path))


@pytest.fixture
def sampled(tmp_path: Path, papers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The papers in place of the sample corpus, and two questions on them."""
    cases = [{"_id": "q1", "text": "When does the ferry leave?"}, {"_id": "q2", "text": "How tall is the tower?"}]
    (tmp_path / "queries.jsonl").write_text("\n".join(map(json.dumps, cases)), encoding="utf-8")
    (tmp_path / "samples.json").write_text('["q1", "q2"]', encoding="utf-8")
    monkeypatch.setattr("app.demo.CORPUS", papers)
    monkeypatch.setattr("app.demo.QUESTIONS", tmp_path)


@pytest.mark.usefixtures("sampled")
def test_demo_ingests_once_and_answers(footnote: Footnote, parrot: Parrot, encoder: Any) -> None:
    first = footnote("demo", "--no-ui")
    assert first.code == 0
    assert "3 documents indexed" in first.stderr
    assert "2 questions: 2 answered with valid footnotes, 0 declined, 0 not valid" in first.stdout
    encoder.encoded.clear()
    second = footnote("demo", "--no-ui", "--json")
    assert second.json["ok"]
    assert [question["id"] for question in second.json["questions"]] == ["q1", "q2"]
    assert encoder.encoded == ["When does the ferry leave?", "How tall is the tower?"]


@pytest.mark.usefixtures("sampled")
def test_demo_fails_on_an_answer_without_a_footnote(
    footnote: Footnote, parrot: Parrot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.demo.find_problem", lambda answer, collection: "made up")
    result = footnote("demo", "--no-ui")
    assert result.code == 1
    assert "2 not valid" in result.stdout


def test_footnotes_are_checked_against_the_stored_text(footnote: Footnote, papers: Path, home: Path) -> None:
    footnote("ingest", papers)
    collection = Collection.open(home, "default")
    (document_id,) = collection.find(str(papers / "ferry.txt"))
    good = Citation(1, f"{document_id}:0", document_id, "ferry.txt", None, 0, 9, "The ferry", 1.0)
    answer = Answer("The ferry. [1]", (good,), (), abstained=False, query="?")
    assert find_problem(answer, collection) == ""
    assert "footnote 1" in find_problem(replace(answer, citations=(replace(good, end=8),)), collection)
    assert "footnote 1" in find_problem(replace(answer, citations=(replace(good, quote="", end=0),)), collection)
    assert find_problem(replace(answer, citations=()), collection) == "an answer without a footnote"
    assert find_problem(replace(answer, citations=(), abstained=True), collection) == ""

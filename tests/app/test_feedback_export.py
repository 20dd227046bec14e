"""Thumbs become pairs, preferences and gold cases: of what the collection holds now, each question once."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.database import Database
from app.feedback import IndexState, Thumb, served, store_thumb
from eval.formats import load_any
from generator.answer import Answer, Citation
from generator.prompt import template
from indexer.collection import Collection
from indexer.document import Chunk
from indexer.llm2vec.training.pairs import Pair, read_pairs
from retriever.hit import Hit

Footnote = Callable[..., Any]
TOWER = "Lighthouse\n# Lighthouse\n\nThe tower is 34 metres tall and was first lit in 1842."
FERRY = "Ferry\nThe ferry leaves at nine. A ticket costs four crowns."
BEES = "Bees\nThe bees of the school swarm in May."
QUESTION = "How tall is the tower?"


@pytest.fixture
def store(footnote: Footnote, papers: Path, home: Path) -> Callable[..., None]:
    """Ingests the papers, and stores thumbs on answers that were shown all three."""
    assert footnote("ingest", papers).code == 0
    database = Database(home)

    def add(id_: str, thumb: Thumb, text: str, cites: str = "", question: str = QUESTION, **more: Any) -> None:
        answer = replace(shown(home, cites), text=text, query=question, **more)
        store_thumb(database, id_, thumb, "default", served("And how tall?", answer, IndexState(1, 3, "words-1")))

    return add


def shown(home: Path, cites: str) -> Answer:
    """An answer beside the passages of all documents, ferry first, that cites the one whose name begins so."""
    collection = Collection.open(home, "default")
    hits, citations = [], []
    for info in sorted(collection.documents(), key=lambda info: info.source[::-1]):
        ((_, chunk),) = collection.document_chunks(info.id)
        hits.append(Hit(chunk, info.source, info.title, 1.0, len(hits) + 1, "bm25"))
        if cites and Path(info.source).name.startswith(cites):
            citations.append(citation(chunk, info.source))
    return Answer("", tuple(citations), tuple(hits), False, "")


def citation(chunk: Chunk, source: str) -> Citation:
    return Citation(1, chunk.id, chunk.document_id, source, None, chunk.start + 2, chunk.end, chunk.text[2:], 1.0)


def exported(footnote: Footnote, kind: str, tmp_path: Path, *options: str) -> tuple[Any, list[Any]]:
    """The summary, and the rows."""
    out = tmp_path / f"{kind}.jsonl"
    result = footnote("eval", "export", "--feedback", kind, "--out", out, "--json", *options)
    assert result.code == 0, result.stderr
    assert result.json["file"] == str(out)
    return result.json, [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


def pairs_in(tmp_path: Path) -> list[Pair]:
    return read_pairs(tmp_path / "pairs.jsonl")


def test_a_liked_answer_gives_its_passage_and_what_stood_beside_it(
    footnote: Footnote, store: Callable[..., None], tmp_path: Path
) -> None:
    store("a", Thumb("up"), "34 metres [1].", "light")
    told, _ = exported(footnote, "pairs", tmp_path)
    (pair,) = pairs_in(tmp_path)
    assert (pair.anchor, pair.positive, pair.source) == (QUESTION, TOWER, "default")
    assert set(pair.negatives) == {FERRY, BEES}
    assert (told["written"], told["negatives"], told["thumbs"], told["questions"]) == (1, 2, 1, 1)
    assert told["left_out"] == {"thumbs": {}, "passages": {}} and told["scrubbed"] is None


def test_a_correction_names_the_passage_that_has_its_words(
    footnote: Footnote, store: Callable[..., None], tmp_path: Path
) -> None:
    store("a", Thumb("down", "wrong", "The tower is 34 metres tall."), "Nine metres [1].", "ferry")
    exported(footnote, "pairs", tmp_path)
    (pair,) = pairs_in(tmp_path)
    assert pair.positive == TOWER
    assert pair.negatives == (FERRY, BEES)  # what the disliked answer cites comes first


def test_a_correction_is_looked_for_beyond_what_was_shown(
    footnote: Footnote, store: Callable[..., None], tmp_path: Path, home: Path
) -> None:
    hits = tuple(hit for hit in shown(home, "").hits if "tower" not in hit.chunk.text)
    assert len(hits) == 2
    store("a", Thumb("down", "", "The tower is 34 metres tall."), "Nine [1].", "ferry", hits=hits)
    exported(footnote, "pairs", tmp_path)
    assert [pair.positive for pair in pairs_in(tmp_path)] == [TOWER]


def test_of_thumbs_on_one_question_the_last_counts_for_each_passage(
    footnote: Footnote, store: Callable[..., None], tmp_path: Path
) -> None:
    store("a", Thumb("up"), "At nine [1].", "ferry")
    store("b", Thumb("down"), "Nine [1].", "ferry", question=" how  TALL is the tower?")
    told, rows = exported(footnote, "pairs", tmp_path)
    assert rows == [] and told["questions"] == 1
    assert told["left_out"]["thumbs"] == {"disliked_and_not_corrected": 1, "overruled_by_a_later_thumb": 1}
    store("c", Thumb("up"), "34 metres [1].", "light")
    exported(footnote, "pairs", tmp_path)
    (pair,) = pairs_in(tmp_path)
    assert (pair.positive, pair.negatives) == (TOWER, (FERRY, BEES))  # a disliked answer cites the ferry


def test_a_positive_is_never_a_negative_of_its_question(
    footnote: Footnote, store: Callable[..., None], tmp_path: Path
) -> None:
    store("a", Thumb("up"), "34 metres [1].", "light")
    store("b", Thumb("up"), "In May [1].", "bees")
    exported(footnote, "pairs", tmp_path)
    assert {(pair.positive, pair.negatives) for pair in pairs_in(tmp_path)} == {(TOWER, (FERRY,)), (BEES, (FERRY,))}


def test_a_passage_that_says_the_same_is_no_negative(
    footnote: Footnote, store: Callable[..., None], tmp_path: Path
) -> None:
    store("a", Thumb("up"), "The ferry leaves at nine [1].", "light")  # the ferry's passage says so, uncited
    told, _ = exported(footnote, "pairs", tmp_path)
    assert [pair.negatives for pair in pairs_in(tmp_path)] == [(BEES,)]
    assert told["left_out"]["passages"] == {"says_the_same": 1}


def test_what_is_gone_or_changed_is_counted_and_left_out(
    footnote: Footnote, store: Callable[..., None], papers: Path, tmp_path: Path
) -> None:
    store("a", Thumb("up"), "34 metres [1].", "light")
    (papers / "ferry.txt").write_text("The ferry does not run any more.\n", encoding="utf-8")
    assert footnote("ingest", papers).code == footnote("delete", papers / "bees.txt").code == 0
    told, _ = exported(footnote, "pairs", tmp_path)
    assert [pair.negatives for pair in pairs_in(tmp_path)] == [()]
    assert told["left_out"]["passages"] == {"document_changed": 1, "document_gone": 1}
    assert footnote("delete", papers / "lighthouse.md").code == 0
    told, rows = exported(footnote, "pairs", tmp_path)
    assert rows == [] and told["left_out"]["thumbs"] == {"cited_passages_missing": 1}
    shown = footnote("eval", "export", "--feedback", "pairs", "--out", tmp_path / "p.jsonl").stdout
    assert "left out: 1 thumb, cited passages missing" in shown and "left out: 2 passages, document gone" in shown


def test_passages_are_those_of_the_present_chunks(
    footnote: Footnote, store: Callable[..., None], papers: Path, home: Path, tmp_path: Path
) -> None:
    first = "The ferry leaves at nine. " + "It is slow but it is safe and it is dry. " * 4
    (papers / "ferry.txt").write_text(f"{first}\n\nA ticket costs four crowns.\n", encoding="utf-8")
    assert footnote("ingest", papers).code == 0
    answer = shown(home, "ferry")
    quote = replace(answer.citations[0], start=answer.citations[0].end - 27, quote="A ticket costs four crowns.")
    store("a", Thumb("up"), "Four crowns [1].", question="What does a ticket cost?", citations=(quote,))
    assert footnote("reindex", "--chunk-tokens", "24").code == 0
    exported(footnote, "pairs", tmp_path)
    (pair,) = pairs_in(tmp_path)
    assert "four crowns" in pair.positive and "leaves at nine" not in pair.positive


def test_thumbs_are_chosen_by_collection_and_day(
    footnote: Footnote, store: Callable[..., None], tmp_path: Path
) -> None:
    store("a", Thumb("up"), "34 metres [1].", "light")
    assert exported(footnote, "pairs", tmp_path, "--collection", "other")[0]["thumbs"] == 0
    assert exported(footnote, "pairs", tmp_path, "--since", "2024-01-31")[0]["thumbs"] == 1
    assert exported(footnote, "pairs", tmp_path, "--since", "2999-01-31T12:00:00")[0]["thumbs"] == 0


def test_a_collection_that_is_gone_is_told(
    footnote: Footnote, store: Callable[..., None], home: Path, tmp_path: Path
) -> None:
    store("a", Thumb("up"), "34 metres [1].", "light")
    (home / "collections" / "default").rename(home / "elsewhere")
    for kind in ("pairs", "gold"):
        assert exported(footnote, kind, tmp_path)[0]["left_out"]["thumbs"] == {"collection_gone": 1}


def test_a_preference_is_in_trls_conversational_format(
    footnote: Footnote, store: Callable[..., None], tmp_path: Path
) -> None:
    store("a", Thumb("down", "", "The tower is 34 metres tall."), "The ferry leaves at nine [1].", "ferry")
    told, (row,) = exported(footnote, "preferences", tmp_path)
    assert set(row) == {"prompt", "chosen", "rejected"}
    assert [message["role"] for message in row["prompt"]] == ["system", "user"]
    assert row["prompt"][0]["content"].startswith(template("answer-1")[:40])
    assert "34 metres tall and was first lit" in row["prompt"][1]["content"]
    assert row["prompt"][1]["content"].endswith(f"Question: {QUESTION}")
    passages = row["prompt"][1]["content"].split('number="')[1:]
    (tower,) = [number for number, text in enumerate(passages, 1) if "34 metres" in text]
    (ferry,) = [number for number, text in enumerate(passages, 1) if "leaves at nine" in text]
    assert len(passages) == 3 and tower != ferry
    assert row["chosen"] == [{"role": "assistant", "content": f"The tower is 34 metres tall. [{tower}]"}]
    assert row["rejected"] == [{"role": "assistant", "content": f"The ferry leaves at nine. [{ferry}]"}]
    assert told["written"] == 1


def test_an_up_is_preferred_to_a_down_and_the_last_thumb_on_the_same_words_counts(
    footnote: Footnote, store: Callable[..., None], tmp_path: Path
) -> None:
    store("a", Thumb("up"), "At nine [1].", "ferry")
    told, rows = exported(footnote, "preferences", tmp_path)
    assert rows == [] and told["left_out"]["thumbs"] == {"no_other_answer_to_compare": 1}
    store("b", Thumb("down"), "At nine [2].", "ferry", question=QUESTION.upper())
    store("c", Thumb("up"), "The tower is 34 metres tall [1].", "light")
    _, (row,) = exported(footnote, "preferences", tmp_path)
    assert row["chosen"][0]["content"].startswith("The tower is 34 metres tall. [")
    assert row["rejected"][0]["content"].startswith("At nine")


def test_a_preference_whose_passages_changed_is_left_out(
    footnote: Footnote, store: Callable[..., None], papers: Path, tmp_path: Path
) -> None:
    store("a", Thumb("down", "", "It is 34 metres tall."), "Nine [1].", "ferry")
    assert footnote("delete", papers / "bees.txt").code == 0
    told, rows = exported(footnote, "preferences", tmp_path)
    assert rows == []
    assert told["left_out"] == {"thumbs": {"passages_missing": 1}, "passages": {"document_gone": 1}}


def test_gold_cases_are_read_by_evaluation(
    footnote: Footnote, store: Callable[..., None], papers: Path, tmp_path: Path
) -> None:
    store("a", Thumb("up"), "34 metres [1].", "light")
    store("b", Thumb("down", "", "A ticket costs four crowns."), "May [1].", "bees", "What does a ticket cost?")
    store("c", Thumb("up"), "The documents do not say.", "", "Who dug the well?", abstained=True)
    store("d", Thumb("down"), "May [1].", "bees", "Who swarms?")
    told, _ = exported(footnote, "gold", tmp_path)
    assert told["written"] == 3 and told["left_out"]["thumbs"] == {"no_known_answer": 1}
    sources = frozenset(str(path) for path in papers.iterdir())
    first, second, third = load_any(tmp_path / "gold.jsonl", sources).cases
    assert (first.question, first.answers, set(first.relevant)) == (
        QUESTION,
        ("34 metres.",),
        {str(papers / "lighthouse.md")},
    )
    assert (second.answers, set(second.relevant)) == (("A ticket costs four crowns.",), {str(papers / "ferry.txt")})
    assert (third.answers, third.answerable, dict(third.relevant)) == ((), False, {})


def test_gold_cases_of_two_collections_need_a_name(
    footnote: Footnote, store: Callable[..., None], home: Path, tmp_path: Path
) -> None:
    store("a", Thumb("up"), "34 metres [1].", "light")
    about = served("Who?", shown(home, "light"), IndexState(1, 1, "e"))
    store_thumb(Database(home), "b", Thumb("up"), "other", about)
    refused = footnote("eval", "export", "--feedback", "gold", "--out", tmp_path / "g.jsonl", "--json")
    assert refused.code == 1 and "default, other" in refused.json["error"]["message"]
    assert exported(footnote, "gold", tmp_path, "--collection", "default")[0]["written"] == 1


def test_personal_data_is_taken_out_of_all_three(
    footnote: Footnote, store: Callable[..., None], papers: Path, tmp_path: Path
) -> None:
    (papers / "bees.txt").write_text("The bees of the school: ask keeper@school.example.\n", encoding="utf-8")
    assert footnote("ingest", papers).code == 0
    question = "I am ann@post.example: how tall is the tower?"
    store("a", Thumb("down", "", "34 metres tall, says bob@post.example."), "Nine [1].", "ferry", question)
    store("b", Thumb("up"), "34 metres tall, says +49 30 901820 [1].", "light", question)
    for kind, taken in (("pairs", {"email": 2}), ("preferences", {"email": 2, "phone": 1}), ("gold", {"email": 1})):
        told, rows = exported(footnote, kind, tmp_path, "--scrub")
        assert rows and "@" not in json.dumps(rows) and "901820" not in json.dumps(rows)
        assert told["scrubbed"].keys() >= taken.keys()
        assert "@" in json.dumps(exported(footnote, kind, tmp_path)[1])


def test_filters_and_names_of_gold_cases_are_scrubbed_and_still_name_their_documents(
    footnote: Footnote, store: Callable[..., None], papers: Path, home: Path, tmp_path: Path
) -> None:
    (papers / "ann@post.example").mkdir()
    (papers / "ann@post.example" / "pier.txt").write_text("The pier is 90 metres long.\n", encoding="utf-8")
    (papers / "to bob@post.example.txt").write_text("The mast is 12 metres high.\n", encoding="utf-8")
    assert footnote("ingest", papers).code == 0
    store("a", Thumb("up"), "90 metres [1].", "pier", "How long is the pier?")
    store("b", Thumb("up"), "12 metres [1].", "to bob", "How high is the mast?")
    filters = ("type=txt", "meta.author!=ada@example.com")
    answer = replace(shown(home, "light"), text="34 metres [1].", query=QUESTION)
    about = served("And how tall?", answer, IndexState(1, 3, "words-1"), filters=filters)
    store_thumb(Database(home), "c", Thumb("up"), "default", about)
    told, (pier, mast, tower) = exported(footnote, "gold", tmp_path, "--scrub")
    assert "@" not in json.dumps([pier, mast, tower])
    assert (pier["source"], mast["source"], tower["source"]) == (["pier.txt"], [], ["lighthouse.md"])
    assert tower["filters"] == ["type=txt", "meta.author!=<EMAIL>"]
    assert told["scrubbed"] == {"email": 2}
    assert told["left_out"]["passages"] == {"personal_data_in_the_name": 1}
    sources = frozenset(str(path) for path in papers.rglob("*") if path.is_file())
    found = [set(case.relevant) for case in load_any(tmp_path / "gold.jsonl", sources).cases]
    assert found == [{str(papers / "ann@post.example" / "pier.txt")}, set(), {str(papers / "lighthouse.md")}]
    assert str(papers) in json.dumps(exported(footnote, "gold", tmp_path)[1])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "x.jsonl"], "--feedback"),
        (["last", "--feedback", "pairs", "--out", "x.jsonl"], "--feedback"),
        (["last", "--scrub", "--out", "x.jsonl"], "--scrub"),
        (["--feedback", "pairs", "--out", "x.csv"], ".jsonl"),
        (["--feedback", "gold", "--out", "x.gz"], ".jsonl"),
        (["--feedback", "stars", "--out", "x.jsonl"], "stars"),
        (["--feedback", "pairs", "--since", "yesterday", "--out", "x.jsonl"], "yesterday"),
        (["--feedback", "pairs"], "--out"),
    ],
)
def test_a_usage_mistake_is_code_2(footnote: Footnote, arguments: list[str], words: str) -> None:
    result = footnote("eval", "export", *arguments)
    assert result.code == 2 and words in result.stderr

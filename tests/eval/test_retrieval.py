"""Evaluation through the served retriever: a set small enough to know every figure, and Cranfield as the anchor."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval.dataset import load_dataset
from eval.index import NoEncoder, index_corpus
from eval.retrieval import evaluate_retrieval
from eval.run import load_run
from generator.expand import Expander, ExpansionSettings
from generator.prompt import Prompt
from indexer.chunk import ChunkSettings
from indexer.encoder import Vectors
from indexer.errors import ConfigError, DatasetError, IndexError_, ModelError
from retriever.search import RetrieverSettings

ROOT = Path(__file__).parents[2]
BENCH = Path(os.environ.get("FOOTNOTE_BENCH", ROOT.parent / "shared/bench"))
TOPICS = ["lamp", "ferry", "goat", "storm"]  # one axis each

CORPUS = [
    {"_id": "lamp one", "title": "Lighthouse", "text": "the lamp burns oil"},
    {"_id": "lamp two", "title": "", "text": "a lamp with a wick, and a lamp without"},
    {"_id": "ferry", "title": "The ferry", "text": ""},
    {"_id": "nothing", "title": " ", "text": "\n"},
    {"_id": "goat", "title": "", "text": "goat cheese from the creamery"},
]
QUERIES = [
    {"_id": "q1", "text": "which lamp burns oil?"},
    {"_id": "q2", "text": "ferry"},
    {"_id": "q3", "text": "storm"},
    {"_id": "q4", "text": "unjudged goat"},
]
QRELS = [("q1", "lamp one", 2), ("q1", "lamp two", 1), ("q2", "ferry", 1), ("q3", "goat", 1)]


class TopicEncoder:
    """A text points along the topics it names."""

    def __init__(self, fingerprint: str = "topics") -> None:
        self.fingerprint = fingerprint
        self.dim = len(TOPICS)
        self.query_instruction = ""
        self.max_tokens = 512
        self.encoded: list[str] = []
        self.asked: list[tuple[list[str], str]] = []  # with an instruction

    def encode(
        self, texts: Sequence[str], instruction: str = "", on_progress: Callable[[int], None] | None = None
    ) -> Vectors:
        self.encoded += texts
        if instruction:
            self.asked.append((list(texts), instruction))
        if on_progress:
            on_progress(len(texts))
        rows = np.array([[text.lower().count(topic) + 0.01 for topic in TOPICS] for text in texts])
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]


def write_set(folder: Path, corpus: Sequence[Mapping[str, str]] = CORPUS) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in corpus))
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in QUERIES))
    (folder / "qrels.tsv").write_text("".join(f"{q}\t{d}\t{grade}\n" for q, d, grade in QRELS))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_set(tmp_path / "set")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def test_bm25_by_hand_without_an_encoder(folder: Path, home: Path) -> None:
    result = evaluate_retrieval(folder, ["bm25"], None, home)
    bm25 = result["modes"]["bm25"]
    # q1 ranks both relevant entries in their order, q2 its one, q3 finds nothing; q4 is not judged
    assert bm25["n"] == 3
    assert [bm25[name] for name in ("ndcg@10", "recall@100", "mrr@10")] == pytest.approx([2 / 3] * 3, abs=1e-6)
    assert bm25["ci95"]["ndcg@10"] == [0.0, 1.0]
    assert (result["dataset"], result["entries"], result["indexed"], result["encoder"]) == ("set", 5, 4, None)
    json.dumps(result)


def test_every_mode_in_one_call(folder: Path, home: Path) -> None:
    result = evaluate_retrieval(folder, ["bm25", "dense", "hybrid"], TopicEncoder(), home)
    assert list(result["modes"]) == ["bm25", "dense", "hybrid"]
    assert result["encoder"] == "topics"
    # Dense search ranks every entry, so nothing is missed; for q3 nothing is near, so the relevant one is not first.
    assert result["modes"]["dense"]["recall@100"] == 1.0
    assert result["modes"]["hybrid"]["recall@100"] == 1.0
    assert result["modes"]["dense"]["mrr@10"] < 1.0


def test_the_settings_reach_the_retriever(folder: Path, home: Path) -> None:
    encoder = TopicEncoder()
    dense_only = evaluate_retrieval(folder, ["dense", "hybrid"], encoder, home, RetrieverSettings(dense_weight=1.0))
    scores = {mode: dense_only["modes"][mode]["ndcg@10"] for mode in ("dense", "hybrid")}
    assert scores["dense"] == scores["hybrid"]
    assert dense_only["settings"]["dense_weight"] == 1.0
    with pytest.raises(ConfigError, match="limit is 3"):
        evaluate_retrieval(folder, ["bm25"], None, home, RetrieverSettings(max_query_chars=3))


def test_a_reranker_reorders_every_mode(folder: Path, home: Path) -> None:
    class LampTwo:
        name = "lamp two"

        def score(self, query: str, passages: Sequence[str]) -> list[float]:
            return [float("without" in passage) for passage in passages]

    plain = evaluate_retrieval(folder, ["bm25"], None, home)["modes"]["bm25"]
    reranked = evaluate_retrieval(folder, ["bm25"], None, home, reranker=LampTwo())["modes"]["bm25"]
    assert reranked["ndcg@10"] < plain["ndcg@10"]  # the entry of the lower grade is now first
    assert reranked["recall@100"] == plain["recall@100"]
    assert reranked["left_out"] == 0


def test_a_reranker_that_fails_is_counted_and_its_name_tells_runs_apart(folder: Path, home: Path) -> None:
    class Broken:
        name = "broken"

        def score(self, query: str, passages: Sequence[str]) -> list[float]:
            raise ModelError("No server.", "Start it.")

    plain = evaluate_retrieval(folder, ["bm25"], None, home)
    report = evaluate_retrieval(folder, ["bm25"], None, home, reranker=Broken(), reuse=True)
    assert report["run"] != plain["run"]
    assert report["modes"]["bm25"]["left_out"] == 3
    assert report["modes"]["bm25"]["ndcg@10"] == plain["modes"]["bm25"]["ndcg@10"]
    notes = [record.outcome.get("notes") for record in load_run(home, report["run"]).records if record.outcome]
    assert notes == [["Not reranked: No server."]] * 3


def test_expanded_questions_are_searched_and_kept(folder: Path, home: Path) -> None:
    class Writes:
        name, context_tokens, follows_instructions = "writes", 2048, True

        def count_tokens(self, texts: Sequence[str]) -> list[int]:
            return [1 for _ in texts]

        def stream(self, prompt: Prompt, max_tokens: int = 512) -> Iterator[str]:
            if "ferry" in prompt.question:
                raise ModelError("No server.", "Start it.")
            yield "goat cheese\n" if "storm" in prompt.question else "1. a lamp with a wick"

    expander = Expander(Writes(), ExpansionSettings("multi-query"))  # type: ignore[arg-type]
    plain = evaluate_retrieval(folder, ["bm25"], None, home)["modes"]["bm25"]
    report = evaluate_retrieval(folder, ["bm25"], None, home, expander=expander)
    wide = report["modes"]["bm25"]
    assert wide["left_out"] == 1
    assert wide["recall@100"] > plain["recall@100"]  # the goat is found for the storm
    kept = {r.case_id: r.outcome["expansion"] for r in load_run(home, report["run"]).records if r.outcome}
    assert kept["q1"]["texts"] == ["a lamp with a wick"]
    assert kept["q2"]["failed"] == "No server."


def test_questions_are_encoded_once_with_the_instruction(folder: Path, home: Path) -> None:
    encoder = TopicEncoder()
    encoder.query_instruction = "find"
    evaluate_retrieval(folder, ["dense", "hybrid"], encoder, home)
    assert encoder.asked == [(["which lamp burns oil?", "ferry", "storm"], "find")]


def test_nothing_is_encoded_twice(folder: Path, home: Path) -> None:
    first, second = TopicEncoder(), TopicEncoder()
    evaluate_retrieval(folder, ["dense"], first, home)
    evaluate_retrieval(folder, ["dense"], second, home)
    assert "Lighthouse\nthe lamp burns oil" in first.encoded
    assert second.encoded == ["which lamp burns oil?", "ferry", "storm"]


def test_another_encoder_corpus_or_chunking_has_its_own_index(folder: Path, home: Path) -> None:
    evaluate_retrieval(folder, ["dense"], TopicEncoder(), home)
    other = TopicEncoder("other")
    evaluate_retrieval(folder, ["dense"], other, home)
    assert "goat cheese from the creamery" in other.encoded
    write_set(folder, [*CORPUS, {"_id": "new", "title": "", "text": "storm signals"}])
    assert evaluate_retrieval(folder, ["dense"], TopicEncoder(), home)["indexed"] == 5


def test_a_set_is_searched_in_the_language_of_its_words(folder: Path, home: Path) -> None:
    write_set(folder, [{"_id": "house", "title": "", "text": "Alte Häuser am See"}, *CORPUS])
    (folder / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": "Haus"}) + "\n")
    (folder / "qrels.tsv").write_text("q\thouse\t1\n")
    english = evaluate_retrieval(folder, ["bm25"], None, home, reuse=True)
    german = evaluate_retrieval(folder, ["bm25"], None, home, reuse=True, language="german")
    assert (english["modes"]["bm25"]["ndcg@10"], german["modes"]["bm25"]["ndcg@10"]) == (0, 1)
    assert english["run"] != german["run"]


def test_bm25_alone_leaves_an_index_that_refuses_dense_search(folder: Path, home: Path) -> None:
    collection = index_corpus(load_dataset(folder), home, None)
    with pytest.raises(IndexError_, match="another encoder"):
        collection.check_encoder("topics")


def test_an_entry_found_through_several_chunks_counts_once(folder: Path, home: Path) -> None:
    long = "the lamp is lit. " * 40
    write_set(folder, [{"_id": "filler", "title": "", "text": long}, *CORPUS])
    chunked = evaluate_retrieval(folder, ["bm25"], TopicEncoder(), home, chunking=ChunkSettings(max_tokens=8))
    collection = index_corpus(load_dataset(folder), home, TopicEncoder(), ChunkSettings(max_tokens=8))
    assert collection.count() > 20
    assert chunked["chunking"] == {"max_tokens": 8, "overlap_tokens": 0}
    assert chunked["modes"]["bm25"]["mrr@10"] == pytest.approx(2 / 3, abs=1e-6)
    assert chunked["modes"]["bm25"]["recall@100"] == pytest.approx(2 / 3, abs=1e-6)


def test_texts_beyond_the_encoders_limit_are_counted(folder: Path, home: Path) -> None:
    def truncated(encoder: TopicEncoder | None, max_tokens: int) -> object:
        if encoder:
            encoder.max_tokens = max_tokens
        return evaluate_retrieval(folder, ["bm25"], encoder, home)["truncated"]

    assert truncated(TopicEncoder(), 5) == 1  # nine words; the others have five with their title, five and two
    assert truncated(TopicEncoder(), 9) == 0
    assert truncated(None, 5) is None


def test_progress_reaches_its_total(folder: Path, home: Path) -> None:
    told: list[tuple[str, int, int]] = []

    def tell(stage: str, done: int, total: int) -> None:
        told.append((stage, done, total))

    evaluate_retrieval(folder, ["bm25"], None, home, on_progress=tell)
    assert told == [("index", 4, 4), ("bm25", 1, 3), ("bm25", 2, 3), ("bm25", 3, 3)]
    told.clear()
    evaluate_retrieval(
        folder,
        ["dense"],
        TopicEncoder(),
        home,
        on_progress=lambda stage, done, total: told.append((stage, done, total)),
    )
    assert told[:2] == [("index", 4, 4), ("questions", 3, 3)]


@pytest.mark.parametrize(
    ("modes", "message"), [(["bm25", "sparse"], '"sparse" is not'), (["hybrid"], "needs an encoder"), ([], "No search")]
)
def test_modes_that_cannot_be_evaluated(folder: Path, home: Path, modes: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        evaluate_retrieval(folder, modes, None, home)


def test_a_killed_index_goes_on_where_it_was(tmp_path: Path) -> None:
    corpus = [{"_id": f"d{number}", "title": "", "text": f"lamp number {number}"} for number in range(300)]
    folder = write_set(tmp_path / "set", [*CORPUS, *corpus])
    code = f"""
        import os, signal
        from pathlib import Path
        from eval.dataset import load_dataset
        from eval.index import index_corpus
        def stop(stage, done, total):
            if done >= 128: os.kill(os.getpid(), signal.SIGKILL)
        index_corpus(load_dataset(Path({str(folder)!r})), Path({str(tmp_path)!r}), None, on_progress=stop)
    """
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    told: list[int] = []
    collection = index_corpus(
        load_dataset(folder), tmp_path, None, on_progress=lambda stage, done, total: told.append(done)
    )
    assert told == [192, 256, 304]
    assert collection.count() == 304


def test_no_encoder_gives_unit_vectors_that_only_depend_on_the_text() -> None:
    vectors = NoEncoder().encode(["a", "b", "a"])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(3))
    assert (vectors[0] == vectors[2]).all()
    assert not np.allclose(vectors[0], vectors[1])


def test_cranfield_bm25_is_at_the_anchor(tmp_path: Path) -> None:
    if not (BENCH / "cranfield").is_dir():
        pytest.skip(f"{BENCH / 'cranfield'} is absent (set FOOTNOTE_BENCH)")
    result: dict[str, Any] = evaluate_retrieval(BENCH / "cranfield", ["bm25"], None, tmp_path)
    assert result["modes"]["bm25"]["n"] == 225
    assert result["modes"]["bm25"]["ndcg@10"] >= 0.525
    assert result["modes"]["bm25"]["recall@100"] >= 0.75


def test_a_hit_counts_by_the_words_that_hold_the_answer(tmp_path: Path) -> None:
    filler = "The goat grazes on the hill all day long. " * 30
    corpus = [{"_id": "long", "title": "", "text": filler + "The lamp burns oil. " + filler}]
    folder = write_set(tmp_path / "set", [*corpus, *CORPUS])
    start = corpus[0]["text"].index("The lamp")
    spans = [{"_id": "q1", "document": "long", "start": start, "end": start + 19}]
    (folder / "spans.jsonl").write_text("".join(json.dumps(span) + "\n" for span in spans))
    cut = ChunkSettings(60, 0)
    report = evaluate_retrieval(folder, ["bm25"], None, tmp_path, chunking=cut, by_span=True, measures=["Success@1"])
    assert report["modes"]["bm25"]["n"] == 1
    ranking = load_run(tmp_path, report["run"]).records[0].outcome
    assert ranking is not None
    names = [name for name, _ in ranking["ranking"]]
    assert f"long#{start}-{start + 19}" in names[:3]
    assert all(name.count(":") == 1 for name in names if "#" not in name)  # other chunks stand for themselves
    by_document = evaluate_retrieval(folder, ["bm25"], None, tmp_path, chunking=cut)
    assert by_document["modes"]["bm25"]["n"] == 3
    assert by_document["run"] != report["run"]


def test_spans_are_checked(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set")
    with pytest.raises(DatasetError, match="says nowhere which words"):
        evaluate_retrieval(folder, ["bm25"], None, tmp_path, by_span=True)
    for row, said in (
        ({"_id": "q1", "document": "lamp one", "start": 5, "end": 5}, "the end behind the start"),
        ({"_id": "q1", "document": "gone", "start": 0, "end": 5}, '"gone" is not in corpus.jsonl'),
        ({"_id": "q9", "document": "lamp one", "start": 0, "end": 5}, '"q9" is not in queries.jsonl'),
    ):
        (folder / "spans.jsonl").write_text(json.dumps(row) + "\n")
        with pytest.raises(DatasetError, match=said):
            load_dataset(folder)


def test_a_killed_run_ranks_only_what_is_missing(tmp_path: Path) -> None:
    folder, encoder = write_set(tmp_path / "set"), TopicEncoder()
    first = evaluate_retrieval(folder, ["dense"], encoder, tmp_path)
    path = load_run(tmp_path, first["run"]).path
    connection = sqlite3.connect(path)
    with connection:  # as it was before the last question
        connection.execute("DELETE FROM fact WHERE name = 'finished'")
        connection.execute("DELETE FROM score")
        connection.execute("DELETE FROM record WHERE case_id = 'q3'")
    connection.close()
    encoder.encoded.clear()
    again = evaluate_retrieval(folder, ["dense"], encoder, tmp_path)
    assert (again["run"], encoder.encoded) == (first["run"], ["storm"])
    assert {**again["modes"]["dense"], "p50_ms": 0} == {**first["modes"]["dense"], "p50_ms": 0}

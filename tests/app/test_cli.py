"""The commands: what they print, and what their exit code says."""

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.main import get_command

from app.cli import app
from app.conversations import Conversations
from app.database import Database
from app.settings import ROOT
from indexer.collection import Collection
from tests.indexer.cut_graph import cut_links

Footnote = Callable[..., Any]


def test_search_has_the_promised_shape(footnote: Footnote, papers: Path) -> None:
    footnote("ingest", papers)
    found = footnote("search", "when does the ferry leave", "-k", "2", "--json").json
    assert [hit["rank"] for hit in found["hits"]] == [1, 2]
    hit = found["hits"][0]
    assert set(hit) >= {"rank", "score", "document", "source", "page", "start", "end", "text", "parts"}
    assert hit["source"] == str(papers / "ferry.txt")
    assert set(hit["parts"]) == {"bm25", "dense", "convex"}
    assert hit["parts"]["bm25"]["rank"] == 1
    documents = {info["id"]: info for info in footnote("documents", "--json").json["documents"]}
    assert documents[hit["document"]]["source"] == hit["source"]


@pytest.mark.parametrize(("mode", "stages"), [("bm25", {"bm25"}), ("dense", {"dense"})])
def test_search_modes(footnote: Footnote, papers: Path, encoder: Any, mode: str, stages: set[str]) -> None:
    footnote("ingest", papers)
    encoder.encoded.clear()
    hits = footnote("search", "tower", "--mode", mode, "--json").json["hits"]
    assert set(hits[0]["parts"]) == stages
    assert bool(encoder.encoded) == (mode == "dense")


def test_search_takes_filters(footnote: Footnote, papers: Path) -> None:
    footnote("ingest", papers)
    hits = footnote("search", "tower ferry bees", "--filter", "type=txt", "-f", "source!=bees.txt", "--json").json[
        "hits"
    ]
    assert {Path(hit["source"]).name for hit in hits} == {"ferry.txt"}
    assert footnote("search", "tower", "-f", "type=epub").stdout == "Nothing matches.\n"
    wrong = footnote("search", "tower", "-f", "folder=x", "--json")
    assert wrong.code == 1
    assert "no field" in wrong.json["error"]["message"]


def test_search_for_people(footnote: Footnote, papers: Path) -> None:
    footnote("ingest", papers)
    result = footnote("search", "tower", "--mode", "bm25")
    assert result.stdout.startswith("1. papers/lighthouse.md\n   bm25 ")
    assert "34 metres tall" in result.stdout
    assert footnote("search", "zzz", "--mode", "bm25").stdout == "Nothing matches.\n"


def test_each_collection_is_its_own(footnote: Footnote, papers: Path) -> None:
    footnote("ingest", papers / "bees.txt", "--collection", "school")
    footnote("ingest", papers / "ferry.txt", "-c", "harbour")
    assert (
        footnote("search", "ferry bees", "--mode", "bm25", "-c", "school", "--json")
        .json["hits"][0]["text"]
        .startswith("The bees")
    )
    assert footnote("status", "-c", "school", "--json").json["collections"] == ["harbour", "school"]


def test_delete_by_id_path_and_folder(footnote: Footnote, papers: Path) -> None:
    footnote("ingest", papers)
    ids = {Path(info["source"]).name: info["id"] for info in footnote("documents", "--json").json["documents"]}
    gone = footnote("delete", ids["bees.txt"], papers / "ferry.txt", "--json")
    assert gone.code == 0
    assert {document["id"] for document in gone.json["deleted"]} == {ids["bees.txt"], ids["ferry.txt"]}
    assert not footnote("search", "ferry bees", "--mode", "bm25", "--json").json["hits"]
    unknown = footnote("delete", "nothing.txt", papers, "--json")
    assert unknown.code == 1
    assert unknown.json["unknown"] == ["nothing.txt"]
    assert [document["id"] for document in unknown.json["deleted"]] == [ids["lighthouse.md"]]
    assert "nothing.txt" in unknown.stderr
    assert footnote("documents").stdout == "Collection 'default' is empty.\n"
    assert (papers / "bees.txt").exists()


def test_verify_finds_damage_and_repairs_it(footnote: Footnote, papers: Path, home: Path) -> None:
    footnote("ingest", papers)
    clean = footnote("verify", "--json")
    assert (clean.code, clean.json["ok"], clean.json["findings"]) == (0, True, [])
    for file in (home / "collections" / "default").rglob("lexical/**/*.store"):
        file.write_bytes(b"damaged" * 20)
    damaged = footnote("verify", "--json")
    assert (damaged.code, damaged.json["ok"]) == (1, False)
    assert damaged.json["findings"][0]["remedy"]
    repaired = footnote("verify", "--repair")
    assert repaired.code == 0
    assert "repaired: " in repaired.stdout
    assert "everything agrees" in footnote("verify").stdout


def test_recall_is_checked_on_questions_of_a_file_or_that_were_asked(
    footnote: Footnote, papers: Path, home: Path, tmp_path: Path
) -> None:
    for number in range(200):
        (papers / f"{number}.txt").write_text(f"Box {number} holds item {number % 23} of shelf {number % 7}.")
    footnote("ingest", papers)
    drawn = footnote("verify", "--recall-check", "20", "--json")
    assert drawn.code == 0
    assert (drawn.json["recall"]["n"], drawn.json["recall"]["questions"], drawn.json["recall"]["ok"]) == (20, 0, True)
    kept = Conversations(Database(home))
    for name, question in (("default", "Which box holds item 5?"), ("elsewhere", "Who keeps the tower?")):
        kept.ask(kept.begin(name, question).id, question)
    assert footnote("verify", "--recall-check", "20", "--json").json["recall"]["questions"] == 1
    asked = tmp_path / "asked.txt"
    asked.write_text("Where is item 7?\n\nWhere is item 9?\n")
    of_file = footnote("verify", "--recall-check", "20", "--queries", asked)
    assert "of 2 questions" in of_file.stdout
    cut_links(next((home / "collections").rglob("dense")), keep=0)
    low = footnote("verify", "--recall-check", "20")
    assert low.code == 1
    assert "--repair" in low.stdout and "everything agrees" in low.stdout
    repaired = footnote("verify", "--recall-check", "20", "--repair", "--json")
    assert (repaired.code, repaired.json["recall"]["ok"]) == (0, True)
    assert footnote("verify", "--queries", asked).code == 2
    assert "holds no question" in footnote("verify", "--recall-check", "5", "--queries", empty(tmp_path)).stderr


def empty(folder: Path) -> Path:
    (folder / "empty.txt").write_text("\n\n")
    return folder / "empty.txt"


def test_purge_says_what_it_keeps(footnote: Footnote, papers: Path, encoder: Any) -> None:
    footnote("ingest", papers)
    encoder.fingerprint = "words-2"
    footnote("reindex")
    kept = footnote("purge")
    assert kept.code == 0 and "Generation 1 is kept" in kept.stdout
    gone = footnote("purge", "--generations", "--json").json
    assert (gone["generations_removed"], gone["generations_kept"]) == ([1], [])
    assert footnote("rollback").code == 1
    assert footnote("search", "tower").code == 0


def test_reindex_and_rollback(footnote: Footnote, papers: Path, encoder: Any) -> None:
    footnote("ingest", papers)
    encoder.fingerprint = "words-2"
    refused = footnote("search", "tower")
    assert refused.code == 1
    assert "footnote reindex" in refused.stderr
    assert footnote("reindex", "--json").json == {"collection": "default", "generation": 2}
    assert footnote("search", "tower").code == 0
    assert footnote("rollback", "--json").json["generation"] == 1
    assert footnote("rollback").code == 1


def test_a_language_of_words_is_kept_by_reindex_and_rollback(footnote: Footnote, papers: Path, encoder: Any) -> None:
    (papers / "note.txt").write_text("Die Versicherungen zahlen nichts für Häuser am Ufer.")
    footnote("ingest", papers)
    assert footnote("status", "--json").json["language"] == "english"
    assert not footnote("search", "Haus", "--mode", "bm25", "--json").json["hits"]
    assert footnote("reindex", "--language", "german", "--json").json == {
        "collection": "default",
        "generation": 1,
        "language": "german",
    }
    refused = footnote("reindex", "--language", "klingon")
    assert refused.code == 1 and "german" in refused.stderr
    for command in (("reindex", "--chunk-tokens", "32"), ("rollback",)):
        assert footnote("search", "Haus", "--mode", "bm25", "--json").json["hits"][0]["source"].endswith("note.txt")
        assert footnote(*command).code == 0
    assert footnote("status", "--json").json["language"] == "german"
    assert footnote("reindex", "--language", "none", "--chunk-tokens", "48", "--json").json["generation"] == 2
    assert not footnote("search", "Haus", "--mode", "bm25", "--json").json["hits"]


def test_a_phrase_is_asked_for_in_quotation_marks(footnote: Footnote, papers: Path) -> None:
    (papers / "cheese.txt").write_text("Goat cheese ripens in the cellar.")
    footnote("ingest", papers)
    assert len(footnote("search", '"goat cheese"', "--json").json["hits"]) == 1
    assert footnote("search", '"cheese goat"', "--json").json["hits"] == []
    assert "Nothing matches" in footnote("search", "title:unheard cheese").stdout


def test_encode_writes_unit_rows(footnote: Footnote, tmp_path: Path) -> None:
    source, output = tmp_path / "texts.json", tmp_path / "vectors.npy"
    source.write_text(json.dumps(["one text", "another", "one text"]), encoding="utf-8")
    result = footnote("encode", "--input", source, "--output", output, "--json")
    assert (result.json["n"], result.json["dim"]) == (3, 16)
    vectors = np.load(output)
    assert vectors.dtype == np.float32
    assert vectors.shape == (3, 16)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(vectors[0], vectors[2])
    assert {path.name for path in tmp_path.iterdir() if "vectors" in path.name} == {"vectors.npy"}


@pytest.mark.parametrize(
    ("content", "words"), [("{}", "no list"), ('["a", 5]', "item 1"), ("[", "not JSON"), (None, "cannot be read")]
)
def test_encode_refuses_other_input(footnote: Footnote, tmp_path: Path, content: str | None, words: str) -> None:
    source = tmp_path / "texts.json"
    if content is not None:
        source.write_text(content, encoding="utf-8")
    result = footnote("encode", "--input", source, "--output", tmp_path / "out.npy")
    assert result.code == 1
    assert words in result.stderr
    assert not (tmp_path / "out.npy").exists()


def test_evaluation_has_the_promised_shape(footnote: Footnote, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    rows = [{"_id": "d1", "title": "", "text": "a red fox"}, {"_id": "d2", "title": "", "text": "a blue whale"}]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (folder / "queries.jsonl").write_text(json.dumps({"_id": "q1", "text": "red fox"}), encoding="utf-8")
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\n", encoding="utf-8")
    report = footnote("eval", "retrieval", "--dataset", folder, "--modes", "bm25,hybrid", "--json").json
    assert set(report["modes"]) == {"bm25", "hybrid"}
    scores = report["modes"]["bm25"]
    assert (scores["ndcg@10"], scores["recall@100"], scores["mrr@10"], scores["n"]) == (1, 1, 1, 1)


@pytest.mark.parametrize(
    "arguments",
    [
        ("search",),
        ("search", "x", "-k", "0"),
        ("search", "x", "-k", "many"),
        ("search", "x", "--mode", "sparse"),
        ("eval", "retrieval", "--dataset", ".", "--modes", "sparse"),
        ("eval", "retrieval", "--dataset", ".", "--modes", ","),
        ("ingest",),
        ("delete",),
        ("ui", "--port", "0"),
        ("serach", "x"),
        ("status", "--jsn"),
    ],
)
def test_usage_mistakes_exit_with_2(footnote: Footnote, arguments: tuple[str, ...]) -> None:
    result = footnote(*arguments)
    assert result.code == 2
    assert result.stdout == ""
    assert result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("search", "", "--mode", "bm25"), "question is empty"),
        (("search", "why " * 12_500, "--mode", "bm25"), "50,000 characters"),
        (("search", "x", "--collection", "nowhere"), "no collection 'nowhere'"),
        (("status", "--collection", "../up"), "cannot be the name"),
        (("search", "x", "--rerank"), "no reranker is configured"),
        (("eval", "retrieval", "--dataset", "nowhere", "--modes", "bm25"), "nowhere"),
    ],
)
def test_mistakes_are_two_lines_and_exit_with_1(
    footnote: Footnote, papers: Path, arguments: tuple[str, ...], words: str
) -> None:
    footnote("ingest", papers)
    result = footnote(*arguments)
    assert (result.code, result.stdout) == (1, "")
    first, second = result.stderr.strip().splitlines()
    assert first.startswith("Error: ")
    assert words in first
    assert second


def test_a_wrong_setting_is_an_error_of_every_command(
    footnote: Footnote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[retriever]\nkandidates = 5\n", encoding="utf-8")
    result = footnote("--config", file, "status", "--json")
    assert result.code == 1
    assert "retriever.kandidates" in result.json["error"]["message"]
    assert "retriever.candidates" in result.json["error"]["remedy"]


def test_what_should_not_happen_is_one_line_and_a_log(footnote: Footnote, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(home: Path, name: str, **_: object) -> None:
        raise KeyError("gone")

    monkeypatch.setattr("app.wiring.Collection.open", fail)
    result = footnote("status", "--json")
    assert result.code == 1
    assert "KeyError: 'gone'" in result.json["error"]["message"]
    log = Path(result.json["error"]["remedy"].split()[3].rstrip(";"))
    assert "Traceback" in log.read_text(encoding="utf-8")
    log.unlink()
    with pytest.raises(KeyError):
        footnote("--debug", "status")


def test_control_codes_of_a_document_never_reach_the_terminal(footnote: Footnote, papers: Path) -> None:
    name = "red\x1b[31m.txt"
    (papers / name).write_text("A wren sang.\n", encoding="utf-8")
    footnote("ingest", papers)
    for arguments in (("search", "wren", "--mode", "bm25"), ("documents",)):
        stdout = footnote(*arguments).stdout
        assert "\x1b" not in stdout
        assert "\N{REPLACEMENT CHARACTER}[31m.txt" in stdout


def test_a_second_writer_waits_and_says_so(footnote: Footnote, papers: Path, home: Path) -> None:
    footnote("ingest", papers)
    collection, held = Collection.open(home, "default"), threading.Event()

    def hold() -> None:
        with collection.writer(command="ingest"):
            held.set()
            time.sleep(1.5)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    result = footnote("delete", papers / "bees.txt")
    thread.join()
    assert result.code == 0
    assert "is writing to collection 'default'; waiting" in result.stderr


def test_help_loads_nothing_heavy() -> None:
    """In a process of its own: what this one has imported says nothing."""
    code = (
        "import sys\nsys.argv = ['footnote', '--help']\nfrom app.__main__ import main\n"
        "try: main()\nexcept SystemExit as done: assert done.code == 0\n"
        "print(sorted({'numpy', 'torch', 'transformers', 'pydantic', 'faiss', 'streamlit', 'rich'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert "Commands:" in result.stdout
    assert result.stdout.splitlines()[-1] == "[]"


def test_output_that_nobody_reads_is_no_error(footnote: Footnote, papers: Path, home: Path) -> None:
    footnote("ingest", papers)
    command = [sys.executable, "-m", "app", "documents", "--json"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""


def test_every_command_is_documented() -> None:
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    commands = get_command(app).commands  # type: ignore[attr-defined]
    names = {name for name in commands if name != "eval" and not hasattr(commands[name], "commands")}
    assert len(names) > 10
    assert not {name for name in names if f"`{name}" not in text}
    measured = set(commands["eval"].commands)
    assert len(measured) > 12
    assert not {name for name in measured if f"`eval {name}" not in text}


def test_the_documented_keys_are_the_real_ones(footnote: Footnote, papers: Path) -> None:
    """Each quoted word of a row is somewhere in what the command prints."""
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    (papers / "broken.pdf").write_bytes(b"")
    runs = {
        "ingest": ("ingest", papers),
        "status`": ("status",),
        "status --failed": ("status", "--failed"),
        "documents": ("documents",),
        "verify": ("verify", "--recall-check", "5"),
        "search": ("search", "ferry"),
        "doctor": ("doctor",),
        "delete": ("delete", papers / "bees.txt"),
        "purge": ("purge",),
    }
    for name, arguments in runs.items():
        (row,) = (line for line in text.splitlines() if line.startswith(f"| `{name}"))
        shape = row.split("` | `")[-1].rpartition("`")[0]
        keys = set(re.findall(r'"([a-z_0-9@]+)"', shape)) - {"kind", "where", "message", "repaired"}
        printed = footnote(*arguments, "--json").stdout
        if name == "verify":
            keys -= {"remedy"}
        assert not {key for key in keys if f'"{key}"' not in printed}, name

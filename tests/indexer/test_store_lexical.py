import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.errors import IndexError_
from indexer.store.lexical_writer import damaged_files
from indexer.store.text import analyze

TEXTS = {
    "one": "The lighthouse keeper lit the lamp",
    "two": "A lamp, a lamp, a lamp and a keeper",
    "three": "Storms broke the harbour wall in winter",
}


def bm25(query: list[str], texts: dict[str, str], name: str) -> float:
    """Robertson and Zaragoza 2009 with Lucene's idf, k1 1.2, b 0.75, written out."""
    counts = {key: analyze(text) for key, text in texts.items()}
    average = sum(len(terms) for terms in counts.values()) / len(counts)
    total = 0.0
    for term in query:
        having = sum(term in terms for terms in counts.values())
        idf = math.log(1 + (len(texts) - having + 0.5) / (having + 0.5))
        tf = counts[name].count(term)
        total += idf * tf * 2.2 / (tf + 1.2 * (0.25 + 0.75 * len(counts[name]) / average))
    return total


def folder(shelf: Any) -> Path:
    return Path(shelf.collection.generation.folder / "lexical")


def overwrite(path: Path, data: bytes) -> None:
    """As a new file: to cut one short that a tantivy thread still maps would kill the test's own process."""
    path.unlink()
    path.write_bytes(data)


def applied(shelf: Any) -> dict[str, Any]:
    return dict(json.loads((folder(shelf) / "applied.json").read_text()))


def test_scores_are_bm25_to_the_digit(shelf: Any) -> None:
    shelf.add(**TEXTS)
    hits = shelf.collection.lexical.search("who lit the lamp of the keeper", 10)
    assert shelf.names(hits) == ["one", "two"]
    for name, (_, score) in zip(["one", "two"], hits, strict=True):
        assert score == pytest.approx(bm25(["lit", "lamp", "keeper"], TEXTS, name), rel=1e-5)


def test_a_term_that_is_said_twice_counts_twice(shelf: Any) -> None:
    shelf.add(**TEXTS)
    once = shelf.collection.lexical.search("lamp", 1)[0][1]
    assert shelf.collection.lexical.search("lamp lamp", 1)[0][1] == pytest.approx(2 * once)


def test_title_and_headings_can_be_found(shelf: Any) -> None:
    document, chunks = shelf.document("a", "It opens at nine.", title="Pharmacy of Northgate")
    with shelf.collection.writer() as writer:
        writer.begin(shelf.manifest())
        writer.add(document, chunks, shelf.encoder.encode(["x"]))
    assert shelf.lexical("northgate pharmacies") == ["a"]


@settings(max_examples=60, deadline=None)
@given(query=st.text(max_size=60), k=st.integers(-1, 5))
def test_no_text_is_a_syntax_error(shelf_of_three: Any, query: str, k: int) -> None:
    assert len(shelf_of_three.collection.lexical.search(query, k)) <= max(k, 0)


@pytest.mark.parametrize(
    "query", ['"lamp', "lamp:", "title:lamp", "lamp AND NOT (", "[lamp TO", "+lamp -", "lamp^", "lamp~2"]
)
def test_query_language_is_only_text(shelf_of_three: Any, query: str) -> None:
    assert "two" in shelf_of_three.lexical(query)


def test_a_question_as_long_as_a_book_is_answered(shelf_of_three: Any) -> None:
    words = " ".join(f"word{number}" for number in range(8000)) + " lamp" * 50
    assert shelf_of_three.lexical(words)[0] in ("one", "two")


def test_ties_are_cut_by_key(shelf: Any) -> None:
    shelf.add(**{f"d{number:03}": "same words here" for number in range(60)})
    whole = shelf.collection.lexical.search("words", 60)
    assert [key for key, _ in whole] == sorted(key for key, _ in whole)
    assert shelf.collection.lexical.search("words", 7) == whole[:7]


@settings(max_examples=30, deadline=None)
@given(
    words=st.lists(st.sampled_from(["lamp", "keeper", "storm", "word"]), min_size=1, max_size=3), k=st.integers(1, 45)
)
def test_the_best_are_the_head_of_all_sorted(shelf_of_ties: Any, words: list[str], k: int) -> None:
    lexical, query = shelf_of_ties.collection.lexical, " ".join(words)
    everything = lexical.search(query, 1000)
    assert everything == sorted(everything, key=lambda pair: (-pair[1], pair[0]))
    assert lexical.search(query, k) == everything[:k]
    within = ((3, 20), (31, 31))
    some = [(key, score) for key, score in everything if 3 <= key <= 20 or key == 31]
    assert lexical.search(query, k, within) == some[:k]
    single = tuple((key, key) for key in range(1, 2000, 2))  # too many for a query: held against what was found
    assert lexical.search(query, k, single) == [(key, score) for key, score in everything if key % 2][:k]


def test_deleted_and_replaced_texts_are_gone(shelf: Any) -> None:
    shelf.add(**TEXTS)
    shelf.delete("one")
    shelf.add(two="Nothing of the kind any more")
    assert shelf.lexical("lamp keeper") == []
    assert shelf.lexical("kind") == ["two"]
    assert len(shelf.collection.lexical.keys()) == 2


def test_deleted_chunks_take_no_place_while_the_index_is_behind(shelf: Any) -> None:
    shelf.add(**{f"d{number}": f"lamp {number}" for number in range(30)})
    lexical = shelf.collection.lexical
    lexical.search("lamp", 1)
    truth = shelf.collection.generation.truth
    with shelf.collection.lock.held("another writer"):  # so that this reader cannot catch up itself
        from indexer.store.changes import delete_document

        with truth.writing() as db:
            for number in range(25):
                delete_document(db, f"d{number}")
        assert sorted(shelf.names(lexical.search("lamp", 5))) == ["d25", "d26", "d27", "d28", "d29"]
    assert len(lexical.keys()) == 5


@pytest.mark.parametrize("damage", ["gone", "sidecar", "meta", "truncated", "flipped", "empty"])
def test_a_damaged_index_is_rebuilt_from_the_truth(shelf: Any, damage: str) -> None:
    shelf.add(**TEXTS)
    before = shelf.collection.lexical.search("lamp keeper", 5)
    shelf.collection.close()
    build = folder(shelf) / applied(shelf)["build"]
    target = next(build.glob("*.idx"))
    if damage == "gone":
        shutil.rmtree(folder(shelf))
    elif damage == "sidecar":
        (folder(shelf) / "applied.json").write_text("{")
    elif damage == "meta":
        (build / "meta.json").write_text("{}")
    elif damage == "truncated":
        overwrite(target, target.read_bytes()[:-20])
    elif damage == "flipped":
        data = bytearray(target.read_bytes())
        data[2] ^= 0xFF
        overwrite(target, bytes(data))
    else:
        overwrite(target, b"")
    assert shelf.collection.lexical.search("lamp keeper", 5) == before
    assert not damaged_files(folder(shelf) / applied(shelf)["build"])
    assert [path.name for path in folder(shelf).iterdir() if path.is_dir()] == [applied(shelf)["build"]]


def test_damage_while_another_writes_is_an_error_not_an_answer(shelf: Any) -> None:
    shelf.add(**TEXTS)
    shelf.collection.close()
    shutil.rmtree(folder(shelf))
    with shelf.collection.lock.held("another writer"), pytest.raises(IndexError_, match="missing or damaged"):
        shelf.collection.lexical.search("lamp", 5)


def test_a_commit_that_went_unrecorded_is_applied_again_without_doubles(shelf: Any) -> None:
    shelf.add(one=TEXTS["one"])
    recorded = (folder(shelf) / "applied.json").read_bytes()
    shelf.add(two=TEXTS["two"])
    (folder(shelf) / "applied.json").write_bytes(recorded)  # as if killed between commit and record
    shelf.collection.close()
    assert len(shelf.collection.lexical.search("lamp", 10)) == 2
    assert len(shelf.collection.lexical.keys()) == 2


def test_what_a_kill_left_in_the_way_of_the_next_commit_is_survived(shelf: Any) -> None:
    shelf.add(**TEXTS)
    build = folder(shelf) / applied(shelf)["build"]
    (segment,) = json.loads((build / "meta.json").read_text())["segments"]
    for opstamp in range(100):  # tantivy counts on from the last commit, and refuses to write over a file
        (build / f"{segment['segment_id'].replace('-', '')}.{opstamp}.del").touch()
    shelf.delete("one")
    assert shelf.lexical("lamp") == ["two"]
    assert shelf.collection.lexical.keys() == [2, 3]


def test_an_index_of_another_truth_is_rebuilt(shelf: Any, shelf_at: Any, tmp_path: Path) -> None:
    shelf.add(**TEXTS)
    other = shelf_at(tmp_path / "other")
    other.add(only="a lone lamp")
    shutil.rmtree(folder(other))
    shutil.copytree(folder(shelf), folder(other))  # it claims a sequence number that this truth never reached
    other.collection.close()
    assert other.lexical("lamp") == ["only"]

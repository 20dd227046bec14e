"""Filters: what is written, what it lets through, and that searches with it miss nothing."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexer.collection import Collection
from indexer.document import Chunk, Document
from indexer.errors import ConfigError
from indexer.filter import EVERYTHING, Condition, parse_filter, read_conditions
from indexer.store.changes import record_file
from indexer.store.keys import inside, merge_ranges
from indexer.store.records import FileRow, Manifest

DIM = 8


@dataclass(frozen=True)
class Said:
    """A document as a test says it."""

    source: str
    media_type: str = "text/plain"
    title: str = ""
    metadata: tuple[tuple[str, str], ...] = ()
    chunks: int = 1


LIBRARY = {
    "plan": Said(
        "/home/ada/reports/2024/plan.pdf",
        "application/pdf",
        "The Plan",
        (("author", "Ada King"), ("date", "2024-03-31")),
    ),
    "notes": Said("/home/ada/reports/notes.txt", metadata=(("date", "2024"),), chunks=3),
    "mail": Said("/srv/mail/a.eml", "message/rfc822", metadata=(("date", "2025-01-02T10:00:00"), ("Author", "bob"))),
    "bare": Said("/srv/reports.txt"),
}


@pytest.fixture
def library(tmp_path: Path) -> Collection:
    collection = Collection.open(tmp_path, "default", create=True)
    rng = np.random.default_rng(0)
    with collection.writer() as writer:
        writer.begin(Manifest("fp", DIM, "c", "1", ""))
        for name, said in LIBRARY.items():
            words = [f"lamp {name} {number}" for number in range(said.chunks)]
            text = "\n".join(words)
            starts = [text.index(each) for each in words]
            chunks = [
                Chunk(f"{name}:{n}", name, each, start, start + len(each))
                for n, (each, start) in enumerate(zip(words, starts, strict=True))
            ]
            rows = rng.normal(size=(said.chunks, DIM)).astype(np.float32)
            document = Document(name, said.source, said.title, said.media_type, name, text, metadata=said.metadata)
            writer.add(document, chunks, rows / np.linalg.norm(rows, axis=1, keepdims=True))
    return collection


def through(collection: Collection, *conditions: str) -> set[str]:
    """The documents that the conditions let through."""
    ranges = collection.matching(parse_filter(conditions))
    keys = [key for key, *_ in collection.texts() if ranges is None or any(a <= key <= b for a, b in ranges)]
    return {stored.chunk.document_id for stored in collection.chunks(keys).values()}


# --- what is written


def test_conditions_are_read() -> None:
    assert parse_filter(["type = pdf", "date>=2024-03", "meta.Author!=Ada King"]).conditions == (
        Condition("type", "=", "pdf"),
        Condition("date", ">=", "2024-03"),
        Condition("meta.Author", "!=", "Ada King"),
    )
    assert not EVERYTHING
    assert parse_filter([]) == EVERYTHING


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is no filter"),
        ("reports", "is no filter"),
        ("=reports", "is no filter"),
        ("meta.=x", "is no filter"),
        ("folder=reports", "no field"),
        ("source=", "no value"),
        ("source=   ", "no value"),
        ("date=yesterday", "is no date"),
        ("added>2024-1", "is no date"),
        ("title>a", "no order"),
    ],
)
def test_what_is_no_filter_is_refused(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse_filter([text])


# --- what it lets through


@pytest.mark.parametrize(
    ("conditions", "documents"),
    [
        ((), {"plan", "notes", "mail", "bare"}),
        (("source=reports/*",), {"plan", "notes"}),
        (("source=reports",), {"plan", "notes"}),
        (("source=*.txt",), {"notes", "bare"}),
        (("source=/srv/*",), {"mail", "bare"}),
        (("source=/srv/",), {"mail", "bare"}),
        (("source!=/srv/*",), {"plan", "notes"}),
        (("source=notes.txt",), {"notes"}),
        (("type=pdf",), {"plan"}),
        (("type=PDF",), {"plan"}),
        (("type=eml",), {"mail"}),
        (("type=text/*",), {"notes", "bare"}),
        (("type=pdf", "type=eml"), {"plan", "mail"}),
        (("type=pdf", "source=/srv/*"), set()),
        (("type!=pdf", "type!=eml"), {"notes", "bare"}),
        (("title=*plan",), {"plan"}),
        (("id=mail",), {"mail"}),
        (("meta.author=ada*",), {"plan"}),
        (("meta.AUTHOR=BOB",), {"mail"}),
        (("meta.author!=bob",), {"plan", "notes", "bare"}),
        (("date=2024",), {"plan", "notes"}),
        (("date=2024-03",), {"plan"}),
        (("date>2024",), {"mail"}),
        (("date>=2024-03-31",), {"plan", "mail"}),
        (("date<2025-01-02",), {"plan"}),  # a year alone is no day: it is on neither side of one
        (("date>=2024", "date<2025"), {"plan", "notes"}),
        (("date!=2024",), {"mail", "bare"}),
        (("added>=2000-01-01",), {"plan", "notes", "mail", "bare"}),
        (("added<2000",), set()),
    ],
)
def test_which_documents_a_filter_lets_through(
    library: Collection, conditions: tuple[str, ...], documents: set[str]
) -> None:
    assert through(library, *conditions) == documents


@pytest.mark.parametrize(
    ("condition", "matches"),
    [
        ("title=*ärzte*", True),
        ("title=*ÄRZTE IN*", True),
        ("title=*arzte*", False),
        ("meta.autor=émile*", True),
        ("meta.über=Тест", True),
        ("meta.ÜBER=тест", True),
        ("source=bericht[1].md", True),
        ("source=/srv/[neu]/bericht[1].md", True),
        ("source=[neu]", True),
        ("source=bericht1.md", False),
        ("source=bericht[[]1].md", True),
        ("source=bericht", False),
    ],
)
def test_letters_beyond_ascii_and_brackets_in_names(library: Collection, condition: str, matches: bool) -> None:
    metadata = (("Autor", "Émile Zola"), ("Über", "Тест"))
    with library.writer() as writer:
        text = "lamp"
        said = Document(
            "aerzte", "/srv/[neu]/bericht[1].md", "Ärzte in Österreich", "text/markdown", "x", text, metadata=metadata
        )
        writer.add(said, [Chunk("aerzte:0", "aerzte", text, 0, len(text))], np.eye(1, DIM, dtype=np.float32))
    assert through(library, condition) == ({"aerzte"} if matches else set())


def test_a_value_is_never_read_as_sql(library: Collection) -> None:
    assert through(library, "title=' OR 1=1 --") == set()
    assert through(library, "meta.x' OR 1=1 --=1") == set()


def test_every_source_of_a_document_counts(library: Collection) -> None:
    with library.generation.truth.writing() as db:
        record_file(db, FileRow("/elsewhere/copy.pdf", "indexed", document_id="plan"))
    assert through(library, "source=/elsewhere/*") == {"plan"}


def test_what_changes_is_seen_at_once(library: Collection) -> None:
    assert through(library, "type=pdf") == {"plan"}
    with library.writer() as writer:
        writer.delete("plan")
    assert through(library, "type=pdf") == set()


def test_ranges_are_joined_and_looked_up() -> None:
    assert merge_ranges([(7, 9), (1, 2), (3, 4), (9, 12)]) == [(1, 4), (7, 12)]
    assert inside(np.array([0, 1, 4, 5, 7, 12, 13]), ((1, 4), (7, 12))).tolist() == [0, 1, 1, 0, 1, 1, 0]
    assert inside(np.array([1, 2]), ()).tolist() == [False, False]


# --- searches


def test_both_indexes_search_only_what_is_let_through(library: Collection) -> None:
    within = library.matching(parse_filter(["source=reports/*"]))
    everything = library.lexical.search("lamp notes", 10)
    some = library.lexical.search("lamp notes", 10, within)
    assert len(everything) == 6
    assert len(some) == 4
    assert set(some) < set(everything)  # with the same scores
    query = np.ones(DIM, np.float32) / np.sqrt(DIM)
    assert {key for key, _ in library.dense.search(query, 10, within)} == {key for key, _ in some}
    assert library.lexical.search("lamp", 10, ()) == []
    assert library.dense.search(query, 10, ()) == []


def test_many_ranges_give_what_few_give(library: Collection, monkeypatch: Any) -> None:
    within = library.matching(parse_filter(["type!=eml"]))
    few = library.lexical.search("lamp notes", 2, within)
    monkeypatch.setattr("indexer.store.lexical._MAX_RANGES", 0)
    assert library.lexical.search("lamp notes", 2, within) == few
    assert len(few) == 2


def test_a_line_holds_several_conditions() -> None:
    assert read_conditions(" type=pdf ;; source=a b;") == ("type=pdf", "source=a b")
    assert read_conditions("  ") == ()
    assert read_conditions(r"title=a\;b; type=pdf") == ("title=a;b", "type=pdf")

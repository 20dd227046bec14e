"""Who may read what: restrictions hold in both indexes, in every list, across moves, twins and generations."""

from pathlib import Path
from typing import Any

import pytest

from indexer.access import FULL, Access, check_groups
from indexer.collection import Collection
from indexer.errors import ConfigError, IndexError_
from indexer.filter import parse_filter
from indexer.reading import Reading
from indexer.reindex import reindex, rollback
from indexer.store.records import FileRow
from indexer.store.rules import NOBODY, read_rules

NONE, LEGAL, HR = Access(frozenset()), Access(frozenset({"legal"})), Access(frozenset({"hr", "sport"}))


@pytest.fixture
def library(shelf: Any) -> Collection:
    """Three documents: /docs/deal.txt for legal, /docs/pay.txt for hr, /docs/menu.txt for all."""
    shelf.add(deal="lamp fox deal", pay=["lamp owl pay", "lamp hen pay"], menu="lamp cod menu")
    with shelf.collection.writer() as writer:
        writer.record(
            FileRow("/docs/deal.txt", "indexed", document_id="deal"),
            FileRow("/docs/deal-broken.txt", "failed", "It is broken"),
        )
        writer.restrict(["legal"], "/docs/deal.txt", "/docs/deal-broken.txt")
        writer.restrict(["hr", "board"], "/docs/pay.txt")
    found: Collection = shelf.collection
    return found


def seen(collection: Collection, access: Access) -> set[str]:
    return {info.id for info in collection.documents(access)}


@pytest.mark.parametrize(
    ("access", "expected"),
    [(FULL, {"deal", "pay", "menu"}), (NONE, {"menu"}), (LEGAL, {"deal", "menu"}), (HR, {"pay", "menu"})],
)
def test_a_caller_sees_what_its_groups_may_read(library: Collection, access: Access, expected: set[str]) -> None:
    assert seen(library, access) == expected
    chunks = {"deal": 1, "pay": 2, "menu": 1}
    assert library.count(access) == sum(chunks[name] for name in expected)
    reading = Reading(library, access)
    for name in chunks:
        if name in expected:
            assert reading.document(name).id == name
            assert len(reading.document_chunks(name)) == chunks[name]
        else:
            with pytest.raises(IndexError_, match="no document"):
                reading.document(name)
            with pytest.raises(IndexError_, match="no document"):
                reading.document_chunks(name)
            assert reading.sources(name) == []


@pytest.mark.parametrize("access", [FULL, NONE, LEGAL, HR])
def test_both_indexes_obey_before_they_rank(shelf: Any, library: Collection, access: Access) -> None:
    within = library.matching(parse_filter([]), access=access)
    expected = {"deal", "pay", "menu"} if access is FULL else seen(library, access)
    # k = 1 would be taken up by a hidden document if it were left out only after ranking
    for k in (1, 10):
        words = set(shelf.names(library.lexical.search("lamp fox owl", k, within)))
        vectors = set(shelf.names(library.dense.search(shelf.encoder.encode(["lamp fox owl"])[0], k, within)))
        assert words <= expected and vectors <= expected
        assert words and vectors
    assert set(shelf.names(library.lexical.search("lamp", 10, within))) == expected


def test_what_nobody_restricts_costs_no_filter(shelf: Any) -> None:
    shelf.add(menu="lamp cod menu")
    assert shelf.collection.matching(parse_filter([]), access=NONE) is None


def test_filters_and_access_hold_together(library: Collection) -> None:
    assert library.matching(parse_filter(["id=deal"]), access=HR) == ()
    assert library.matching(parse_filter(["id!=nothing"]), access=NONE) == library.matching(parse_filter(["id=menu"]))
    assert library.matching(parse_filter(["source=*", "source=/docs/deal.txt"]), access=NONE) != ()
    crafted = parse_filter(["meta.x') OR 1=1 --=1"])
    assert library.matching(crafted, access=NONE) == ()


def test_the_ledger_hides_files_that_brought_no_document(library: Collection) -> None:
    paths = {row.path for row in Reading(library, HR).files()}
    assert paths == set()
    assert {row.path for row in Reading(library, LEGAL).files("failed")} == {"/docs/deal-broken.txt"}


def test_a_change_is_seen_by_the_next_call_of_another_reader(library: Collection) -> None:
    other = Collection.open(library.home, library.name)
    assert other.matching(parse_filter([]), access=HR) == other.matching(parse_filter(["id!=deal"]))
    before = other.sequence()
    with library.writer() as writer:
        writer.restrict(["legal"], "/docs/pay.txt")
    assert other.sequence() > before
    assert seen(other, HR) == {"menu"}
    assert other.matching(parse_filter([]), access=HR) == other.matching(parse_filter(["id=menu"]))
    with library.writer() as writer:
        writer.restrict([], "/docs/pay.txt")
    assert seen(other, HR) == {"pay", "menu"}


def test_a_folder_holds_for_all_below_it_and_no_neighbour(library: Collection) -> None:
    with library.writer() as writer:
        writer.restrict([], "/docs/deal.txt", "/docs/pay.txt")
        writer.restrict(["legal"], "/doc", "/docs/pay", "/docs/menu.txt/x")
    assert seen(library, NONE) == {"deal", "pay", "menu"}
    with library.writer() as writer:
        writer.restrict(["legal"], "/docs")
    assert seen(library, NONE) == set()
    assert seen(library, LEGAL) == {"deal", "pay", "menu"}


def test_several_restrictions_must_each_let_through(library: Collection) -> None:
    with library.writer() as writer:
        writer.restrict(["hr"], "/docs")
    assert seen(library, LEGAL) == set()
    assert seen(library, Access(frozenset({"legal", "hr"}))) == {"deal", "pay", "menu"}


def test_what_lies_in_an_archive_is_restricted_with_it(shelf: Any) -> None:
    document, chunks = shelf.document("zipped", "lamp fox")
    object.__setattr__(document, "source", "/docs/box.zip!/zipped.txt")
    with shelf.collection.writer() as writer:
        writer.begin(shelf.manifest())
        writer.add(document, chunks, shelf.encoder.encode([chunk.text for chunk in chunks]))
        writer.restrict(["legal"], "/docs/box.zip")
    assert seen(shelf.collection, HR) == set()
    assert seen(shelf.collection, LEGAL) == {"zipped"}


def test_a_restriction_outlives_its_document(shelf: Any, library: Collection) -> None:
    shelf.delete("deal")
    shelf.add(deal="lamp fox deal, second version")
    assert "deal" not in seen(library, HR)


def test_a_file_that_moves_stays_restricted(library: Collection) -> None:
    with library.writer() as writer:
        writer.move("/docs/deal.txt", FileRow("/open/deal.txt", "indexed", document_id="deal"))
    assert seen(library, HR) == {"pay", "menu"}
    assert seen(library, LEGAL) == {"deal", "menu"}


def test_what_moves_out_of_two_restrictions_keeps_both(library: Collection) -> None:
    with library.writer() as writer:
        writer.restrict(["hr"], "/docs")
        writer.move("/docs/deal.txt", FileRow("/open/deal.txt", "indexed", document_id="deal"))
    assert library.rules().restrictions["/open/deal.txt"] == {NOBODY}
    assert "deal" not in seen(library, Access(frozenset({"legal", "hr", NOBODY})))
    assert "deal" in seen(library, FULL)


def test_reindex_and_rollback_open_nothing(shelf: Any, library: Collection) -> None:
    from indexer.chunk import ChunkSettings

    with library.writer() as writer:
        writer.grant("staff")
    reindex(library, shelf.encoder, ChunkSettings(max_tokens=10))
    assert seen(library, HR) == {"pay", "menu"}
    assert library.rules().granted == {"staff"}
    with library.writer() as writer:
        writer.restrict(["legal"], "/docs/menu.txt")
        writer.revoke("staff")
    rollback(library)
    assert seen(library, HR) == {"pay"}
    assert library.rules().granted == frozenset()


def test_the_same_bytes_under_other_rules_are_two_documents(desk: Any, tmp_path: Path) -> None:
    for folder in ("legal", "hr"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same.txt").write_text("the fox and the owl", encoding="utf-8")
    desk.ingest(tmp_path / "legal", groups=["legal"])
    desk.ingest(tmp_path / "hr", groups=["hr"])
    found = {Path(info.source).parent.name for info in desk.collection.documents(HR)}
    assert found == {"hr"}
    assert all(len(info.sources) == 1 for info in desk.collection.documents())


def test_ingest_restricts_before_it_reads(desk: Any, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("the fox", encoding="utf-8")
    desk.ingest(tmp_path / "a.txt", groups=["legal"])
    with desk.collection.generation.truth.reading() as db:
        rules = read_rules(db)
        first = db.execute("SELECT min(seq) FROM operations WHERE document_id = ''").fetchone()[0]
        added = db.execute("SELECT min(seq) FROM operations WHERE document_id != ''").fetchone()[0]
    assert rules.restrictions == {str(tmp_path / "a.txt"): {"legal"}}
    assert first < added


@pytest.mark.parametrize("name", ["", " ", " legal", "a\nb", "x" * 201])
def test_names_that_no_group_has_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be the name of a group"):
        check_groups(["legal", name])
    assert check_groups(["b", "Domain Users", "b"]) == ("Domain Users", "b")

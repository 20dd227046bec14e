"""The sample corpus and its questions: complete, consistent, derived files fresh, binary formats reproducible."""

import json
import zipfile
from collections import Counter
from pathlib import Path, PurePosixPath

import pytest

from data import align, build
from data.count import count_documents, count_questions
from indexer.document import Document
from indexer.load import load

QUERIES = align.read_rows(align.QUESTIONS / "queries.jsonl")
SPANS = align.read_rows(align.QUESTIONS / "spans.jsonl")


@pytest.fixture(scope="module")
def documents() -> dict[str, Document]:
    return align.load_corpus()


def test_corpus_is_as_large_and_as_mixed_as_promised(documents: dict[str, Document]) -> None:
    words = {name: len(document.text.split()) for name, document in documents.items()}
    formats = Counter(PurePosixPath(name).suffix for name in documents)
    assert len(documents) >= 30
    assert sum(words.values()) >= 24_000
    assert sum(count > 1_800 for count in words.values()) >= 3
    assert set(formats) == {".md", ".html", ".txt", ".pdf", ".docx", ".csv"}
    assert min(formats.values()) >= 3


def test_counts_in_the_readme_are_those_of_the_files() -> None:
    readme = (align.DATA / "README.md").read_text(encoding="utf-8")
    assert "\n".join(count_documents()) in readme
    assert "\n".join(count_questions()) in readme


def test_there_are_enough_questions_of_each_kind() -> None:
    kinds = Counter(query["kind"] for query in QUERIES)
    assert len(QUERIES) >= 130
    assert kinds["single"] >= 70
    assert kinds["two-document"] >= 15
    assert kinds["unanswerable"] >= 25
    assert kinds["follow-up"] >= 20
    assert kinds.total() == sum(kinds[kind] for kind in ("single", "two-document", "unanswerable", "follow-up"))


def test_ids_and_texts_are_unique() -> None:
    assert len({query["_id"] for query in QUERIES}) == len(QUERIES)
    asked = {(query["text"], json.dumps(query["turns"])) for query in QUERIES}
    assert len(asked) == len(QUERIES)


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query["_id"])
def test_question_keeps_the_promises_of_its_kind(query: align.Row) -> None:
    places = {piece["document"] for piece in query["evidence"]}
    answerable = query["kind"] != "unanswerable"
    assert query["text"].endswith("?")
    assert query["answerable"] is answerable
    assert bool(query["answers"]) is answerable
    assert bool(query["evidence"]) is answerable
    assert bool(query["turns"]) is (query["kind"] == "follow-up")
    assert len(places) == {"two-document": 2, "unanswerable": 0}.get(query["kind"], 1)


def test_answers_are_words_of_their_evidence() -> None:
    """Only a comparison (yes or no) may have an answer that no quote contains."""
    missing = []
    for query in QUERIES:
        quotes = " ".join(piece["quote"] for piece in query["evidence"]).casefold()
        if query["answerable"] and not any(answer.casefold() in quotes for answer in query["answers"]):
            missing.append(query)
    assert all("yes" in query["answers"] or "no" in query["answers"] for query in missing)


def test_every_document_answers_something(documents: dict[str, Document]) -> None:
    assert {span["document"] for span in SPANS} == set(documents)


def test_spans_are_slices_of_the_loaded_text(documents: dict[str, Document]) -> None:
    for span in SPANS:
        assert documents[span["document"]].text[span["start"] : span["end"]] == span["quote"], span
    pieces = Counter(query["_id"] for query in QUERIES for _ in query["evidence"])
    assert Counter(span["_id"] for span in SPANS) == pieces


def test_derived_files_are_fresh(documents: dict[str, Document], tmp_path: Path) -> None:
    """When this fails after a change of loader or cleaner: python -m data.align"""
    spans, problems = align.align(QUERIES, documents)
    assert problems == []
    align.write_derived(tmp_path, QUERIES, documents, spans)
    for name in ("corpus.jsonl", "qrels.tsv", "spans.jsonl"):
        assert (tmp_path / name).read_bytes() == (align.QUESTIONS / name).read_bytes(), name


def test_unanswerable_questions_have_no_relevant_document() -> None:
    lines = (align.QUESTIONS / "qrels.tsv").read_text(encoding="utf-8").splitlines()
    judged = {line.split("\t")[0] for line in lines[1:]}
    assert lines[0] == "query-id\tcorpus-id\tscore"
    assert judged == {query["_id"] for query in QUERIES if query["answerable"]}


def test_align_names_a_missing_and_an_ambiguous_quote(documents: dict[str, Document]) -> None:
    name = "harbour/rules.md"
    for quote, times in (
        ("words that are not there", 0),
        ("harbour master", documents[name].text.count("harbour master")),
    ):
        spans, problems = align.align([{"_id": "x", "evidence": [{"document": name, "quote": quote}]}], documents)
        assert spans == []
        assert problems == [f"x: {times} times in {name}: {quote}"]


def test_samples_show_every_format_and_two_refusals() -> None:
    by_id = {query["_id"]: query for query in QUERIES}
    samples = [by_id[name] for name in json.loads((align.QUESTIONS / "samples.json").read_text(encoding="utf-8"))]
    formats = Counter(PurePosixPath(piece["document"]).suffix for query in samples for piece in query["evidence"])
    assert Counter(query["kind"] for query in samples) == {"single": 6, "unanswerable": 2}
    assert formats == {".md": 1, ".html": 1, ".txt": 1, ".pdf": 1, ".docx": 1, ".csv": 1}


def test_build_gives_the_same_bytes_twice_and_the_committed_texts(tmp_path: Path) -> None:
    pytest.importorskip("fpdf", reason="fpdf2 is a development dependency")
    first, second = build.build(tmp_path / "first"), build.build(tmp_path / "second")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    committed = {path for path in align.CORPUS.rglob("*") if path.suffix in {".pdf", ".docx"}}
    assert {align.CORPUS / path.relative_to(tmp_path / "first") for path in first} == committed
    for path in first:
        assert load(path).text == load(align.CORPUS / path.relative_to(tmp_path / "first")).text, path.name


def test_docx_members_carry_one_fixed_date() -> None:
    for path in align.CORPUS.rglob("*.docx"):
        with zipfile.ZipFile(path) as archive:
            assert {entry.date_time for entry in archive.infolist()} == {build.ZIP_DATE}


def test_pdf_pages_exercise_the_cleaner() -> None:
    """At least one PDF really holds a word broken at a line end, and one a ligature; else cleaning is not shown."""
    pdfium = pytest.importorskip("pypdfium2")
    broken = 0
    for path in align.CORPUS.rglob("*.pdf"):
        pdf = pdfium.PdfDocument(path)
        assert len(pdf) >= 2, path.name
        broken += sum("\ufffe" in page.get_textpage().get_text_range() for page in pdf)
    assert broken >= 2
    assert "\ufb01" in build.read_source(build.SOURCES / "observatory" / "tide-predictor-manual.md").shape("first")

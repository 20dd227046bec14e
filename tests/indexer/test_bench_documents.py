"""Real files, some broken: what each must come to. They are read as an ingest reads them, in another process."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from indexer.load import Limits
from indexer.parser import Parsed, Parser

BENCH = Path(os.environ.get("FOOTNOTE_BENCH", Path(__file__).parents[2] / ".." / "shared" / "bench")) / "documents"
pytestmark = pytest.mark.skipif(not BENCH.is_dir(), reason="FOOTNOTE_BENCH has no documents")

# Words that must be in the text of a file, and how many pages it must have (0: the format has none).
READ = {
    "2305.03393v1-pg9.pdf": ("OTSL", 1),
    "UDHR_first_article_all.txt": ("free and equal in dignity", 0),
    "book-war-and-peace-1225p.txt": ("Well, Prince, so Genoa", 0),
    "bookmark_sample.pdf": ("DEFINITIONS", 3),
    "code_and_formula.pdf": ("JavaScript Code Example", 2),
    "copy-protected.pdf": ("Layout", 2),
    "csv-comma.csv": ("First Name: Sheryl", 0),
    "csv-inconsistent-header.csv": ("1; 2; 3\na; b; c; d", 0),
    "csv-too-few-columns.csv": ("a; b; c\n", 0),
    "csv-with-long-lines.csv": ("SpearmanCorrelationCoefficient", 0),
    "docx_rich_tables_01.docx": ("DOCLANG Core Spec", 0),
    "duck.md": ("Swimming in the lake", 0),
    "elife-56337.xml": ("## Abstract\n\nThe Krüppel-associated box zinc finger protein (KRAB-ZFP) family", 0),
    "embedded-images-tables.pdf": ("corrosion", 1),
    "eml_with_attachment.eml": ("This email contains an attachment.", 0),
    "eng_spa_mult.pptx": ("Todos los seres humanos nacen libres", 6),
    "equations.docx": ("E=mc^2", 0),
    "escaped_characters.md": ("# Code block", 0),
    "example-10k.html": ("SECURITIES AND EXCHANGE COMMISSION", 0),
    "factbook-utf-16.xml": ("name: France; capital: Paris", 0),
    "fake-email-malformed-encoding.eml": ("Roses are red", 0),
    "fake-power-point-malformed.pptx": ("Test Slide", 1),
    "fake-text-utf-32.txt": ("This is a test document", 0),
    "grid_offset_error.docx": ("| A | Merged B1-B3 |", 0),
    "html_code_snippets.html": ("```", 0),
    "html_rich_table_cells.html": ("Rich Table Cells in HTML", 0),
    "invalid-pdf-structure-pdfminer-one-page.pdf": ("National Cybersecurity Strategy", 2),
    "invisible_text_layer.pdf": ("Invisible OCR text layer", 1),
    "korean-text-with-tables.pdf": ("빅포인트", 1),
    "layout-parser-paper-with-empty-pages.pdf": ("Layout", 4),
    "multi-column.pdf": ("Dense Passage Retrieval for Open-Domain Question Answering", 13),
    "multi_page.pdf": ("The Evolution of the Word Processor", 5),
    "norwich-city.txt": ("Norwich City", 0),
    "pdf-with-ocr-text.pdf": ("industrydocuments", 1),
    "powerpoint_bad_text.pptx": ("X-Library The fully customisable", 1),
    "powerpoint_sample.pptx": ("Notes: Some notes on the second slide.", 3),
    "powerpoint_with_image.pptx": ("Docling", 1),
    "redp5110_sampled.pdf": ("Redpaper", 18),
    "reliance.pdf": ("Integrated Annual Report 2021-22", 3),
    "right_to_left_01.pdf": ("البرمجة", 1),
    "right_to_left_03.pdf": ("بورس", 1),
    "stanley-cups-utf-16.csv": ("Team: Blues; Location: STL; Stanley Cups: 1", 0),
    "table-multi-row-column-cells-actual.csv": ("Disability Category: Blind; Participants: 5", 0),
    "table_mislabeled_as_picture.pdf": ("Global Study on Legal Aid", 1),
    "text_document_01.odt": ("## Heading level 2: A", 0),
    "textbox.docx": ("Infectious Disease Reporting", 0),
    "unit_test_headers_numbered.docx": ("Test Document", 0),
    "webvtt_example_01.vtt": ("[00:30] Neil deGrasse Tyson: Didn’t we talk about enough", 0),  # noqa: RUF001
    "wiki.md": ("IBM", 0),
    "wiki_duck.html": ("Anatidae", 0),
    "winter-sports.epub": ("WINTER SPORTS IN SWITZERLAND", 0),
    "word_tables.docx": ("Test with tables", 0),
    "xlsx_01.xlsx": ("first: 1; second: 5; third: 9", 4),
}
FAILED = {
    "legacy_sample.doc": "a Word file of before 2007",
    "legacy_sample.ppt": "a PowerPoint file of before 2007",
    "password.pdf": "encrypted and needs a password",
    "password_protected.xlsx": "encrypted with a password",
}
# Words that tesseract finds on the scanned pages; without it they fail, and say what is missing.
SCANNED = {
    "loremipsum-flat.pdf": "Lorem ipsum",
    "nemotron_multipage.pdf": "package\n\nDocling bundles PDF document conversion to JSON and Markdown",
    "ocr_test_rotated_90.pdf": "Docling bundles PDF document conversion",
    "sample_with_rotation_mismatch.pdf": "THE SLEREXE COMPANY LIMITED",
}


@pytest.fixture(scope="module")
def parser() -> Iterator[Parser]:
    with Parser(Limits(timeout_s=100)) as parser:
        yield parser


def parse(parser: Parser, name: str) -> Parsed:
    return next(iter(list(parser.parse(BENCH / name))))


def test_every_file_has_an_expectation() -> None:
    listed = {line.split("\t")[0] for line in (BENCH / "MANIFEST.tsv").read_text().splitlines()[1:]}
    assert READ.keys() | FAILED.keys() | SCANNED.keys() == listed
    assert len(listed) == 61


@pytest.mark.parametrize("name", READ)
def test_what_is_read(parser: Parser, name: str) -> None:
    parsed = parse(parser, name)
    assert parsed.error is None
    assert parsed.document
    words, pages = READ[name]
    assert words in parsed.document.text
    assert len(parsed.document.pages) == pages
    assert list(parsed.document.pages) == sorted(parsed.document.pages)


@pytest.mark.parametrize("name", FAILED)
def test_what_fails(parser: Parser, name: str) -> None:
    parsed = parse(parser, name)
    assert parsed.error
    assert FAILED[name] in parsed.error.message
    assert parsed.error.remedy


@pytest.mark.parametrize("name", SCANNED)
def test_what_is_scanned(parser: Parser, name: str) -> None:
    parsed = parse(parser, name)
    if shutil.which("tesseract"):
        assert parsed.document and SCANNED[name] in parsed.document.text
    else:
        assert parsed.error and "scanned" in parsed.error.message


def test_an_attachment_is_a_document(parser: Parser) -> None:
    mail, attachment = parser.parse(BENCH / "eml_with_attachment.eml")
    assert attachment.source == f"{mail.source}!/test.txt"
    assert attachment.document and "This is a test attachment file." in attachment.document.text

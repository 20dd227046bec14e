"""Pages as pictures: the right page, the words boxed where they stand, and only from the file that was indexed."""

import io
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fpdf import FPDF
from PIL import Image

from indexer.document import Document
from indexer.errors import DocumentError
from indexer.load import Limits, load
from indexer.loaders.pdf_page import locate
from indexer.page_picture import PagePart, page_parts
from indexer.parser import Parser

LINES = ("The tide rises twice a day.", "Two boats lie there.", "The tide rises twice a day.")


@pytest.fixture(scope="module")
def parser() -> Iterator[Parser]:
    with Parser(Limits(timeout_s=20)) as parser:
        yield parser


def pdf(folder: Path) -> Path:
    """Two pages of A4 (210 by 297 mm); the second has three lines, at 50, 100 and 150 mm from its top."""
    document = FPDF()
    document.set_font("Helvetica", size=12)
    document.add_page()
    document.text(30, 50, "The first page speaks of the keepers and of nothing else.")
    document.add_page()
    for line, y in zip(LINES, (50, 100, 150), strict=True):
        document.text(30, y, line)
    path = folder / "tides.pdf"
    document.output(str(path))
    return path


def span(document: Document, words: str, start: int = 0) -> tuple[int, int]:
    at = document.text.index(words, start)
    return at, at + len(words)


def test_the_words_are_boxed_where_they_are_printed(parser: Parser, tmp_path: Path) -> None:
    document = load(pdf(tmp_path))
    (picture,) = parser.draw(document, page_parts(document, *span(document, "boats lie")))
    assert (picture.number, picture.width) == (2, 1000)
    assert picture.height == pytest.approx(1000 * 297 / 210, abs=2)
    with Image.open(io.BytesIO(picture.png)) as image:
        assert image.size == (picture.width, picture.height)
    (box,) = picture.boxes
    assert 30 / 210 < box.left < 45 / 210 and box.left + box.width < 60 / 210
    assert box.top < 100 / 297 < box.top + box.height + 0.005, "the line's foot is 100 mm from the top"
    assert 2 / 297 < box.height < 6 / 297


def test_of_equal_words_those_that_were_cited_are_boxed(parser: Parser, tmp_path: Path) -> None:
    document = load(pdf(tmp_path))
    first = span(document, LINES[0])
    tops = []
    for start, end in (first, span(document, LINES[0], first[1])):
        (picture,) = parser.draw(document, page_parts(document, start, end))
        tops.append(round(picture.boxes[0].top * 297))
    assert tops == [47, 147], "capitals of 12 points are 3 mm high"


def test_a_quote_is_divided_by_its_pages() -> None:
    document = Document("d", "/a.pdf", "A", "application/pdf", "", "one\n\ntwo two\n\nthree", (0, 5, 14))
    assert page_parts(document, 7, 10) == (PagePart(2, "o t", "tw"),)
    assert page_parts(document, 2, 16) == (
        PagePart(1, "e\n\n", "on"),
        PagePart(2, "two two\n\n", ""),
        PagePart(3, "th", ""),
    )
    assert [part.number for part in page_parts(document, 0, 19)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("characters", "words", "before", "runs"),
    [
        ("The lan\u0002\r\ntern is high", "lantern is", "The ", [(4, 16)]),
        ("Total 772,000  748,300", "| Total | 772,000 |", "", [(0, 12)]),
        ("a ﬁne day", "fine", "", [(2, 4)]),
        ("tide and tide and tide", "tide", "tide and ", [(9, 12)]),
        ("left one two three right four five six", "one two three four five six", "", [(5, 17), (25, 37)]),
        ("nothing of it", "quite other words here", "", []),
        ("one two", "---", "", []),
    ],
)
def test_words_are_found_by_their_letters(
    characters: str, words: str, before: str, runs: list[tuple[int, int]]
) -> None:
    assert locate(characters, words, before) == runs


def test_a_file_inside_an_archive_is_drawn(parser: Parser, tmp_path: Path) -> None:
    path = pdf(tmp_path)
    archive = tmp_path / "old.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(path, "papers/tides.pdf")
    document = replace(load(path), source=f"{archive}!/papers/tides.pdf")
    (picture,) = parser.draw(document, page_parts(document, *span(document, "boats")))
    assert len(picture.boxes) == 1
    with pytest.raises(DocumentError, match="no longer in"):
        parser.draw(replace(document, source=f"{archive}!/papers/gone.pdf"), ())


def test_another_file_than_was_indexed_is_not_drawn(parser: Parser, tmp_path: Path) -> None:
    path = pdf(tmp_path)
    document = load(path)
    parts = page_parts(document, *span(document, "boats"))
    with pytest.raises(DocumentError, match="cannot be drawn"):
        parser.draw(document, (PagePart(9, "boats", ""),))
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(DocumentError, match="has changed since"):
        parser.draw(document, parts)
    path.unlink()
    with pytest.raises(DocumentError, match="no such file"):
        parser.draw(document, parts)


def test_a_process_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    document = load(pdf(tmp_path))
    with Parser(Limits(timeout_s=0.001)) as parser, pytest.raises(DocumentError, match="longer than"):
        parser.draw(document, page_parts(document, *span(document, "boats")))

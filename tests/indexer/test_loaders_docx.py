import io
import zipfile
from collections.abc import Callable
from typing import Any

import docx
import pytest
from docx.oxml import parse_xml

from indexer.errors import DocumentError
from indexer.loaders import docx as loader
from indexer.loaders.extract import Extract

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
M = 'xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math"'


def read(build: Callable[[Any], None]) -> Extract:
    document = docx.Document()
    build(document)
    buffer = io.BytesIO()
    document.save(buffer)
    return loader.read_docx(buffer.getvalue())


def append(document: Any, xml: str) -> None:
    document.element.body.insert(len(document.element.body) - 1, parse_xml(xml))


def test_headings_lists_and_tables_in_order() -> None:
    def build(document: Any) -> None:
        document.add_heading("The Log", 0)
        document.add_heading("Tides", 1)
        document.add_paragraph("High at noon.")
        table = document.add_table(2, 2)
        for cell, words in zip(
            (c for row in table.rows for c in row.cells), ("Pier", "Year", "North", "1901"), strict=True
        ):
            cell.text = words
        document.add_heading("Neap", 2)
        document.add_paragraph("one", style="List Bullet")
        document.add_paragraph("two", style="List Number")
        document.core_properties.title = ""

    extract = read(build)
    assert extract.parts[0] == (
        "# The Log\n\n# Tides\n\nHigh at noon.\n\n| Pier | Year |\n| --- | --- |\n| North | 1901 |\n\n"
        "## Neap\n- one\n- two"
    )
    assert extract.title == "The Log"


def test_title_and_author_from_the_properties() -> None:
    def build(document: Any) -> None:
        document.add_paragraph("x")
        document.core_properties.title = "Named"
        document.core_properties.author = "Ann"
        document.core_properties.keywords = ""

    extract = read(build)
    assert extract.title == "Named"
    assert ("author", "Ann") in extract.metadata


INSERTED = "<w:ins>{run}</w:ins><w:del><w:r><w:delText>old</w:delText></w:r></w:del>".format
SPAN = "<w:gridSpan w:val='2'/>"
RAISED = "<w:r><w:t>10</w:t></w:r><w:r><w:rPr><w:vertAlign w:val='superscript'/></w:rPr><w:t>5</w:t></w:r>"
POWER = "<m:oMath><m:sSup><m:e><m:r><m:t>r</m:t></m:r></m:e><m:sup><m:r><m:t>2</m:t></m:r></m:sup></m:sSup></m:oMath>"


def run(text: str) -> str:
    return f"<w:r><w:t>{text}</w:t></w:r>"


def cell(text: str, properties: str = "") -> str:
    return f"<w:tc><w:tcPr>{properties}</w:tcPr><w:p>{run(text)}</w:p></w:tc>"


@pytest.mark.parametrize(
    ("xml", "text"),
    [
        (f"<w:p {W}>{INSERTED(run=run('new'))}</w:p>", "new"),
        (f"<w:sdt {W}><w:sdtContent><w:p>{run('inside')}</w:p></w:sdtContent></w:sdt>", "inside"),
        (f"<w:p {W}><w:hyperlink>{run('link')}</w:hyperlink><w:r><w:br/></w:r>{run('next')}</w:p>", "link\nnext"),
        (f"<w:p {W}><w:r><w:instrText>PAGE</w:instrText></w:r>{run('shown')}</w:p>", "shown"),
        (f"<w:p {W}>{run('non')}<w:r><w:noBreakHyphen/></w:r>{run('stop')}</w:p>", "non-stop"),
        (f"<w:p {W}>{RAISED}</w:p>", "10^5"),
        (f"<w:p {W} {M}>{POWER}</w:p>", "r^2"),
        (f"<w:p {W}>{run('# not a heading')}</w:p>", "\\# not a heading"),
        (
            f"<w:tbl {W}><w:tr>{cell('a', SPAN)}{cell('b')}</w:tr>"
            f"<w:tr><w:trPr><w:gridBefore w:val='1'/></w:trPr>{cell('c')}{cell('d')}</w:tr></w:tbl>",
            "| a |  | b |\n| --- | --- | --- |\n|  | c | d |",
        ),
    ],
)
def test_what_python_docx_leaves_out(xml: str, text: str) -> None:
    assert read(lambda document: append(document, xml)).parts[0] == text


def test_a_text_box_is_read_once_after_its_paragraph() -> None:
    box = "<w:txbxContent><w:p><w:r><w:t>boxed</w:t></w:r></w:p></w:txbxContent>"
    xml = (
        f'<w:p {W} xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"><w:r><w:t>around</w:t>'
        f'<mc:AlternateContent><mc:Choice Requires="wps">{box}</mc:Choice>'
        f"<mc:Fallback>{box}</mc:Fallback></mc:AlternateContent></w:r></w:p>"
    )
    assert read(lambda document: append(document, xml)).parts[0] == "around\n\nboxed"


def test_merged_cells_repeat_downward() -> None:
    def build(document: Any) -> None:
        table = document.add_table(3, 2)
        for row, words in zip(table.rows, (("Pier", "Year"), ("North", "1901"), ("", "1950")), strict=True):
            for cell, word in zip(row.cells, words, strict=True):
                cell.text = word
        table.cell(1, 0).merge(table.cell(2, 0))

    assert "| North | 1950 |" in read(build).parts[0]


def test_a_package_that_unpacks_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("indexer.loaders.package.MAX_UNPACKED_BYTES", 1000)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", "x" * 2000)
    with pytest.raises(DocumentError, match="unpacks to more than"):
        loader.read_docx(buffer.getvalue())

"""PowerPoint, spreadsheets, OpenDocument and EPUB, from packages that are written by hand."""

import io
import zipfile

import pytest

from indexer.errors import DocumentError
from indexer.loaders.epub import read_epub
from indexer.loaders.opendocument import read_opendocument
from indexer.loaders.pptx import read_pptx
from indexer.loaders.sheets import read_sheets

A = 'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"'
P = f'{A} xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main"'
R = 'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
RELS = 'xmlns="http://schemas.openxmlformats.org/package/2006/relationships"'
KIND = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
ODF = " ".join(
    f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{space}:1.0"'
    for name, space in {
        "office": "office", "text": "text", "table": "table", "draw": "drawing", "presentation": "presentation",
        "manifest": "manifest",
    }.items()
)  # fmt: skip


def package(members: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def shape(*lines: str, place: str = "") -> str:
    mark = f"<p:ph {place}/>" if place else ""
    words = "".join(f"<a:p><a:r><a:t>{line}</a:t></a:r></a:p>" for line in lines)
    return f"<p:sp><p:nvSpPr><p:nvPr>{mark}</p:nvPr></p:nvSpPr><p:txBody>{words}</p:txBody></p:sp>"


def slides(*contents: str, order: str = "", notes: str = "") -> bytes:
    """A presentation; `order` names the slides as they are shown."""
    related, shown = "", ""
    members = {}
    for number, content in enumerate(contents, 1):
        related += f'<Relationship Id="r{number}" Type="{KIND}/slide" Target="slides/s{number}.xml"/>'
        members[f"ppt/slides/s{number}.xml"] = f"<p:sld {P}><p:cSld><p:spTree>{content}</p:spTree></p:cSld></p:sld>"
    for number in order or "".join(str(at + 1) for at in range(len(contents))):
        shown += f'<p:sldId id="{number}" r:id="r{number}"/>'
    if notes:
        link = f'<Relationship Id="n" Type="{KIND}/notesSlide" Target="../notes.xml"/>'
        members["ppt/slides/_rels/s1.xml.rels"] = f"<Relationships {RELS}>{link}</Relationships>"
        number = shape("7", place="type='sldNum'")
        members["ppt/notes.xml"] = f"<p:notes {P}>{shape(notes)}{number}</p:notes>"
    members["ppt/presentation.xml"] = f"<p:presentation {P} {R}><p:sldIdLst>{shown}</p:sldIdLst></p:presentation>"
    members["ppt/_rels/presentation.xml.rels"] = f"<Relationships {RELS}>{related}</Relationships>"
    return package(members)


class TestSlides:
    def test_a_slide_is_a_page_and_its_title_comes_first(self) -> None:
        first = shape("high", "low", place='idx="1"') + shape("Tides", place='type="title"') + shape("a box")
        extract = read_pptx(slides(first, shape("second")))
        assert extract.parts == ("# Tides\n\n- high\n- low\n\na box", "second")
        assert (extract.title, extract.paged) == ("Tides", True)

    def test_the_order_of_the_show_and_no_page_numbers(self) -> None:
        assert read_pptx(slides(shape("one"), shape("two", place='type="title"'), order="21")).parts == ("# two", "one")
        assert read_pptx(slides(shape("3", place='type="sldNum"'))).parts == ("",)

    def test_notes_are_read(self) -> None:
        assert read_pptx(slides(shape("one"), notes="say it")).parts == ("one\n\nNotes: say it",)

    def test_tables_and_groups(self) -> None:
        cells = "".join(f"<a:tc><a:txBody><a:p><a:r><a:t>{word}</a:t></a:r></a:p></a:txBody></a:tc>" for word in "ab")
        table = f"<a:graphic><a:tbl><a:tr>{cells}</a:tr><a:tr>{cells}</a:tr></a:tbl></a:graphic>"
        extract = read_pptx(slides(f"<p:grpSp>{shape('in a group')}</p:grpSp>{table}"))
        assert extract.parts == ("in a group\n\n| a | b |\n| --- | --- |\n| a | b |",)

    def test_a_slide_that_is_missing(self) -> None:
        broken = slides(shape("one"), shape("two"))
        buffer = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(broken)) as old, zipfile.ZipFile(buffer, "w") as new:
            for name in old.namelist():
                if not name.endswith("s2.xml"):
                    new.writestr(name, old.read(name))
        with pytest.raises(DocumentError, match=r"s2\.xml' is missing"):
            read_pptx(buffer.getvalue())


def workbook(**sheets: str) -> bytes:
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    listed, related = "", ""
    main_part = f'<Relationship Id="w" Type="{KIND}/officeDocument" Target="xl/workbook.xml"/>'
    members = {"_rels/.rels": f"<Relationships {RELS}>{main_part}</Relationships>"}
    for number, (name, rows) in enumerate(sheets.items(), 1):
        listed += f'<sheet name="{name}" sheetId="{number}" r:id="r{number}"/>'
        related += f'<Relationship Id="r{number}" Type="{KIND}/worksheet" Target="worksheets/s{number}.xml"/>'
        members[f"xl/worksheets/s{number}.xml"] = f'<worksheet xmlns="{main}"><sheetData>{rows}</sheetData></worksheet>'
    members["xl/workbook.xml"] = f'<workbook xmlns="{main}" {R}><sheets>{listed}</sheets></workbook>'
    members["xl/_rels/workbook.xml.rels"] = f"<Relationships {RELS}>{related}</Relationships>"
    return package(members)


def row(number: int, *cells: str | float) -> str:
    written = ""
    for column, cell in zip("ABCD", cells, strict=False):
        inline = f'<c r="{column}{number}" t="inlineStr"><is><t>{cell}</t></is></c>'
        written += inline if isinstance(cell, str) else f'<c r="{column}{number}"><v>{cell}</v></c>'
    return f'<row r="{number}">{written}</row>'


class TestSheets:
    def test_a_sheet_is_a_page_and_a_row_names_its_columns(self) -> None:
        rows = (
            row(1, "Pier", "Length", "Built")
            + row(2, "North", 120.5, 1901)
            + row(3, "South", 0.30000000000000004, 1911)
        )
        extract = read_sheets(workbook(Piers=rows, Notes=row(1, "only words"), Empty=""))
        assert extract.parts == (
            "# Piers\n\n- Columns: Pier; Length; Built\n- Pier: North; Length: 120.5; Built: 1901\n"
            "- Pier: South; Length: 0.3; Built: 1911",
            "# Notes\n\nonly words",
            "",
        )
        assert extract.paged

    def test_a_workbook_that_is_damaged_is_an_exception_and_not_a_panic(self) -> None:
        with pytest.raises(Exception, match=r".") as caught:
            read_sheets(workbook(Piers="<row r='x'><c r='@@'><v>1</v></c></row>")[:-40])
        assert isinstance(caught.value, Exception)


def odt(body: str, manifest: str = "") -> bytes:
    members = {
        "content.xml": f"<office:document-content {ODF}><office:body>{body}</office:body></office:document-content>"
    }
    if manifest:
        members["META-INF/manifest.xml"] = f"<manifest:manifest {ODF}>{manifest}</manifest:manifest>"
    return package(members)


class TestOpenDocument:
    def test_headings_lists_spaces_and_notes(self) -> None:
        text = (
            '<office:text><text:h text:outline-level="2">Tides</text:h>'
            "<text:tracked-changes><text:p>gone</text:p></text:tracked-changes>"
            "<text:p>high<text:s text:c='3'/>and<text:tab/>low<text:note><text:note-citation>1</text:note-citation>"
            "<text:note-body><text:p>twice a day</text:p></text:note-body></text:note>.</text:p>"
            "<text:list><text:list-item><text:p>one</text:p><text:list><text:list-item><text:p>two</text:p>"
            "</text:list-item></text:list></text:list-item></text:list></office:text>"
        )
        extract = read_opendocument(odt(text))
        assert extract.parts == ("## Tides\n\nhigh and low (twice a day).\n- one\n  - two",)
        assert (extract.title, extract.paged) == ("Tides", False)

    def test_tables_with_repeated_and_covered_cells(self) -> None:
        def cells(*words: str) -> str:
            return "".join(f"<table:table-cell><text:p>{word}</text:p></table:table-cell>" for word in words)

        wide = "<table:table-cell table:number-columns-repeated='2'><text:p>x</text:p></table:table-cell>"
        edge = "<table:table-cell table:number-columns-repeated='16384'/>"
        rows = f"<table:table-row>{cells('a', 'b')}{edge}</table:table-row><table:table-row>{wide}</table:table-row>"
        extract = read_opendocument(odt(f"<office:text><table:table>{rows}</table:table></office:text>"))
        assert extract.parts == ("| a | b |\n| --- | --- |\n| x | x |",)

    def test_a_slide_is_a_page(self) -> None:
        title = (
            "<draw:frame presentation:class='title'><draw:text-box><text:p>Tides</text:p></draw:text-box></draw:frame>"
        )
        page = f"<draw:page>{title}<draw:frame><text:p>rise</text:p></draw:frame></draw:page>"
        extract = read_opendocument(odt(f"<office:presentation>{page}<draw:page/></office:presentation>"))
        assert extract.parts == ("# Tides\n\nrise", "")
        assert extract.paged

    def test_an_encrypted_one(self) -> None:
        encrypted = "<manifest:file-entry><manifest:encryption-data/></manifest:file-entry>"
        with pytest.raises(DocumentError, match="password"):
            read_opendocument(odt("<office:text/>", encrypted))


def epub(**extra: str) -> bytes:
    opf = (
        '<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata>'
        "<dc:title>Tides</dc:title><dc:creator>A. Keeper</dc:creator></metadata><manifest>"
        '<item id="b" href="b.xhtml" media-type="application/xhtml+xml"/>'
        '<item id="a" href="a%20b.xhtml" media-type="application/xhtml+xml"/></manifest>'
        '<spine><itemref idref="a"/><itemref idref="b"/></spine></package>'
    )
    return package(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<container><rootfiles><rootfile full-path="in/c.opf"/></rootfiles></container>',
            "in/c.opf": opf,
            "in/b.xhtml": "<html><body><p>second</p></body></html>",
            "in/a b.xhtml": "<html><body><h1>First</h1></body></html>",
            **extra,
        }
    )


class TestEpub:
    def test_pages_in_the_order_of_the_spine(self) -> None:
        extract = read_epub(epub())
        assert extract.parts == ("# First\n\nsecond",)
        assert (extract.title, extract.metadata) == ("Tides", (("author", "A. Keeper"),))

    def test_encrypted_pages_are_refused_and_scrambled_fonts_are_not(self) -> None:
        def encryption(name: str) -> dict[str, str]:
            return {"META-INF/encryption.xml": f"<e><CipherReference URI='{name}'/></e>"}

        assert read_epub(epub(**encryption("in/font.ttf"))).parts
        with pytest.raises(DocumentError, match="DRM"):
            read_epub(epub(**encryption("in/b.xhtml")))

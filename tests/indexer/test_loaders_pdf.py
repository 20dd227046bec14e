import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import pytest
from fpdf import FPDF

from indexer.clean import clean_text
from indexer.load import load
from indexer.loaders.pdf import read_pdf
from indexer.loaders.pdf_headings import mark_headings
from indexer.loaders.pdf_layout import Line, page_text, title_of, turned, vocabulary
from indexer.loaders.pdf_tables import mark_tables

PARAGRAPH = "The keeper recorded the weather every six hours and signed the log book in ink. " * 4


class Report(FPDF):
    def header(self) -> None:
        self.set_font("Helvetica", size=8)
        self.cell(0, 6, "Harbour Board Report", align="C", new_x="LMARGIN", new_y="NEXT")

    def footer(self) -> None:
        self.set_y(-15)
        self.set_font("Helvetica", size=8)
        self.cell(0, 6, f"Page {self.page_no()} of {{nb}}", align="C")


def report(pages: int) -> bytes:
    pdf = Report()
    for number in range(1, pages + 1):
        pdf.add_page()
        pdf.set_font("Helvetica", "B", 16)
        pdf.multi_cell(0, 9, f"Chapter {number}", new_x="LMARGIN", new_y="NEXT")
        pdf.set_font("Helvetica", size=11)
        for _ in range(2):
            pdf.multi_cell(0, 6, f"{PARAGRAPH}Year {1900 + number}.", new_x="LMARGIN", new_y="NEXT")
            pdf.ln(6)
        pdf.multi_cell(0, 6, f"- first item\n- second item\nshort line\n{'so' * number}", new_x="LMARGIN", new_y="NEXT")
    return bytes(pdf.output())


def test_paragraphs_are_joined_and_running_lines_removed() -> None:
    extract = read_pdf(report(3))
    paragraph = f"{PARAGRAPH}Year 1902."
    assert extract.parts[1] == (
        f"# Chapter 2\n\n{paragraph}\n\n{paragraph}\n\n- first item\n- second item\nshort line\nsoso"
    )


def test_headers_of_two_pages_stay() -> None:
    assert "Harbour Board Report" in read_pdf(report(2)).parts[1]
    assert "Page 2 of 2" not in read_pdf(report(2)).parts[1]


def counting(picture: bytes = b"") -> bytes:
    """Pages with nothing but a line that counts, and perhaps a picture: a scan with numbers stamped on it."""
    pdf = FPDF()
    for number in range(1, 5):
        pdf.add_page()
        pdf.set_font("Helvetica", size=12)
        if picture:
            pdf.image(BytesIO(picture), 20, 40, 100, 100)
        pdf.cell(0, 10, f"Page {number}")
    return bytes(pdf.output())


def test_pages_of_one_line_that_counts_are_no_scan(tmp_path: Path) -> None:
    assert read_pdf(counting()).parts == ("Page 1", "Page 2", "Page 3", "Page 4")
    path = tmp_path / "dividers.pdf"
    path.write_bytes(counting())
    assert load(path).text == "Page 1\n\nPage 2\n\nPage 3\n\nPage 4"


def test_a_scan_with_numbered_pages_still_holds_no_text() -> None:
    pixels = zlib.compress(b"".join(b"\0" + bytes(8) for _ in range(8)))
    header = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    assert read_pdf(counting(png)).parts == ("", "", "", "")


def test_pages_stay_true_after_cleaning(tmp_path: Path) -> None:
    path = tmp_path / "report.pdf"
    path.write_bytes(report(4))
    document = load(path)
    assert len(document.pages) == 4
    for number in range(1, 5):
        assert document.page_at(document.text.index(f"Chapter {number}")) == number
        assert document.page_at(document.text.index(f"Year {1900 + number}")) == number
        assert document.text.startswith(f"# Chapter {number}", document.pages[number - 1])


def test_title_from_metadata_else_from_the_largest_type() -> None:
    pdf = FPDF()
    pdf.add_page()
    pdf.set_font("Helvetica", size=24)
    pdf.multi_cell(0, 12, "The Tides of\nthe North", new_x="LMARGIN", new_y="NEXT")
    pdf.set_font("Helvetica", size=11)
    pdf.multi_cell(0, 6, PARAGRAPH)
    assert read_pdf(bytes(pdf.output())).title == "The Tides of the North"


@pytest.mark.parametrize(("named", "title"), [("Annual", "Annual"), ("Microsoft Word - a.doc", ""), ("draft.docx", "")])
def test_titles_that_name_a_file_are_not_used(named: str, title: str) -> None:
    pdf = FPDF()
    pdf.add_page()
    pdf.set_font("Helvetica", size=11)
    pdf.multi_cell(0, 6, PARAGRAPH)
    pdf.set_title(named)
    assert read_pdf(bytes(pdf.output())).title == title


def test_a_table_becomes_markdown() -> None:
    pdf = FPDF()
    pdf.add_page()
    pdf.set_font("Helvetica", size=11)
    with pdf.table() as table:
        for cells in (("Pier", "Length", "Built"), ("North", "120 m", "1901"), ("South", "95 m", "1911")):
            row = table.row()
            for cell in cells:
                row.cell(cell)
    assert read_pdf(bytes(pdf.output())).parts[0] == (
        "| Pier | Length | Built |\n| --- | --- | --- |\n| North | 120 m | 1901 |\n| South | 95 m | 1911 |"
    )


def test_rows_that_fill_the_width_stay_apart() -> None:
    pdf = FPDF()
    pdf.add_page()
    pdf.set_font("Helvetica", size=11)
    rows = [
        ("East of the dam", "62", "Salt; sealed"),
        ("Quarry road", "none", "Stood dry"),
        ("Upper Fold", "86", "Good"),
    ]
    with pdf.table(first_row_as_headings=False) as table:
        for cells in rows:
            row = table.row()
            for cell in cells:
                row.cell(cell)
    written = read_pdf(bytes(pdf.output())).parts[0].split("\n")
    assert [line for line in written if "---" not in line] == [f"| {' | '.join(cells)} |" for cells in rows]


def test_rotated_pages_read_the_same() -> None:
    def build(turn: float) -> str:
        pdf = FPDF()
        pdf.add_page()
        pdf.set_font("Helvetica", size=11)
        with pdf.rotation(turn, 100, 100):
            pdf.multi_cell(120, 6, PARAGRAPH)
        return read_pdf(bytes(pdf.output())).parts[0]

    assert build(0) == build(90) == PARAGRAPH.strip()


def test_threads_do_not_break_pdfium() -> None:
    content = report(3)
    with ThreadPoolExecutor(8) as pool:
        extracts = list(pool.map(read_pdf, [content] * 24))
    assert len(set(extracts)) == 1


def lines(*texts: str, width: float = 400, size: float = 10, gap: float = 12) -> list[Line]:
    """Lines as printed one below the other; a text in two columns of width would not fit a longer line."""
    return [Line(text, 50, 50 + min(width, 5 * len(text)), 700 - gap * index, size) for index, text in enumerate(texts)]


class TestLayout:
    def test_a_wrapped_line_is_joined_and_a_short_one_is_not(self) -> None:
        full = "w" * 70 + " " + "v" * 9
        assert page_text(lines(full, "and on", "new start"), set()) == f"{full} and on\nnew start"

    def test_hyphens_at_line_ends(self) -> None:
        printed = lines("w " * 38 + "infor-", "mation and " + "w " * 32 + "north-", "Western winds")
        joined = page_text(printed, vocabulary([printed]))
        assert "information" in joined
        assert "north-Western" in joined

    def test_a_gap_or_another_size_begins_a_paragraph(self) -> None:
        first, second, third = lines("Heading", "text of the page", "more of it " * 7)
        heading = Line("Heading", 50, 90, first.y + 3, 14)
        below = Line("far below", 50, 95, third.y - 40, 10)
        assert page_text([heading, second, third, below], set()).count("\n\n") == 2

    def test_the_next_column_continues_a_sentence(self) -> None:
        left = [Line("the wind was " * 3, 50, 250, 100, 10), Line("strong and the", 50, 250, 88, 10)]
        right = [Line("ship was small.", 300, 500, 700, 10), Line("Another text " * 3, 300, 500, 688, 10)]
        assert "strong and the ship was small." in page_text(left + right, set())

    def test_rows_of_figures_and_contents_stay_apart(self) -> None:
        assert page_text(lines("North 12 130 5" + " 7" * 33, "South 13 140 6" + " 8" * 33), set()).count("\n") == 1
        assert page_text(lines("Tides ... 12", "Winds ... 14"), set()) == "Tides ... 12\nWinds ... 14"

    def test_title_needs_a_larger_type(self) -> None:
        assert title_of(lines("one", "two", "three")) == ""
        assert title_of([*lines("Big", size=20), *lines("one", "two", "three")]) == "Big"
        assert title_of([]) == ""

    def test_turned_reads_left_to_right(self) -> None:
        x, y = turned(0, 5, 1.5707963267948966)
        assert (round(x, 6), round(y, 6)) == (5, 0)
        assert turned(1, 2, float("nan")) == (1, 2)

    def test_bullets_of_symbol_fonts_become_bullets(self) -> None:
        assert clean_text(page_text(lines("\uf0b7 one", "\uf0a7 two"), set())) == "• one\n• two"


def at(y: float, *cells: tuple[float, str], size: float = 10) -> Line:
    """A line with cells that begin at the given places; a letter is 5 points wide."""
    parts = tuple((left, left + 5 * len(text), text) for left, text in cells)
    whole = " ".join(text for _, text in cells)
    return Line(whole, parts[0][0], parts[-1][1], y, size, cells=parts if len(parts) > 1 else ())


class TestTables:
    ROWS = (("Oslo", "3.1"), ("Bergen", "1.4"), ("Tromso", "2.8"))

    def rows(self, top: float = 680) -> list[Line]:
        return [at(top - 12 * n, (50, port), (150, rise)) for n, (port, rise) in enumerate(self.ROWS)]

    def test_a_header_in_the_first_row(self) -> None:
        (table,) = mark_tables([at(692, (50, "Port"), (150, "Rise")), *self.rows()])
        assert table.text.split("\n")[0] == "| Port | Rise |"
        assert table.text.split("\n")[-1] == "| Tromso | 2.8 |"

    def test_a_header_of_two_lines_above(self) -> None:
        numbers = [at(656 - 12 * n, (50, str(1900 + n)), (150, rise)) for n, (_, rise) in enumerate(self.ROWS)]
        above = [at(680, (50, "Year")), at(680, (150, "Rise")), at(668, (150, "in m"))]
        prose = at(720, (50, "A sentence over both of the columns of it"))
        before, table = mark_tables([prose, *above, *numbers])
        assert before is prose
        assert table.text.split("\n") == [
            "| Year | Rise in m |", "| --- | --- |", "| 1900 | 3.1 |", "| 1901 | 1.4 |", "| 1902 | 2.8 |"
        ]  # fmt: skip

    def test_figures_without_a_header_stay_lines(self) -> None:
        lines = [at(680 - 12 * n, (50, str(n)), (150, str(n * n))) for n in range(4)]
        assert mark_tables(lines) == lines

    def test_two_rows_and_overlapping_cells_stay_lines(self) -> None:
        assert mark_tables(self.rows()[:2]) == self.rows()[:2]
        places = [((50, "Port"), (90, "x")), ((50, "Rise"), (70, "y")), ((50, "a long one"), (120, "z"))]
        crossed = [at(680 - 12 * n, *cells) for n, cells in enumerate(places)]
        assert mark_tables(crossed) == crossed

    def test_columns_of_text_written_row_by_row_are_read_one_after_the_other(self) -> None:
        left = [f"left line {n} of the text in this column" for n in range(6)]
        right = [f"right line {n} of the text in the other" for n in range(6)]
        lines = [at(700 - 12 * n, (50, a), (320, b)) for n, (a, b) in enumerate(zip(left, right, strict=True))]
        assert [line.text for line in mark_tables(lines)] == left + right


class TestHeadings:
    def texts(self, *lines: Line, outline: dict[int, list[tuple[int, str]]] | None = None) -> list[str]:
        body = [at(400 - 12 * n, (50, "Many words of the usual size")) for n in range(20)]
        return [line.text for line in mark_headings([[*lines, *body]], outline or {})[0] if line.block]

    def test_larger_type_by_size_and_two_lines_of_one(self) -> None:
        first, second = at(700, (50, "The Tides of"), size=20), at(678, (50, "the North"), size=20)
        assert self.texts(first, second, at(600, (50, "Method"), size=14)) == ["# The Tides of the North", "## Method"]

    def test_the_outline_names_what_size_does_not(self) -> None:
        line = at(700, (50, "Part One"))
        assert self.texts(line) == []
        assert self.texts(line, outline={0: [(3, "PART ONE")]}) == ["### Part One"]

    def test_numbered_titles_need_little(self) -> None:
        assert self.texts(at(700, (50, "2.1 The site"), size=10.6)) == ["### 2.1 The site"]
        assert self.texts(at(700, (50, "2.1 The site"), size=10)) == []

    def test_many_larger_lines_are_no_headings(self) -> None:
        assert self.texts(*(at(900 - 20 * n, (50, "Words, large"), size=14) for n in range(9))) == []


def test_bookmarks_of_a_real_file_are_headings() -> None:
    pdf = FPDF()
    pdf.add_page()
    pdf.set_font("Helvetica", size=11)
    pdf.start_section("Tides", level=0)
    pdf.multi_cell(0, 6, f"Tides\n\n{PARAGRAPH}", new_x="LMARGIN", new_y="NEXT")
    assert read_pdf(bytes(pdf.output())).parts[0].startswith("# Tides\n\nThe keeper")

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fpdf import FPDF

from indexer.clean import clean_text
from indexer.load import load
from indexer.loaders.pdf import read_pdf
from indexer.loaders.pdf_layout import Line, page_text, title_of, turned, vocabulary

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
        f"Chapter 2\n\n{paragraph}\n\n{paragraph}\n\n- first item\n- second item\nshort line\nsoso"
    )


def test_headers_of_two_pages_stay() -> None:
    assert "Harbour Board Report" in read_pdf(report(2)).parts[1]
    assert "Page 2 of 2" not in read_pdf(report(2)).parts[1]


def test_pages_stay_true_after_cleaning(tmp_path: Path) -> None:
    path = tmp_path / "report.pdf"
    path.write_bytes(report(4))
    document = load(path)
    assert len(document.pages) == 4
    for number in range(1, 5):
        assert document.page_at(document.text.index(f"Chapter {number}")) == number
        assert document.page_at(document.text.index(f"Year {1900 + number}")) == number
        assert document.text.startswith(f"Chapter {number}", document.pages[number - 1])


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


def test_cells_of_a_row_stay_on_one_line() -> None:
    pdf = FPDF()
    pdf.add_page()
    pdf.set_font("Helvetica", size=11)
    with pdf.table() as table:
        for cells in (("Pier", "Length", "Built"), ("North", "120 m", "1901"), ("South", "95 m", "1911")):
            row = table.row()
            for cell in cells:
                row.cell(cell)
    assert read_pdf(bytes(pdf.output())).parts[0] == "Pier Length Built\nNorth 120 m 1901\nSouth 95 m 1911"


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
    assert read_pdf(bytes(pdf.output())).parts[0].split("\n") == [" ".join(cells) for cells in rows]


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

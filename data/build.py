"""Write the PDF and DOCX documents of data/corpus from the text in data/sources. Same input, same bytes.

    python data/build.py [--out FOLDER]

Each source starts with `key: value` lines between `---` marks (format, title, and for PDF header and footer), then a
small part of Markdown: headings, paragraphs, `-` and `1.` lists, pipe tables.
"""

import argparse
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fpdf import FPDF

DATA = Path(__file__).resolve().parent
SOURCES = DATA / "sources"
FONT = SOURCES / "fonts" / "ligatures.ttf"
WRITTEN_AT = datetime(2023, 11, 1, 12, 0, tzinfo=UTC)
ZIP_DATE = (2023, 11, 1, 12, 0, 0)

# Real PDFs break words at line ends and set "fi" as one glyph; a reader that cannot undo both loses the word.
SYLLABLES = (
    "ob-ser-va-to-ry",
    "trans-form-ers",
    "gen-er-a-tion",
    "share-hold-ers",
    "ex-pen-di-ture",
    "as-tro-nom-i-cal",
    "con-stit-u-ent",
    "re-place-ment",
    "treas-ur-er",
    "in-hab-i-tant",
    "com-mem-o-rates",
    "light-hous-es",
    "de-fib-ril-la-tor",
    "rec-om-mend-ed",
    "res-er-voir",
    "ca-pac-i-ty",
    "con-tri-bu-tions",
    "sand-stone",
    "su-per-vi-sion",
    "con-nect-ed",
    "com-put-ed",
    "el-ec-tron-ic",
    "at-tend-ant",
    "coun-cil",
    "prop-er-ties",
    "con-tin-gen-cy",
)
LIGATURES = {"fi": "\ufb01", "fl": "\ufb02"}


@dataclass(frozen=True, slots=True)
class Source:
    path: Path
    fields: dict[str, str]
    body: str

    @property
    def target(self) -> Path:
        """Where the document goes, relative to the corpus."""
        return self.path.relative_to(SOURCES).with_suffix("." + self.fields["format"])

    @property
    def ligatures(self) -> bool:
        return self.fields.get("font") == "ligatures"

    def shape(self, text: str) -> str:
        """The text as it is set: with soft hyphens and, where the document asks for them, ligatures."""
        for word in SYLLABLES:
            text = text.replace(word.replace("-", ""), word.replace("-", "\u00ad"))
        for letters, glyph in LIGATURES.items() if self.ligatures else ():
            text = text.replace(letters, glyph)
        return text


@dataclass(frozen=True, slots=True)
class Block:
    kind: str  # heading, paragraph, item, table
    text: str = ""
    level: int = 0
    rows: tuple[tuple[str, ...], ...] = ()


def read_source(path: Path) -> Source:
    """Split the fields at the top from the text below them."""
    _, head, body = path.read_text(encoding="utf-8").split("---\n", 2)
    fields = dict(line.split(": ", 1) for line in head.splitlines())
    return Source(path, fields, body)


def read_blocks(body: str) -> Iterator[Block]:
    """Yield the blocks of the Markdown subset in order."""
    for part in body.strip().split("\n\n"):
        lines = part.splitlines()
        if lines[0].startswith("#"):
            marks, text = lines[0].split(" ", 1)
            yield Block("heading", text, len(marks))
        elif lines[0].startswith("|"):
            rows = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]
            yield Block("table", rows=(rows[0], *rows[2:]))
        elif lines[0].startswith("- ") or lines[0][:2] in {"1.", "2."}:
            yield from (Block("item", line) for line in lines)
        else:
            yield Block("paragraph", " ".join(lines))


def write_pdf(source: Source, path: Path) -> None:
    """A4 pages with a running header, a footer and a page number on each."""
    pdf = new_pages(source)
    family = "Ligatures" if source.ligatures else "Times"
    for block in read_blocks(source.body):
        if block.kind == "heading":
            pdf.ln(2)
            pdf.set_font("Helvetica", style="B", size=21 - 3 * block.level)
            pdf.multi_cell(0, 9, block.text, align="L", new_x="LMARGIN", new_y="NEXT")
            pdf.ln(1)
        elif block.kind == "table":
            pdf.set_font(family, size=11)
            draw_table(
                pdf, [[source.shape(cell) for cell in row] for row in block.rows], bold_head=not source.ligatures
            )
        else:
            pdf.set_font(family, size=12)
            align = "J" if block.kind == "paragraph" else "L"
            pdf.multi_cell(0, 6.4, source.shape(block.text), align=align, new_x="LMARGIN", new_y="NEXT")
            pdf.ln(2.6 if block.kind == "paragraph" else 0.6)
    pdf.output(str(path))


def new_pages(source: Source) -> "FPDF":
    """An empty document whose pages all carry the header and footer of `source`."""
    from fpdf import FPDF

    class Pages(FPDF):
        def header(self) -> None:
            self.set_font("Helvetica", size=9)
            self.cell(0, 6, source.fields["header"], align="C", new_x="LMARGIN", new_y="NEXT")
            self.ln(4)

        def footer(self) -> None:
            self.set_y(-18)
            self.set_font("Helvetica", size=8)
            self.cell(0, 5, source.fields["footer"], align="L", new_x="LMARGIN", new_y="NEXT")
            self.cell(0, 5, f"Page {self.page_no()} of {{nb}}", align="R")

    pdf = Pages(format="A4")
    pdf.set_creation_date(WRITTEN_AT)
    pdf.set_title(source.fields["title"])
    pdf.set_margins(30, 20, 30)
    pdf.set_auto_page_break(True, margin=26)
    if source.ligatures:
        pdf.add_font("Ligatures", fname=FONT)
    pdf.add_page()
    return pdf


def draw_table(pdf: "FPDF", rows: list[list[str]], bold_head: bool) -> None:
    """Ruled rows; no column is narrower than its longest word, and what is left goes to the columns that want it."""
    from fpdf.fonts import FontFace

    padding_mm = 4
    needed, wanted = [], []
    for column in zip(*rows, strict=True):
        needed.append(max(pdf.get_string_width(word) for cell in column for word in cell.split() or [""]) + padding_mm)
        wanted.append(max(pdf.get_string_width(cell) for cell in column) + padding_mm - needed[-1])
    spare = pdf.epw - sum(needed)
    widths = tuple(
        need + spare * (want + 1) / (sum(wanted) + len(wanted)) for need, want in zip(needed, wanted, strict=True)
    )
    head = FontFace(emphasis="BOLD" if bold_head else "")
    with pdf.table(headings_style=head, line_height=6.4, borders_layout="MINIMAL", col_widths=widths) as table:
        for row in rows:
            table.row(row)
    pdf.ln(3)


def write_docx(source: Source, path: Path) -> None:
    """Headings, paragraphs, lists and tables with Word's own styles; every date in the file is fixed."""
    from docx import Document

    document = Document()
    properties = document.core_properties
    properties.title = source.fields["title"]
    properties.author = "Vennaray archive"
    properties.created = properties.modified = WRITTEN_AT.replace(tzinfo=None)
    for block in read_blocks(source.body):
        if block.kind == "heading":
            document.add_heading(block.text, block.level)
        elif block.kind == "table":
            table = document.add_table(rows=0, cols=len(block.rows[0]), style="Table Grid")
            for row in block.rows:
                for cell, text in zip(table.add_row().cells, row, strict=True):
                    cell.text = text
        elif block.kind == "item":
            mark, text = block.text.split(" ", 1)
            document.add_paragraph(text, style="List Bullet" if mark == "-" else "List Number")
        else:
            document.add_paragraph(block.text)
    document.save(str(path))
    fix_zip_dates(path)


def fix_zip_dates(path: Path) -> None:
    """Rewrite the archive with one fixed date on every member, in name order."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    order = sorted(members, key=lambda name: (name != "[Content_Types].xml", name))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in order:
            entry = zipfile.ZipInfo(name, ZIP_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, members[name])


def build(out: Path) -> list[Path]:
    """Write every document that has a source; return the paths written."""
    written = []
    for path in sorted(SOURCES.glob("*/*.md")):
        source = read_source(path)
        target = out / source.target
        target.parent.mkdir(parents=True, exist_ok=True)
        write = write_pdf if source.fields["format"] == "pdf" else write_docx
        write(source, target)
        written.append(target)
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=DATA / "corpus")
    for path in build(parser.parse_args().out):
        print(path)


if __name__ == "__main__":
    main()

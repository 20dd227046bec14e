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

DATA = Path(__file__).resolve().parent
SOURCES = DATA / "sources"
FONT = SOURCES / "fonts" / "ligatures.ttf"
WRITTEN_AT = datetime(2023, 11, 1, 12, 0, tzinfo=UTC)
ZIP_DATE = (2023, 11, 1, 12, 0, 0)

# Real PDFs break words at line ends and set "fi" as one glyph; a reader that cannot undo both loses the word.
SYLLABLES = (
    "ob-ser-va-to-ry trans-form-ers gen-er-a-tion share-hold-ers ex-pen-di-ture as-tro-nom-i-cal con-stit-u-ent "
    "re-place-ment treas-ur-er in-hab-i-tant com-mem-o-rates light-hous-es de-fib-ril-la-tor rec-om-mend-ed "
    "res-er-voir ca-pac-i-ty con-tri-bu-tions sand-stone grad-u-al-ly su-per-vi-sion con-nect-ed com-put-ed "
    "el-ec-tron-ic meas-ur-a-bly at-tend-ant pas-sen-ger coun-cil prop-er-ties con-tin-gen-cy in-su-lat-ed"
).split()
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


def hyphenable(text: str) -> str:
    """Put soft hyphens into the words of SYLLABLES, so that some lines end inside a word."""
    for word in SYLLABLES:
        plain = word.replace("-", "")
        text = text.replace(plain, word.replace("-", "\u00ad"))
    return text


def write_pdf(source: Source, path: Path) -> None:
    """A4 pages with a running header, a footer and a page number on each."""
    from fpdf import FPDF
    from fpdf.fonts import FontFace

    ligatures = source.fields.get("font") == "ligatures"
    family = "Ligatures" if ligatures else "Times"

    def shape(text: str) -> str:
        text = hyphenable(text)
        if ligatures:
            for letters, glyph in LIGATURES.items():
                text = text.replace(letters, glyph)
        return text

    class Pages(FPDF):
        def header(self) -> None:
            self.set_font("Helvetica", size=9)
            self.cell(0, 6, source.fields["header"], align="C", new_x="LMARGIN", new_y="NEXT")
            self.ln(4)

        def footer(self) -> None:
            self.set_y(-16)
            self.set_font("Helvetica", size=8)
            self.cell(0, 5, source.fields["footer"], align="L", new_x="LMARGIN", new_y="NEXT")
            self.cell(0, 5, f"Page {self.page_no()} of {{nb}}", align="R")

    pdf = Pages(format="A4")
    pdf.set_creation_date(WRITTEN_AT)
    pdf.set_title(source.fields["title"])
    pdf.set_margins(28, 20, 28)
    pdf.set_auto_page_break(True, margin=24)
    if ligatures:
        pdf.add_font("Ligatures", fname=FONT)
    pdf.add_page()
    for block in read_blocks(source.body):
        if block.kind == "heading":
            pdf.ln(2)
            pdf.set_font("Helvetica", style="B", size=19 - 3 * block.level)
            pdf.multi_cell(0, 8, block.text, align="L", new_x="LMARGIN", new_y="NEXT")
            pdf.ln(1)
        elif block.kind == "table":
            pdf.set_font(family, size=10)
            plain = FontFace(emphasis="") if ligatures else FontFace(emphasis="BOLD")
            with pdf.table(headings_style=plain, line_height=6, borders_layout="MINIMAL") as table:
                for row in block.rows:
                    table.row([shape(cell) for cell in row])
            pdf.ln(3)
        else:
            pdf.set_font(family, size=11)
            align = "J" if block.kind == "paragraph" else "L"
            pdf.multi_cell(0, 5.6, shape(block.text), align=align, new_x="LMARGIN", new_y="NEXT")
            pdf.ln(2.4 if block.kind == "paragraph" else 0.6)
    pdf.output(str(path))


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

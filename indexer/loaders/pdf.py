"""PDF to page texts with PDFium: lines rejoined into paragraphs, running headers and footers removed.

pypdfium2 because it is fast (about a microsecond a character), licensed freely (Apache-2.0/BSD), needs no system
package, and gives positions, which tell a wrapped line from the end of a paragraph.
"""

import math
import re
import threading
from collections.abc import Iterator
from itertools import islice, pairwise
from typing import Any

from indexer.clean import running_lines
from indexer.errors import DocumentError
from indexer.loaders.extract import Extract
from indexer.loaders.pdf_headings import Outline, mark_headings
from indexer.loaders.pdf_layout import CELL_GAP, Line, page_text, title_of, turned, vocabulary
from indexer.loaders.pdf_tables import mark_tables

_PDFIUM = threading.Lock()  # PDFium is not thread-safe, not even across documents
_MAX_BOOKMARKS = 10_000
_FEW_LINES = 2  # of more lines running_lines() leaves some
_HYPHEN = 0x02  # what PDFium reports for a hyphen at the end of a line that goes on in the next
_LEADERS = re.compile(r"(?: ?\.){5,} ?")  # the dots that lead to a page number in a table of contents
_UNNAMED = re.compile(r"untitled|microsoft \w+ - |.*\.(docx?|indd|pptx?|xlsx?|qxp|pdf|tex|dvi|rtf|odt)$", re.IGNORECASE)


def read_pdf(data: bytes) -> Extract:
    """Read every page.

    Raises:
        DocumentError: the file is encrypted, cut off or damaged.
    """
    with _PDFIUM:
        metadata, pages, outline, pictured = _read_lines(data)
    words = vocabulary(pages)
    orders = [sorted(range(len(lines)), key=lambda i, lines=lines: -lines[i].y) for lines in pages]  # type: ignore[misc]
    running = running_lines([[lines[i].text for i in order] for lines, order in zip(pages, orders, strict=True)])
    kept = []
    for lines, order, marked in zip(pages, orders, running, strict=True):
        dropped = {order[place] for place in marked}
        kept.append([line for i, line in enumerate(lines) if i not in dropped])
    if not any(kept) and not pictured:
        kept = pages  # "Page 1" on a page without words or picture is all there is to read, and no scan's footer
    texts = [page_text(mark_tables(lines), words) for lines in mark_headings(kept, outline)]
    title = metadata.pop("Title", "").strip()
    if not title or _UNNAMED.match(title):
        title = title_of(pages[0]) if pages else ""
    metadata["Date"] = metadata.get("CreationDate", "")
    said = ("Author", "Subject", "Keywords", "Date")
    named = tuple((name.lower(), metadata[name]) for name in said if metadata.get(name))
    return Extract(tuple(texts), title, (*named, ("pages", str(len(pages)))), paged=True)


def _read_lines(data: bytes) -> tuple[dict[str, str], list[list[Line]], Outline, bool]:
    """Read metadata, the lines of each page, the outline, and whether pages with hardly a line show a picture."""
    import pypdfium2
    from pypdfium2 import raw

    if data.rfind(b"%%EOF") < data.rfind(b" obj"):
        raise DocumentError("the PDF is cut off before its end", "Copy or download the file again.")
    try:
        pdf = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if error.err_code == raw.FPDF_ERR_PASSWORD:
            raise DocumentError(
                "the PDF is encrypted and needs a password", "Save a copy without the password and add that."
            ) from error
        raise
    try:
        metadata = pdf.get_metadata_dict()
        pages = [list(_page_lines(pdf, index, raw)) for index in range(len(pdf))]
        outline = _outline(pdf)
        few = all(len(lines) <= _FEW_LINES for lines in pages)
        pictured = few and any(_has_picture(pdf, index, raw) for index in range(len(pdf)))
    finally:
        pdf.close()
    return metadata, pages, outline, pictured


def _has_picture(pdf: Any, index: int, raw: Any) -> bool:
    page = pdf[index]
    try:
        return next(page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE]), None) is not None
    finally:
        page.close()


def _outline(pdf: Any) -> Outline:
    """Titles of the bookmarks by page; the bookmark that names the whole document beside chapters counts as well."""
    found: dict[int, list[tuple[int, str]]] = {}
    for bookmark in islice(pdf.get_toc(max_depth=6), _MAX_BOOKMARKS):
        target = bookmark.get_dest()
        page = target.get_index() if target else None
        if page is not None:
            found.setdefault(page, []).append((bookmark.level + 1, bookmark.get_title()))
    return found


def _page_lines(pdf: Any, index: int, raw: Any) -> Iterator[Line]:
    page = pdf[index]
    text_page = page.get_textpage()
    glyphs = _Glyphs(text_page, raw)
    try:
        begin, chars = 0, list[str]()
        for place in range(text_page.count_chars()):
            code = raw.FPDFText_GetUnicode(text_page, place)
            hyphen = code == _HYPHEN and raw.FPDFText_IsHyphen(text_page, place) == 1
            if code in (0x0A, 0x0D) or hyphen:
                if line := glyphs.line(begin, chars, hyphen):
                    yield line
                begin, chars = place + 1, []
            else:
                chars.append(chr(code) if 0x20 <= code <= 0x10FFFF else " ")
        if line := glyphs.line(begin, chars, False):
            yield line
    finally:
        text_page.close()
        page.close()


def _whole(text: str) -> str:
    """Join the halves of characters outside of the basic plane, which PDFium gives one by one."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class _Glyphs:
    """Where the characters of a page stand."""

    def __init__(self, text_page: Any, raw: Any) -> None:
        import ctypes

        self._page = text_page
        self._raw = raw
        self._values = [ctypes.c_double() for _ in range(4)]

    def line(self, begin: int, chars: list[str], hyphen: bool) -> Line | None:
        """Make a line of the characters from `begin`; its place comes from its first and last visible character."""
        seen = [begin + place for place, char in enumerate(chars) if not char.isspace()]
        if not seen:
            return None
        text = _whole("".join(chars))
        angle = self._raw.FPDFText_GetCharAngle(self._page, seen[0])
        ends = [*self._sides(seen[0], angle), *self._sides(seen[-1], angle)]
        size = max(1.0, self._printed_size(seen[0]), self._printed_size(seen[-1]))
        return Line(
            text=_LEADERS.sub(" ... ", " ".join(text.split())) + ("-" if hyphen else ""),
            left=min(ends),
            right=max(ends),
            y=self._baseline(seen[0], angle),
            size=size,
            angle=round(angle, 2),
            cells=tuple(self._cells(begin, chars, seen, angle, CELL_GAP * size)),
        )

    def _cells(
        self, begin: int, chars: list[str], seen: list[int], angle: float, gap: float
    ) -> Iterator[tuple[float, float, str]]:
        """The pieces of a line between gaps wider than `gap`; none when there is no such gap."""
        cuts = [
            (before, after)
            for before, after in pairwise(seen)
            if after > before + 1 and self._sides(after, angle)[0] - self._sides(before, angle)[1] > gap
        ]
        firsts, lasts = [seen[0], *(after for _, after in cuts)], [*(before for before, _ in cuts), seen[-1]]
        for first, last in zip(firsts, lasts, strict=True) if cuts else ():
            text = _whole("".join(chars[first - begin : last - begin + 1]))
            ends = [*self._sides(first, angle), *self._sides(last, angle)]
            yield min(ends), max(ends), " ".join(text.split())

    def _sides(self, place: int, angle: float) -> tuple[float, float]:
        """Left and right of a character, as its text reads."""
        self._raw.FPDFText_GetCharBox(self._page, place, *self._values)
        left, right, bottom, top = (value.value for value in self._values)
        across = turned(left, bottom, angle)[0], turned(right, top, angle)[0]
        return min(across), max(across)

    def _baseline(self, place: int, angle: float) -> float:
        self._raw.FPDFText_GetCharOrigin(self._page, place, *self._values[:2])
        return turned(self._values[0].value, self._values[1].value, angle)[1]

    def _printed_size(self, place: int) -> float:
        """Font size on paper: many writers set size 1 and scale by the text matrix."""
        matrix = self._raw.FS_MATRIX()
        self._raw.FPDFText_GetMatrix(self._page, place, matrix)
        size = float(self._raw.FPDFText_GetFontSize(self._page, place))
        return size * (math.hypot(matrix.c, matrix.d) or 1.0)

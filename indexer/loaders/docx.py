"""DOCX to Markdown-like text in document order, tables and text boxes included.

python-docx opens the package and knows the styles; the text is walked in the XML, because its paragraph.text
leaves out tracked insertions, content controls and equations.
"""

import io
from collections.abc import Iterator
from typing import Any

from indexer.loaders.extract import Extract
from indexer.loaders.markup import paragraph, pipe_table
from indexer.loaders.package import open_package

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_M = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
_MATH_SIGNS = {f"{_M}sup": "^", f"{_M}sub": "_", f"{_M}den": "/"}
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"  # repeats a text box for old Word
_DELETED = frozenset((f"{_W}del", f"{_W}moveFrom", f"{_W}pPr", f"{_W}rPr", f"{_W}instrText", _FALLBACK))
_MARKS = {f"{_W}tab": "\t", f"{_W}br": "\n", f"{_W}cr": "\n", f"{_W}noBreakHyphen": "-", f"{_W}ptab": "\t"}
_MAX_SPAN = 50


def read_docx(data: bytes) -> Extract:
    """Read a Word document: headings from styles or outline levels, lists, pipe tables.

    Raises:
        DocumentError: the package would unpack to more than 512 MiB.
    """
    import docx

    open_package(data).close()  # python-docx sets no limits of its own
    document = docx.Document(io.BytesIO(data))
    reader = _Reader(_style_levels(document))
    text = reader.read(document.element.body)
    properties = document.core_properties
    named = (
        *(("author", properties.author), ("subject", properties.subject), ("keywords", properties.keywords)),
        ("date", properties.created.isoformat() if properties.created else ""),
    )
    title = (properties.title or "").strip() or reader.title
    return Extract((text,), title, tuple((name, value) for name, value in named if value))


def _style_levels(document: Any) -> dict[str, tuple[str, int]]:
    """Style id -> (style name in lowercase, heading level from 1, or 0)."""
    levels = {}
    for style in document.styles.element.iterfind(f"{_W}style"):
        name = style.find(f"{_W}name")
        plain = (name.get(f"{_W}val") if name is not None else "").casefold()
        outline = style.find(f"{_W}pPr/{_W}outlineLvl")
        level = int(plain[-1]) if plain[:-1] == "heading " and plain[-1].isdigit() else 0
        if outline is not None and not level:
            level = _outline_level(outline)
        levels[style.get(f"{_W}styleId")] = (plain, 1 if plain == "title" else level)
    return levels


def _outline_level(outline: Any) -> int:
    value = outline.get(f"{_W}val") or ""
    return int(value) + 1 if value in set("012345678") else 0


class _Reader:
    def __init__(self, styles: dict[str, tuple[str, int]]) -> None:
        self._styles = styles
        self._boxes: list[Any] = []  # text boxes anchored in the paragraph being read
        self.title = ""

    def read(self, body: Any) -> str:
        blocks: list[str] = []
        for element in _blocks(body):
            text, tight = (self._table(element), False) if element.tag == f"{_W}tbl" else self._paragraph(element)
            if text:
                blocks += ["\n" if tight else "\n\n", text]
            boxes, self._boxes = self._boxes, []
            for box in boxes:
                if inner := self.read(box):
                    blocks += ["\n\n", inner]
        return "".join(blocks).strip("\n")

    def _paragraph(self, element: Any) -> tuple[str, bool]:
        words = self._words(element).strip()
        if not words:
            return "", False
        name, level = self._style(element)
        if level:
            words = " ".join(words.split())
            if not self.title or name == "title":
                self.title = words
            return f"{'#' * min(level, 6)} {words}", False
        listed = element.find(f"{_W}pPr/{_W}numPr") is not None or name.startswith("list ")
        return (f"- {words}", True) if listed else (paragraph(words), False)

    def _style(self, element: Any) -> tuple[str, int]:
        style = element.find(f"{_W}pPr/{_W}pStyle")
        name, level = self._styles.get(style.get(f"{_W}val"), ("", 0)) if style is not None else ("", 0)
        outline = element.find(f"{_W}pPr/{_W}outlineLvl")
        return name, _outline_level(outline) if outline is not None else level

    def _words(self, element: Any) -> str:
        """Visible text under an element; text boxes are put aside."""
        parts: list[str] = []
        for child in element:
            tag = child.tag
            if tag in _DELETED:
                continue
            if tag == f"{_W}txbxContent":
                self._boxes.append(child)
            elif tag in (f"{_W}t", f"{_M}t"):
                parts.append(child.text or "")
            elif tag in _MARKS:
                parts.append(_MARKS[tag])
            else:
                words = self._words(child)
                raised = child.find(f"{_W}rPr/{_W}vertAlign[@{_W}val='superscript']") is not None
                if words and (tag in _MATH_SIGNS or (raised and parts and parts[-1][-1:].isdigit())):
                    parts.append(_MATH_SIGNS.get(tag, "^"))  # 10 to the 5th is not 105
                parts.append(words)
        return "".join(parts)

    def _table(self, table: Any) -> str:
        rows: list[list[str]] = []
        for row in _children(table, f"{_W}tr"):
            before = row.find(f"{_W}trPr/{_W}gridBefore")
            cells = [""] * (_number(before, 0))
            for cell in _children(row, f"{_W}tc"):
                text = " ".join(filter(None, (self._cell_block(block) for block in _blocks(cell))))
                merged = cell.find(f"{_W}tcPr/{_W}vMerge")
                if merged is not None and merged.get(f"{_W}val") != "restart" and rows and not text:
                    text = rows[-1][len(cells)] if len(cells) < len(rows[-1]) else ""
                span = cell.find(f"{_W}tcPr/{_W}gridSpan")
                cells += [text, *[""] * (_number(span, 1) - 1)]
            rows.append(cells)
        return pipe_table(rows)

    def _cell_block(self, block: Any) -> str:
        if block.tag != f"{_W}tbl":
            return self._words(block)
        rows = (" ".join(self._words(row).split()) for row in _children(block, f"{_W}tr"))
        return " ".join(rows)


def _number(element: Any, otherwise: int) -> int:
    """The w:val of an element as a small number of columns."""
    value = (element.get(f"{_W}val") or "") if element is not None else ""
    return min(int(value), _MAX_SPAN) if value.isascii() and value.isdigit() and len(value) < 9 else otherwise


def _blocks(parent: Any) -> Iterator[Any]:
    """Paragraphs and tables in order, also those inside content controls and tracked insertions."""
    for child in parent:
        if child.tag in (f"{_W}p", f"{_W}tbl"):
            yield child
        elif child.tag in (f"{_W}sdt", f"{_W}sdtContent", f"{_W}ins", f"{_W}moveTo", f"{_W}customXml", f"{_W}smartTag"):
            yield from _blocks(child)


def _children(parent: Any, tag: str) -> Iterator[Any]:
    for child in parent:
        if child.tag == tag:
            yield child
        elif child.tag in (f"{_W}sdt", f"{_W}sdtContent", f"{_W}ins", f"{_W}moveTo", f"{_W}customXml"):
            yield from _children(child, tag)

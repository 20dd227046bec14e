"""Writes Markdown-like text from the start and end of HTML elements."""

from dataclasses import dataclass, field
from typing import Any

from indexer.loaders.markup import fenced, paragraph, pipe_table

_BLOCKS = frozenset(
    """address article aside blockquote body caption center dd details div dl dt fieldset figcaption figure footer
    form header hgroup hr html legend li main ol p pre section summary table tbody td tfoot th thead tr ul
    h1 h2 h3 h4 h5 h6""".split()  # noqa: SIM905
)
_HEADINGS = {f"h{level}": "#" * level for level in range(1, 7)}
_CELLS = ("td", "th")
_NOT_IN_DATA = ("table", "h1", "h2", "h3", "h4", "pre")  # a table that holds one of these is page layout
_MAX_INDENT = 8
_REPEATED_CELL = 200  # a longer cell is not repeated down the rows it spans
_MAX_SPAN = 50
_MAX_SPANNING = 200  # columns in which a cell may span rows: each row repeats what spans it
_BREAK = "\0"  # a <br> while the text of a block is collected; HTML text cannot hold NUL


@dataclass(slots=True)
class _Table:
    element: Any
    rows: list[list[str]] = field(default_factory=list)
    spans: dict[int, tuple[int, str]] = field(default_factory=dict)  # column -> rows still to fill, with what

    def begin_row(self) -> None:
        self.rows.append([])
        self.fill_spans()

    def fill_spans(self) -> None:
        row = self.rows[-1]
        while len(row) in self.spans:
            column = len(row)
            left, text = self.spans[column]
            row.append(text)
            if left > 1:
                self.spans[column] = (left - 1, text)
            else:
                del self.spans[column]

    def add_cell(self, text: str, element: Any) -> None:
        if not self.rows:
            self.begin_row()
        row = self.rows[-1]
        rowspan = _span(element.get("rowspan"), 10_000) if len(row) < _MAX_SPANNING else 1
        for index in range(_span(element.get("colspan"), _MAX_SPAN)):
            shown = text if index == 0 else ""
            if rowspan > 1:
                self.spans[len(row)] = (rowspan - 1, shown if len(shown) <= _REPEATED_CELL else "")
            row.append(shown)
        self.fill_spans()


class Writer:
    """Collects the text of one page; feed it elements in document order."""

    def __init__(self) -> None:
        self.first_heading = ""
        self._blocks: list[str] = []
        self._inline: list[str] = []
        self._prefix = ""  # of the list item whose first words are still to come
        self._lists: list[list[Any]] = []  # [tag, number of the last item]
        self._table: _Table | None = None
        self._pre: Any = None

    def text(self) -> str:
        """Everything written so far."""
        self._flush()
        return "".join(self._blocks).lstrip("\n")

    def write(self, text: str) -> None:
        """Add running text."""
        if text:
            self._inline.append(text)

    def start(self, element: Any) -> None:
        """Open an element and write the text it begins with."""
        tag = element.tag
        if tag == "br":
            self._inline.append("\n" if self._pre is not None else _BREAK)
        elif tag == "sup" and self._inline and self._inline[-1][-1:].isdigit():
            self._inline.append("^")
        elif tag in _BLOCKS and self._pre is None:
            self._start_block(element, tag)
        self.write(element.text or "")

    def _start_block(self, element: Any, tag: str) -> None:
        if self._table is not None:
            self._start_in_table(element, tag)
            return
        self._flush()
        if tag in ("ul", "ol"):
            self._lists.append([tag, 0])
        elif tag == "li":
            self._prefix = self._item_prefix()
        elif tag == "pre":
            self._pre = element
        elif tag == "table" and all(element.find(f".//{inner}") is None for inner in _NOT_IN_DATA):
            self._table = _Table(element)

    def _start_in_table(self, element: Any, tag: str) -> None:
        assert self._table is not None
        if tag == "tr":
            self._table.begin_row()
        if tag in (*_CELLS, "tr"):
            self._inline.clear()
        else:
            self._inline.append(" ")

    def _item_prefix(self) -> str:
        if not self._lists:
            return "- "
        self._lists[-1][1] += 1
        indent = "  " * min(len(self._lists) - 1, _MAX_INDENT)
        return f"{indent}{self._lists[-1][1]}. " if self._lists[-1][0] == "ol" else f"{indent}- "

    def end(self, element: Any) -> None:
        """Close an element."""
        tag = element.tag
        if self._pre is not None:
            if element is self._pre:
                self._end_pre()
        elif self._table is not None:
            self._end_in_table(element, tag)
        elif tag in _HEADINGS:
            self._end_heading(tag)
        elif tag in _BLOCKS:
            self._flush()
            if tag in ("ul", "ol") and self._lists:
                self._lists.pop()
            elif tag == "li":
                self._prefix = ""

    def _end_pre(self) -> None:
        code = "".join(self._inline)
        self._inline.clear()
        self._pre = None
        if code.strip():
            self._add(fenced(code))

    def _end_heading(self, tag: str) -> None:
        words = " ".join("".join(self._inline).replace(_BREAK, " ").split())
        self._inline.clear()
        self._prefix = ""
        if words:
            self._add(f"{_HEADINGS[tag]} {words}")
            self.first_heading = self.first_heading or words

    def _end_in_table(self, element: Any, tag: str) -> None:
        assert self._table is not None
        if tag in _CELLS:
            self._table.add_cell("".join(self._inline).replace(_BREAK, " "), element)
            self._inline.clear()
        elif tag == "caption":
            self._add(paragraph(" ".join("".join(self._inline).replace(_BREAK, " ").split())))
            self._inline.clear()
        elif element is self._table.element:
            self._inline.clear()
            self._add(pipe_table(self._table.rows))
            self._table = None
        elif tag in _BLOCKS:
            self._inline.append(" ")

    def _flush(self) -> None:
        """End the paragraph or list item that is being collected."""
        if not self._inline:
            return
        lines = [" ".join(line.split()) for line in "".join(self._inline).split(_BREAK)]
        self._inline.clear()
        text = "\n".join(lines).strip("\n")
        if text:
            self._add(self._prefix + paragraph(text), tight=bool(self._prefix))
            self._prefix = ""

    def _add(self, block: str, tight: bool = False) -> None:
        if block:
            self._blocks += ["\n" if tight else "\n\n", block]


def _span(value: str | None, most: int) -> int:
    return max(1, min(int(value), most)) if value and value.isascii() and value.isdigit() and len(value) < 9 else 1

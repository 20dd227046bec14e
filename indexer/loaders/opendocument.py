"""OpenDocument texts and presentations: content.xml to Markdown-like text; a slide is a page."""

from collections.abc import Iterator
from typing import Any

from indexer.errors import DocumentError
from indexer.loaders.extract import Extract
from indexer.loaders.markup import paragraph, pipe_table
from indexer.loaders.package import local_name, open_package, read_part

_OFFICE = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}"
_TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"
_TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
_DRAW = "{urn:oasis:names:tc:opendocument:xmlns:drawing:1.0}"
_PRESENTATION = "{urn:oasis:names:tc:opendocument:xmlns:presentation:1.0}"
_LEFT_OUT = frozenset(  # deleted text, remarks, declarations, descriptions of pictures
    (f"{_TEXT}tracked-changes", f"{_OFFICE}annotation", f"{_OFFICE}forms", f"{_TEXT}sequence-decls")
)
_RUNNING = ("header", "footer", "date-time", "page-number")
_MAX_REPEATED = 50  # columns: a sheet's last empty cell is repeated to its edge
_MAX_SPACES = 100


def read_opendocument(data: bytes) -> Extract:
    """Read an ODT or ODP file.

    Raises:
        DocumentError: it is encrypted, or its content.xml is missing or damaged.
    """
    package = open_package(data)
    if "META-INF/manifest.xml" in package.namelist():
        manifest = read_part(package, "META-INF/manifest.xml")
        if any(local_name(each) == "encryption-data" for each in manifest.iter()):
            raise DocumentError("it is encrypted with a password", "Save a copy without the password.")
    body = read_part(package, "content.xml").find(f"{_OFFICE}body")
    reader = _Reader()
    slides = list(body.iter(f"{_DRAW}page")) if body is not None else []
    parts = tuple(reader.read(slide) for slide in slides) or ((reader.read(body),) if body is not None else ("",))
    named = dict(_named(package))
    title = named.pop("title", "") or reader.title
    return Extract(parts, title, tuple(named.items()), paged=bool(slides))


def _named(package: Any) -> Iterator[tuple[str, str]]:
    if "meta.xml" not in package.namelist():
        return
    names = {"title": "title", "initial-creator": "author", "subject": "subject", "keyword": "keywords"}
    for element in read_part(package, "meta.xml").iter():
        text = " ".join((element.text or "").split())
        if local_name(element) in names and text:
            yield names[local_name(element)], text


class _Reader:
    def __init__(self) -> None:
        self.title = ""
        self._frames: list[Any] = []  # text boxes anchored in the paragraph being read

    def read(self, element: Any) -> str:
        """Write the blocks below an element."""
        return "".join(self._blocks(element, 0)).strip("\n")

    def _blocks(self, parent: Any, depth: int) -> Iterator[str]:
        for child in parent:
            tag = child.tag
            if tag in _LEFT_OUT or child.get(f"{_PRESENTATION}class") in _RUNNING:
                continue
            if tag in (f"{_TEXT}p", f"{_TEXT}h"):
                yield from self._paragraph(child)
            elif tag == f"{_TEXT}list":
                yield from self._list(child, depth)
            elif tag == f"{_TABLE}table":
                yield from ("\n\n", pipe_table(list(self._rows(child))))
            elif tag == f"{_PRESENTATION}notes":
                notes = self.read(child)
                yield from ("\n\n", f"Notes: {notes}") if notes else ()
            elif child.get(f"{_PRESENTATION}class") == "title":
                words = " ".join(self._words(child).split())
                self.title = self.title or words
                yield from ("\n\n", f"# {words}") if words else ()
            else:
                yield from self._blocks(child, depth)

    def _paragraph(self, element: Any) -> Iterator[str]:
        words = "\n".join(" ".join(line.split()) for line in self._words(element).split("\n")).strip()
        if words and element.tag == f"{_TEXT}h":
            words = " ".join(words.split())
            self.title = self.title or words
            level = element.get(f"{_TEXT}outline-level") or "1"
            yield from ("\n\n", f"{'#' * (min(int(level), 6) if level.isdigit() and level != '0' else 1)} {words}")
        elif words:
            yield from ("\n\n", paragraph(words))
        frames, self._frames = self._frames, []
        for frame in frames:
            yield from self._blocks(frame, 0)

    def _list(self, element: Any, depth: int) -> Iterator[str]:
        for item in element.iter(f"{_TEXT}list-item", f"{_TEXT}list-header"):
            if item.getparent() is not element:
                continue
            words = [" ".join(self._words(each).split()) for each in item if each.tag in (f"{_TEXT}p", f"{_TEXT}h")]
            if any(words):
                yield from ("\n", f"{'  ' * min(depth, 8)}- {' '.join(filter(None, words))}")
            for inner in item.iterchildren(f"{_TEXT}list"):
                yield from self._list(inner, depth + 1)
        if depth == 0:
            yield "\n\n"

    def _rows(self, table: Any) -> Iterator[list[str]]:
        for row in table.iter(f"{_TABLE}table-row"):
            if next(row.iterancestors(f"{_TABLE}table")) is not table:
                continue  # of a table within a cell, which is part of the cell's words
            cells: list[str] = []
            for cell in row.iterchildren(f"{_TABLE}table-cell", f"{_TABLE}covered-table-cell"):
                repeated = cell.get(f"{_TABLE}number-columns-repeated") or "1"
                words = " ".join(" ".join(self._words(each) for each in cell.iter(f"{_TEXT}p", f"{_TEXT}h")).split())
                cells += [words] * (min(int(repeated), _MAX_REPEATED) if repeated.isdigit() else 1)
            yield cells

    def _words(self, element: Any) -> str:
        parts = [element.text or ""]
        for child in element:
            tag = child.tag
            if tag == f"{_TEXT}s":
                count = child.get(f"{_TEXT}c") or "1"
                parts.append(" " * (min(int(count), _MAX_SPACES) if count.isdigit() else 1))
            elif tag in (f"{_TEXT}tab", f"{_TEXT}line-break"):
                parts.append("\t" if tag == f"{_TEXT}tab" else "\n")
            elif tag == f"{_TEXT}note":
                body = child.find(f"{_TEXT}note-body")
                parts.append(f" ({' '.join(self._words(body).split())})" if body is not None else "")
            elif tag == f"{_DRAW}frame" and element.tag in (f"{_TEXT}p", f"{_TEXT}h"):
                self._frames += list(child.iterchildren(f"{_DRAW}text-box"))
            elif tag not in _LEFT_OUT:
                parts.append(self._words(child))
                if tag in (f"{_TEXT}p", f"{_TEXT}h", f"{_TEXT}list-item"):
                    parts.append("\n")
            parts.append(child.tail or "")
        return "".join(parts)

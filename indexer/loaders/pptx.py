"""PowerPoint: one page a slide, in the order of the show. Read in the XML: text, tables, speaker's notes, diagrams."""

from collections.abc import Iterator
from typing import Any

from indexer.loaders.extract import Extract
from indexer.loaders.markup import paragraph, pipe_table
from indexer.loaders.package import local_name, open_package, read_part, relations

_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_P = "{http://schemas.openxmlformats.org/presentationml/2006/main}"
_R = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
_PRESENTATION = "ppt/presentation.xml"
_TITLES = ("title", "ctrTitle")
_LEFT_OUT = ("sldNum", "dt", "ftr", "hdr")  # slide number, date and running lines
_ITEMS = (None, "body", "obj")  # kinds of placeholder whose paragraphs are items


def read_pptx(data: bytes) -> Extract:
    """Read every slide, hidden ones included."""
    package = open_package(data)
    presentation = _presentation(package)
    related = relations(package, presentation)
    shown = [related.get(each.get(f"{_R}id") or "") for each in read_part(package, presentation).iter(f"{_P}sldId")]
    slides = [_slide(package, part) for part in (found[1] for found in shown if found)]
    title = next((text.split("\n", 1)[0].removeprefix("# ") for text in slides if text.startswith("# ")), "")
    return Extract(tuple(slides), title, (("slides", str(len(slides))),), paged=True)


def _presentation(package: Any) -> str:
    main = (part for kind, part in relations(package, "").values() if kind == "officeDocument")
    return next(main, _PRESENTATION)


def _slide(package: Any, part: str) -> str:
    root, related = read_part(package, part), relations(package, part)
    shapes = list(_shapes(root))
    shapes.sort(key=lambda shape: _placeholder(shape)[1] not in _TITLES)  # the title is read first, wherever it is
    blocks = [_shape(shape, number == 0) for number, shape in enumerate(shapes)]
    for kind, other in related.values():
        if kind == "notesSlide":
            notes = (_shape(shape, False) for shape in _shapes(read_part(package, other)))
            blocks += ["Notes: " + text for text in notes if text]
        elif kind == "diagramData":
            lines = (_words(each) for each in read_part(package, other).iter(f"{_A}p"))
            blocks.append("\n".join(f"- {line}" for line in lines if line))
    return "\n\n".join(filter(None, blocks))


def _shapes(root: Any) -> Iterator[Any]:
    """Shapes and tables in document order, those in groups included; a fallback repeats what it stands for."""
    for element in root.iter(f"{_P}sp", f"{_A}tbl"):
        if not any(local_name(above) == "Fallback" for above in element.iterancestors()):
            yield element


def _placeholder(shape: Any) -> tuple[bool, str | None]:
    """Whether a shape fills a place of the layout, and which kind of place."""
    place = shape.find(f"{_P}nvSpPr/{_P}nvPr/{_P}ph")
    return (place is not None), (place.get("type") if place is not None else None)


def _shape(shape: Any, first: bool) -> str:
    if shape.tag == f"{_A}tbl":
        rows = [[_words(cell, " ") for cell in row.iterfind(f"{_A}tc")] for row in shape.iterfind(f"{_A}tr")]
        return pipe_table(rows)
    is_placeholder, kind = _placeholder(shape)
    if kind in _LEFT_OUT:
        return ""
    lines = [(_level(each), _words(each)) for each in shape.iter(f"{_A}p")]
    lines = [(level, words) for level, words in lines if words]
    if kind in _TITLES and first:
        return f"# {' '.join(words for _, words in lines)}" if lines else ""
    if is_placeholder and kind in _ITEMS and len(lines) > 1:
        return "\n".join(f"{'  ' * level}- {words}" for level, words in lines)
    return "\n".join(paragraph(words) for _, words in lines)


def _level(element: Any) -> int:
    properties = element.find(f"{_A}pPr")
    level = properties.get("lvl") if properties is not None else None
    return min(int(level), 8) if level and level.isascii() and level.isdigit() else 0


def _words(element: Any, between: str = "") -> str:
    """The text of a paragraph, or of all the paragraphs of a cell; a break within it is a space."""
    parts = []
    for each in element.iter(f"{_A}t", f"{_A}br", f"{_A}p", f"{_A}tab"):
        parts.append((each.text or "") if each.tag == f"{_A}t" else between if each.tag == f"{_A}p" else " ")
    return " ".join("".join(parts).replace("\x0b", " ").split())

"""XML: JATS articles as the pages they describe; any other XML by element, records as lines that name their fields."""

import re
from collections.abc import Iterator
from typing import Any

from indexer.loaders.decode import decode, starts_with_mark, unmarked_wide_encoding
from indexer.loaders.extract import Extract
from indexer.loaders.html import write
from indexer.loaders.markup import paragraph
from indexer.loaders.package import local_name, parse_xml

_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")
_JATS = {  # JATS 1.3 elements by the HTML elements they read like; tables are XHTML already
    "p": "p", "list": "ul", "list-item": "li", "disp-quote": "blockquote", "sup": "sup", "break": "br",
    "sec": "section",
    "fig": "figure", "table-wrap": "figure", "caption": "div", "disp-formula": "div", "def-item": "p", "ack": "section",
    "preformat": "pre", "code": "pre", "abstract": "section", "app": "section", "ref-list": "section", "ref": "li",
    "table": "table", "thead": "thead", "tbody": "tbody", "tr": "tr", "td": "td", "th": "th", "boxed-text": "section",
    "fn": "p", "supplementary-material": "p",
}  # fmt: skip
_JATS_DROPPED = ("tex-math", "object-id", "permissions", "alternatives-id", "journal-meta")
_HEADED = ("sec", "abstract", "ack", "app", "ref-list", "body", "back", "boxed-text", "trans-abstract", "app-group")


def read_xml(data: bytes) -> Extract:
    """Read an XML file. Entities that it declares are refused, and nothing outside of the file is read.

    Raises:
        DocumentError: it is not well formed, or uses entities of its own.
    """
    if starts_with_mark(data) or unmarked_wide_encoding(data):
        data = _DECLARATION.sub("", decode(data)[0].lstrip("\ufeff")).encode("utf-8", "replace")
    root = parse_xml(data)
    if local_name(root) == "article" and any(local_name(each) in ("front", "body") for each in root):
        return _article(root)
    lines = list(_blocks(root))
    title = next((" ".join((each.text or "").split()) for each in root.iter() if local_name(each) == "title"), "")
    return Extract(("\n\n".join(lines),), title)


def _article(root: Any) -> Extract:
    from lxml import etree

    page = etree.Element("article")
    front = _first(root, "front")
    heading = _first(front, "article-title") if front is not None else None
    title = " ".join("".join(heading.itertext()).split()) if heading is not None else ""
    etree.SubElement(page, "h1").text = title
    authors = [_name(each) for each in (front.iter() if front is not None else ()) if local_name(each) == "contrib"]
    found = [each for each in root.iter() if local_name(each) in ("abstract", "trans-abstract")]
    for part in [*found, *(each for each in root if local_name(each) in ("body", "back", "floats-group"))]:
        _to_html(part, 1)
        page.append(part)
    for letter in [each for each in root if local_name(each) in ("sub-article", "response")]:
        named = _first(letter, "article-title")
        etree.SubElement(page, "h2").text = "".join(named.itertext()) if named is not None else "Response"
        for part in [each for each in letter if local_name(each) in ("body", "back")]:
            _to_html(part, 2)
            page.append(part)
    author = "; ".join(filter(None, authors))
    return Extract((write(page).text(),), title, (("author", author),) if author else ())


def _first(element: Any, name: str) -> Any:
    return next((each for each in element.iter() if local_name(each) == name), None)


def _name(contributor: Any) -> str:
    names = {local_name(each): each.text or "" for each in contributor.iter()}
    return " ".join(f"{names.get('given-names', '')} {names.get('surname', '')}".split())


def _to_html(element: Any, level: int) -> None:
    """Rename the elements of a part of an article in place."""
    name = local_name(element)
    if name == "abstract" and not any(local_name(each) == "title" for each in element):
        title = element.makeelement("title")
        title.text = "Abstract"
        element.insert(0, title)
    inner = level + (name in _HEADED and name not in ("body", "back"))
    for child in list(element):
        kind = local_name(child)
        if kind == "title" and name in _HEADED:
            child.tag = f"h{min(inner, 6)}"
        elif kind in (
            "label",
            "title",
            "surname",
            "given-names",
            "year",
            "source",
            "volume",
            "fpage",
            "pub-id",
            "term",
        ):
            child.tail = f" {child.tail or ''}"  # these stand without space between them
            child.tag = "span"
        elif kind in _JATS_DROPPED:
            child.text, child.tag = "", "span"
            del child[:]
        else:
            _to_html(child, inner)
    element.tag = _JATS.get(name, "span")
    for key in set(element.attrib) - {"rowspan", "colspan"}:
        del element.attrib[key]
    if name in ("element-citation", "mixed-citation"):
        element.text, tail = " ".join(" ".join(element.itertext()).split()), element.tail
        del element[:]
        element.tail = tail


def _blocks(element: Any) -> Iterator[str]:
    """Elements that hold only fields become one line, elements with running text a paragraph, others are entered."""
    children = list(element)
    if not children or any((each.tail or "").strip() for each in children) or (element.text or "").strip():
        text = " ".join("".join(element.itertext()).split())
        if text and not children:
            text = f"{local_name(element)}: {text}"
        line = "; ".join(filter(None, (*_attributes(element), text)))
        if line:
            yield paragraph(line)
        return
    fields = [_field(each) for each in children if not len(each)]
    line = "; ".join(filter(None, (*_attributes(element), *fields)))
    if line:
        yield paragraph(line)
    for child in children:
        if len(child):
            yield from _blocks(child)


def _field(element: Any) -> str:
    text = " ".join((element.text or "").split())
    inner = "; ".join((*_attributes(element), *((text,) if text else ())))
    return f"{local_name(element)}: {inner}" if inner else ""


def _attributes(element: Any) -> list[str]:
    named = ((str(name).rpartition("}")[2], " ".join(value.split())) for name, value in element.attrib.items())
    return [f"{name}: {value}" for name, value in named if value]

"""HTML to Markdown-like text with lxml, without recursion: pages may nest thousands of elements deep."""

import codecs
import re
from typing import Any

from indexer.errors import DocumentError
from indexer.loaders.decode import decode, starts_with_mark
from indexer.loaders.extract import Extract
from indexer.loaders.html_writer import Writer

_DROPPED = frozenset(
    """script style nav template noscript svg canvas iframe object embed audio video button select input textarea
    datalist dialog head link meta annotation annotation-xml""".split()  # noqa: SIM905
)
_DROPPED_CLASSES = frozenset(("mw-editsection", "mw-jump-link"))
_HIDDEN_STYLE = re.compile(r"display\s{0,9}:\s{0,9}none|visibility\s{0,9}:\s{0,9}hidden")
_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s{0,9}=\s{0,9}[\"']?([\w.:-]{1,40})", re.IGNORECASE)
_LATIN = frozenset(("iso8859-1", "ascii"))  # browsers read both as Windows-1252, and so do the pages mean them
_UNUSUAL = ("utf-16", "utf-32", "utf-7", "punycode", "idna", "unicode_escape", "raw_unicode_escape", "undefined")


def read_html(data: bytes) -> Extract:
    """Read a page: headings, lists, pipe tables and fenced code; scripts, navigation and hidden parts are dropped.

    Raises:
        DocumentError: the elements lie deeper than the parser follows; it would give back a page without text.
    """
    from lxml import etree

    text, encoding = _decode(data)
    parser = etree.HTMLParser(encoding="utf-8", huge_tree=True, remove_pis=True, remove_comments=True)
    root = etree.fromstring(text.encode("utf-8", "replace"), parser)
    if any(entry.type_name == "ERR_RESOURCE_LIMIT" for entry in parser.error_log):
        raise DocumentError(
            "its elements lie more than 2,048 deep, which no browser shows", "Save the page again, or as text."
        )
    if root is None:
        return Extract(("",), metadata=(("encoding", encoding),))
    writer = write(root)
    title = " ".join((root.findtext(".//title") or "").split()) or writer.first_heading
    return Extract((writer.text(),), title, (("encoding", encoding), *_named_meta(root)))


def write(root: Any) -> Writer:
    """Write the text of a tree of HTML elements."""
    from lxml import etree

    writer = Writer()
    skipped: Any = None
    walk = etree.iterwalk(root, events=("start", "end"))
    for event, element in walk:
        if event == "start" and (element.tag in _DROPPED or _is_hidden(element)):
            skipped = element
            walk.skip_subtree()
        elif event == "start":
            writer.start(element)
        else:
            if element is not skipped:
                writer.end(element)
            writer.write(element.tail or "")
    return writer


def _decode(data: bytes) -> tuple[str, str]:
    """Decode as the page's own meta element says, where that works without a single error."""
    declared = _CHARSET.search(data[:4096])
    if declared and not starts_with_mark(data):
        try:
            name = codecs.lookup(declared[1].decode("ascii")).name
            name = "cp1252" if name in _LATIN else name
            if not name.startswith(_UNUSUAL):
                return data.decode(name), name
        except (LookupError, UnicodeError):
            pass
    return decode(data)


def _is_hidden(element: Any) -> bool:
    attributes = element.attrib
    return bool(attributes) and (
        "hidden" in attributes
        or attributes.get("aria-hidden") == "true"
        or attributes.get("role") == "navigation"
        or bool(_HIDDEN_STYLE.search(attributes.get("style", "").lower()))
        or not _DROPPED_CLASSES.isdisjoint(attributes.get("class", "").split())
    )


def _named_meta(root: Any) -> tuple[tuple[str, str], ...]:
    named = {(tag.get("name") or "").lower(): (tag.get("content") or "").strip() for tag in root.iterfind(".//meta")}
    return tuple((name, named[name]) for name in ("author", "description", "date") if named.get(name))

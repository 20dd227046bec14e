"""Plain text and Markdown: kept as written; Markdown front matter becomes metadata."""

import re

from indexer.loaders.decode import decode
from indexer.loaders.extract import Extract

_FRONT_MATTER = re.compile(r"(---|\+\+\+)[ \t]*\n")
_PAIR = re.compile(r"([A-Za-z_][\w-]*)[ \t]*[:=][ \t]*(\S.*)")
_HEADING = re.compile(r" {0,3}#{1,6}[ \t]+(\S.*)")
_MAX_PAIRS = 50


def read_text(data: bytes) -> Extract:
    """Read plain text; a form feed, where a text has one, is no page: few texts number pages that way."""
    text, encoding = decode(data)
    return Extract((text,), metadata=(("encoding", encoding),))


def read_markdown(data: bytes) -> Extract:
    """Read Markdown; the title comes from the front matter or the first heading."""
    text, encoding = decode(data)
    text = text.replace("\r\n", "\n").replace("\r", "\n").lstrip("\ufeff")
    pairs, text = split_front_matter(text)
    title = dict(pairs).get("title", "") or _first_heading(text)
    return Extract((text,), title, (("encoding", encoding), *(pair for pair in pairs if pair[0] != "title")))


def split_front_matter(text: str) -> tuple[tuple[tuple[str, str], ...], str]:
    """Take YAML (---) or TOML (+++) front matter off: its plain `key: value` lines, and the rest.

    Text whose first fence never closes, or that holds no such line, has no front matter.
    """
    opening = _FRONT_MATTER.match(text)
    if not opening:
        return (), text
    closing = re.compile(rf"^{re.escape(opening[1])}[ \t]*$", re.MULTILINE).search(text, opening.end())
    if not closing:
        return (), text
    lines = text[opening.end() : closing.start()].splitlines()
    pairs = [(match[1].lower(), match[2].strip().strip("\"'")) for line in lines if (match := _PAIR.match(line))]
    if not pairs:
        return (), text
    return tuple(dict(pairs[:_MAX_PAIRS]).items()), text[closing.end() :].lstrip("\n")


def _first_heading(text: str) -> str:
    for line in text[:20_000].split("\n"):
        if match := _HEADING.match(line):
            return match[1].rstrip("# \t")
    return ""

"""Turns text that nobody vouches for into HTML that cannot do anything.

Answers and documents are untrusted: a model repeats what a document told it to. So nothing here passes Markdown or
HTML through. A few harmless forms of Markdown that models write (lists, bold, code) are recognised and rebuilt from
escaped text; everything else, links and images included, stays the characters it was.
"""

import re
from collections.abc import Callable
from html import escape

_OPEN_MARKER = re.compile(r"\s*\[[\d,\s]*$")
_INLINE = re.compile(r"\*\*(?P<bold>[^*\n]+)\*\*|`(?P<code>[^`\n]+)`|(?P<marker>\[\d{1,3}(?:\s*,\s*\d{1,3})*\])")
_BULLET = re.compile(r"\s*[-*•]\s+(?=\S)")
_NUMBERED = re.compile(r"\s*\d{1,3}[.)]\s+(?=\S)")

Chip = Callable[[int], str]


def escaped(text: str) -> str:
    """Text as HTML that shows exactly these characters.

    Newlines become character references because Streamlit dedents what it is given, which would shorten lines that
    hold only spaces, and the words shown must be the words of the document.
    """
    return escape(text, quote=True).replace("\r", "&#13;").replace("\n", "&#10;")


def answer_html(text: str, chip: Chip) -> str:
    """An answer as paragraphs and lists; `chip(n)` gives the HTML for marker `[n]`, or "" to leave it as it is."""
    blocks = (_block_html(block, chip) for block in re.split(r"\n\s*\n", text.strip()))
    return "".join(blocks)


def line_html(text: str) -> str:
    """One line of our own words (an error, its remedy), with its `code` set as code."""
    return _inline_html(text, lambda number: "")


def label(text: str) -> str:
    """Text for the label of a Streamlit widget, which would read Markdown into it."""
    return "".join(f"\\{char}" if char in "\\`*_{}[]()#+-.!~$:<>|" else char for char in text)


def without_open_marker(text: str) -> str:
    """Text as far as it has arrived, less a marker at its end whose closing bracket has not arrived yet."""
    return _OPEN_MARKER.sub("", text)


def _block_html(block: str, chip: Chip) -> str:
    html: list[str] = []
    open_list = ""
    for line in block.split("\n"):
        kind, content = _classify(line)
        if kind != open_list:
            html.append(f"</{open_list}>" if open_list else "")
            html.append(f"<{kind}>" if kind else "")
            open_list = kind
        tag = "li" if kind else "p"
        html.append(f"<{tag}>{_inline_html(content, chip)}</{tag}>" if content else "")
    html.append(f"</{open_list}>" if open_list else "")
    return "".join(html)


def _classify(line: str) -> tuple[str, str]:
    """The list a line belongs to ("ul", "ol" or "" for none), and its content."""
    if found := _BULLET.match(line):
        return "ul", line[found.end() :].strip()
    if found := _NUMBERED.match(line):
        return "ol", line[found.end() :].strip()
    return "", line.strip()


def _inline_html(text: str, chip: Chip) -> str:
    html: list[str] = []
    done = 0
    for found in _INLINE.finditer(text):
        before, chips = text[done : found.start()], _chips(found["marker"], chip)
        # A chip hangs on the word before it: no line may begin with a footnote mark.
        html.append(escaped(before.rstrip() if chips else before))
        if found["bold"]:
            html.append(f"<strong>{_inline_html(found['bold'], chip)}</strong>")
        elif found["code"]:
            html.append(f"<code>{escaped(found['code'])}</code>")
        else:
            html.append(chips or escaped(found[0]))
        done = found.end()
    html.append(escaped(text[done:]))
    return "".join(html)


def _chips(marker: str | None, chip: Chip) -> str:
    """The chips of "[1]" or "[1, 2]"; numbers that name nothing are left out."""
    return "".join(chip(int(number)) for number in marker.strip("[]").split(",")) if marker else ""

"""Turns text that nobody vouches for into HTML that cannot do anything.

Answers and documents are untrusted: a model repeats what a document told it to. So nothing here passes Markdown or
HTML through. A few harmless forms of Markdown that models write (lists, bold, code) are recognised and rebuilt from
escaped text; everything else, links and images included, stays the characters it was.
"""

import re
from collections.abc import Callable, Sequence
from html import escape

from generator.markers import code_blocks

_BEGIN, _END = "\ue000", "\ue001"
_TAG_OR_SIGN = re.compile(rf"(<[^>]*>|{_BEGIN}|{_END})")
_DOUBT = '<span class="fn-doubt" title="No passage that was found says so.">no source found</span>'
_MARKERS = re.compile(r"(?:[ \t]*\[\d{1,3}\])+")
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


def answer_html(text: str, chip: Chip, doubts: Sequence[tuple[int, int]] = ()) -> str:
    """An answer as paragraphs, lists and code; `chip(n)` gives the HTML for marker `[n]`, or "" to leave it as it is.

    `doubts` are characters (start, end) of the text, in order, that are set off with a mark behind each.
    """
    html: list[str] = []
    done = 0
    for low, high, code in code_blocks(text):
        doubtful = any(low <= start < high for start, _ in doubts)
        html += [_prose_html(text, done, low, chip, doubts), _code_html(code, doubtful=doubtful)]
        done = high
    return "".join([*html, _prose_html(text, done, len(text), chip, doubts)])


def _prose_html(text: str, low: int, high: int, chip: Chip, doubts: Sequence[tuple[int, int]]) -> str:
    """Characters low to high of a text as paragraphs and lists."""
    signed = _with_signs(text, low, high, [span for span in doubts if low <= span[0] < high])
    return _dressed("".join(_block_html(block, chip) for block in re.split(r"\n\s*\n", signed.strip())))


def _code_html(code: str, *, doubtful: bool) -> str:
    return f"<pre><code>{escaped(code)}</code></pre>" + (f"<p>{_DOUBT}</p>" if doubtful else "")


def _with_signs(text: str, low: int, high: int, doubts: Sequence[tuple[int, int]]) -> str:
    """Put a character for private use where a doubt begins and another where it ends: escaping keeps them.

    The sign of a list and the markers behind a sentence stay outside and inside: they must be recognised afterwards.
    """
    pieces = []
    done = low
    for start, end in doubts:
        item = _BULLET.match(text, start) or _NUMBERED.match(text, start)
        start = item.end() if item else start
        behind = _MARKERS.match(text, end)
        end = min(high, behind.end() if behind else end)
        pieces += [_unsigned(text[done:start]), _BEGIN, _unsigned(text[start:end]), _END]
        done = end
    return "".join([*pieces, _unsigned(text[done:high])])


def _unsigned(text: str) -> str:
    return text.replace(_BEGIN, "\ufffd").replace(_END, "\ufffd")


def _dressed(html: str) -> str:
    """Wrap each run of text between the signs by itself, so that no tag of an answer crosses another."""
    if _BEGIN not in html:
        return html
    pieces: list[str] = []
    inside = False
    for piece in _TAG_OR_SIGN.split(html):
        if piece == _BEGIN:
            inside = True
        elif piece == _END:
            inside = False
            pieces.append(_DOUBT)
        elif inside and piece.strip() and not piece.startswith("<"):
            pieces.append(f'<span class="fn-unsupported">{piece}</span>')
        else:
            pieces.append(piece)
    return "".join(pieces)


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

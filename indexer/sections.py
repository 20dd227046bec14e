"""Where the headings of a Markdown-like text divide it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*))?$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)$")
_UNDERLINE = re.compile(r" {0,3}(=+|-{2,})[ \t]*$")
_NOT_A_TITLE = re.compile(r"\s|[-*+>|#`~]|\d{1,9}[.)]\s")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_MAX_LINE_ABOVE = 80  # characters
_MAX_HEADING = 200  # characters of a heading that are kept in a heading path


@dataclass(frozen=True, slots=True)
class Section:
    """`text[start:end]`, beginning with its heading lines; its own words begin at `body`."""

    start: int
    body: int
    end: int
    path: tuple[str, ...]  # headings from the outermost to its own


@dataclass(frozen=True, slots=True)
class _Heading:
    start: int
    body: int
    level: int
    words: str


def split_sections(text: str) -> list[Section]:
    """Cut a text at its headings, `#` or underlined, outside fenced code. The sections cover the whole text.

    A heading with no words of its own opens the first section below it, and so does a line above the first heading.
    """
    headings = list(_headings(text))
    bounds = [heading.start for heading in headings] + [len(text)]
    sections = [Section(0, 0, bounds[0], ())] if bounds[0] else []
    above: list[_Heading] = []
    for heading, end in zip(headings, bounds[1:], strict=True):
        while above and above[-1].level >= heading.level:
            above.pop()
        above.append(heading)
        path = tuple(each.words for each in above if each.words)
        start = heading.start
        if sections and _belongs_below(text, sections[-1], path):
            start = sections.pop().start
        sections.append(Section(start, heading.body, end, path))
    return sections or [Section(0, 0, len(text), ())]


def _belongs_below(text: str, section: Section, path: tuple[str, ...]) -> bool:
    """Whether a section is only headings above those of `path`, or a short line before the first heading."""
    words = text[section.body : section.end].strip()
    if section.body == section.start:
        return len(words) <= _MAX_LINE_ABOVE
    return not words and path[: len(section.path)] == section.path


def _headings(text: str) -> Iterator[_Heading]:
    fence = ""
    start, before, last = 0, "", ""  # the two lines above
    last_start = 0
    for line in text.split("\n"):
        end = min(start + len(line) + 1, len(text))
        mark = _FENCE.match(line)
        if mark and not ("`" in mark[1] and "`" in mark[2]):  # ```code``` within a line opens nothing
            closes = mark[1].startswith(fence) and not mark[2].strip()
            fence = mark[1] if not fence else "" if closes else fence
        elif not fence and (found := _HEADING.match(line)):
            yield _Heading(start, end, len(found[1]), _plain(found[2] or ""))
        elif not fence and (found := _UNDERLINE.match(line)) and not before.strip() and _may_be_title(last):
            yield _Heading(last_start, end, 1 if found[1][0] == "=" else 2, _plain(last))
        before, last, last_start, start = last, line, start, end


def _may_be_title(line: str) -> bool:
    return bool(line) and not _NOT_A_TITLE.match(line)


def _plain(words: str) -> str:
    """Heading words without Markdown's signs."""
    words = words[: 2 * _MAX_HEADING].strip()
    words = re.sub(r"[ \t]+#+$", "", words)
    return " ".join(_LINK.sub(r"\1", words).replace("**", "").replace("__", "").replace("`", "").split())[:_MAX_HEADING]

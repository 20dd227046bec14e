"""What a question asks of a passage beside its words: a phrase, or words in a title or a heading.

    "goat cheese"            these words next to each other, anywhere in the passage
    title:cheese             this word in the document's title
    heading:"goat cheese"    these words next to each other in a heading above the passage

Everything else is words: an open quotation mark, a sign of inches, a colon before a space or an unknown name. So no
text is a mistake.
"""

import re
from dataclasses import dataclass
from typing import cast

from indexer.store.index import Field, Required

_PART = re.compile(
    r"""(?<![\w"'])(?:(?P<field>title|heading):)?"(?P<phrase>[^"\n]*)"(?!\w)"""
    r"""|(?<!\S)(?P<named>title|heading):(?P<word>\w[^\s"]*)"""
)
_WORD = re.compile(r"\w")


@dataclass(frozen=True, slots=True)
class Asked:
    """A question taken apart."""

    words: str  # the question without the names of fields: what both searches are given
    required: tuple[Required, ...]


def read_question(question: str) -> Asked:
    """Take a question apart; never fails."""
    required = tuple(
        _required(found) for found in _PART.finditer(question) if _WORD.search(found["word"] or found["phrase"])
    )
    return Asked(_PART.sub(_without_name, question) if required else question, required)


def _required(found: re.Match[str]) -> Required:
    name = found["field"] or found["named"] or "text"
    return Required(cast(Field, name), found["word"] or found["phrase"])


def _without_name(found: re.Match[str]) -> str:
    return str(found["word"]) if found["word"] else f'"{found["phrase"]}"'

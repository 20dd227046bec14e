"""Treebank-tokenised text back to how people write it, with a map that keeps every offset true."""

import re
from dataclasses import dataclass

# Each alternative is one habit of the Penn Treebank tokeniser (https://www.cis.upenn.edu/~treebank/tokenization.html).
_RULES = re.compile(
    r"""
      (?P<junk>[\ufeff\u200b-\u200f\u202a-\u202e])
    | (?P<open>``[ ])
    | (?P<close>[ ]'')
    | (?P<quote>``|'')
    | (?P<hyphen>(?<=\w)[ ]-[ ](?=\w))
    | (?P<clock>(?<=\d)[ ]:[ ](?=\d))
    | (?P<range>(?<=\d)[ ]--[ ](?=\d))
    | (?P<dash>(?<=[ ])--(?=[ ]))
    | (?P<slash>[ ]/[ ])
    | (?P<before>[ ](?=[,.;:!?%)\]](?:[ ]|$)|(?:'s|'re|'m|'ll|'ve|'d|n't|')(?:[ ]|$)))
    | (?P<after>(?<=[(\[$£€#])[ ])
    """,
    re.VERBOSE,
)
_WRITTEN = {
    **dict.fromkeys(("open", "close", "quote"), '"'),
    **dict.fromkeys(("range", "dash"), "\u2013"),
    "hyphen": "-",
    "clock": ":",
    "slash": "/",
}


@dataclass(frozen=True, slots=True)
class Detokenized:
    """Readable text; `offsets[i]` is where character i of the original went (one more entry than characters)."""

    text: str
    offsets: tuple[int, ...]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Map a span of the original, without the white space that it may have at its ends."""
        low, high = self.offsets[start], self.offsets[end]
        piece = self.text[low:high]
        low += len(piece) - len(piece.lstrip())
        return low, low + len(piece.strip())


def detokenize(text: str) -> Detokenized:
    """Undo Treebank spacing and quotes: "Apple 's , 1990 -- 2000" -> "Apple's, 1990\u20132000"."""
    out: list[str] = []
    offsets: list[int] = []
    length = done = 0
    for rule in _RULES.finditer(text):
        kept = text[done : rule.start()]
        written = _WRITTEN.get(rule.lastgroup or "", "")
        offsets += range(length, length + len(kept))
        length += len(kept)
        # Characters of a replaced piece share its place; those after its first one point behind it.
        offsets += [length + (len(written) if index else 0) for index in range(len(rule.group()))]
        out += [kept, written]
        length += len(written)
        done = rule.end()
    kept = text[done:]
    offsets += range(length, length + len(kept) + 1)
    return Detokenized("".join([*out, kept]), tuple(offsets))

"""Words as they are compared: without case, typography, plural and the spelling of small numbers."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_WORD = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:['\u2019][^\W\d_]+)?")
_COMMON = """
a an the and or but if of in on at to for from by with as is are was were be been being it its this that these those he
she they them his her their you your we our i not no do does did has have had will would can could may might must shall
should than then there here which who whom whose what when where why how also only so such into over under about after
before between during up down out very more most other some any all each
"""
STOPWORDS = frozenset(_COMMON.split())
_NEGATIONS = frozenset(("not", "no", "never", "none", "neither", "nor", "nobody", "nothing", "without", "cannot"))
# "one" is left out: it is a pronoun as often as a number.
_NUMBERS = "two three four five six seven eight nine ten eleven twelve"
_NUMERALS = {word: str(value) for value, word in enumerate(_NUMBERS.split(), start=2)}
_TYPO_CHARS = 5  # in shorter words one letter makes another word


@dataclass(frozen=True, slots=True)
class Token:
    """A word in its compared form, and the characters where it stands."""

    word: str
    start: int
    end: int


def tokens_of(text: str) -> list[Token]:
    """Words and numbers of a text, in order."""
    return [Token(_stem(found.group()), found.start(), found.end()) for found in _WORD.finditer(text)]


def content_of(tokens: Iterable[Token]) -> set[str]:
    """Words that say what a text is about; a denial ("isn't") is looked at by itself."""
    return {token.word for token in tokens if not token.word.endswith("n't")} - STOPWORDS


def is_number(word: str) -> bool:
    """Whether a compared word is a number."""
    return word[:1].isdigit()


def is_negated(words: Iterable[str]) -> bool:
    """Whether compared words deny something."""
    return any(word in _NEGATIONS or word.endswith("n't") for word in words)


class Spelling:
    """Finds the word that a misspelt one stands for: one letter left out, put in, changed or exchanged with the next.

    Two such words have a deletion in common, so each is looked up by its own (SymSpell; Garbe 2012).
    """

    def __init__(self, vocabulary: Iterable[str]) -> None:
        self._known = frozenset(vocabulary)
        self._by_deletion: dict[str, set[str]] = {}
        for word in self._known:
            for shorter in _deletions(word):
                self._by_deletion.setdefault(shorter, set()).add(word)

    def near(self, word: str) -> frozenset[str]:
        """Words of the vocabulary that `word` may be misspelt from; none for one that the vocabulary has."""
        if word in self._known:
            return frozenset()
        near = set().union(*(self._by_deletion.get(shorter, ()) for shorter in _deletions(word)))
        # Deletions at far apart places make words alike that are two letters apart.
        return frozenset(other for other in near if _one_slip(word, other))


def _stem(word: str) -> str:
    """Cut the endings that change between a question, an answer and a passage; numbers lose their commas."""
    word = word.lower().replace("\u2019", "'").removesuffix("'s")
    if is_number(word):
        return word.replace(",", "")
    for ending in ("ing", "ies", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word.removesuffix(ending)
    return _NUMERALS.get(word, word)


def _deletions(word: str) -> Sequence[str]:
    if len(word) < _TYPO_CHARS or not word.isalpha():
        return ()
    return [word, *(word[:at] + word[at + 1 :] for at in range(len(word)))]


def _one_slip(a: str, b: str) -> bool:
    """Whether two different words are one insertion, deletion, change or exchange of neighbours apart."""
    if abs(len(a) - len(b)) > 1:
        return False
    at = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    if len(a) != len(b):
        longer, shorter = (a, b) if len(a) > len(b) else (b, a)
        return longer[at + 1 :] == shorter[at:]
    exchanged = a[at : at + 2] == b[at : at + 2][::-1]
    return a[at + 1 :] == b[at + 1 :] or (exchanged and a[at + 2 :] == b[at + 2 :])

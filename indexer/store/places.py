"""Where the terms of a text stand in it, so that what a person sees marked is what the index counted."""

import functools
from collections.abc import Iterable, Iterator

from indexer.store.language import Language, is_single, paired, placed
from indexer.store.text import analyze, query_terms

Place = tuple[int, int]  # first character, and the one after the last


def places(text: str, query: str, language: Language) -> list[Place]:
    """Where a text has the query's terms, in order; terms that overlap or touch, such as pairs, have one place."""
    terms = set(query_terms(query, language))
    signs = set(filter(is_single, terms))
    found: list[Place] = []
    if words := terms - signs:
        found += [(low, high) for term, low, high in located_terms(text, language) if term in words]
    if signs:  # looked for inside the pairs
        found += [(low, high) for sign, (low, high) in zip(*placed(text), strict=True) if sign in signs]
    return _joined(sorted(found))


def located_terms(text: str, language: Language) -> Iterator[tuple[str, int, int]]:
    """Yield what analyze() makes of a text, in order, each term with where (start, end) it stands."""
    plain, whence = placed(text)
    starts = [start for start, _ in whence] + [len(text)]
    terms = functools.cache(functools.partial(analyze, language=language))  # many words of a text come again
    for low, high in _tokens(plain):
        start, end = starts[low], max(whence[high - 1][1], starts[high])  # signs that are left out belong to their word
        yield from ((term, start, end) for term in terms(plain[low:high]))


def _tokens(plain: str) -> Iterator[Place]:
    """Where pairs of characters and words stand."""
    done = 0
    for low, high in paired(plain):
        yield from _words(plain, done, low)
        yield from ((at, min(at + 2, high)) for at in range(low, max(low + 1, high - 1)))
        done = high
    yield from _words(plain, done, len(plain))


def _words(plain: str, low: int, high: int) -> Iterator[Place]:
    begun = low
    for at in range(low, high):
        if not _in_word(plain[at]):
            if begun < at:
                yield begun, at
            begun = at + 1
    if begun < high:
        yield begun, high


@functools.lru_cache(maxsize=65_536)
def _in_word(sign: str) -> bool:
    """Whether the tokenizer keeps a character inside a word; it is asked, as its notion of letters is not Python's."""
    return (sign.isascii() and sign.isalnum()) or len(analyze(f"a{sign}b", "none")) == 1


def _joined(found: Iterable[Place]) -> list[Place]:
    joined: list[Place] = []
    for low, high in found:
        if joined and low <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(high, joined[-1][1])
        else:
            joined.append((low, high))
    return joined

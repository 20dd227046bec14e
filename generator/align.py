"""Where in a passage the words stand that a claim rests on."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from generator.sentences import split_sentences

_WORD = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:['\u2019][^\W\d_]+)?")
_COMMON = """
a an the and or but if of in on at to for from by with as is are was were be been being it its this that these those he
she they them his her their you your we our i not no do does did has have had will would can could may might must shall
should than then there here which who whom whose what when where why how also only so such into over under about after
before between during up down out very more most other some any all each
"""
STOPWORDS = frozenset(_COMMON.split())
_NUMBER_MISSING = 0.4  # support is at most this when the claim names a number that the passage's sentence does not
_QUOTE_CHARS = 420


@dataclass(frozen=True, slots=True)
class Support:
    """A span of a text, in characters, and how well it supports a claim, 0 to 1."""

    start: int
    end: int
    score: float


@dataclass(frozen=True, slots=True)
class _Token:
    word: str
    start: int
    end: int


def align(claim: str, text: str, question: str = "", background: Sequence[str] = ()) -> Support:
    """Find the sentence of `text` that supports `claim` best.

    A claim that stands in the text word for word has support 1. Otherwise the support of a sentence is the share of
    the claim's content words in it, rare words counting more than common ones; of words that the question has already,
    only what they add to telling sentences apart. `background` are the texts that say what is rare.
    """
    claimed, tokens = _tokens(claim), _tokens(text)
    rarity = _rarity([text, *background])
    asked = {token.word for token in _tokens(question)} - STOPWORDS
    sentences = split_sentences(text)
    best = Support(0, 0, 0.0)
    best_key = (0.0, 0.0)
    runs = _verbatim(claimed, tokens)
    for low, high in _windows(sentences, runs):
        words = {token.word for token in tokens if low <= token.start and token.end <= high}
        is_verbatim = any(low <= start and end <= high for start, end in runs)
        score = 1.0 if is_verbatim else _coverage(claimed, words, rarity)
        near = sum(rarity[word] for word in asked & words)
        key = (round(score, 3), near / (1 + 0.02 * len(words)) - 0.001 * (high - low > 300))
        if key > best_key:
            best_key = key
            best = Support(low, high, score)
    return _shortened(text, best, runs)


def coverages(question: str, texts: Sequence[str]) -> tuple[float, ...]:
    """Share of the question's content words that each text has, 0 to 1; words rare in these texts count more."""
    rarity = _rarity(texts)
    content = {token.word for token in _tokens(question)} - STOPWORDS
    unseen = max(rarity.values(), default=1.0)
    weight = {word: rarity.get(word, unseen) for word in content}
    total = sum(weight.values()) or 1.0
    return tuple(sum(weight[w] for w in content & {t.word for t in _tokens(text)}) / total for text in texts)


def nearness(question: str, texts: Sequence[str], places: Sequence[tuple[int, int]]) -> tuple[float, ...]:
    """Share of the question's content words in the sentence around each place, 0 to 1.

    A place is the number of its text and a character of it; 0 where no sentence is.
    """
    sentences = [(row, low, high) for row, text in enumerate(texts) for low, high in split_sentences(text)]
    shares = coverages(question, [texts[row][low:high] for row, low, high in sentences])
    return tuple(
        next(
            (share for (r, low, high), share in zip(sentences, shares, strict=True) if r == row and low <= at < high),
            0.0,
        )
        for row, at in places
    )


def has_content(claim: str) -> bool:
    """Whether a claim says anything that can be looked for."""
    return any(token.word not in STOPWORDS and token.word != "yes" for token in _tokens(claim))


def _windows(sentences: Sequence[tuple[int, int]], runs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Each sentence, and as many of them together as a verbatim run spreads over."""
    spread = [
        (min(low for low, high in sentences if high > start), max(high for low, high in sentences if low < end))
        for start, end in runs
        if not any(low <= start and end <= high for low, high in sentences)
    ]
    return [*sentences, *spread]


def _tokens(text: str) -> list[_Token]:
    return [_Token(_stem(found.group()), found.start(), found.end()) for found in _WORD.finditer(text)]


def _stem(word: str) -> str:
    """Cut the endings that change between a question, an answer and a passage; numbers lose their commas."""
    word = word.lower().replace("\u2019", "'").removesuffix("'s")
    if word[:1].isdigit():
        return word.replace(",", "")
    for ending in ("ing", "ies", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word.removesuffix(ending)
    return word


def _verbatim(claimed: Sequence[_Token], tokens: Sequence[_Token]) -> list[tuple[int, int]]:
    """Characters of each place where all words of the claim stand in order."""
    wanted = [token.word for token in claimed]
    if not any(word not in STOPWORDS for word in wanted):
        return []
    words = [token.word for token in tokens]
    size = len(wanted)
    return [
        (tokens[i].start, tokens[i + size - 1].end)
        for i in range(len(words) - size + 1)
        if words[i] == wanted[0] and words[i : i + size] == wanted
    ]


def _coverage(claimed: Sequence[_Token], words: set[str], rarity: dict[str, float]) -> float:
    content = {token.word for token in claimed} - STOPWORDS
    if not content:
        return 0.0
    weight = {word: rarity.get(word, 1.5) for word in content}
    covered = sum(weight[word] for word in content & words) / sum(weight.values())
    missing = any(word[:1].isdigit() for word in content - words)
    return min(covered, _NUMBER_MISSING) if missing else covered


def _rarity(texts: Sequence[str]) -> dict[str, float]:
    """Inverse document frequency over the sentences of the texts, from 0.5 (everywhere) upwards."""
    sentences = [{t.word for t in _tokens(text[low:high])} for text in texts for low, high in split_sentences(text)]
    counts = Counter(word for words in sentences for word in words)
    return {word: 0.5 + math.log((1 + len(sentences)) / (1 + count)) / 2 for word, count in counts.items()}


def _shortened(text: str, support: Support, runs: Sequence[tuple[int, int]]) -> Support:
    """Cut an endless sentence (a wide table row, text without full stops) down to the words around the claim."""
    if support.end - support.start <= _QUOTE_CHARS:
        return support
    run = next((r for r in runs if support.start <= r[0] and r[1] <= support.end), (support.start, support.start))
    low = max(support.start, min(run[0] - _QUOTE_CHARS // 2, support.end - _QUOTE_CHARS))
    high = min(support.end, max(low + _QUOTE_CHARS, run[1]))
    while low > support.start and not text[low - 1].isspace():
        low -= 1
    while high < support.end and not text[high].isspace():
        high += 1
    return Support(low, high, support.score)

"""Where in a passage the words stand that a claim rests on."""

import math
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from generator.sentences import split_sentences
from generator.words import STOPWORDS, Spelling, Token, content_of, is_negated, is_number, tokens_of

_ELLIPSIS = re.compile(r"\[(?:\.\.\.|\u2026)\]|\.\.\.|\u2026")
_CONTRADICTED = 0.4  # support is at most this when a number of the claim is missing, or only one of the two denies
_COVERED = 0.99  # all words are there, but not as the claim has them
_UNKNOWN_RARITY = 1.5
_TYPO_CREDIT = 0.75  # of a word's weight: enough for a slip in a quote, less than the word itself
_JOIN_COST = 0.15  # what a second sentence must add before two are quoted in place of one
_QUOTE_CHARS = 420


@dataclass(frozen=True, slots=True)
class Support:
    """A span of a text, in characters, and how well it supports a claim, 0 to 1."""

    start: int
    end: int
    score: float


@dataclass(frozen=True, slots=True)
class _Passage:
    text: str
    tokens: Sequence[Token]
    sentences: Sequence[tuple[int, int]]
    words: Sequence[frozenset[str]]  # of each sentence

    def words_in(self, low: int, high: int) -> frozenset[str]:
        """Words of the sentences that begin between two characters."""
        inside = (words for (start, _), words in zip(self.sentences, self.words, strict=True) if low <= start < high)
        return frozenset().union(*inside)


class Evidence:
    """Passages that are read once, to hold many claims against. Immutable, so threads may share it."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._passages = [_read(text) for text in texts]
        self._rarity = _rarity([words for passage in self._passages for words in passage.words])

    def __len__(self) -> int:
        return len(self._passages)

    def find(self, claim: str, passage: int, question: str = "") -> Support:
        """The span of one passage that supports a claim best; an empty one if nothing does.

        A claim that stands in the passage word for word has support 1, with an ellipsis in it as well. Otherwise the
        support of a sentence, or of two neighbours that have more of it together, is the share of the claim's content
        words in it, rare words counting more than common ones. Of words that the `question` has already, only what
        they add to telling sentences apart. A number that is missing, and a denial that only one side has, leave at
        most 0.4.
        """
        read = self._passages[passage]
        claimed = tokens_of(claim)
        asked = content_of(tokens_of(question))
        runs = _verbatim(claim, claimed, read.tokens)
        best, best_key = Support(0, 0, 0.0), (0.0, 0.0)
        for low, high, cost in _windows(read.sentences, runs):
            words = read.words_in(low, high)
            is_quote = any(low <= start and end <= high for start, end in runs)
            score = 1.0 if is_quote else self._coverage(claimed, words)
            near = sum(self._rarity.get(word, 0.0) for word in asked & words)
            key = (round(score - cost, 3), near / (1 + 0.02 * len(words)) - 0.001 * (high - low > 300))
            if key > best_key:
                best, best_key = Support(low, high, score), key
        return _shortened(read.text, best, runs)

    def coverage(self, claim: str, text: str) -> float:
        """Support of a claim by all words of a text together, whatever sentences they stand in."""
        return self._coverage(tokens_of(claim), frozenset(token.word for token in tokens_of(text)))

    def _coverage(self, claimed: Sequence[Token], words: frozenset[str]) -> float:
        content = content_of(claimed)
        if not content:
            return 0.0
        weight = {word: self._rarity.get(word, _UNKNOWN_RARITY) for word in content}
        missing = content - words
        slips = sum(weight[word] for word in missing if self._spelling.near(word) & words)
        found = sum(weight[word] for word in content & words) + _TYPO_CREDIT * slips
        covered = min(found / sum(weight.values()), _COVERED)
        denied = is_negated(token.word for token in claimed) != is_negated(words)
        return min(covered, _CONTRADICTED) if denied or any(map(is_number, missing)) else covered

    @cached_property
    def _spelling(self) -> Spelling:
        return Spelling(self._rarity)


def align(claim: str, text: str, question: str = "", background: Sequence[str] = ()) -> Support:
    """Find the words of `text` that support `claim` best (see `Evidence.find`); an empty span if none do.

    `background` are the texts that say, with this one, what is rare.
    """
    return Evidence([text, *background]).find(claim, 0, question)


def coverages(question: str, texts: Sequence[str]) -> tuple[float, ...]:
    """Share of the question's content words that each text has, 0 to 1; words rare in these texts count more."""
    rarity = _rarity([words for text in texts for words in _read(text).words])
    content = content_of(tokens_of(question))
    unseen = max(rarity.values(), default=1.0)
    weight = {word: rarity.get(word, unseen) for word in content}
    total = sum(weight.values()) or 1.0
    return tuple(sum(weight[w] for w in content & {t.word for t in tokens_of(text)}) / total for text in texts)


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
    return any(token.word not in STOPWORDS and token.word != "yes" for token in tokens_of(claim))


def _read(text: str) -> _Passage:
    tokens, sentences = tokens_of(text), split_sentences(text)
    words: list[set[str]] = [set() for _ in sentences]
    starts = [low for low, _ in sentences]
    for token in tokens:
        words[max(0, bisect_right(starts, token.start) - 1)].add(token.word)
    return _Passage(text, tokens, sentences, [frozenset(each) for each in words])


def _windows(sentences: Sequence[tuple[int, int]], runs: Sequence[tuple[int, int]]) -> list[tuple[int, int, float]]:
    """(start, end, cost): each sentence, each two neighbours, and as many as a verbatim run spreads over."""
    single = [(low, high, 0.0) for low, high in sentences]
    double = [(low, high, _JOIN_COST) for (low, _), (_, high) in pairwise(sentences)]
    spread = [
        (min(low for low, high in sentences if high > start), max(high for low, high in sentences if low < end), 0.0)
        for start, end in runs
        if not any(low <= start and end <= high for low, high in sentences)
    ]
    return [*single, *double, *spread]


def _verbatim(claim: str, claimed: Sequence[Token], tokens: Sequence[Token]) -> list[tuple[int, int]]:
    """Characters of each place where all words of the claim stand in order; an ellipsis may skip some of them."""
    if not content_of(claimed):
        return []
    cuts = [found.start() for found in _ELLIPSIS.finditer(claim)]
    parts: dict[int, list[str]] = {}
    for token in claimed:
        parts.setdefault(bisect_right(cuts, token.start), []).append(token.word)
    words = [token.word for token in tokens]
    runs = []
    for first in _places(words, next(iter(parts.values()))):
        last = _followed(words, first, [*parts.values()])
        if last is not None and tokens[last].end - tokens[first].start <= max(_QUOTE_CHARS, 2 * len(claim)):
            runs.append((tokens[first].start, tokens[last].end))
    return runs


def _followed(words: Sequence[str], first: int, parts: Sequence[Sequence[str]]) -> int | None:
    """Index of the last word when the parts stand one after the other from `first` on."""
    end = first + len(parts[0])
    for part in parts[1:]:
        found = next((place for place in _places(words, part) if place >= end), None)
        if found is None:
            return None
        end = found + len(part)
    return end - 1


def _places(words: Sequence[str], wanted: Sequence[str]) -> list[int]:
    size = len(wanted)
    return [i for i in range(len(words) - size + 1) if words[i] == wanted[0] and words[i : i + size] == wanted]


def _rarity(sentences: Sequence[frozenset[str]]) -> dict[str, float]:
    """Inverse document frequency over sentences, from 0.5 (everywhere) upwards."""
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

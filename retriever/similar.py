"""How alike two passages are, by their words alone. Pure functions, for the choice of context."""

from collections import Counter
from math import sqrt

from indexer.store.text import analyze

SHINGLE_TERMS = 4

Shingles = frozenset[tuple[str, ...]]


def shingles(text: str) -> Shingles:
    """Every run of four terms of a text; a text of fewer is one run. Empty for a text without terms.

    Broder 1997, On the resemblance and containment of documents (w-shingling, with stems as tokens).
    """
    terms = analyze(text)
    last = max(1, len(terms) - SHINGLE_TERMS + 1) if terms else 0
    return frozenset(tuple(terms[at : at + SHINGLE_TERMS]) for at in range(last))


def resemblance(one: Shingles, other: Shingles) -> float:
    """Share of the shingles of both texts that both have, 0..1 (Jaccard); 0 where neither has any."""
    return len(one & other) / len(one | other) if one | other else 0.0


def cosine(one: Counter[str], other: Counter[str]) -> float:
    """Cosine of two texts' term counts, 0..1; 0 where one has no terms."""
    length = sqrt(sum(n * n for n in one.values()) * sum(n * n for n in other.values()))
    return sum(n * other[term] for term, n in one.items()) / length if length else 0.0

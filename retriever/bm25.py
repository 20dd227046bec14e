"""BM25 by the rank-bm25 package, in memory: an engine for small sets, and the oracle for the one that serves."""

from collections.abc import Iterable
from math import log
from typing import Literal

import numpy as np
from rank_bm25 import BM25Okapi

from indexer.store.keys import KeyRanges, inside
from indexer.store.language import Language, is_single
from indexer.store.text import analyze, query_terms
from retriever.fusion import best_first

K1, B = 1.2, 0.75  # tantivy's, which fixes them
Weights = Literal["okapi", "lucene"]


class RankBM25:
    """BM25 over `(key, text)` pairs, with the terms of the lexical index. Building and searching read every text.

    "okapi" gives the scores of the package's BM25Okapi as it comes. Its idf is negative for a term that more than half
    of the texts hold, and is then replaced by a share of the mean idf; in a set of ten chunks that is most terms.
    "lucene" gives that scorer tantivy's parameters and Lucene's idf, ln(1 + (N - n + .5) / (n + .5)), which is never
    negative (Robertson and Zaragoza 2009, section 3.4; Kamphuis et al., ECIR 2020, compare the variants).
    """

    def __init__(
        self, passages: Iterable[tuple[int, str]], language: Language = "english", weights: Weights = "okapi"
    ) -> None:
        pairs = [(key, analyze(text, language)) for key, text in passages]
        make = BM25Okapi if weights == "okapi" else _lucene_scorer
        self._language = language
        self._keys = [key for key, _ in pairs]
        self._scorer = make([terms for _, terms in pairs]) if any(terms for _, terms in pairs) else None

    def search(self, query: str, k: int, within: KeyRanges | None = None) -> list[tuple[int, float]]:
        """Return the `k` best (key, score) that hold a term of the query, best first, ties by key.

        `within` leaves only these keys. It has no part in the scores.
        """
        if self._scorer is None:
            return []
        terms = query_terms(query, self._language)
        for sign in filter(is_single, tuple(terms)):  # one character of a script that is cut into pairs
            terms += [pair for pair in self._scorer.idf if len(pair) == 2 and sign in pair]
        scores = self._scorer.get_scores(terms)
        holds = np.array([not frequencies.keys().isdisjoint(terms) for frequencies in self._scorer.doc_freqs], bool)
        allowed = True if within is None else inside(np.array(self._keys, np.int64), within)
        return best_first((self._keys[i], float(scores[i])) for i in np.flatnonzero(holds & allowed))[:k]


def _lucene_scorer(texts: list[list[str]]) -> BM25Okapi:
    scorer = BM25Okapi(texts, k1=K1, b=B)
    holders: dict[str, int] = {}
    for frequencies in scorer.doc_freqs:
        for term in frequencies:
            holders[term] = holders.get(term, 0) + 1
    n = scorer.corpus_size
    scorer.idf = {term: log(1 + (n - held + 0.5) / (held + 0.5)) for term, held in holders.items()}
    return scorer

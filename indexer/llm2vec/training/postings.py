"""BM25 over a fixed list of texts, in memory, for mining: a whole corpus asked with as many queries as it has texts."""

from array import array
from collections import Counter, defaultdict
from collections.abc import Sequence
from math import log

import numpy as np
import numpy.typing as npt

from indexer.store.text import analyze, query_terms

K1, B = 1.2, 0.75  # as the index that serves


class Postings:
    """Each term's rows and BM25 weights (Robertson and Zaragoza, 2009, with Lucene's idf)."""

    def __init__(self, texts: Sequence[str]) -> None:
        rows: defaultdict[str, array[int]] = defaultdict(lambda: array("l"))
        counts: defaultdict[str, array[int]] = defaultdict(lambda: array("l"))
        lengths = np.zeros(len(texts))
        for row, text in enumerate(texts):
            terms = Counter(analyze(text))
            lengths[row] = terms.total()
            for term, count in terms.items():
                rows[term].append(row)
                counts[term].append(count)
        norms = K1 * (1 - B + B * lengths / (lengths.mean() or 1.0)) if len(texts) else lengths
        self._size = len(texts)
        self._postings = {
            term: _weigh(np.array(rows[term]), np.array(counts[term], dtype=np.float64), norms, len(texts))
            for term in rows
        }

    def search(self, query: str, k: int) -> list[int]:
        """Rows of the `k` best texts that hold a term of the query, best first, ties by row."""
        scores = np.zeros(self._size)
        for term, count in Counter(query_terms(query)).items():
            if term in self._postings:
                rows, weights = self._postings[term]
                scores[rows] += count * weights
        found = np.flatnonzero(scores)
        if len(found) > k:
            least = np.partition(scores[found], len(found) - k)[len(found) - k]
            found = found[scores[found] >= least]
        order = found[np.argsort(-scores[found], kind="stable")][:k]
        return [int(row) for row in order]


def _weigh(
    rows: npt.NDArray[np.int64], counts: npt.NDArray[np.float64], norms: npt.NDArray[np.float64], size: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    idf = log(1 + (size - len(rows) + 0.5) / (len(rows) + 0.5))
    return rows, idf * counts * (K1 + 1) / (counts + norms[rows])

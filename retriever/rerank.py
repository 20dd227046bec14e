"""Reading question and passage together: slower than comparing vectors, and better at the top."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Protocol

from indexer.errors import ModelError
from indexer.store.records import StoredChunk
from indexer.store.text import embed_text
from retriever.cross_encoder import CrossEncoder
from retriever.fusion import Ranking, best_first, blend

_REMEDY = "Set retriever.reranker to the folder or hub name of a sentence-transformers cross-encoder."


class Reranker(Protocol):
    """Scores passages for a query; log-odds of relevance, or what grows with them. Thread-safe."""

    @property
    def name(self) -> str:
        """What to record it by."""

    def score(self, query: str, passages: Sequence[str]) -> list[float]:
        """One score for each passage, higher is better.

        Raises:
            ModelError: the model failed.
        """


def rerank(
    reranker: Reranker,
    query: str,
    found: Mapping[int, StoredChunk],
    before: Ranking,
    *,
    weight: float,
    batch: int,
    budget_ms: float,
) -> dict[str, Ranking] | None:
    """Rank what was found by the reranker, and, unless that has all the weight, blend it with the ranking before.

    None if `budget_ms` does not suffice.

    Raises:
        ModelError: the model failed.
    """
    chunks = [(stored.title, stored.chunk) for stored in found.values()]
    texts = [embed_text(title, chunk.heading_path, chunk.text) for title, chunk in chunks]
    scores = score_within(reranker, query, texts, batch, budget_ms)
    if scores is None:
        return None
    reranked = best_first(zip(found, scores, strict=True))
    if weight == 1:
        return {"rerank": reranked}
    first = [(key, score) for key, score in before if key in found]
    return {"rerank": reranked, "blend": blend(first, reranked, weight)}


def score_within(
    reranker: Reranker,
    query: str,
    passages: Sequence[str],
    batch: int,
    budget_ms: float,
    now_s: Callable[[], float] = perf_counter,
) -> list[float] | None:
    """Scores of all passages, or None if `budget_ms` does not suffice for them; a budget of 0 sets no limit.

    Passages are read in batches, as they come. A batch is begun only if the longest before it would still fit. What
    has been read after the budget is not used, so that the same budget always means the same.
    """
    if not budget_ms:
        return reranker.score(query, passages)
    scores: list[float] = []
    began_s, longest_s = now_s(), 0.0
    for at in range(0, len(passages), batch):
        batch_s = now_s()
        if at and (batch_s - began_s + longest_s) * 1000 > budget_ms:
            return None
        scores += reranker.score(query, passages[at : at + batch])
        longest_s = max(longest_s, now_s() - batch_s)
    return scores if (now_s() - began_s) * 1000 <= budget_ms else None


class CrossEncoderReranker:
    """A sentence-transformers cross-encoder in a local folder: one logit for a pair, as in Nogueira and Cho 2019.

    Raises:
        ModelError: the folder holds no sequence classifier with one output.
    """

    def __init__(self, folder: Path, max_tokens: int = 512, batch_pairs: int = 16, name: str = "") -> None:
        self.name = name or folder.name
        self._model = CrossEncoder(folder, max_tokens, batch_pairs, kind="reranker", remedy=_REMEDY)
        if (labels := len(self._model.labels)) != 1:
            raise ModelError(f"The model in {folder} gives {labels} scores a pair, not one", _REMEDY)

    def score(self, query: str, passages: Sequence[str]) -> list[float]:
        """One logit for each passage; a pair beyond the token limit loses the end of its longer half."""
        return [logit for (logit,) in self._model.logits([(query, passage) for passage in passages])]

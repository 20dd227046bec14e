"""A language model behind a server as a reranker: how much more probable yes is than no, as a single token tells.

Pointwise relevance by the probabilities of two words is monoT5's (Nogueira et al. 2020, arXiv:2003.06713); a chat model
that is asked, as Qwen3-Reranker (Zhang et al. 2025, arXiv:2506.05176), needs no training for it, but a good model.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np

from generator.fence import fence_for, neutral
from generator.prompt import Message, template
from indexer.errors import ModelError

RERANK_PROMPT = "rerank-1"
_PASSAGE_CHARS = 6_000  # a longer passage loses its end, as under a cross-encoder's limit


class FirstToken(Protocol):
    """What the reranker needs of a ServerModel."""

    @property
    def name(self) -> str:
        """The model's name."""

    def first_token(self, messages: Sequence[Message]) -> Mapping[str, float]:
        """Log-probabilities of the likeliest first tokens of a reply."""


class YesNoReranker:
    """Asks about each passage in a request of its own, at most `at_once` at a time. Thread-safe."""

    def __init__(self, model: FirstToken, at_once: int = 16) -> None:
        self._model = model
        self._at_once = at_once

    @property
    def name(self) -> str:
        """Model and prompt."""
        return f"{self._model.name}, {RERANK_PROMPT}"

    def score(self, query: str, passages: Sequence[str]) -> list[float]:
        """Log-odds of yes for each passage; 0 where the model's likeliest words are neither yes nor no.

        Raises:
            ModelError: a request failed, or neither word is likely for any passage.
        """
        if not passages:
            return []
        with ThreadPoolExecutor(min(self._at_once, len(passages))) as pool:  # one that fails calls off those to come
            odds = list(pool.map(lambda passage: self._ask(query, passage), passages))
        if all(each is None for each in odds):
            raise ModelError(
                f"{self._model.name} says neither yes nor no of a passage.",
                "Serve a model that follows instructions, and that does not think aloud first.",
            )
        return [each or 0.0 for each in odds]

    def _ask(self, query: str, passage: str) -> float | None:
        fields = {"question": query, "passage": passage[:_PASSAGE_CHARS]}
        fence = fence_for(list(fields.values()))
        parts = [f'<{fence} what="{name}">\n{neutral(text)}\n</{fence}>' for name, text in fields.items()]
        rules = template(RERANK_PROMPT).replace("{fence}", fence)
        messages = (Message("system", rules), Message("user", "\n\n".join(parts)))
        return log_odds(self._model.first_token(messages))


def log_odds(log_ps: Mapping[str, float]) -> float | None:
    """log p(yes) - log p(no), each over all tokens that are the word in some writing; None where neither is listed.

    A word that is not listed is at most as probable as the least probable token that is: it counts as that.
    """
    said = {word: [log_p for token, log_p in log_ps.items() if _bare(token) == word] for word in ("yes", "no")}
    if not any(said.values()):
        return None
    least = min(log_ps.values())
    yes, no = (float(np.logaddexp.reduce(found or [least])) for found in said.values())
    return yes - no


def _bare(token: str) -> str:
    return token.strip(" \t\n\"'.,*\u2581\u0120").lower()

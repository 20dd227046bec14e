"""Whether a passage's words support a claim where the words alone do not settle it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from indexer.encoder import Encoder, Vectors
from indexer.errors import ModelError
from retriever.cross_encoder import CrossEncoder

_NLI_REMEDY = "Set generator.nli_model to a cross-encoder for natural language inference."
_CACHED_VECTORS = 2048


@dataclass(frozen=True, slots=True)
class Pair:
    """A claim and the span that supports it best by words, with how well they say it does."""

    claim: str
    evidence: str
    question: str
    words: float  # 0..1


class Entailment(Protocol):
    """Judges pairs. Thread-safe."""

    @property
    def name(self) -> str:
        """What judges, with its model."""

    @property
    def undecided(self) -> tuple[float, float]:
        """Supports by words, from the first to below the second, for which it is asked."""

    def supports(self, pairs: Sequence[Pair]) -> list[float]:
        """How well each span supports its claim, 0 to 1; from 0.45 it does.

        Raises:
            ModelError: the model is missing, unreachable or answers with nonsense.
        """


@dataclass(frozen=True, slots=True)
class EncoderWeights:
    """Log-odds that a span supports a claim. Fitted for the shipped encoder by bench/support.py on reading-train."""

    bias: float = -3.06
    words: float = 2.14
    cosine: float = 2.58


class EncoderEntailment:
    """Support by words and the cosine of claim and span together, where words leave it open: a vector hardly notices
    another number, and words that all stand there need no vector."""

    undecided = (0.3, 0.8)

    def __init__(self, encoder: Encoder, weights: EncoderWeights | None = None) -> None:
        self._encoder = encoder
        self._weights = weights or EncoderWeights()
        self._vectors: dict[str, Vectors] = {}

    @property
    def name(self) -> str:
        """The encoder by its fingerprint."""
        return f"words and encoder {self._encoder.fingerprint[:8]}"

    def supports(self, pairs: Sequence[Pair]) -> list[float]:
        """One logistic regression over support by words and cosine."""
        of = self._encoded([text for pair in pairs for text in (pair.claim, pair.evidence)])
        weights = self._weights
        scores = []
        for pair in pairs:
            odds = weights.bias + weights.words * pair.words
            odds += weights.cosine * float(of[pair.claim] @ of[pair.evidence])
            scores.append(1 / (1 + math.exp(-odds)))
        return scores

    def _encoded(self, texts: Sequence[str]) -> dict[str, Vectors]:
        known = dict(self._vectors)
        new = [text for text in dict.fromkeys(texts) if text not in known]
        known |= dict(zip(new, self._encoder.encode(new), strict=True)) if new else {}
        # Replaced as a whole: another question may be reading it.
        self._vectors = known if len(known) <= _CACHED_VECTORS else {text: known[text] for text in texts}
        return known


class NliEntailment:
    """The probability of "entailment" by a cross-encoder for natural language inference (Bowman et al. 2015), with the
    span as premise and the claim as hypothesis.

    Raises:
        ModelError: the folder holds no such model, or none of its labels is "entailment".
    """

    # Words that all stand there may still say something else; without any in common there is no span to ask about.
    undecided = (0.1, 1.0)

    def __init__(self, folder: Path) -> None:
        self._model = CrossEncoder(folder, kind="NLI", remedy=_NLI_REMEDY)
        self.name = f"nli {folder.name}"
        labels = [label.lower() for label in self._model.labels]
        if "entailment" not in labels or len(labels) < 2:
            raise ModelError(f"The model in {folder} has no label entailment: {', '.join(labels)}", _NLI_REMEDY)
        self._entailed = labels.index("entailment")

    def supports(self, pairs: Sequence[Pair]) -> list[float]:
        """Softmax over the labels."""
        rows = self._model.logits([(pair.evidence, pair.claim) for pair in pairs])
        return [math.exp(row[self._entailed] - _log_sum(row)) for row in rows]


def _log_sum(row: Sequence[float]) -> float:
    highest = max(row)
    return highest + math.log(sum(math.exp(value - highest) for value in row))

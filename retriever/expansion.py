"""What a model wrote to be searched for beside a question, and how a search takes it."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from indexer.encoder import Vectors

Kind = Literal["hyde", "multi-query", "decompose"]


@dataclass(frozen=True, slots=True)
class Expansion:
    """Texts beside the question. Without any the question alone is searched for, and `failed` says why."""

    kind: Kind
    texts: tuple[str, ...] = ()
    prompt: str = ""  # the version of the prompt that asked for them
    failed: str = ""

    @property
    def passages(self) -> tuple[str, ...]:
        """Passages as they might stand in a document: their vectors join the question's (Gao et al. 2022)."""
        return self.texts if self.kind == "hyde" else ()

    @property
    def queries(self) -> tuple[str, ...]:
        """Further questions, each searched for by itself: their rankings are fused (Raudaschl 2023)."""
        return () if self.kind == "hyde" else self.texts


def mean_direction(rows: Vectors) -> Vectors:
    """Unit vector (dim,) of the mean of unit rows (n, dim); the first row where they cancel out."""
    mean = rows.mean(axis=0)
    length = float(np.linalg.norm(mean))
    return np.asarray(mean / length, np.float32) if length > 1e-6 else np.asarray(rows[0], np.float32)

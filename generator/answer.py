"""What a question gets back: an answer whose every footnote is a span of a stored document."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from generator.usage import Usage
from retriever.hit import Hit


@dataclass(frozen=True, slots=True)
class Citation:
    """Footnote `[number]`: the exact words `document.text[start:end] == quote` that a claim rests on."""

    number: int
    chunk_id: str
    document_id: str
    source: str
    page: int | None
    start: int
    end: int
    quote: str
    support: float  # 0..1: how well the quote supports the sentence that cites it


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one question. `abstained` means the documents do not say."""

    text: str  # with [n] markers; every marker names one citation
    citations: tuple[Citation, ...]
    hits: tuple[Hit, ...]
    abstained: bool
    query: str  # the self-contained query that was searched for
    timings_ms: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    model: str = ""
    dropped_markers: int = 0  # markers the model wrote that named no passage
    prompt_version: str = ""  # empty when nothing was found to ask about
    usage: Usage | None = None  # of every call for it, rewriting included; None where the model does not tell
    log_p_token: float | None = None  # how sure the model was: mean log-probability of its tokens, in nats
    doubt: float | None = None  # 0..1: probability that the documents do not say, where that is weighed

    @property
    def evidence(self) -> tuple[Hit, ...]:
        """The passages that the citations are of."""
        cited = {citation.chunk_id for citation in self.citations}
        return tuple(hit for hit in self.hits if hit.chunk.id in cited)

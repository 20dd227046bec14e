"""What a question gets back: an answer whose every footnote is a span of a stored document."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any

from generator.usage import Usage
from retriever.expansion import Expansion
from retriever.hit import Hit
from retriever.select import LeftOut


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
    support: float  # 0..1: how well the quote supports the sentence that cites it first


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of an answer, `answer.text[start:end] == text`, held against all passages it was written from."""

    text: str  # with the markers inside it; one behind its full stop stands outside
    start: int
    end: int
    support: float  # 0..1: by its citations together or by any one span of the passages
    supported: bool  # false: no passage found says so
    citations: tuple[int, ...]  # numbers of its footnotes


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one question. `abstained` means the documents do not say."""

    text: str  # with [n] markers; every marker outside code names one citation
    citations: tuple[Citation, ...]
    hits: tuple[Hit, ...]
    abstained: bool
    query: str  # the self-contained query that was searched for
    timings_ms: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    model: str = ""
    dropped_markers: int = 0  # markers the model wrote that named no passage, or that no passage bears out
    moved_markers: int = 0  # markers that were put on another passage than the model named: the one that says so
    sentences: tuple[Sentence, ...] = ()  # headings and table heads claim nothing and are left out
    checked_by: str = ""  # what held the sentences against the passages; empty when there was nothing to hold
    prompt_version: str = ""  # empty when nothing was found to ask about
    usage: Usage | None = None  # of all that was written for it, rewriting and expanding too; None where it is not told
    log_p_token: float | None = None  # how sure the model was: mean log-probability of its tokens, in nats
    doubt: float | None = None  # 0..1: probability that the documents do not say, where that is weighed
    left_out: tuple[LeftOut, ...] = ()  # found, and not in the prompt
    expansion: Expansion | None = None  # what was searched for beside the query, where that is asked for
    notes: tuple[str, ...] = ()  # what was asked for and did not happen, such as reranking in time
    reranker: str = ""  # the model that ordered the passages; empty where none did

    def checks(self) -> dict[str, Any]:
        """How it was written and checked, as JSON has it; what `ask --json` shows is what an evaluation keeps."""
        return {
            "dropped_markers": self.dropped_markers,
            "moved_markers": self.moved_markers,
            "sentences": [asdict(sentence) for sentence in self.sentences],
            "checked_by": self.checked_by,
            "prompt_version": self.prompt_version,
            "usage": self.usage.as_json() if self.usage else None,
            "log_p_token": self.log_p_token,
            "doubt": self.doubt,
            "left_out": [
                {"why": out.why, "chunk": out.hit.chunk.id, "source": out.hit.source, "rank": out.hit.rank}
                for out in self.left_out
            ],
            "expansion": asdict(self.expansion) if self.expansion else None,
            "notes": list(self.notes),
        }

    @property
    def evidence(self) -> tuple[Hit, ...]:
        """The passages that the citations are of."""
        cited = {citation.chunk_id for citation in self.citations}
        return tuple(hit for hit in self.hits if hit.chunk.id in cited)

    @property
    def unsupported(self) -> tuple[Sentence, ...]:
        """The sentences that no passage found bears out; of one that declines, none: its sentences were taken back."""
        return () if self.abstained else tuple(sentence for sentence in self.sentences if not sentence.supported)

"""What is asked of a search, and what comes back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, get_args

from indexer.access import FULL, Access
from indexer.filter import EVERYTHING, Filter
from retriever.expansion import Expansion
from retriever.hit import Hit

Mode = Literal["bm25", "dense", "hybrid"]
MODES: tuple[str, ...] = get_args(Mode)


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """One search as it is asked for.

    Phrases in quotation marks, title: and heading: (retriever/asked.py) leave only chunks that hold all of them;
    `loosely` takes them for words where no chunk does, as a question in conversation may quote from memory.

    Only documents that hold the filter `asked` and that `access` may read are searched: both come before every
    ranking. With an `expansion` its texts are searched for, too; a reranker reads the question alone.
    """

    query: str
    k: int = 10
    mode: Mode = "hybrid"
    rerank: bool = False
    asked: Filter = EVERYTHING
    access: Access = FULL
    loosely: bool = False
    expansion: Expansion | None = None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found."""

    hits: tuple[Hit, ...]  # best first
    timings_ms: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))  # of every stage that ran
    notes: tuple[str, ...] = ()  # what was asked for and left out, such as reranking by a model that failed
    reranker: str = ""  # the model that ordered the passages last; empty where none did

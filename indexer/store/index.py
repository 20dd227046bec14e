"""What an index of a generation is: words and vectors to search, and a writer that follows the truth.

Two implementations: files beside the truth (indexer/store/local.py), and a collection in Milvus (indexer/milvus).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

from indexer.encoder import Vectors
from indexer.store.gpu import DenseBuild
from indexer.store.keys import KeyRanges
from indexer.store.records import Manifest

Kind = Literal["local", "milvus"]
OnMerge = Callable[[int, int], None]  # how many chunks are in the new form, and of how many
Field = Literal["text", "title", "heading"]


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """Which index a new collection gets, and how a Milvus is reached. What is there stays where it is."""

    kind: Kind = "local"
    uri: str = ""  # as parse_address() reads it
    token: str = field(default="", repr=False)
    index_type: str = "HNSW"
    vectors: str = "float32"
    timeout_s: float = 60.0
    dense_build: DenseBuild = "auto"  # what builds the graph of a local index


@dataclass(frozen=True, slots=True)
class Required:
    """Words that a chunk must hold next to each other, in this order; word forms count as the same."""

    field: Field  # the text holds title and headings, too
    words: str


@dataclass(frozen=True, slots=True)
class Wrong:
    """One thing that a check found."""

    kind: str  # lexical, dense or milvus
    where: str
    message: str


class LexicalSearch(Protocol):
    """BM25 over one generation. Thread-safe; sees what any process has committed."""

    def search(self, query: str, k: int, within: KeyRanges | None = None) -> list[tuple[int, float]]:
        """Return (key, score) of the k best chunks, best first, ties by key; of those in `within` alone, if given."""

    def holding(self, required: Iterable[Required]) -> KeyRanges | None:
        """Return the keys of the chunks that hold all of these words; None where there is nothing to hold."""

    def keys(self) -> list[int]:
        """List every key in the index, in order."""


class DenseSearch(Protocol):
    """Nearest chunks by inner product over one generation. Thread-safe; sees what any process has committed."""

    def search(self, vector: Vectors, k: int, within: KeyRanges | None = None) -> list[tuple[int, float]]:
        """Return (key, inner product) of the k nearest chunks, best first, ties by key; of those in `within` alone."""

    def merge(self, force: bool = False, on_merge: OnMerge | None = None) -> bool:
        """Bring what was written into its final form where it has grown, or when forced. Needs the write lock."""

    def keep_up(self, on_merge: OnMerge | None = None) -> bool:
        """The same in the middle of writing, before it grows out of bounds. Needs the write lock."""

    def base_rows(self) -> int:
        """Return how many vectors are in their final form."""


class Follower(Protocol):
    """Applies the truth's operations to an index. Only the holder of the write lock may have one."""

    def catch_up(self) -> int:
        """Apply what is new in the truth; returns the sequence number reached. Safe to repeat."""

    def close(self) -> None:
        """Let go of what it holds."""


class Index(Protocol):
    """Everything of a generation that can be built anew from its truth."""

    @property
    def kind(self) -> Kind:
        """Which implementation it is."""

    @property
    def place(self) -> str:
        """Where it is, for a person."""

    @property
    def lexical(self) -> LexicalSearch:
        """BM25 search."""

    @property
    def dense(self) -> DenseSearch:
        """Vector search."""

    def follower(self) -> Follower:
        """Begin to write."""

    def check(self, manifest: Manifest, with_vectors: bool = True) -> Iterator[Wrong]:
        """Hold it against the truth, whose vectors can be relied on or not.

        Needs the write lock; what is merely behind catches up and is no finding.
        """

    def rebuild(self, kinds: set[str]) -> None:
        """Build what findings of these kinds are about anew from the truth. Needs the write lock."""

    def rewrite(self) -> None:
        """Build all of it anew, so that nothing of what was deleted is left in it. Needs the write lock."""

    def drop(self) -> None:
        """Remove what it keeps outside of the generation's folder."""

    def close(self) -> None:
        """Let go of files, memory and connections; a later call takes them up again."""

"""Rows of the store as values: what a reader gets and what the ledger keeps."""

from dataclasses import dataclass, fields

from indexer.document import Chunk


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a generation was built with. Vectors of two encoders, or chunks of two chunkers, never mix in one."""

    fingerprint: str  # of the encoder
    dim: int
    chunker: str  # version and settings of the chunker, as one string
    cleaner: str  # version of the cleaner that was current when the generation began
    created_at: str  # ISO 8601, UTC
    # By what name the encoder was asked for, and the chunker's settings: whoever opens the generation can have the same
    # again. Empty and 0 in generations of before they were kept.
    recipe: str = ""
    chunk_tokens: int = 0
    chunk_overlap_tokens: int = 0


@dataclass(frozen=True, slots=True)
class DocumentInfo:
    """One line of a document list."""

    id: str
    source: str
    title: str
    media_type: str
    bytes: int
    chunks: int
    pages: int  # 0 when the format has no pages
    added_at: str  # ISO 8601, UTC
    sources: tuple[str, ...] = ()  # every file of just this content; `source`, which names the document, is first


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """A chunk with what a reader needs to recognise its document."""

    chunk: Chunk
    source: str
    title: str


@dataclass(frozen=True, slots=True)
class FileRow:
    """The ledger's line on one file: the last thing that happened to it, and why.

    Lines that name the same document are of files with the same bytes: it is stored once, and goes with the last.
    """

    path: str
    state: str  # indexed, failed or skipped
    reason: str = ""
    remedy: str = ""
    sha256: str = ""
    bytes: int = 0
    document_id: str = ""
    chunks: int = 0
    cleaner: str = ""
    updated_at: str = ""
    load_ms: float = 0.0
    chunk_ms: float = 0.0
    encode_ms: float = 0.0
    change: str = ""  # new, changed, moved or duplicate: what the file was when this line was written
    index_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Changes:
    """What happened between two sequence numbers: one consistent reading of the truth."""

    sequence: int
    added: tuple[tuple[int, int], ...]  # key ranges, both ends included, in order; may hold keys deleted since
    deleted: tuple[tuple[int, int], ...]


FILE_COLUMNS = tuple(field.name for field in fields(FileRow))

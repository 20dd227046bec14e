"""The two things the indexer makes: a cleaned document, and chunks that are exact slices of it."""

from bisect import bisect_right
from dataclasses import dataclass

INSIDE = "!/"  # in a source, between an archive or mail and what it holds: "/docs/report.zip!/notes/a.txt"


@dataclass(frozen=True, slots=True)
class Document:
    """One cleaned document. Every offset anywhere in Footnote is a character offset into `text`."""

    id: str
    source: str  # absolute path or URI, as shown to the reader; INSIDE marks what lies within a file
    title: str
    media_type: str
    sha256: str  # of the source bytes
    text: str
    pages: tuple[int, ...] = ()  # offset where each page begins; empty when the format has no pages
    metadata: tuple[tuple[str, str], ...] = ()

    def page_at(self, offset: int) -> int | None:
        """Number (from 1) of the page that holds the character at `offset`, or None without pages."""
        return bisect_right(self.pages, offset) or None if self.pages else None


@dataclass(frozen=True, slots=True)
class Chunk:
    """A slice of a document: `document.text[start:end] == chunk.text`, always."""

    id: str  # "<document id>:<ordinal>"; "<document id>:<first>-<last>" of several that were joined
    document_id: str
    text: str
    start: int
    end: int
    heading_path: tuple[str, ...] = ()
    page: int | None = None  # page of the first character

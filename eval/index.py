"""A data set's corpus as an ordinary collection: what is evaluated is what is served."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from eval.dataset import Dataset, Entry
from indexer.access import FULL, Access
from indexer.chunk import CHUNKER_VERSION, ChunkSettings, chunk
from indexer.collection import Collection
from indexer.document import Chunk, Document
from indexer.encoder import Encoder, Vectors
from indexer.store.language import Language
from indexer.store.records import Manifest
from indexer.store.text import embed_text

OnProgress = Callable[[str, int, int], None]  # "index", "questions" or the mode; done, total
_ENTRIES_A_STEP = 64  # encoded together, then committed: what a kill can cost
_WHOLE = "whole entries"
_LONG_SHARE = 0.1  # of a data set's entries: more of them longer than two chunks, and they are documents


@dataclass(frozen=True, slots=True)
class NoEncoder:
    """Stands where an encoder is not wanted, so that BM25 is measured without loading one.

    Its vectors mean nothing, and its fingerprint is nobody's: a dense search in such a collection is refused.
    """

    fingerprint: str = "none"
    dim: int = 4
    query_instruction: str = ""
    max_tokens: int = 2**31

    def encode(
        self, texts: Sequence[str], instruction: str = "", on_progress: Callable[[int], None] | None = None
    ) -> Vectors:
        """Unit rows (len(texts), dim) drawn by the hash of each text."""
        rows = [np.frombuffer(hashlib.sha256(text.encode()).digest()[:16], np.uint32) for text in texts]
        vectors = np.array(rows, np.float32).reshape(len(rows), self.dim) + 1
        unit: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Words of each text."""
        return [len(text.split()) for text in texts]


def index_corpus(
    dataset: Dataset,
    home: Path,
    encoder: Encoder | None,
    chunking: ChunkSettings | None = None,
    on_progress: OnProgress | None = None,
    language: Language = "english",
) -> Collection:
    """Open the corpus's collection under `home`/eval, adding the entries that it does not hold yet.

    One entry is one document with one chunk, encoded whole (the encoder cuts what is beyond its limit), unless
    `chunking` is given. A document's source is the entry's id. Entries without any words are left out. A kill costs
    the step that was running; the next call goes on. Without an encoder the collection serves BM25 alone.
    """
    coder: Encoder = encoder or NoEncoder()
    chunker = f"{CHUNKER_VERSION}:{chunking.max_tokens}:{chunking.overlap_tokens}" if chunking else _WHOLE
    words = "" if language == "english" else f"\n{language}"
    build = hashlib.sha256(f"{coder.fingerprint}\n{chunker}{words}".encode()).hexdigest()[:12]
    home_of_set = home / "eval" / f"{dataset.name}-{dataset.corpus_sha256[:12]}"
    collection = Collection.open(home_of_set, build, create=True, language=language)
    there = {info.id for info in collection.documents()}
    documents = [document for entry in dataset.entries if (document := _document(entry)) is not None]
    missing = [document for document in documents if document.id not in there]
    if not missing:
        return collection
    manifest = Manifest(coder.fingerprint, coder.dim, chunker, "none", datetime.now(UTC).isoformat(timespec="seconds"))
    with collection.writer(command="evaluation") as writer:
        writer.begin(manifest)
        for at, step in _steps(missing):
            chunks = [_chunks(document, coder, chunking) for document in step]
            vectors = _encode(coder, step, chunks)
            for document, own, rows in zip(step, chunks, vectors, strict=True):
                writer.add(document, own, rows)
            if on_progress:
                on_progress("index", len(documents) - len(missing) + at + len(step), len(documents))
    return collection


def sources_of(collection: Collection, access: Access = FULL) -> frozenset[str]:
    """What the documents that a caller may read are called."""
    return frozenset(info.source for info in collection.documents(access))


def chunking_for(dataset: Dataset, encoder: Encoder | None, served: ChunkSettings) -> ChunkSettings | None:
    """None, for entries that are passages already, or the served chunking where many are whole documents."""
    coder: Encoder = encoder or NoEncoder()
    lengths = coder.count_tokens([entry.text for entry in dataset.entries])
    long = sum(tokens > 2 * served.max_tokens for tokens in lengths)
    return served if long > _LONG_SHARE * len(lengths) else None


def _document(entry: Entry) -> Document | None:
    title, text = (entry.title, entry.text) if entry.text.strip() else ("", entry.title)
    if not text.strip():
        return None
    content = f"{title}\n{text}".encode("utf-8", "surrogatepass")
    return Document(
        id=hashlib.sha256(entry.id.encode("utf-8", "surrogatepass")).hexdigest()[:12],
        source=entry.id,
        title=title,
        media_type="text/plain",
        sha256=hashlib.sha256(content).hexdigest(),
        text=text,
    )


def _steps(documents: Sequence[Document]) -> Iterator[tuple[int, Sequence[Document]]]:
    for at in range(0, len(documents), _ENTRIES_A_STEP):
        yield at, documents[at : at + _ENTRIES_A_STEP]


def _chunks(document: Document, encoder: Encoder, chunking: ChunkSettings | None) -> tuple[Chunk, ...]:
    if chunking is not None:
        return chunk(document, encoder.count_tokens, chunking)
    return (whole(document),)


def whole(document: Document) -> Chunk:
    """A document as one chunk."""
    return Chunk(f"{document.id}:0", document.id, document.text, 0, len(document.text))


def _encode(encoder: Encoder, documents: Sequence[Document], chunks: Sequence[Sequence[Chunk]]) -> Iterator[Vectors]:
    """Vectors of each document's chunks (chunks, dim), all encoded in one call."""
    texts = [
        embed_text(document.title, own.heading_path, own.text)
        for document, group in zip(documents, chunks, strict=True)
        for own in group
    ]
    vectors = encoder.encode(texts)
    at = 0
    for group in chunks:
        yield vectors[at : at + len(group)]
        at += len(group)

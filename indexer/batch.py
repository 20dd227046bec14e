"""Files on their way through the encoder: a batch of them is encoded in a thread, while others are read and written."""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np

from indexer.document import Chunk, Document
from indexer.encoder import Encoder, Vectors
from indexer.ledger import Account
from indexer.parser import Ahead
from indexer.store.records import FileRow
from indexer.store.text import embed_hash
from indexer.store.truth import Truth


@dataclass(frozen=True, slots=True)
class Prepared:
    """A document cut into chunks, waiting for its vectors."""

    document: Document
    chunks: tuple[Chunk, ...]
    texts: tuple[str, ...]  # as they are encoded
    row: FileRow
    ahead: Ahead | None = None


Batch = Sequence[Prepared]


@dataclass(frozen=True, slots=True)
class Encoded:
    """The vectors (dim,) of a batch by text hash, and what one chunk cost."""

    vectors: Mapping[bytes, Vectors]
    chunk_ms: float


class BatchEncoder:
    """Encodes one batch at a time. As a context manager it leaves no encoding behind: what runs is cut short."""

    def __init__(self, truth: Truth, encoder: Encoder, account: Account) -> None:
        self._truth, self._encoder, self._account = truth, encoder, account
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batch")
        self._running: tuple[Batch, Future[Encoded]] | None = None
        self._stopped = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopped = True
        self._thread.shutdown(cancel_futures=True)

    @property
    def batch(self) -> Batch:
        """What is being encoded, and what was and is not taken yet."""
        return self._running[0] if self._running else ()

    def begin(self, batch: Batch, known: Mapping[bytes, Vectors]) -> None:
        """Encode a batch in the thread; the one before must have been taken. `known` vectors are not made again."""
        assert self._running is None, "the batch before was not taken"
        self._running = batch, self._thread.submit(self.encode, batch, known)

    def take(self) -> Encoded | None:
        """Wait for the batch that was begun; None when there is none.

        Raises:
            ModelError: it cannot be encoded.
        """
        running, self._running = self._running, None
        return running[1].result() if running else None

    def encode(self, batch: Batch, known: Mapping[bytes, Vectors]) -> Encoded:
        """Gather vectors: those that are known or stored or came with the files, and those that the encoder makes now.

        Raises:
            ModelError: a text cannot be encoded.
        """
        start = time.perf_counter()
        texts = {embed_hash(text): text for prepared in batch for text in prepared.texts}
        vectors = self._truth.cached_vectors(list(texts), self._encoder.dim)
        vectors |= {name: known[name] for name in texts if name in known}
        fresh = [name for name in texts if name not in vectors]
        came = {name: row for prepared in batch if prepared.ahead for name, row in prepared.ahead.vectors.items()}
        vectors |= {name: came[name].astype(np.float32) for name in fresh if name in came}
        if fresh:
            missing = [name for name in fresh if name not in came]
            made = self._make([texts[name] for name in missing], [texts[name] for name in fresh], batch)
            vectors.update(zip(missing, made, strict=True))
        spent_ms = (time.perf_counter() - start) * 1000
        return Encoded(vectors, spent_ms / sum(len(prepared.chunks) for prepared in batch))

    def _make(self, missing: Sequence[str], fresh: Sequence[str], batch: Batch) -> Vectors:
        """Encode the missing, and account for all that are new."""
        size_bytes = sum(prepared.row.bytes for prepared in batch)
        counts = self._encoder.count_tokens(fresh)
        share, tokens_each = size_bytes / len(fresh), sum(counts) / len(fresh)

        def tell(done: int) -> None:
            if self._stopped:
                raise _Stopped
            self._account.tell(batch[0].row.path, round(done * share), round(done * tokens_each))

        vectors = self._encoder.encode(missing, "", tell) if missing else np.empty((0, self._encoder.dim), np.float32)
        self._account.encoded(size_bytes, counts, self._encoder.max_tokens)
        return vectors


class _Stopped(Exception):
    """The run was cut off while a batch was being encoded."""

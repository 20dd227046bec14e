"""The stages that run on the nodes of a Ray cluster: read and cut, then encode. Ray itself is not needed here.

A stage is a class that Ray Data makes once an actor and calls for each row. A row has one column, a pickled value: a
parcel of files goes in, a delivery goes from stage to stage and on to the writer.
"""

import logging
import os
import pickle
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from indexer.chunk import ChunkSettings, CountTokens, chunk
from indexer.encoder import Encoder
from indexer.errors import ClusterError, FootnoteError, ModelError
from indexer.load import Limits, source_of
from indexer.parser import Ahead, Parsed, Parser
from indexer.store.text import embed_hash, embed_text

_log = logging.getLogger(__name__)

Row = dict[str, Any]  # {"value": bytes}
Half = npt.NDArray[np.float16]


@dataclass(frozen=True, slots=True)
class Parcel:
    """Files that travel together."""

    files: tuple[tuple[Path, str], ...]  # path and source, as the writer's machine knows them


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a node made of a parcel: for each of its files what it holds, or why the node can do nothing."""

    files: tuple[tuple[Parsed, ...], ...] = ()
    refusal: FootnoteError | None = None


def packed(value: Parcel | Delivery) -> Row:
    """Make a row of a value."""
    return {"value": pickle.dumps(value)}


def unpacked(row: Row) -> Any:
    """Give the value of a row."""
    return pickle.loads(row["value"])


class Read:
    """Reads the files of a parcel within limits, as the local engine does, and cuts them into chunks."""

    def __init__(self, limits: Limits, settings: ChunkSettings, build_counter: Callable[[], CountTokens]) -> None:
        self._parser, self._settings, self._build_counter = Parser(limits), settings, build_counter
        self._count: CountTokens | None = None

    def __call__(self, row: Row) -> Row:
        parcel: Parcel = unpacked(row)
        try:
            self._count = self._count or self._build_counter()
            return packed(Delivery(tuple(tuple(self._read(path, source)) for path, source in parcel.files)))
        except FootnoteError as error:
            return packed(Delivery(refusal=_on_this_node(error)))

    def _read(self, path: Path, source: str) -> Iterator[Parsed]:
        if not os.path.lexists(path) or source_of(path) != source:
            raise ClusterError(
                f"{path} is not there, or is another file",
                "Mount the folder at the same path on every node, or ingest without --engine ray.",
            )
        started = time.perf_counter()
        for parsed in self._parser.parse(path):
            load_ms = _ms(started)
            started = time.perf_counter()
            yield replace(parsed, ahead=Ahead(load_ms, *self._cut(parsed)))
            started = time.perf_counter()

    def _cut(self, parsed: Parsed) -> tuple[float, float, tuple[Any, ...]]:
        """Times of cutting and encoding, and the chunks: none where that fails, for the writer then says why."""
        started = time.perf_counter()
        assert self._count
        try:
            chunks = chunk(parsed.document, self._count, self._settings) if parsed.document else ()
        except Exception:
            _log.exception("chunking %s failed", parsed.source)
            chunks = ()
        return _ms(started), 0.0, chunks


class Encode:
    """Encodes what the collection has no vector of."""

    def __init__(
        self, build: Callable[[], Encoder], fingerprint: str, known: Callable[[], npt.NDArray[np.bytes_]]
    ) -> None:
        self._refusal: FootnoteError | None = None
        try:
            self._encoder, self._known = build(), known()
            if self._encoder.fingerprint != fingerprint:
                raise ClusterError(
                    "The encoder there is another one", "Give every node the same Footnote, models and adapters."
                )
        except FootnoteError as error:
            self._refusal = _on_this_node(error)

    def __call__(self, row: Row) -> Row:
        delivery: Delivery = unpacked(row)
        if delivery.refusal or self._refusal:
            return packed(Delivery(refusal=delivery.refusal or self._refusal))
        try:
            return packed(Delivery(self._encode_files(delivery.files)))
        except ModelError:
            # One text may have spoilt the parcel: file by file, the others still get through. What is then left
            # without a vector is tried again where it is written, and fails there for all to see.
            return packed(Delivery(tuple(self._encode_alone(file) for file in delivery.files)))

    def _encode_alone(self, file: tuple[Parsed, ...]) -> tuple[Parsed, ...]:
        try:
            (file,) = self._encode_files((file,))
        except ModelError as error:
            _log.warning("%s", error.message)
        return file

    def _encode_files(self, files: Sequence[tuple[Parsed, ...]]) -> tuple[tuple[Parsed, ...], ...]:
        started = time.perf_counter()
        texts = {name: text for file in files for parsed in file for name, text in _texts(parsed).items()}
        missing = self._missing(list(texts))
        vectors: dict[bytes, Half] = {}
        if missing:
            rows = self._encoder.encode([texts[name] for name in missing])
            vectors = dict(zip(missing, rows.astype(np.float16), strict=True))
        each_ms = _ms(started) / max(1, len(texts))
        return tuple(tuple(_with_vectors(parsed, vectors, each_ms) for parsed in file) for file in files)

    def _missing(self, hashes: Sequence[bytes]) -> list[bytes]:
        if not len(self._known) or not hashes:
            return list(hashes)
        wanted = np.array(hashes, self._known.dtype)
        at = np.searchsorted(self._known, wanted).clip(max=len(self._known) - 1)
        return [name for name, is_known in zip(hashes, self._known[at] == wanted, strict=True) if not is_known]


def _texts(parsed: Parsed) -> dict[bytes, str]:
    """The texts of a file's chunks by their hashes, as they are encoded."""
    if not parsed.document or not parsed.ahead:
        return {}
    texts = (embed_text(parsed.document.title, piece.heading_path, piece.text) for piece in parsed.ahead.chunks)
    return {embed_hash(text): text for text in texts}


def _with_vectors(parsed: Parsed, vectors: Mapping[bytes, Half], each_ms: float) -> Parsed:
    if not parsed.ahead:
        return parsed
    texts = _texts(parsed)
    own = {name: vectors[name] for name in texts if name in vectors}
    return replace(parsed, ahead=replace(parsed.ahead, vectors=own, encode_ms=round(each_ms * len(texts), 1)))


def _on_this_node(error: FootnoteError) -> FootnoteError:
    return type(error)(f"On the node {socket.gethostname()}: {error.message}", error.remedy)


def _ms(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 1)

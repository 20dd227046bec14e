"""Keeps the lexical index in step with the truth, and reads tantivy's own checksums."""

import contextlib
import json
import logging
import re
import shutil
import struct
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from indexer.errors import IndexError_
from indexer.store.changes import now
from indexer.store.disk import FULL_DISK_REMEDY, checksum, read_json, write_json
from indexer.store.keys import merge_ranges
from indexer.store.language import LANGUAGES, Language, prepared
from indexer.store.records import Changes
from indexer.store.text import ANALYSIS_VERSION, analyzer, embed_parts
from indexer.store.truth import Truth

_logger = logging.getLogger(__name__)
_HEAP_BYTES = 64 << 20
_FOOTER_MAGIC = 1337
_LAST_KEY = 2**62


class LexicalWriter:
    """Applies the truth's operations. Only the holder of the collection's write lock may have one."""

    def __init__(self, folder: Path, truth: Truth, rebuild: bool = False) -> None:
        self._folder, self._truth = folder, truth
        self._build, self._sequence, self._language = "", 0, truth.language()
        self._index: Any = None
        self._writer: Any = None
        self._certain = False  # whether the index holds exactly the operations up to self._sequence
        with _named(folder):
            if rebuild or not self._resume():
                self._start()

    def __enter__(self) -> "LexicalWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def catch_up(self) -> int:
        """Apply and commit what is new in the truth; returns the sequence number reached. Safe to repeat."""
        if self._truth.language() != self._language:  # every term is another
            self._start()
            return self._sequence
        changes = self._truth.changes(self._sequence)
        if changes.sequence == self._sequence:
            return self._sequence
        if self._certain:
            self._commit(changes)
            return self._sequence
        try:
            # A commit may have gone unrecorded before a kill: then what is added now is deleted first.
            self._commit(replace(changes, deleted=(*changes.deleted, *changes.added)))
        except IndexError_ as error:
            _logger.warning("%s; rebuilding it", error.message)
            self._start()
        return self._sequence

    def _commit(self, changes: Changes) -> None:
        try:
            with _named(self._folder), panics_as_errors():
                self._write(changes)
        except BaseException:
            self._writer, self._certain = None, False  # dropping the writer drops what it had not committed
            raise
        self._record(changes.sequence)
        self._certain = True

    def _write(self, changes: Changes) -> None:
        if self._writer is None:
            self._writer = self._index.writer(_HEAP_BYTES, 1)
            # A kill may have left files that no commit names, and whose names the next commit wants.
            self._writer.garbage_collect_files()
        for first, last in merge_ranges(changes.deleted):
            self._writer.delete_documents_by_query(key_range(self._index.schema, first, last))
        for first, last in merge_ranges(changes.added):
            for key, title, heading_path, text in self._truth.texts(first, last):
                self._writer.add_document(_document(key, title, heading_path, text))
        self._writer.commit()

    def close(self) -> None:
        """Finish merging and let go of tantivy's own lock."""
        if self._writer is not None:
            with contextlib.suppress(Exception):  # nothing is lost: the last commit is what counts
                self._writer.wait_merging_threads()
            self._writer = None

    def _resume(self) -> bool:
        applied = read_applied(self._folder)
        if applied is None or applied["sequence"] > self._truth.sequence() or applied["language"] != self._language:
            return False
        try:
            self._index = open_build(self._folder / applied["build"], self._language)
        except Exception as error:
            _logger.warning("lexical index %s is damaged (%s); rebuilding it", self._folder, error)
            return False
        self._build, self._sequence = applied["build"], applied["sequence"]
        self._remove_others()
        return True

    def _start(self) -> None:
        from tantivy import Index

        self.close()
        self._build, self._sequence, self._language = uuid.uuid4().hex[:8], 0, self._truth.language()
        (self._folder / self._build).mkdir(parents=True)
        self._index = Index(_schema(), str(self._folder / self._build))
        _configure(self._index, self._language)
        # Readers keep the old build until the new one has everything. It is made of the chunks, not of the log.
        sequence = self._truth.sequence()
        self._commit(Changes(sequence, ((1, _LAST_KEY),), ()))
        self._remove_others()

    def _remove_others(self) -> None:
        for other in self._folder.iterdir():
            if other.is_dir() and other.name != self._build:
                shutil.rmtree(other, ignore_errors=True)

    def _record(self, sequence: int) -> None:
        self._sequence = sequence
        what = {"build": self._build, "sequence": sequence, "version": ANALYSIS_VERSION, "language": self._language}
        write_json(self._folder / "applied.json", {**what, "at": now()})


def check_build(folder: Path) -> str:
    """Say why the current build of a lexical folder cannot be used; empty when it can."""
    applied = read_applied(folder)
    if applied is None:
        return "The index is missing or its applied.json is damaged"
    try:
        open_build(folder / applied["build"], applied["language"])
    except Exception as error:  # tantivy raises ValueError, OSError and its own
        return f"The index is damaged: {error}"
    return ""


def damaged_files(folder: Path) -> list[Path]:
    """List the files of the committed segments of a tantivy folder that are missing or fail their own checksum."""
    found = []
    for segment in json.loads((folder / "meta.json").read_text("utf-8"))["segments"]:
        name = segment["segment_id"].replace("-", "")
        files = set(folder.glob(f"{name}.[a-z]*")) | {folder / f"{name}.{end}" for end in ("term", "idx", "fast")}
        if segment["deletes"]:
            files.add(folder / f"{name}.{segment['deletes']['opstamp']}.del")
        found += sorted(path for path in files if not _footer_holds(path))
    return found


def _footer_holds(path: Path) -> bool:
    # A tantivy file ends in: {"crc": ...}, its length and a magic number, both little-endian u32.
    try:
        with path.open("rb") as stream:
            size = stream.seek(-8, 2) + 8
            length, magic = struct.unpack("<II", stream.read(8))
            if magic != _FOOTER_MAGIC or length > size - 8:
                return False
            stream.seek(-8 - length, 2)
            crc = json.loads(stream.read(length))["crc"]
        return bool(checksum(path, size - 8 - length) == crc)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def open_build(folder: Path, language: Language) -> Any:
    """Open a tantivy folder whose files hold their checksums.

    Raises:
        ValueError, OSError: it is missing or damaged.
    """
    from tantivy import Index

    meta = folder / "meta.json"
    before = meta.read_bytes()
    while damaged := damaged_files(folder):  # before tantivy sees it: a torn file makes it panic
        now_there = meta.read_bytes()
        if now_there == before:
            raise ValueError(f"{damaged[0].name} is missing or fails its checksum")
        before = now_there  # a merge replaced the segments meanwhile
    with panics_as_errors():
        index = Index.open(str(folder))
    _configure(index, language)
    return index


def _configure(index: Any, language: Language) -> None:
    index.register_tokenizer("stems", analyzer(language))
    index.config_reader("manual")  # else a thread of tantivy watches the folder and reloads when it likes


@contextlib.contextmanager
def panics_as_errors() -> Iterator[None]:
    """Raise RuntimeError where tantivy panics; its own PanicException is no Exception and has no importable name."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ == "PanicException":
            raise RuntimeError(f"tantivy failed: {error}") from error
        raise


def read_applied(folder: Path) -> dict[str, Any] | None:
    applied = read_json(folder / "applied.json") or {}
    well_formed = isinstance(applied.get("sequence"), int) and re.fullmatch(r"[0-9a-f]+", str(applied.get("build")))
    current = applied.get("version") == ANALYSIS_VERSION and applied.get("language") in LANGUAGES
    return applied if well_formed and current else None


def _schema() -> Any:
    from tantivy import SchemaBuilder

    builder = SchemaBuilder().add_unsigned_field("key", indexed=True, fast=True)
    for field in ("text", "title", "heading"):  # positions are for phrases; ranking reads frequencies alone
        builder = builder.add_text_field(field, tokenizer_name="stems", index_option="position")
    return builder.build()


def _document(key: int, title: str, heading_path: Sequence[str], text: str) -> Any:
    from tantivy import Document

    document = Document()
    document.add_unsigned("key", key)
    for part in embed_parts(title, heading_path, text):  # ranked as one; no phrase begins in one and ends in another
        document.add_text("text", prepared(part))
    document.add_text("title", prepared(title))
    for heading in heading_path:
        document.add_text("heading", prepared(heading))
    return document


def key_range(schema: Any, first: int, last: int) -> Any:
    """The chunks with first <= key <= last."""
    from tantivy import FieldType, Query

    return Query.range_query(schema, "key", FieldType.Unsigned, first, last)


@contextlib.contextmanager
def _named(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        full = "No space left" in str(error)
        raise IndexError_(
            f"No space left to write {folder}" if full else f"Cannot write the lexical index {folder}: {error}",
            FULL_DISK_REMEDY if full else "The text is safe; `footnote verify --repair` rebuilds the index.",
        ) from error

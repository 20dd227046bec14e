"""A named collection of documents: one truth, the index that follows it, one writer at a time, any number of readers.

home/collections/NAME/write.lock           held by the only writer; writer.json says who that is
home/collections/NAME/current.json         which generation answers, and what the settings said when it was chosen
home/collections/NAME/generations/0001/    truth.db, and its index: lexical/ and dense/, or
                                           index.json and milvus/, which name a collection in Milvus
"""

import builtins
import contextlib
import fnmatch
import logging
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from indexer.access import FULL, Access, Rules
from indexer.document import INSIDE, Chunk, Document
from indexer.encoder import Vectors
from indexer.errors import ConfigError, IndexError_
from indexer.filter import Filter
from indexer.milvus.choice import choose_index, drop_elsewhere, open_index
from indexer.store.changes import write_language
from indexer.store.disk import disk_error, read_json, write_json
from indexer.store.index import DenseSearch, Index, IndexSettings, LexicalSearch
from indexer.store.keys import KeyRanges, Keys
from indexer.store.language import Language
from indexer.store.lock import WriteLock
from indexer.store.records import DocumentInfo, FileRow, Manifest, StoredChunk
from indexer.store.truth import Truth
from indexer.store.writer import Writer, writing

_log = logging.getLogger(__name__)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
LOCK_TIMEOUT_S = 3600.0
_KEPT_FILTERS = 15  # whose matching keys are not asked for again while nothing changes


@dataclass(frozen=True, slots=True)
class Generation:
    """Everything that was built with one manifest. Keys and sequence numbers rise across generations."""

    number: int
    folder: Path
    truth: Truth
    index: Index
    chosen_under: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))  # see switch()

    @property
    def lexical(self) -> LexicalSearch:
        """BM25 search."""
        return self.index.lexical

    @property
    def dense(self) -> DenseSearch:
        """Vector search."""
        return self.index.dense

    def close(self) -> None:
        """Let go of files, memory and connections."""
        self.index.close()
        self.truth.close()


class Collection:
    """Safe to share between threads; every call answers from the newest commit of any process."""

    def __init__(self, home: Path, name: str, index: IndexSettings | None = None) -> None:
        self.name = name
        self.index_settings = index or IndexSettings()
        self.home = home
        self.folder = _folder(home, name)
        self._serving = self.folder / "current.json"
        self.lock = WriteLock(self.folder, name)
        self._switching = threading.Lock()
        self._stamp: tuple[int, int] | None = None
        self._generation: Generation | None = None
        self._matching: dict[tuple[int, int, Filter, Access], KeyRanges | None] = {}

    @staticmethod
    def open(
        home: Path,
        name: str,
        *,
        create: bool = False,
        language: Language = "english",
        index: IndexSettings | None = None,
    ) -> "Collection":
        """Open a collection; one that is made now is of this language, and gets the index that `index` names.

        Raises:
            ConfigError: the name is not one that a folder may have.
            IndexError_: it does not exist (and `create` is False), or it is damaged.
        """
        collection = Collection(home, name, index)
        if not (collection.folder / "current.json").exists():
            if not create:
                raise _missing(home, name)
            _create(collection, language)
        _ = collection.generation
        return collection

    @staticmethod
    def list(home: Path) -> list[str]:
        """List the names of the collections under `home`."""
        return sorted(path.parent.name for path in (home / "collections").glob("*/current.json"))

    @property
    def generation(self) -> Generation:
        """The generation that answers now; a switch by another process is noticed."""
        stamp = self._read_stamp()
        generation = self._generation
        if generation is not None and stamp == self._stamp:
            return generation
        with self._switching:
            if self._generation is None or stamp != self._stamp:
                number, under = self._current()  # opened anew even if the number is the same: it may have been rebuilt
                self._generation = replace(self.open_generation(number), chosen_under=under)
                self._stamp = stamp
            return self._generation

    def open_generation(self, number: int, create: bool = False, like: Generation | None = None) -> Generation:
        """Open one generation, serving or not; a new one gets an index like that of another, or as the settings say."""
        folder = self.generation_dir(number)
        if create:
            folder.mkdir(parents=True, exist_ok=True)
            choose_index(folder, self.index_settings, like.folder if like else None)
        truth = Truth(folder / "truth.db", create)
        return Generation(number, folder, truth, open_index(folder, truth, self.lock, self.index_settings))

    def remove_generation(self, folder: Path) -> None:
        """Remove the folder of a generation, with what its index keeps elsewhere."""
        drop_elsewhere(folder, self.index_settings)
        shutil.rmtree(folder)

    def generation_dir(self, number: int) -> Path:
        """Folder of one generation."""
        return self.folder / "generations" / f"{number:04d}"

    # --- searching

    @property
    def lexical(self) -> LexicalSearch:
        """BM25 search."""
        return self.generation.lexical

    @property
    def dense(self) -> DenseSearch:
        """Vector search."""
        return self.generation.dense

    def chunks(self, keys: Sequence[int]) -> dict[int, StoredChunk]:
        """Return the chunks of those keys that exist now. Every hit goes through here: a deleted one is absent."""
        return self.generation.truth.chunks(keys)

    def matching(self, asked: Filter, generation: Generation | None = None, access: Access = FULL) -> KeyRanges | None:
        """Return the keys of the chunks that filter and access let through, for a search; None lets all through."""
        if not asked and access.is_full:
            return None
        generation = generation or self.generation
        now = generation.number, generation.truth.sequence(), asked, access
        known = self._matching
        if now in known:
            return known[now]
        ranges = generation.truth.matching(asked, access)
        # A new dictionary each time: other threads read the old one, and may put theirs in the place of this
        self._matching = {**dict(list(known.items())[-_KEPT_FILTERS:]), now: ranges}
        return ranges

    def texts(self) -> Iterator[tuple[int, str, tuple[str, ...], str]]:
        """Yield (key, title, heading_path, text) of every chunk in order of key."""
        return self.generation.truth.texts()

    def vectors(self) -> tuple[Keys, Vectors]:
        """Return every key (n,) and its vector (n, dim), in order of key."""
        return self.generation.truth.vectors()

    # --- looking

    @property
    def manifest(self) -> Manifest | None:
        """What the serving generation was built with; None before the first document."""
        return self.generation.truth.manifest()

    def sequence(self) -> int:
        """Return a number that rises with every change; equal numbers mean equal content."""
        return self.generation.truth.sequence()

    def count(self, access: Access = FULL) -> int:
        """Return the number of chunks."""
        return self.generation.truth.count(access)

    def rules(self) -> Rules:
        """Return what the collection asks of its callers."""
        return self.generation.truth.rules()

    def documents(self, access: Access = FULL) -> builtins.list[DocumentInfo]:
        """List the documents by source."""
        return self.generation.truth.documents(access)

    def document(self, document_id: str, access: Access = FULL) -> Document:
        """Return one document with its text.

        Raises:
            IndexError_: there is none of that id, or none that the caller may read.
        """
        document = self.generation.truth.document(document_id, access)
        if document is None:
            raise IndexError_(
                f"There is no document '{document_id}' in collection '{self.name}'",
                "`footnote documents` lists what there is.",
            )
        return document

    def document_chunks(self, document_id: str) -> builtins.list[tuple[int, Chunk]]:
        """Return (key, chunk) of one document in reading order."""
        return self.generation.truth.document_chunks(document_id)

    def find(self, pattern: str) -> builtins.list[str]:
        """Return the ids of the documents that a document id, a path, a folder or a glob names, by source."""
        return list(dict.fromkeys(document_id for document_id, _ in self.find_sources(pattern)))

    def find_sources(self, pattern: str) -> builtins.list[tuple[str, str]]:
        """Return (id, source) of what a document id (all its sources), a path, a folder or a glob names, by source."""
        absolute = os.path.abspath(pattern)  # noqa: PTH100 - links stay as they were given
        if not pattern.strip():
            return []
        folder = absolute.rstrip("/") + "/"
        is_glob = any(sign in pattern for sign in "*?[")
        return [
            (document_id, source)
            for document_id, source in self.generation.truth.sources()
            if pattern in (document_id, source)
            or source == absolute
            or source.startswith(folder)
            or (source.startswith(absolute + INSIDE) and not os.path.lexists(source))  # else it lies in a folder x!
            or (is_glob and (fnmatch.fnmatchcase(source, absolute) or fnmatch.fnmatchcase(Path(source).name, pattern)))
        ]

    def files(self, state: str | None = None) -> builtins.list[FileRow]:
        """List the ledger by path: every file that was ever given to ingest, and what became of it."""
        return self.generation.truth.files(state)

    def check_encoder(self, fingerprint: str, generation: Generation | None = None) -> None:
        """Refuse an encoder that did not make the vectors of a generation, the serving one unless another is given.

        Raises:
            IndexError_: it is another one; the remedy names the command that fixes it.
        """
        manifest = (generation or self.generation).truth.manifest()
        if manifest is not None and manifest.fingerprint != fingerprint:
            raise IndexError_(
                f"Collection '{self.name}' was built with another encoder ({manifest.fingerprint[:12]}, "
                f"not {fingerprint[:12]})",
                f"Run `footnote reindex --collection {self.name}` to build it with that one, or take the encoder "
                "out of the settings: the collection remembers its own.",
            )

    # --- writing

    @contextlib.contextmanager
    def writer(
        self,
        on_wait: Callable[[str], None] | None = None,
        *,
        command: str = "write",
        timeout_s: float = LOCK_TIMEOUT_S,
    ) -> Iterator[Writer]:
        """Hold the write lock and write; `on_wait` is told who holds it while this waits.

        Raises:
            IndexError_: the lock was not free within `timeout_s`.
        """
        with self.lock.held(command, timeout_s, on_wait):
            generation = self.generation
            with writing(generation.truth, generation.index) as writer:
                yield writer

    def speak(
        self,
        language: Language,
        on_wait: Callable[[str], None] | None = None,
        *,
        timeout_s: float = LOCK_TIMEOUT_S,
    ) -> None:
        """Let the index of words be one of this language: it is built anew from the stored text, without encoding.

        Raises:
            IndexError_: the lock was not free within `timeout_s`.
        """
        with self.writer(on_wait, command="reindex", timeout_s=timeout_s) as writer:
            writer.speak(language)

    def switch(self, number: int, under: Mapping[str, Any] | None = None) -> None:
        """Let generation `number` answer from now on, in every process. Needs the write lock.

        `under` is what the settings say of encoder and chunking at this moment; as long as they say the same, nobody
        has asked for others since.
        """
        write_json(self.folder / "current.json", {"generation": number, **({"settings": dict(under)} if under else {})})

    def generations(self) -> builtins.list[int]:
        """List the numbers of the generations on disk."""
        folder = self.folder / "generations"
        return sorted(int(path.parent.name) for path in folder.glob("*/truth.db") if path.parent.name.isdigit())

    def close(self) -> None:
        """Let go of files and memory; a later call opens them again."""
        with self._switching:
            generation, self._generation, self._stamp = self._generation, None, None
        if generation is not None:
            generation.close()

    def _read_stamp(self) -> tuple[int, int]:
        try:
            stat = self._serving.stat()
        except OSError as error:
            raise _missing(self.home, self.name) from error
        return stat.st_mtime_ns, stat.st_ino

    def _current(self) -> tuple[int, Mapping[str, Any]]:
        current = read_json(self.folder / "current.json") or {}
        number, under = current.get("generation"), current.get("settings")
        if isinstance(number, int):
            return number, MappingProxyType(under if isinstance(under, dict) else {})
        numbers = self.generations()
        if len(numbers) == 1:
            _log.warning("%s is damaged; there is only one generation to answer from", self.folder / "current.json")
            return numbers[0], MappingProxyType({})
        raise IndexError_(
            f"{self.folder / 'current.json'} is damaged, and {len(numbers)} generations are there",
            'Write {"generation": N} into it, with N the newest folder under generations.',
        )


def _folder(home: Path, name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"'{name[:80]}' cannot be the name of a collection",
            "Use letters, digits, dots, dashes and underscores, 64 at most, and begin with a letter or digit.",
        )
    return home / "collections" / name


def _missing(home: Path, name: str) -> IndexError_:
    names = Collection.list(home)
    there = f"There are: {', '.join(names)}. " if names else ""
    return IndexError_(
        f"There is no collection '{name}' in {home}", f"{there}`footnote ingest PATH --collection {name}` makes it."
    )


def _create(collection: Collection, language: Language) -> None:
    try:
        collection.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(error, collection.folder) from error
    with collection.lock.held("create"):
        if not (collection.folder / "current.json").exists():
            generation = collection.open_generation(1, create=True)
            if language != generation.truth.language():
                with generation.truth.writing() as db:
                    write_language(db, language)
            generation.close()
            collection.switch(1)

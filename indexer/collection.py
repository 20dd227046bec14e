"""A named collection of documents: one truth, the index that follows it, one writer at a time, any number of readers.

home/collections/NAME/write.lock           held by the only writer; writer.json says who that is
home/collections/NAME/current.json         which generation answers, and what the settings said when it was chosen
home/collections/NAME/generations/0001/    truth.db, and its index: lexical/ and dense/, or
                                           index.json and milvus/, which name a collection in Milvus;
                                           merging.json while a merge of the dense index goes on
"""

import builtins
import contextlib
import logging
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from indexer.access import FULL, Access, Rules
from indexer.document import Chunk, Document
from indexer.encoder import Vectors
from indexer.errors import ConfigError, FootnoteError, IndexError_
from indexer.filter import Filter
from indexer.generation import Generation, Generations
from indexer.naming import named_by
from indexer.store.changes import write_language
from indexer.store.disk import disk_error
from indexer.store.index import DenseSearch, IndexSettings, LexicalSearch
from indexer.store.keys import KeyRanges, Keys
from indexer.store.language import Language
from indexer.store.lock import WriteLock
from indexer.store.records import DocumentInfo, FileRow, Manifest, StoredChunk
from indexer.store.writer import Writer, writing

_log = logging.getLogger(__name__)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
LOCK_TIMEOUT_S = 3600.0
_KEPT_FILTERS = 15  # whose matching keys are not asked for again while nothing changes


class Collection:
    """Safe to share between threads; every call answers from the newest commit of any process."""

    def __init__(self, home: Path, name: str, index: IndexSettings | None = None) -> None:
        self.name = name
        self.index_settings = index or IndexSettings()
        self.home = home
        self.folder = home / "collections" / check_name(name)
        self.lock = WriteLock(self.folder, name)
        self.generations = Generations(self.folder, self.lock, self.index_settings)
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
        if not collection.generations.exist():
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
        try:
            stamp = self.generations.stamp()
        except OSError as error:
            raise _missing(self.home, self.name) from error
        generation = self._generation
        if generation is not None and stamp == self._stamp:
            return generation
        with self._switching:
            if self._generation is None or stamp != self._stamp:
                # Opened anew even if the number is the same: it may have been rebuilt
                number, under = self.generations.chosen()
                self._generation = replace(self.generations.open(number), chosen_under=under)
                self._stamp = stamp
            return self._generation

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
        return named_by(pattern, self.generation.truth.sources())

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
        merge_later: bool = False,
    ) -> Iterator[Writer]:
        """Hold the write lock and write; `on_wait` is told who holds it while this waits.

        With `merge_later` a merge of the index that has come due is done in the background, and nobody waits for it:
        until then new chunks are searched exactly, and deleted ones are left out of every ranking.

        Raises:
            IndexError_: the lock was not free within `timeout_s`.
        """
        with self.lock.held(command, timeout_s, on_wait):
            generation = self.generation
            with writing(generation.truth, generation.index, merge=not merge_later) as writer:
                yield writer
        if merge_later:
            threading.Thread(target=self._merge, name="footnote-merge", daemon=True).start()

    def _merge(self) -> None:
        """Merge what is due, unless somebody is writing, who does it at the end."""
        try:
            with self.writer(command="merge", timeout_s=0):
                pass
        except FootnoteError as error:
            _log.info("%s was not merged: %s", self.name, error.message)

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

    def close(self) -> None:
        """Let go of files and memory; a later call opens them again."""
        with self._switching:
            generation, self._generation, self._stamp = self._generation, None, None
        if generation is not None:
            generation.close()


def check_name(name: str) -> str:
    """Give a name that a collection may have.

    Raises:
        ConfigError: it is none.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"'{name[:80]}' cannot be the name of a collection",
            "Use letters, digits, dots, dashes and underscores, 64 at most, and begin with a letter or digit.",
        )
    return name


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
        if not collection.generations.exist():
            generation = collection.generations.open(1, create=True)
            if language != generation.truth.language():
                with generation.truth.writing() as db:
                    write_language(db, language)
            generation.close()
            collection.generations.switch(1)

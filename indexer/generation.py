"""The generations of a collection: each holds all that was built with one manifest, and one of them answers."""

import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from indexer.errors import IndexError_
from indexer.milvus.choice import choose_index, drop_elsewhere, open_index
from indexer.store.disk import read_json, write_json
from indexer.store.index import DenseSearch, Index, IndexSettings, LexicalSearch
from indexer.store.lock import WriteLock
from indexer.store.truth import Truth

_log = logging.getLogger(__name__)


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


class Generations:
    """Those of one collection, side by side on disk, and the file that says which of them answers."""

    def __init__(self, folder: Path, lock: WriteLock, index: IndexSettings) -> None:
        self._folder, self._current = folder / "generations", folder / "current.json"
        self._lock, self._index = lock, index

    def open(self, number: int, create: bool = False, like: Generation | None = None) -> Generation:
        """Open one generation, serving or not; a new one gets an index like that of another, or as the settings say."""
        folder = self.dir(number)
        if create:
            folder.mkdir(parents=True, exist_ok=True)
            choose_index(folder, self._index, like.folder if like else None)
        truth = Truth(folder / "truth.db", create)
        return Generation(number, folder, truth, open_index(folder, truth, self._lock, self._index))

    def remove(self, folder: Path) -> None:
        """Remove the folder of a generation, with what its index keeps elsewhere."""
        drop_elsewhere(folder, self._index)
        shutil.rmtree(folder)

    def dir(self, number: int) -> Path:
        """Folder of one generation."""
        return self._folder / f"{number:04d}"

    def switch(self, number: int, under: Mapping[str, Any] | None = None) -> None:
        """Let generation `number` answer from now on, in every process. Needs the write lock.

        `under` is what the settings say of encoder and chunking at this moment; as long as they say the same, nobody
        has asked for others since.
        """
        write_json(self._current, {"generation": number, **({"settings": dict(under)} if under else {})})

    def numbers(self) -> list[int]:
        """List the numbers of the generations on disk."""
        return sorted(int(path.parent.name) for path in self._folder.glob("*/truth.db") if path.parent.name.isdigit())

    def exist(self) -> bool:
        """Whether one of them was ever chosen to answer."""
        return self._current.exists()

    def stamp(self) -> tuple[int, int]:
        """Return what changes with every switch, by whatever process.

        Raises:
            FileNotFoundError: none was ever chosen.
        """
        stat = self._current.stat()
        return stat.st_mtime_ns, stat.st_ino

    def chosen(self) -> tuple[int, Mapping[str, Any]]:
        """Return the number of the one that answers, and what the settings said when it was chosen.

        Raises:
            IndexError_: the file that says so is damaged, and there is more than one.
        """
        current = read_json(self._current) or {}
        number, under = current.get("generation"), current.get("settings")
        if isinstance(number, int):
            return number, MappingProxyType(under if isinstance(under, dict) else {})
        numbers = self.numbers()
        if len(numbers) == 1:
            _log.warning("%s is damaged; there is only one generation to answer from", self._current)
            return numbers[0], MappingProxyType({})
        raise IndexError_(
            f"{self._current} is damaged, and {len(numbers)} generations are there",
            'Write {"generation": N} into it, with N the newest folder under generations.',
        )

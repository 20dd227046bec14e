"""The dense index's base: an HNSW graph over half-precision vectors in files that never change once written.

    dense/base.json            which files are current, what they hold, their checksums
    dense/filling.json         the same of a base that is filled and does not answer yet (indexer/store/fill.py)
    dense/<build>.faiss        the graph: one row for each distinct vector
    dense/<build>.npz          keys (n,) and rows (n,): chunk keys[i] has the vector in row rows[i];
                               digests (r,): of each row's vector

Many equal vectors in an HNSW graph make a clique that searches cannot leave (measured: of a hundred others beside two
thousand none was found), so chunks of equal vectors share a row, whether their texts are equal or an encoder makes the
same of them, as of capitals. Malkov and Yashunin 2016 (arXiv:1603.09320).
"""

import contextlib
import ctypes
import importlib
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from indexer.encoder import Vectors
from indexer.errors import IndexError_
from indexer.store.digest import digests_of
from indexer.store.disk import checksum, read_json, replace_file, write_json
from indexer.store.gpu import graph_on_gpu
from indexer.store.keys import Keys, Mask

NOTE, FILLING = "base.json", "filling.json"
_NEIGHBOURS = 32
_EF_CONSTRUCTION = 100
_ADD_ROWS = 4096
_FEW_ROWS = 2048
OnChunks = Callable[[int], None]


def _untold(chunks: int) -> None:
    """Nobody asks how far it is."""


@dataclass(frozen=True, slots=True)
class BaseNote:
    """What base.json says."""

    build: str
    sequence: int  # the last operation of the truth that the base holds
    last_key: int  # every chunk up to this key was considered
    rows: int
    dim: int
    fingerprint: str
    graph_crc: int
    keys_crc: int


@dataclass(frozen=True, slots=True)
class Base:
    """An open base: `index` is a FAISS HNSW index over r distinct vectors, shared by n chunks."""

    note: BaseNote
    index: Any  # for searching alone: its pages are those of the file, in memory once for all processes
    keys: Keys  # (n,), ordered by row, then key
    rows: Keys  # (n,)
    digests: Keys | None  # (r,); None in files of before they were kept
    starts: Keys  # (r + 1,): the chunks of row i are keys[starts[i]:starts[i + 1]]
    is_plain: bool  # every row has just one chunk, as where no text is there twice and none was deleted


@dataclass(frozen=True, slots=True)
class Part:
    """Chunks on their way into a base: keys, ids of their vectors, and the vectors themselves."""

    keys: Keys  # (m,)
    vector_ids: Keys  # (m,)
    vectors: Vectors  # (m, dim)


def read_note(folder: Path, name: str = NOTE) -> BaseNote | None:
    """Read which base is current, or is filled; None when there is none."""
    value = read_json(folder / name)
    try:
        return BaseNote(**value) if value else None
    except TypeError:
        return None


def open_base(folder: Path, note: BaseNote) -> Base:
    """Open a base for searching and check it against its note.

    Raises:
        ValueError: a file is missing, damaged or not the one that the note describes.
    """
    faiss: Any = importlib.import_module("faiss")

    graph, arrays = _files(folder, note.build)
    try:
        if checksum(graph) != note.graph_crc or checksum(arrays) != note.keys_crc:
            raise ValueError("its checksum differs")
        index = faiss.read_index(str(graph), faiss.IO_FLAG_MMAP_IFC)
        with np.load(arrays) as stored:
            keys, rows, digests = stored["keys"], stored["rows"], stored.get("digests")
    except (OSError, RuntimeError) as error:
        raise ValueError(f"it cannot be read: {error}") from error
    if (index.ntotal, index.d) != (note.rows, note.dim) or (digests is not None and len(digests) != note.rows):
        raise ValueError("its size differs")
    return _base(note, index, keys, rows, digests)


def write_base(
    folder: Path,
    old: Base | None,
    alive: Mask,
    new: Iterable[Part],
    note: BaseNote,
    on_chunks: OnChunks = _untold,
    on_gpu: bool = False,
    name: str = NOTE,
) -> Base:
    """Write a base of what is `alive` (n,) in `old` and all of `new`, and make it the current one, or that of `name`.

    Readers have the old or the new one, never a mixture. `old` is not changed: its graph is read into memory, which
    holds it once, and is let go of when it is written. Each part of `new` holds the keys above those before it.
    `note` says what the truth was; its build, sizes and checksums are filled in here. `on_chunks` gets how many chunks
    of `new` are in the graph, which is what takes the time: the files are written quickly. With `on_gpu` a base without
    an old one is built there if that can be done: all of it is in memory then.

    Raises:
        ValueError: the graph of `old` is damaged.
        IndexError_: the disk is full or refuses.
    """
    faiss: Any = importlib.import_module("faiss")

    if old is None and on_gpu:
        index, (keys, rows, digests) = _built_on_gpu(note.dim, new, on_chunks)
    else:
        index = _graph_of(folder, old) if old else _empty_index(note.dim)
        keys, rows, digests = _add_parts(index, old, alive, new, on_chunks)
    build = uuid.uuid4().hex[:8]
    graph, arrays = _files(folder, build)
    folder.mkdir(parents=True, exist_ok=True)
    with _named(folder):
        replace_file(graph, lambda path: faiss.write_index(index, str(path)))
        replace_file(arrays, lambda path: _save(path, keys=keys, rows=rows, digests=digests))
        graph_crc, keys_crc = checksum(graph), checksum(arrays)
    last_key = max(note.last_key, int(keys.max(initial=0)))
    note = replace(note, build=build, last_key=last_key, rows=len(digests), dim=index.d)
    note = replace(note, graph_crc=graph_crc, keys_crc=keys_crc)
    write_json(folder / name, asdict(note))
    _remove_others(folder, build, NOTE, name)
    index = None  # before the same is mapped
    return _base(note, faiss.read_index(str(graph), faiss.IO_FLAG_MMAP_IFC), keys, rows, digests)


def _graph_of(folder: Path, base: Base) -> Any:
    """Read the graph of a base into memory: what is mapped from a file cannot grow."""
    faiss: Any = importlib.import_module("faiss")

    graph, _ = _files(folder, base.note.build)
    _give_back_memory()
    try:
        if checksum(graph) != base.note.graph_crc:
            raise ValueError("its checksum differs")
        return faiss.read_index(str(graph))
    except (OSError, RuntimeError) as error:
        raise ValueError(f"it cannot be read: {error}") from error


def _built_on_gpu(dim: int, parts: Iterable[Part], on_chunks: OnChunks) -> tuple[Any, tuple[Keys, Keys, Keys]]:
    rows = _Rows()
    numbers = _add_parts(rows, None, np.empty(0, bool), parts, _untold)
    index = graph_on_gpu(rows.whole(dim), _NEIGHBOURS, _EF_CONSTRUCTION)
    if index is None:
        index = _empty_index(dim)
        for part in rows.added:
            for rows_done in _add(index, part, np.arange(len(part))):
                on_chunks(rows_done)
    return index, numbers


class _Rows:
    """Stands where a graph would be added to, and keeps the rows."""

    def __init__(self) -> None:
        self.added: list[Vectors] = []

    def add(self, vectors: Vectors) -> None:
        self.added.append(vectors)

    def whole(self, dim: int) -> Vectors:
        """All rows as one array (n, dim), of which `added` is then the only part."""
        self.added = [np.concatenate([np.empty((0, dim), np.float32), *self.added])]
        return self.added[0]


def _give_back_memory() -> None:
    """Return what was freed to the system: glibc keeps it for the next allocation, and a graph's are none it fits."""
    with contextlib.suppress(OSError, AttributeError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _add_parts(
    index: Any, old: Base | None, alive: Mask, new: Iterable[Part], on_chunks: OnChunks
) -> tuple[Keys, Keys, Keys]:
    """Add the vectors that have no row yet; give keys (n,) and rows (n,) in order of row, and digests (r,)."""
    digests = _digests_of_base(old) if old else np.empty(0, np.int64)
    all_keys, all_rows = ([old.keys[alive]], [old.rows[alive]]) if old else ([], [])
    by_digest = np.argsort(digests, kind="stable")
    before = 0
    for part in new:
        names = _digests_of_part(part)
        distinct, first = np.unique(names, return_index=True)
        at = np.searchsorted(digests, distinct, sorter=by_digest)
        known = np.zeros(len(distinct), bool)
        inside = at < len(digests)
        known[inside] = digests[by_digest[at[inside]]] == distinct[inside]
        added = np.sort(first[~known])  # in order of key, as the graph is built
        for rows_done in _add(index, part.vectors, added):
            on_chunks(before + len(part.keys) * rows_done // len(added))
        before += len(part.keys)
        on_chunks(before)
        digests = np.concatenate([digests, names[added]])
        by_digest = np.argsort(digests, kind="stable")
        all_keys.append(part.keys)
        all_rows.append(by_digest[np.searchsorted(digests, names, sorter=by_digest)])
    keys, rows = np.concatenate(all_keys), np.concatenate(all_rows)
    order = np.lexsort((keys, rows))
    return keys[order], rows[order], digests


def _add(index: Any, vectors: Vectors, rows: Keys) -> Iterator[int]:
    """Add rows in portions, so that an interrupt is noticed between two; gives how many are in."""
    faiss: Any = importlib.import_module("faiss")
    threads = faiss.omp_get_max_threads()
    # FAISS's threads spin while they wait for each other: few vectors are added up to ten times faster by one alone.
    faiss.omp_set_num_threads(1 if len(rows) < _FEW_ROWS else threads)
    try:
        for at in range(0, len(rows), _ADD_ROWS):
            index.add(vectors[rows[at : at + _ADD_ROWS]])
            yield min(at + _ADD_ROWS, len(rows))
    finally:
        faiss.omp_set_num_threads(threads)


def _digests_of_part(part: Part) -> Keys:
    """Name each vector (m,) by its numbers in half precision."""
    _, first, of = np.unique(part.vector_ids, return_index=True, return_inverse=True)
    return digests_of(part.vectors[first])[of]


def _digests_of_base(base: Base) -> Keys:
    """Name each row (r,); where the files are of before names were kept, by what the graph holds."""
    if base.digests is not None:
        return base.digests
    begins = range(0, base.note.rows, _ADD_ROWS)
    pages = (base.index.reconstruct_n(at, min(_ADD_ROWS, base.note.rows - at)) for at in begins)
    return np.concatenate([np.empty(0, np.int64), *map(digests_of, pages)])


def _empty_index(dim: int) -> Any:
    faiss: Any = importlib.import_module("faiss")

    index = faiss.IndexHNSWSQ(dim, faiss.ScalarQuantizer.QT_fp16, _NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = _EF_CONSTRUCTION
    index.train(np.zeros((1, dim), np.float32))  # half precision learns nothing
    return index


def _base(note: BaseNote, index: Any, keys: Keys, rows: Keys, digests: Keys | None) -> Base:
    starts = np.searchsorted(rows, np.arange(note.rows + 1))
    return Base(note, index, keys, rows, digests, starts, np.array_equal(rows, np.arange(note.rows)))


def drop_base(folder: Path) -> None:
    """Remove the base and every file of an older or unfinished one."""
    (folder / NOTE).unlink(missing_ok=True)
    _remove_others(folder, "")


def _files(folder: Path, build: str) -> tuple[Path, Path]:
    return folder / f"{build}.faiss", folder / f"{build}.npz"


def _remove_others(folder: Path, build: str, *kept: str) -> None:
    for path in folder.glob("*"):
        if path.name not in kept and (not build or path.stem != build):
            path.unlink(missing_ok=True)


def _save(path: Path, keys: Keys, rows: Keys, digests: Keys) -> None:
    with path.open("wb") as stream:
        np.savez(stream, keys=keys, rows=rows, digests=digests)


@contextlib.contextmanager
def _named(folder: Path) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # FAISS says so when a write is cut short
        raise IndexError_(f"Cannot write the dense index {folder}: {error}", "Check the disk's free space.") from error

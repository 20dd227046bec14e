"""Which index a generation has. Its folder remembers; the settings are asked for new collections only."""

import logging
import shutil
from pathlib import Path

from indexer.errors import ConfigError, FootnoteError
from indexer.milvus.address import Address, parse_address
from indexer.milvus.build import Build, build_for, choose, chosen, new_build, notes, read_build, write_note
from indexer.milvus.connection import Connection
from indexer.milvus.index import MilvusIndex
from indexer.milvus.schema import check_types
from indexer.milvus.writer import drop
from indexer.store.index import Index, IndexSettings
from indexer.store.local import LocalIndex
from indexer.store.lock import WriteLock
from indexer.store.truth import Truth

_log = logging.getLogger(__name__)


def open_index(folder: Path, truth: Truth, lock: WriteLock, settings: IndexSettings) -> Index:
    """Open the index that a generation has; a Milvus is not asked before it is needed."""
    if not chosen(folder):
        return LocalIndex(folder, truth, lock, settings.dense_build)
    build = read_build(folder) or next(iter(notes(folder)), None)
    if build is None:
        _log.warning("%s names no collection of Milvus; searching the local index", folder / "index.json")
        return LocalIndex(folder, truth, lock, settings.dense_build)
    return MilvusIndex(folder, truth, lock, connect(parse_address(build.uri), settings))


def choose_index(folder: Path, settings: IndexSettings, like: Path | None = None) -> None:
    """Give a new generation an index like another's, or the one of the settings.

    Raises:
        ConfigError: the settings ask for Milvus and name none, or what does not go together.
        IndexError_: the Milvus of the settings does not answer, or refuses.
    """
    if chosen(folder):
        return
    if like is not None:
        old = read_build(like)
        build = new_build(folder, old.uri, old.index_type, old.vectors) if old else None
    else:
        build = _wanted(folder, settings) if settings.kind == "milvus" else None
    if build is not None:
        write_note(folder, build)
        choose(folder, build)


def wanted_address(settings: IndexSettings) -> Address:
    """The address of the settings.

    Raises:
        ConfigError: there is none, or it is none.
    """
    if not settings.uri:
        raise ConfigError("indexer.index is milvus, but no Milvus is named.", "Set milvus.uri.")
    return parse_address(settings.uri)


def connect(address: Address, settings: IndexSettings) -> Connection:
    """A connection with the token of the settings, which goes to no other server than the one that they name."""
    named = parse_address(settings.uri).uri if settings.uri else address.uri
    token = settings.token if named == address.uri else ""
    return Connection(address, token, settings.timeout_s)


def ask_version(settings: IndexSettings) -> str:
    """Ask the Milvus of the settings who it is.

    Raises:
        ConfigError: there is none, or the packages are missing.
        IndexError_: it does not answer, or refuses.
    """
    address = wanted_address(settings)
    connection = connect(address, settings)
    try:
        return f"{address.uri}: Milvus {connection.call('get_server_version')}, {settings.index_type}"
    finally:
        connection.close()


def drop_elsewhere(folder: Path, settings: IndexSettings, but: str = "") -> None:
    """Drop what the index of a generation keeps outside of its folder, but one build, as far as that can be reached."""
    for build in notes(folder):
        if build.name == but:
            continue
        try:
            connection = connect(parse_address(build.uri), settings)
        except FootnoteError as error:
            _log.warning("%s", error.message)
            continue
        try:
            drop(folder, connection, build)
        except FootnoteError as error:  # the packages are missing
            _log.warning("%s; the collection %s is left at %s", error.message, build.name, build.uri)
        finally:
            connection.close()


def drop_local(folder: Path) -> None:
    """Remove the local index of a generation that answers from elsewhere."""
    for name in ("lexical", "dense"):
        shutil.rmtree(folder / name, ignore_errors=True)


def _wanted(folder: Path, settings: IndexSettings) -> Build:
    address = wanted_address(settings)
    check_types(settings.index_type, settings.vectors, address.is_lite)
    connection = connect(address, settings)
    try:
        connection.call("list_collections")
    finally:
        connection.close()
    return build_for(folder, settings, address.uri)

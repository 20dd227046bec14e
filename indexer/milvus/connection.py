"""A connection to Milvus: opened at the first call, and every failure said in words that help."""

import contextlib
import importlib
import logging
import os
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from indexer.errors import ConfigError, IndexError_
from indexer.milvus.address import Address

_CONNECT_TIMEOUT_S = 10.0
_WALKED_ROWS = 500
_ATTEMPTS = 3  # at a collection that is released meanwhile
_LOADED = ("search", "query", "query_iterator", "insert", "upsert", "delete")  # what needs a collection in memory
_INSTALL = "Install it with `.venv/bin/python -m pip install -r requirements-milvus.txt`."
_REFUSED = ("unauthenticated", "auth check failure", "authentication", "permission deny", "privilege", "invalid token")
_UNREACHED = ("fail connecting", "illegal connection params", "unavailable", "deadline", "timeout", "rpc error")
_GONE = ("can't find collection", "collection not found", "does not exist", "not exist")
# A server that is back is to be found at once: gRPC waits up to two minutes between two attempts.
_SOON_AGAIN = {"grpc.initial_reconnect_backoff_ms": 100, "grpc.max_reconnect_backoff_ms": 1000}
# Milvus Lite's server hangs up on a client that asks every ten seconds whether it is there, and gRPC prints that.
_NO_PINGS = {"grpc.keepalive_time_ms": 2**31 - 1, "grpc.keepalive_permit_without_calls": False}

_opening = threading.Lock()
# Milvus Lite opens a collection anew for each of two threads that ask at once, and one finds the other's half loaded.
_loading: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
_users: Counter[str] = Counter()  # of each file of Milvus Lite in this process


class Unreachable(IndexError_):
    """Nobody answers there now. What is to be written waits in the truth."""


class MissingCollection(IndexError_):
    """Milvus has no such collection."""


class Connection:
    """Calls MilvusClient by name. Thread-safe."""

    def __init__(self, address: Address, token: str = "", timeout_s: float = 60.0) -> None:
        self.address, self._token, self._timeout_s = address, token, timeout_s
        self._client: Any = None
        self._loaded: set[str] = set()  # collections that this connection has asked for
        self._loading = _loading[address.endpoint]

    def call(self, method: str, *arguments: Any, timeout_s: float = 0.0, **named: Any) -> Any:
        """Call a method of MilvusClient, for `timeout_s` at most, or as long as every call may take.

        Raises:
            ConfigError: the packages are missing.
            Unreachable: nobody answers at the address, or another process has the file.
            MissingCollection: there is no such collection.
            IndexError_: Milvus refuses.
        """
        client, limit = self._open(), timeout_s or self._timeout_s
        attempts = 0
        while True:
            attempts += 1
            try:
                if method in _LOADED:
                    self._load(client, arguments[0], limit)
                return getattr(client, method)(*arguments, timeout=limit, **named)
            except Exception as error:  # pymilvus raises its own and gRPC's; both are told by what they say
                if method in _LOADED and attempts < _ATTEMPTS and _is_released(error):
                    self._loaded.discard(arguments[0])  # a server that began anew, or somebody who saves memory
                    continue
                explained = self._explain(error)
                if isinstance(explained, Unreachable) and not self.address.is_lite:
                    self._forget(client)
                raise explained from error

    def _load(self, client: Any, collection: str, limit: float) -> None:
        with self._loading:
            if collection not in self._loaded:
                client.load_collection(collection, timeout=limit)
                self._loaded.add(collection)

    def _forget(self, client: Any) -> None:
        """The next call connects anew: a channel that has failed goes on failing for a while."""
        with _opening:
            if self._client is client:
                self._client = None
                self._loaded.clear()
        with contextlib.suppress(Exception):
            client.close()

    def walk(self, collection: str, *fields: str) -> Iterator[list[dict[str, Any]]]:
        """Yield the rows of a collection in order of key, some hundred at a time: their keys and other fields."""
        rows = self.call(
            "query_iterator",
            collection,
            batch_size=_WALKED_ROWS,
            filter="key >= 0",
            output_fields=["key", *fields],
            consistency_level="Strong",
        )
        try:
            while page := rows.next():
                yield [dict(row) for row in page]
        except IndexError_:
            raise
        except Exception as error:
            raise self._explain(error) from error
        finally:
            rows.close()

    def close(self) -> None:
        """Let go; a file of Milvus Lite is free for another process when the last of this one has."""
        with _opening:
            client, self._client = self._client, None
            self._loaded.clear()
            if client is None:
                return
            client.close()
            if self.address.is_lite:
                _users[self.address.endpoint] -= 1
                if not _users[self.address.endpoint]:
                    _server_manager().release_server(self.address.endpoint)

    def _open(self) -> Any:
        client = self._client
        if client is not None:
            return client
        with _opening:
            if self._client is None:
                self._client = self._connect()
                if self.address.is_lite:
                    _users[self.address.endpoint] += 1
            return self._client

    def _connect(self) -> Any:
        pymilvus = _import("pymilvus")
        if self.address.is_lite:
            _import("milvus_lite")
            Path(self.address.endpoint).parent.mkdir(parents=True, exist_ok=True)
        _quiet()
        try:
            return pymilvus.MilvusClient(
                uri=self.address.endpoint,
                token=self._token,
                db_name=self.address.database,
                timeout=min(_CONNECT_TIMEOUT_S, self._timeout_s),
                dedicated=True,  # else a failed channel is shared with those that connect anew
                grpc_options=_SOON_AGAIN | (_NO_PINGS if self.address.is_lite else {}),
            )
        except Exception as error:
            if self.address.is_lite:
                raise self._why_not_lite(error) from error
            raise self._explain(error) from error

    def _why_not_lite(self, error: Exception) -> IndexError_:
        lite = _import("milvus_lite")
        try:
            lite.MilvusLite(self.address.endpoint).close()
        except Exception as found:
            if type(found).__name__ == "DataDirLockedError":
                return Unreachable(
                    f"{self.address.endpoint} is in use by another process",
                    "A file of Milvus Lite has one process at a time: end the other (the page, the API, a command), "
                    "or use a Milvus server.",
                )
            error = found
        return IndexError_(
            f"{self.address.endpoint} cannot be opened: {_first_line(error)}",
            "Move it away and run `footnote verify --repair`: the index is built anew from the stored text.",
        )

    def _explain(self, error: Exception) -> IndexError_:
        text = _first_line(error)
        if self._token:
            text = text.replace(self._token, "(hidden)")
        said = text.lower()
        if any(words in said for words in _GONE) and "collection" in said:
            return MissingCollection(f"Milvus at {self.address.uri}: {text}", "Run `footnote verify --repair`.")
        if any(words in said for words in _REFUSED):
            return IndexError_(
                f"Milvus at {self.address.uri} refused this user: {text}",
                "Set milvus.token to USER:PASSWORD or a token that may use that database.",
            )
        if any(words in said for words in _UNREACHED):
            return Unreachable(
                f"Milvus at {self.address.uri} does not answer: {text}",
                "Start it, or correct milvus.uri, and try again.",
            )
        return IndexError_(f"Milvus at {self.address.uri} refused: {text}", "Its own log may say more.")


def _import(name: str) -> Any:
    # pymilvus reads a file .env at import, which is none of its business here.
    before = os.environ.get("PYTHON_DOTENV_DISABLED")
    os.environ["PYTHON_DOTENV_DISABLED"] = "1"
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(f"Milvus needs a package that is missing: {error}.", _INSTALL) from error
    finally:
        if before is None:
            del os.environ["PYTHON_DOTENV_DISABLED"]
        else:
            os.environ["PYTHON_DOTENV_DISABLED"] = before


def _server_manager() -> Any:
    return importlib.import_module("milvus_lite.server_manager").server_manager_instance


def _quiet() -> None:
    """Both log with a traceback what they also raise."""
    for name in ("pymilvus", "pymilvus.milvus_client", "milvus_lite", "grpc._server"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _is_released(error: Exception) -> bool:
    said = str(error).lower()
    return "not loaded" in said or "released" in said


def _first_line(error: Exception) -> str:
    if callable(details := getattr(error, "details", None)):  # gRPC's own; its text is many lines
        return f"{getattr(error, 'code', lambda: '')()}: {details()}"[:300]
    text = str(getattr(error, "message", "") or error or type(error).__name__)
    return text.strip().splitlines()[0][:300] if text.strip() else type(error).__name__

"""A Ray cluster as its engine needs it: meeting or starting one, what it has to work with, and whether it is there."""

import contextlib
import io
import logging
import os
import queue
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is reported to anybody
os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"  # a thread that outlives a cluster must not start another
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # it writes on this process's standard error

import ray

from indexer.errors import ClusterError

_log = logging.getLogger(__name__)

AGAIN = "What was indexed is safe. Run the same command again: it goes on at the first file that is missing."
_ROOT = Path(__file__).resolve().parent.parent
_THREADS = 4  # of an encoder on CPUs: more of them gain less than a second encoder does
_ROOM_BYTES = 32 * 2**20  # of results, for each actor, that may wait for the next stage or the writer
_STORE_BYTES = 512 * 2**20  # Ray's shared memory, where the cluster is this machine alone
_CONNECT_S = 5.0
_HEAD_TRIES = 4  # to reach the head, before it counts as lost
_JOIN = "This machine has to be a node of the cluster: run `ray start --address HOST:6379` here; docs/scale-out.md."


@dataclass(frozen=True, slots=True)
class Pools:
    """How many actors work, and what each claims. Readers and encoders on CPUs claim half of these together, so that
    there is room for the actors of a node that is lost on the others."""

    readers: int
    encoders: int
    reader_cpus: float
    encoder_cpus: float
    encoder_gpus: int
    threads: int

    @property
    def room_bytes(self) -> int:
        """Shared memory that results may take before the stages are held back."""
        return _ROOM_BYTES * (self.readers + self.encoders)


def plan_pools(parcels: int) -> Pools:
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cpus = [int(node["CPU"]) for node in nodes if node.get("CPU", 0) >= 1]
    gpus = sum(int(node.get("GPU", 0)) for node in nodes)
    if not cpus:
        raise ClusterError("The Ray cluster has no CPUs to read files with.", "Add a node, or raise --num-cpus of one.")
    if gpus:
        return Pools(min(parcels, max(1, sum(cpus) // 2)), min(parcels, gpus), 0.5, 0.0, 1, _THREADS)
    threads = min(_THREADS, *cpus)
    actors = min(parcels, sum(cpus) // threads)
    return Pools(actors, actors, threads / 4, threads / 4, 0, threads)


class Nodes:
    """The nodes that were seen alive."""

    def __init__(self) -> None:
        self._alive = self._look()

    def watched(self, rows: Iterable[Any]) -> Iterator[Any]:
        """Yield the rows, and log which nodes are lost meanwhile."""
        for row in rows:
            self._report_losses()
            yield row

    def _report_losses(self) -> None:
        before, self._alive = self._alive, self._look()
        for name in before.keys() - self._alive.keys():
            _log.warning("the node %s was lost; the others do its work", before[name])

    def _look(self) -> dict[str, str]:
        return {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}


@contextlib.contextmanager
def connected(address: str) -> Iterator[None]:
    """Meet the cluster at an address, or start one of this machine; what Ray says goes to the log."""
    _check(address)
    passed = {name: value for name, value in os.environ.items() if name.startswith("HF_")}
    passed["PYTHONPATH"] = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    options: dict[str, Any] = {"address": address}
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(_Log()))
        if not address:
            # A short path, since sockets lie below it, and one of its own: it is removed with all that was kept there.
            folder = tempfile.mkdtemp(prefix="footnote-ray-", dir="/tmp")
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            options = {"address": "local", "include_dashboard": False, "_temp_dir": folder}
            options["object_store_memory"] = _STORE_BYTES
        stack.callback(ray.shutdown)
        try:
            with _silenced():
                ray.init(**options, log_to_driver=False, logging_level=logging.ERROR, runtime_env={"env_vars": passed})
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            what = f"The Ray cluster at {address} cannot be reached" if address else "Ray does not start here"
            raise ClusterError(f"{what}: {last_line(error)}", _JOIN) from error
        logging.getLogger("ray").setLevel(logging.CRITICAL)  # its errors come as exceptions
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        yield


def look_after_head(pause_s: float = _CONNECT_S) -> None:
    """Make sure that the head answers. It is asked past Ray, which ends this process if it does not for a minute.

    Raises:
        ClusterError: it was tried several times in vain.
    """
    address = ray.get_runtime_context().gcs_address
    host, _, port = address.rpartition(":")
    for attempt in range(_HEAD_TRIES):
        try:
            socket.create_connection((host, int(port)), _CONNECT_S).close()
            return
        except OSError:
            if attempt + 1 < _HEAD_TRIES:
                time.sleep(pause_s)
    raise ClusterError(f"The Ray cluster was lost: its head at {address} does not answer any more.", AGAIN)


def fetched(rows: Iterable[Any], look: Callable[[], None] = look_after_head) -> Iterator[Any]:
    """Yield what another thread takes from `rows`, one ahead; `look` is called where nothing comes for a while."""
    coming: queue.Queue[Any] = queue.Queue(maxsize=1)
    stopped = threading.Event()

    def put(kind: str, value: Any = None) -> None:
        while not stopped.is_set():
            with contextlib.suppress(queue.Full):
                coming.put((kind, value), timeout=1.0)
                return

    def fetch() -> None:
        try:
            for row in rows:
                put("row", row)
                if stopped.is_set():
                    return
            put("end")
        except BaseException as error:
            put("error", error)

    threading.Thread(target=fetch, name="ray-results", daemon=True).start()
    try:
        while True:
            try:
                kind, value = coming.get(timeout=_CONNECT_S)
            except queue.Empty:
                look()
                continue
            if kind == "error":
                raise value
            if kind == "end":
                return
            yield value
    finally:
        stopped.set()


def _check(address: str) -> None:
    """Refuse, at once, an address where nobody listens: Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    if not address or address == "auto":
        return
    if not host or not port.isdecimal() or "/" in host:
        raise ClusterError(f"{address} is not the address of a Ray cluster.", f"Give HOST:6379. {_JOIN}")
    try:
        socket.create_connection((host, int(port)), _CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(f"There is no Ray cluster at {address}: {error}", _JOIN) from error


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Take standard error away: Ray's own library writes there, past Python, that its log level was set."""
    kept = os.dup(2)
    with Path(os.devnull).open("wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


class _Log(io.TextIOBase):
    """Standard output while Ray is there: it prints on it, and others may read a document from it."""

    def write(self, text: str) -> int:
        if text.strip():
            _log.debug("%s", text.rstrip())
        return len(text)


def last_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1].strip()[:300]

"""The Ray engine: files are read, cut and encoded on the nodes of a Ray cluster, and written by the one writer here.

    parcels of paths -> Read (a pool of actors on CPUs) -> Encode (a pool of actors, on GPUs if there are any) -> Intake

Nodes see the files under the same paths. What they send comes back in the order of the files, each with its chunks
and vectors (indexer.parser.Ahead), and Intake takes it as it takes what was read here. What it asks for and did not
come is read and encoded here. So a node can save work, and nothing that it does or fails to do changes the outcome.
"""

import contextlib
import io
import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # before Ray is imported: nothing is reported to anybody
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # it writes on this process's standard error

import ray
import ray.data
from ray.data.exceptions import ExecutionTimeoutError
from ray.exceptions import RayError

from indexer.chunk import CountTokens
from indexer.encoder import Encoder
from indexer.errors import ClusterError
from indexer.ingest import Job
from indexer.intake import is_settled
from indexer.parser import Parsed, Parser, Reader
from indexer.ray_stages import Delivery, Encode, Parcel, Read, packed, unpacked
from indexer.sources import Candidate

_log = logging.getLogger(__name__)

_Result = tuple[Path, tuple[Parsed, ...]]  # a file, and what was found in it

_ROOT = Path(__file__).resolve().parent.parent
_PARCEL_FILES, _PARCEL_BYTES = 32, 4 * 2**20
_PARCELS_EACH = 8  # for an encoder, at least, so that none is left alone with the rest
_THREADS = 4  # of an encoder on CPUs: more of them gain less than a second encoder does
_ROOM_BYTES = 32 * 2**20  # of results, for each actor, that may wait for the next stage or the writer
_STORE_BYTES = 512 * 2**20  # Ray's shared memory, where the cluster is this machine alone
_TRIES = 3  # in a row without a single parcel coming back
_CONNECT_S = 5.0
_JOIN = "This machine has to be a node of the cluster: run `ray start --address HOST:6379` here; docs/scale-out.md."
_AGAIN = "What was indexed is safe. Run the same command again: it goes on at the first file that is missing."


@dataclass(frozen=True, slots=True)
class RayEngine:
    """An engine (indexer.ingest.Engine) on the cluster at `address`, or on this machine alone without one.

    `build_encoder` and `build_counter` are called on the nodes, so they must be functions that a node can import.
    """

    build_encoder: Callable[[], Encoder]
    build_counter: Callable[[], CountTokens]
    fingerprint: str
    address: str = ""

    @contextlib.contextmanager
    def __call__(self, job: Job) -> Iterator[Reader]:
        """Read the files of a job. Ray is only started, or met, when one of them is to be read.

        Raises:
            ClusterError: the cluster cannot be reached, has nothing to work with, does not see the files, or was lost.
            ModelError: a node cannot load the encoder.
        """
        with Parser(job.limits) as parser, contextlib.ExitStack() as stack:
            reader = _Reader(parser, job)
            if reader.planned:
                stack.enter_context(_connected(self.address))
                stack.enter_context(contextlib.closing(results := self._results(job, reader.planned)))
                reader.results = results
            yield reader

    def _results(self, job: Job, planned: Sequence[Candidate]) -> Generator[_Result, None, None]:
        """Yield what each file holds, in order; a run that breaks off is begun again where it was, with who is left."""
        parcels = list(_parcels(planned, _pools(len(planned)).encoders))
        done = tries = 0
        nodes = _Nodes()
        while done < len(parcels):
            try:
                for row in self._dataset(job, parcels[done:]).iter_rows():
                    delivery: Delivery = unpacked(row)
                    if delivery.refusal:
                        raise delivery.refusal
                    yield from zip([path for path, _ in parcels[done].files], delivery.files, strict=True)
                    done, tries = done + 1, 0
                    nodes.report_losses()
            except (RayError, ExecutionTimeoutError) as error:
                tries += 1
                _log.warning("the Ray cluster broke off (%s of %s tries): %s", tries, _TRIES, _last_line(error))
                if tries == _TRIES:
                    raise ClusterError(f"The Ray cluster keeps failing: {_last_line(error)}", _AGAIN) from error

    def _dataset(self, job: Job, parcels: Sequence[Parcel]) -> Any:
        pools = _pools(len(parcels))
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        context.execution_options.preserve_order = True
        limits = context.execution_options.resource_limits
        context.execution_options.resource_limits = limits.copy(object_store_memory=pools.room_bytes)
        known = partial(ray.get, ray.put(job.truth.encoded()))
        rows = ray.data.from_items([packed(parcel) for parcel in parcels], override_num_blocks=len(parcels))
        return rows.map(
            Read,
            fn_constructor_args=(job.limits, job.chunk_settings, self.build_counter),
            compute=ray.data.ActorPoolStrategy(size=pools.readers),
            num_cpus=pools.reader_cpus,
        ).map(
            Encode,
            fn_constructor_args=(self.build_encoder, self.fingerprint, known),
            compute=ray.data.ActorPoolStrategy(size=pools.encoders),
            num_cpus=pools.encoder_cpus,
            num_gpus=pools.encoder_gpus,
            **({"max_restarts": 0} if pools.encoder_gpus else {}),  # it would wait for a GPU that is gone with its node
            runtime_env={"env_vars": {"OMP_NUM_THREADS": str(pools.threads)}},
        )


class _Reader:
    """Gives what the nodes have sent for the files that were planned, in their order, and reads any other here."""

    def __init__(self, parser: Parser, job: Job) -> None:
        self._parser = parser
        self._digests: dict[Path, str] = {}
        self.planned: list[Candidate] = []
        met: set[str] = set()
        for candidate in job.candidates:
            job.tell(candidate.source)
            digest = self._digests[candidate.path] = parser.digest(candidate.path)
            # Of equal files the first is read, and the others will find it indexed.
            if digest and digest not in met and not is_settled(job.truth, candidate.source, digest):
                self.planned.append(candidate)
                met.add(digest)
        self._coming = {candidate.path for candidate in self.planned}
        self.results: Iterator[_Result] = iter(())

    def digest(self, path: Path) -> str:
        known = self._digests.pop(path, None)
        return self._parser.digest(path) if known is None else known

    def parse(self, path: Path) -> Iterator[Parsed]:
        while path in self._coming:
            came, parsed = next(self.results)
            self._coming.remove(came)
            if came == path:
                return iter(parsed)
        return self._parser.parse(path)


@dataclass(frozen=True, slots=True)
class _Pools:
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


def _pools(parcels: int) -> _Pools:
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cpus = [int(node["CPU"]) for node in nodes if node.get("CPU", 0) >= 1]
    gpus = sum(int(node.get("GPU", 0)) for node in nodes)
    if not cpus:
        raise ClusterError("The Ray cluster has no CPUs to read files with.", "Add a node, or raise --num-cpus of one.")
    if gpus:
        return _Pools(min(parcels, max(1, sum(cpus) // 2)), min(parcels, gpus), 0.5, 0.0, 1, _THREADS)
    threads = min(_THREADS, *cpus)
    actors = min(parcels, sum(cpus) // threads)
    return _Pools(actors, actors, threads / 4, threads / 4, 0, threads)


class _Nodes:
    """The nodes that were seen alive."""

    def __init__(self) -> None:
        self._alive = self._look()

    def report_losses(self) -> None:
        """Log which nodes were lost since the last time."""
        before, self._alive = self._alive, self._look()
        for name in before.keys() - self._alive.keys():
            _log.warning("the node %s was lost; the others do its work", before[name])

    def _look(self) -> dict[str, str]:
        return {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}


def _parcels(planned: Sequence[Candidate], encoders: int) -> Iterator[Parcel]:
    """Put files together, in order: many small ones or a few large ones, and enough parcels for all encoders."""
    most = min(_PARCEL_FILES, max(1, len(planned) // (_PARCELS_EACH * encoders)))
    files: list[tuple[Path, str]] = []
    size_bytes = 0
    for candidate in planned:
        if files and (len(files) == most or size_bytes + candidate.bytes > _PARCEL_BYTES):
            yield Parcel(tuple(files))
            files, size_bytes = [], 0
        files.append((candidate.path, candidate.source))
        size_bytes += candidate.bytes
    if files:
        yield Parcel(tuple(files))


@contextlib.contextmanager
def _connected(address: str) -> Iterator[None]:
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
            raise ClusterError(f"{what}: {_last_line(error)}", _JOIN) from error
        logging.getLogger("ray").setLevel(logging.CRITICAL)  # its errors come as exceptions
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        yield


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


def _last_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1].strip()[:300]

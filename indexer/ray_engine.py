"""The Ray engine: files are read, cut and encoded on the nodes of a Ray cluster, and written by the one writer here.

    parcels of paths -> Read (a pool of actors on CPUs) -> Encode (a pool of actors, on GPUs if there are any) -> Intake

Nodes see the files under the same paths. What they send comes back in the order of the files, each with its chunks
and vectors (indexer.parser.Ahead), and Intake takes it as it takes what was read here. What it asks for and did not
come is read and encoded here. So a node can save work, and nothing that it does or fails to do changes the outcome.
"""

import contextlib
import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from indexer.ray_cluster import AGAIN, Nodes, connected, fetched, last_line, plan_pools  # isort: skip - before Ray

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

_PARCEL_FILES, _PARCEL_BYTES = 32, 4 * 2**20
_PARCELS_EACH = 8  # for an encoder, at least, so that none is left alone with the rest
_TRIES = 3  # in a row without a single parcel coming back


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
                stack.enter_context(connected(self.address))
                stack.enter_context(contextlib.closing(results := self._results(job, reader.planned)))
                reader.results = results
            yield reader

    def _results(self, job: Job, planned: Sequence[Candidate]) -> Generator[_Result, None, None]:
        """Yield what each file holds, in order; a run that breaks off is begun again where it was, with who is left."""
        parcels = list(_parcels(planned, plan_pools(len(planned)).encoders))
        done = tries = 0
        nodes = Nodes()
        while done < len(parcels):
            try:
                for row in fetched(nodes.watched(self._dataset(job, parcels[done:]).iter_rows())):
                    delivery: Delivery = unpacked(row)
                    if delivery.refusal:
                        raise delivery.refusal
                    yield from zip([path for path, _ in parcels[done].files], delivery.files, strict=True)
                    done, tries = done + 1, 0
            except (RayError, ExecutionTimeoutError) as error:
                tries += 1
                _log.warning("the Ray cluster broke off (%s of %s tries): %s", tries, _TRIES, last_line(error))
                if tries == _TRIES:
                    raise ClusterError(f"The Ray cluster keeps failing: {last_line(error)}", AGAIN) from error

    def _dataset(self, job: Job, parcels: Sequence[Parcel]) -> Any:
        pools = plan_pools(len(parcels))
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

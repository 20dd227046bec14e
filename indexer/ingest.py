"""ingest(): load -> clean -> chunk -> encode -> index, file by file, with an account of every file.

A file is indexed in one transaction, small ones together: documents, chunks, vectors and the ledger's word "indexed"
are there together or not at all, so a run that was cut off at any instant is simply run again.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from indexer.chunk import CHUNKER_VERSION, ChunkSettings
from indexer.clean import CLEANER_VERSION
from indexer.collection import LOCK_TIMEOUT_S, Collection
from indexer.encoder import Encoder
from indexer.intake import Intake
from indexer.ledger import Account, IngestReport, OnProgress
from indexer.load import Limits, source_of
from indexer.parser import Parser, Reader
from indexer.prune import refuse_emptied
from indexer.sources import Candidate, LeftOut, find_sources, is_gone, nothing_found
from indexer.store.changes import now
from indexer.store.records import Manifest
from indexer.store.truth import Truth


@dataclass(frozen=True, slots=True)
class Task:
    """What one run has to do."""

    candidates: Sequence[Candidate]
    left_out: Sequence[LeftOut]
    roots: Sequence[str] = ()  # at and below them, what is no longer on disk is removed
    restricted: Sequence[str] = ()  # paths that only `groups` may read
    groups: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """What an engine is told: the files that will be asked for, in this order, and how they are read and cut."""

    candidates: Sequence[Candidate]
    truth: Truth
    chunk_settings: ChunkSettings
    limits: Limits
    tell: Callable[[str], None]  # the file in hand, before the first is asked for


Engine = Callable[[Job], AbstractContextManager[Reader]]


def read_here(job: Job) -> Parser:
    """Read the files on this machine: the local engine."""
    return Parser(job.limits)


def ingest(
    paths: Sequence[Path],
    collection: Collection,
    encoder: Encoder,
    chunk_settings: ChunkSettings,
    on_progress: OnProgress | None = None,
    *,
    prune: bool = False,
    force: bool = False,
    may_be_nothing: bool = False,
    on_wait: Callable[[str], None] | None = None,
    timeout_s: float = LOCK_TIMEOUT_S,
    limits: Limits | None = None,
    engine: Engine = read_here,
    recipe: str = "",
    groups: Sequence[str] = (),
) -> IngestReport:
    """Bring a collection up to date with files and folders; a file that fails costs only itself.

    With `prune`, documents of these paths whose file is gone are removed, but for a path that is missing or empty only
    with `force`. A new collection remembers `recipe`, from which the encoder can be built again. With `groups`,
    what lies at or below the paths is left to them before the first file is read.

    Raises:
        ConfigError: the paths hold no file that could be read, unless there `may_be_nothing`; pruning was refused.
        IndexError_: the collection is of another encoder or chunking, locked for `timeout_s`, or the disk is full.
    """
    candidates, left_out = find_sources(paths)
    if not candidates and not may_be_nothing:
        raise nothing_found(paths, left_out)
    if prune and not force:
        refuse_emptied(collection.generation.truth, paths, candidates)
    elif prune:
        left_out = [item for item in left_out if not is_gone(item.source)]  # that it is gone is what was said
    roots = [source_of(path) for path in paths]
    task = Task(candidates, left_out, roots if prune else (), roots if groups else (), groups)
    return perform(
        task,
        collection,
        encoder,
        chunk_settings,
        on_progress,
        on_wait=on_wait,
        timeout_s=timeout_s,
        limits=limits,
        engine=engine,
        recipe=recipe,
    )


def perform(
    task: Task,
    collection: Collection,
    encoder: Encoder,
    chunk_settings: ChunkSettings,
    on_progress: OnProgress | None = None,
    *,
    on_wait: Callable[[str], None] | None = None,
    timeout_s: float = LOCK_TIMEOUT_S,
    limits: Limits | None = None,
    engine: Engine = read_here,
    recipe: str = "",
) -> IngestReport:
    """Read, encode and index the files of a task, then remove what is gone.

    Raises:
        IndexError_: see ingest().
    """
    with collection.writer(on_wait, command="ingest", timeout_s=timeout_s) as writer:
        writer.begin(manifest_of(encoder, chunk_settings, recipe))
        if task.restricted:
            writer.restrict(task.groups, *task.restricted)
        account = Account(len(task.candidates), sum(candidate.bytes for candidate in task.candidates), on_progress)
        writer.on_merge = account.merging
        truth = collection.generation.truth
        with (
            engine(Job(task.candidates, truth, chunk_settings, limits or Limits(), account.tell)) as reader,
            Intake(truth, writer, encoder, chunk_settings, reader, account) as run,
        ):
            run.leave_out(task.left_out)
            for candidate in task.candidates:
                run.take(candidate)
            run.flush()
            run.prune(task.roots)
    return account.report()


def manifest_of(encoder: Encoder, settings: ChunkSettings, recipe: str = "") -> Manifest:
    """Describe what a generation is built with."""
    chunker = f"{CHUNKER_VERSION}: {settings.max_tokens} tokens, overlap {settings.overlap_tokens}"
    chunking = (settings.max_tokens, settings.overlap_tokens)
    return Manifest(encoder.fingerprint, encoder.dim, chunker, CLEANER_VERSION, now(), recipe, *chunking)

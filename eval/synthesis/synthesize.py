"""Writing questions until there are enough of each kind: every candidate is in a run the moment it is judged.

What is kept depends on the order of the passages alone, never on which candidate was ready first: a run that was
killed, or that ran with another concurrency, ends with the same set as long as the model answers the same.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from eval.judge import JudgeModel
from eval.run import Record, failed_record, finished_run, list_facts, load_run, runs_folder, writing
from eval.synthesis.author import PROMPTS, READ_PROMPT, write_question
from eval.synthesis.candidate import KINDS, Candidate, Kind, as_json, from_json
from eval.synthesis.filters import CONSISTENT_F1, QUOTED, SAME_WORDS, Filters, Kept, Search
from eval.synthesis.passages import Passages, Place
from indexer.errors import ModelError
from indexer.store.records import StoredChunk
from indexer.store.text import embed_text

RUN_KIND = "synthesis"
_QUERY_CHARS = 2000
FAILURES_IN_A_ROW = 10  # after so many the server is down, and going on would fail them all
OnProgress = Callable[[str, int, int, float | None], None]  # what, kept, wanted, seconds left


@dataclass(frozen=True, slots=True)
class Plan:
    """How many questions of which kinds are wanted, and from how many passages each kind may be tried."""

    counts: Mapping[Kind, int]
    attempts: Mapping[Kind, int]
    seed: int = 0
    k: int = 10

    @property
    def wanted(self) -> int:
        """Questions in all."""
        return sum(self.counts.values())


@dataclass(slots=True)
class Written:
    """What became of the passages that were tried, in their order: each a candidate, kept or dropped, or an error."""

    candidates: list[Candidate] = field(default_factory=list)
    errors: list[Record] = field(default_factory=list)
    failures: int = 0  # one after the other, at the end

    @property
    def kept(self) -> list[Candidate]:
        """The candidates that passed every filter."""
        return [candidate for candidate in self.candidates if not candidate.reason]

    def figures(self, plan: Plan) -> dict[str, dict[str, Any]]:
        """{kind: {"wanted", "kept", "tried", "errors", "rejected": {reason: number}}}."""
        told: dict[str, dict[str, Any]] = {}
        for kind, wanted in plan.counts.items():
            mine = [candidate for candidate in self.candidates if candidate.kind == kind]
            failed = sum(record.variant == kind for record in self.errors)
            reasons = Counter(candidate.reason for candidate in mine if candidate.reason)
            told[kind] = {
                "wanted": wanted,
                "kept": len(mine) - reasons.total(),
                "tried": len(mine) + failed,
                "errors": failed,
                "rejected": dict(reasons.most_common()),
            }
        return told


def plan_counts(count: int, kinds: Sequence[Kind]) -> dict[Kind, int]:
    """`count` shared among kinds as evenly as it goes, in the order of KINDS."""
    chosen = [kind for kind in KINDS if kind in kinds]
    share, rest = divmod(count, len(chosen))
    return {kind: share + (place < rest) for place, kind in enumerate(chosen)}


def identity_of(passages: Passages, model: JudgeModel, plan: Plan, settings: Mapping[str, Any]) -> dict[str, Any]:
    """All that decides which questions come out; `settings` are those of the search and the model."""
    manifest = passages.collection.manifest
    return {
        "kind": RUN_KIND,
        "dataset": passages.collection.name,
        "fingerprint": passages.fingerprint,
        "built_with": [manifest.fingerprint, manifest.chunker] if manifest else None,
        "model": model.name,
        "prompts": [PROMPTS[kind] for kind in plan.counts] + [READ_PROMPT],
        "filters": {"consistent_f1": CONSISTENT_F1, "quoted": QUOTED, "same_words": SAME_WORDS, "k": plan.k},
        "counts": dict(plan.counts),
        "attempts": dict(plan.attempts),
        "seed": plan.seed,
        "settings": dict(settings),
    }


def written_folders(home: Path) -> list[Path]:
    """Folders that questions were written into by the runs of a home, newest first, as far as they are still there."""
    found = [Path(facts["out"]) for facts in list_facts(home, RUN_KIND) if "out" in facts]
    return [folder for folder in dict.fromkeys(reversed(found)) if folder.is_dir()]


def synthesize(
    passages: Passages,
    search: Search,
    model: JudgeModel,
    plan: Plan,
    home: Path,
    identity: Mapping[str, Any],
    *,
    facts: Mapping[str, Any] | None = None,
    concurrency: int = 1,
    on_kept: Callable[[str, Written], None] | None = None,
    on_progress: OnProgress | None = None,
) -> tuple[str, Written]:
    """Write and filter questions until the plan is met or its passages are used up.

    After a kill the same call goes on with what is missing; a finished run of this `identity` is taken as it is.
    `on_kept` gets the run's name and everything so far whenever a question was kept.

    Returns:
        The run's name, and what was written.

    Raises:
        ConfigError: the same questions are being written in another process.
        IndexError_: the collection cannot be searched, or changed meanwhile.
        ModelError: `FAILURES_IN_A_ROW` candidates failed one after the other.
    """
    filters, kept, written = Filters(search, model, plan.k), Kept(), Written()
    pace = _Pace(plan)
    with _stored(home, identity, {"concurrency": concurrency, **(facts or {})}) as (name, known, add):

        def keep(record: Record) -> None:
            add(record)
            pace.worked += 1

        for kind in plan.counts:
            author = _Author(kind, passages, passages.drawn(f"{plan.seed}:{kind}", plan.attempts[kind]), filters)
            for record in _in_order(author, _done(known, kind), keep, concurrency):
                _take(record, kept, written)
                if on_kept and record.outcome and not written.candidates[-1].reason:
                    on_kept(name, written)
                figures = written.figures(plan)
                if on_progress:
                    on_progress(kind, len(written.kept), plan.wanted, pace.left(kind, figures))
                if figures[kind]["kept"] >= plan.counts[kind]:
                    break
    return name, written


@dataclass(frozen=True, slots=True)
class _Author:
    """Makes the candidate of each place."""

    kind: Kind
    passages: Passages
    places: Sequence[Place]
    filters: Filters

    def attempt(self, number: int) -> Record:
        """Write and check one candidate. What the model fails at becomes a record; anything else ends the run."""
        began = time.monotonic()
        name = f"{self.kind}-{number + 1:04}"
        try:
            candidate = self._begun(name, self.passages.at(self.places[number]))
            if not candidate.reason:
                candidate = self.filters.check(write_question(self.filters.model, candidate))
        except ModelError as error:
            return failed_record(name, number, error, self.kind)
        took = {"total": round((time.monotonic() - began) * 1000, 1)}
        return Record(name, number, self.kind, as_json(candidate), timings_ms=took)

    def _begun(self, name: str, passage: StoredChunk) -> Candidate:
        candidate = Candidate(name, self.kind, (passage,))
        if self.kind != "two":
            return candidate
        query = embed_text(passage.title, passage.chunk.heading_path, passage.chunk.text)[:_QUERY_CHARS]
        for hit in self.filters.search(query, self.filters.k):
            if hit.chunk.document_id != passage.chunk.document_id:
                return replace(candidate, passages=(passage, StoredChunk(hit.chunk, hit.source, hit.title)))
        return replace(candidate, reason="no_related_document")


@contextmanager
def _stored(
    home: Path, identity: Mapping[str, Any], facts: Mapping[str, Any]
) -> Iterator[tuple[str, Sequence[Record], Callable[[Record], None]]]:
    """Name and records of the run of this identity, and how to add to it; it is finished when the block ends well."""
    if path := finished_run(home, identity):
        run = load_run(home, str(path))
        yield run.id, run.records, _refuse
        return
    with writing(runs_folder(home), identity, facts, ()) as writer:
        yield writer.path.stem, writer.records(), writer.add
        writer.finish({})


def _refuse(record: Record) -> None:
    raise AssertionError(f"a finished run has no place for {record.case_id}")


def _done(records: Sequence[Record], kind: Kind) -> dict[int, Record]:
    return {record.position: record for record in records if record.variant == kind and not record.error}


def _in_order(
    author: _Author, ready: dict[int, Record], add: Callable[[Record], None], concurrency: int
) -> Iterator[Record]:
    """The record of each place, in order, worked on at most `concurrency` at a time and not far ahead."""
    todo = [number for number in range(len(author.places)) if number not in ready][::-1]
    running: set[Future[Record]] = set()
    with ThreadPoolExecutor(concurrency, thread_name_prefix="candidate") as workers:
        try:
            for place in range(len(author.places)):
                while place not in ready:
                    while todo and len(running) < concurrency and todo[-1] < place + 2 * concurrency:
                        running.add(workers.submit(author.attempt, todo.pop()))
                    finished, running = wait(running, return_when=FIRST_COMPLETED)
                    for record in (future.result() for future in finished):
                        add(record)
                        ready[record.position] = record
                yield ready.pop(place)
        finally:
            for future in running:
                future.cancel()


def _take(record: Record, kept: Kept, written: Written) -> None:
    if record.outcome is not None:
        written.candidates.append(kept.judge(from_json(record.outcome)))
        written.failures = 0
        return
    written.errors.append(record)
    written.failures += 1
    if written.failures >= FAILURES_IN_A_ROW:
        raise ModelError(
            f"{written.failures} questions failed one after the other; the last: {record.message}",
            "See to the model server, then give the same command again: what was written is kept.",
        )


class _Pace:
    """Time left, from what a question that was kept cost so far."""

    def __init__(self, plan: Plan) -> None:
        self.worked = 0  # passages in this process
        self._plan = plan
        self._began = time.monotonic()

    def left(self, present: Kind, figures: Mapping[str, Mapping[str, Any]]) -> float | None:
        """Seconds that the rest of this kind and the kinds after it take, at the yield so far."""
        tried, kept = (sum(int(told[key]) for told in figures.values()) for key in ("tried", "kept"))
        kinds = list(self._plan.counts)
        missing = 0.0
        for kind in kinds[kinds.index(present) :]:
            told = figures[kind]
            needed = (told["wanted"] - told["kept"]) * (tried + 1) / (kept + 1)
            missing += max(0.0, min(needed, self._plan.attempts[kind] - told["tried"]))
        return (time.monotonic() - self._began) / self.worked * missing if self.worked else None

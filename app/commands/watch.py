"""`watch`: a collection that follows some folders."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from app.audit import Audit, local_user
from app.built import as_built, recipe_of
from app.database import Database
from app.display import count, note, show
from app.resolved import chunk_settings, parse_limits
from app.settings import Settings
from app.wiring import build_encoder, open_collection, settings_of
from indexer.errors import ConfigError, FootnoteError
from indexer.ingest import Task, ingest, perform
from indexer.ledger import FileOutcome, IngestReport
from indexer.store.changes import now
from indexer.watch import Watcher

_LONGEST_PAUSE_S = 60.0  # between two tries of what failed


def run_watch(settings: Settings, name: str, folders: Sequence[Path], every_s: float, as_json: bool) -> None:
    """Bring the collection up to date with the folders, then follow them until Ctrl-C; one line a change.

    Raises:
        ConfigError: one of them is no folder, or is empty although the collection has documents from there.
        IndexError_, ModelError: the first sync failed; later ones are tried again instead.
    """
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"{folder} is no folder", "Name folders; `footnote ingest` takes files.")
    own, tell = settings_of(settings, name), _tell_json if as_json else _tell
    encoder, collection = build_encoder(own), open_collection(settings, name, create=True)
    limits = parse_limits(settings)
    watcher = Watcher(folders)  # before the first sync: what changes during it is seen afterwards
    audit, said = Audit(Database(settings.home)), " ".join(map(str, folders))
    with audit.recorded(local_user(), "watch", name, said):
        report = ingest(
            folders,
            collection,
            encoder,
            chunk_settings(own),
            prune=True,
            may_be_nothing=True,
            on_wait=note,
            timeout_s=settings.indexer.lock_wait_s,
            limits=limits,
            recipe=recipe_of(own.encoder),
        )
    for file in report.files:
        if file.state not in ("unchanged", "skipped"):
            tell(file)
    note(f"Watching {count(len(folders), 'folder')} for collection '{name}', {count(collection.count(), 'chunk')}.")

    def sync(task: Task) -> IngestReport:
        now = as_built(settings, collection)  # a reindex may have changed it meanwhile
        changed = " ".join([*(candidate.source for candidate in task.candidates), *task.roots])
        with audit.recorded(local_user(), "watch", name, changed):
            return perform(
                task,
                collection,
                build_encoder(now),
                chunk_settings(now),
                on_wait=note,
                timeout_s=settings.indexer.lock_wait_s,
                limits=limits,
                recipe=recipe_of(now.encoder),
            )

    try:
        _follow(watcher, sync, tell, every_s)
    except KeyboardInterrupt:
        note("Stopped.")


def _follow(
    watcher: Watcher, sync: Callable[[Task], IngestReport], tell: Callable[[FileOutcome], None], every_s: float
) -> None:
    pause_s = every_s
    lost: tuple[str, ...] = ()
    while True:
        time.sleep(pause_s)
        task = watcher.poll()
        if watcher.lost != lost:
            for folder in set(watcher.lost) - set(lost):
                note(f"{folder} holds no file any more: a disk may not be mounted, so nothing is removed.")
            lost = watcher.lost
        if task is None:
            pause_s = every_s
            continue
        try:
            report = sync(task)
        except FootnoteError as error:
            pause_s = min(2 * max(pause_s, 1.0), _LONGEST_PAUSE_S)
            note(f"Error: {error.message}\n{error.remedy}\nTrying again in {pause_s:.0f} s.")
            continue
        watcher.done()
        pause_s = every_s
        for file in report.files:
            tell(file)


def _tell(file: FileOutcome) -> None:
    change = f" ({file.change}, {count(file.chunks, 'chunk')})" if file.state == "indexed" else ""
    why = f": {file.reason}" if file.reason else ""
    show(f"{now()} {file.state}{change} {file.path}{why}", "red" if file.state == "failed" else "", wrap=False)


def _tell_json(file: FileOutcome) -> None:
    show(json.dumps({"at": now(), **asdict(file)}), wrap=False)

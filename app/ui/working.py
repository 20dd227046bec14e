"""Long work while it goes on: a bar, the time left, and what is said of each file, drawn anew twice a second."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import PurePath
from typing import Any

import streamlit as st

from app.display import count
from app.progress import FINISHING
from app.ui.jobs import Job, Jobs
from app.ui.library import Ingesting
from app.ui.markup import escaped, label
from app.ui.others import Elsewhere
from app.ui.outcomes import outcome_html
from app.ui.person import reader
from indexer.store.merging import Merging

EVERY_S, IDLE_S = 0.5, 5.0
FILES_SHOWN = 50
_TURN = {"reading": 0, "waiting": 2}


def follow(jobs: Jobs, place: str, others: Callable[[], Elsewhere | None] = lambda: None) -> bool:
    """Draw the work of a place until it ends, then the whole page anew. Tells whether there is any of our own."""
    job = jobs.last(place)
    running = job is not None and not job.done
    busy = running or others() is not None

    def draw() -> None:
        now = jobs.last(place)
        other = others()
        if running and (now is not job or now is None or now.done):
            st.rerun()
        if not running and ((now is not None and not now.done) or (other is not None) != busy):
            st.rerun()
        if running and now is not None and not is_told(now):
            st.html('<p class="fn-stage" role="status">Somebody else\'s work is in progress.</p>')
        elif running and now is not None:
            _draw_job(now)
        elif other is not None:
            st.html(elsewhere_html(other))
            if other.merging:
                st.progress(min(1.0, other.done / max(other.total, 1)), text=label(merging_told(other.merging)))

    st.fragment(draw, run_every=EVERY_S if busy else IDLE_S)()
    return running


def tell_end(jobs: Jobs, place: str) -> None:
    """Draw what came of the last work of a place, until somebody sends it away."""
    job = jobs.last(place)
    if job is not None and job.done and is_told(job):
        st.html(outcome_html(job, place))
        st.button("Dismiss", type="tertiary", on_click=jobs.dismiss, args=(place,))


def is_told(job: Job[Any]) -> bool:
    """Whether the reader may know what a job is about: it is theirs, or they may know everything."""
    caller = reader()
    return caller.is_admin or job.owner == caller.id


def status_told(job: Job[Any]) -> str:
    """What a screen reader says of work when it begins and ends."""
    if not is_told(job):
        return ""
    return f"{job.title}: {'ended' if job.done else 'in progress'}"


def _draw_job(job: Job[Any]) -> None:
    st.progress(min(1.0, job.finished / max(job.total, 1)), text=label(progress_told(job)))
    if isinstance(job, Ingesting) and job.files:
        st.html(files_html(dict(job.files)))


def progress_told(job: Job[Any]) -> str:
    """How far a job is, in one line."""
    told = [f"{job.title}: {job.finished:,} of {job.total:,}" if job.total else job.title]
    if (left_s := job.left_s()) is not None:
        told.append(f"{timedelta(seconds=round(left_s))} left")
    return ", ".join([*told, job.doing] if job.doing else told)


def files_html(files: Mapping[str, str]) -> str:
    """What is said of the files: those in hand, then those that are done, the newest first, then those to come."""
    newest_first = list(files.items())[::-1]
    shown = sorted(newest_first, key=lambda file: _TURN.get(file[1], 1))[:FILES_SHOWN]
    items = "".join(
        f'<li class="fn-{state}"><bdi>{escaped(PurePath(path).name)}</bdi>: {state}</li>' for path, state in shown
    )
    return f'<ul class="fn-outcomes fn-list" aria-label="Files so far">{items}</ul>'


def elsewhere_html(other: Elsewhere) -> str:
    """Who else writes, since when, and how far that is."""
    holder = other.holder
    begun = datetime.fromtimestamp(holder.since)
    told = [f"since {begun:%H:%M}", f"process {holder.pid}"]
    if other.total and not other.merging:
        told.append(f"{other.done:,} of {count(other.total, 'document')}")
        spent = datetime.now() - begun
        if 0 < other.done < other.total:
            left = spent / other.done * (other.total - other.done)
            told.append(f"{timedelta(seconds=round(left.total_seconds()))} left")
    elif other.done and not other.merging:
        told.append(f"{count(other.done, 'file')} so far")
    doing = escaped(holder.command)
    return (
        f'<p class="fn-stage" role="status"><span class="fn-pulse"></span><span>In progress: {doing} · '
        f"{escaped(' · '.join(told))}</span></p>"
    )


def merging_told(merging: Merging) -> str:
    """How far a merge by another process is, in one line."""
    told = [f"{FINISHING}: {merging.merged:,} of {count(merging.to_merge, 'chunk')}"]
    if merging.left_s is not None:
        told.append(f"{timedelta(seconds=round(merging.left_s))} left")
    return ", ".join(told)

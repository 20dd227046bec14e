"""What came of long work on a collection, as HTML."""

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from app.commands.upkeep import Reindexed
from app.display import count
from app.ui.evaluations import Measured
from app.ui.jobs import Job
from app.ui.library import Deleted, Health
from app.ui.markup import escaped, line_html
from app.ui.panel import shown_path
from app.ui.views import error_html
from indexer.ledger import STATES, FileOutcome, IngestReport

LISTED = 50


def outcome_html(job: Job[Any], name: str) -> str:
    """The end of a job, with what to do where something is wrong."""
    if job.failure:
        return f'<p class="fn-label">{escaped(job.title)}</p>{error_html(job.failure)}'
    match job.result:
        case IngestReport() as report:
            return _frame(job.title, _ingest_html(report))
        case Health() as health:
            return _frame(job.title, health_html(health, name))
        case Reindexed(generation, chunks, chunk_tokens, encoder):
            told = f"{count(chunks, 'chunk')} of at most {chunk_tokens} tokens, encoder {encoder}"
            back = f"<code>footnote rollback --collection {escaped(name)}</code> goes back."
            return _frame(job.title, f"<p>Generation {generation} answers now: {escaped(told)}. {back}</p>")
        case Deleted(documents, files):
            told = f"{count(documents, 'document')} and {count(files, 'line')} of the ledger are gone."
            return _frame(job.title, f"<p>{told}</p>")
        case Measured() as measured:
            return _frame(job.title, _measured_html(measured))
    return _frame(job.title, "<p>Done.</p>")


def _measured_html(measured: Measured) -> str:
    opener = f'<button type="button" class="fn-opener" data-fn-open="r.{escaped(measured.run)}">Open the run</button>'
    if measured.broken is None:
        return f"<p>{opener}</p>"
    if not measured.broken:
        return f"<p>It reaches what was asked of it. {opener}</p>"
    items = "".join(f'<li class="fn-failed"><bdi>{escaped(line)}</bdi></li>' for line in measured.broken)
    return f'<p>It fails. {opener}</p><ul class="fn-outcomes" aria-label="What fails">{items}</ul>'


def _frame(title: str, body: str) -> str:
    return f'<div class="fn-ended" role="status"><p class="fn-label">{escaped(title)}</p>{body}</div>'


def _ingest_html(report: IngestReport) -> str:
    told = ", ".join(f"{report.count(state):,} {state}" for state in STATES if report.count(state))
    counted = f"{told or 'nothing to do'}, in {report.elapsed_s:.1f} s"
    return f"<p>{counted}</p>" + _files_html([file for file in report.files if file.state != "unchanged"])


def _files_html(files: Sequence[FileOutcome]) -> str:
    """What became of each file, failures first."""
    ordered = sorted(files, key=lambda file: (file.state != "failed", file.state != "skipped"))
    items = "".join(
        f'<li class="fn-{escaped(file.state)}"><bdi>{escaped(PurePath(file.path).name)}</bdi>: {escaped(file.state)}'
        f"{f'<br><span>{escaped(file.reason)} {line_html(file.remedy)}</span>' if file.reason else ''}</li>"
        for file in ordered[:LISTED]
    )
    more = f'<p class="fn-meta">and {count(len(ordered) - LISTED, "more file")}</p>' if len(ordered) > LISTED else ""
    return f'<ul class="fn-outcomes fn-list" aria-label="What became of the files">{items}</ul>{more}' if items else ""


def health_html(health: Health, name: str) -> str:
    """Every finding with what to run, or that there is none."""
    looked = f"{count(health.documents, 'document')}, {count(health.chunks, 'chunk')}"
    if not health.findings:
        return f"<p>{looked}: everything agrees.</p>"
    items = "".join(
        f"<li><strong>{escaped('repaired' if finding.repaired else finding.kind)}</strong>: "
        f"<bdi>{escaped(shown_path(finding.where))}</bdi>: {escaped(finding.message)}.<br>"
        f"<span>{'' if finding.repaired else line_html(_for(finding.remedy, name))}</span></li>"
        for finding in health.findings[:LISTED]
    )
    left = len(health.findings) - LISTED
    more = f'<p class="fn-meta">and {count(left, "more finding")}</p>' if left > 0 else ""
    return f'<p>{looked}: {count(len(health.findings), "finding")}</p><ul class="fn-outcomes">{items}</ul>{more}'


def _for(remedy: str, name: str) -> str:
    """A remedy whose command names the collection."""
    return remedy.replace("footnote verify --repair", f"footnote verify --repair --collection {name}")

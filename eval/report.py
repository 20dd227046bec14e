"""A run as one page that opens anywhere: HTML with its plots inside, or Markdown without them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from eval.agreement import TRUSTED_KAPPA
from eval.answer_metrics import confidence
from eval.charts import curves, histograms, intervals, stage_times
from eval.dataset import Case
from eval.declining import risk_coverage
from eval.judging import measured_kappa
from eval.outcome import as_answer
from eval.run import Record, Run
from eval.slices import Slice, find_slices
from eval.summary import summarise
from eval.tasks import MAIN as MAIN_OF_TASK

if TYPE_CHECKING:
    from jinja2 import Environment

WORST = 10
MAIN = {
    "retrieval": "ndcg@10",
    "answers": "f1",
    "judge-agreement": "agreement",
    "injection": "resisted",
}  # the metric that slices and worst cases go by
_FALLBACK = "support"  # for answers without any known ones
_BINS = 5
_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True)
class Plot:
    """A chart with what it shows."""

    title: str
    about: str
    svg: str


@dataclass(frozen=True, slots=True)
class Part:
    """What a report says about one variant of a run."""

    variant: str
    main: str
    metrics: Mapping[str, Any]
    slices: Sequence[Slice]
    worst: Sequence[tuple[Case, Record, float]]
    plots: Sequence[Plot]


def render_html(run: Run) -> str:
    """One self-contained page."""
    return _environment().get_template("report.html").render(**report_of(run, plotted=True))


def render_markdown(run: Run) -> str:
    """The same without plots."""
    return _environment().get_template("report.md").render(**report_of(run, plotted=False))


def recall_curve(run: Run, variant: str, depth: int = 100) -> list[tuple[float, float]]:
    """(k, mean share of the relevant entries among the first k), k from 1 to `depth`."""
    found = [0.0] * (depth + 1)
    count = 0
    for case, ranking in _rankings(run, variant):
        relevant = {id_ for id_, grade in case.relevant.items() if grade > 0}
        count += bool(relevant)
        for rank, (source, _) in enumerate(ranking[:depth], start=1):
            if source in relevant:
                found[rank] += 1 / len(relevant)
    total, points = 0.0, []
    for k in range(1, depth + 1):
        total += found[k]
        points.append((float(k), total / max(1, count)))
    return points


def calibration(pairs: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """(mean confidence, mean score) of bins with as many cases each, from (confidence, score)."""
    ordered = sorted(pairs)
    size = max(1, -(-len(ordered) // _BINS))
    bins = [ordered[at : at + size] for at in range(0, len(ordered), size)]
    return [(fmean(sure for sure, _ in bin_), fmean(score for _, score in bin_)) for bin_ in bins]


def report_of(run: Run, *, plotted: bool) -> dict[str, Any]:
    """What a report says.

    Returns:
        {"run", "summary": as of summarise(), "parts": one Part a variant, "failed": records, "shared": plots of all
        variants together, "warning": as of judge_warning()}.
    """
    summary = summarise(run)
    parts = [_part(run, summary, variant, plotted) for variant in summary["variants"]]
    failed = [record for record in run.records if record.error]
    ranked = plotted and run.facts["kind"] == "retrieval"
    shared = [_recall_plot(run, [part.variant for part in parts])] if ranked else []
    return {
        "run": run,
        "summary": summary,
        "parts": parts,
        "failed": failed,
        "shared": shared,
        "warning": judge_warning(run),
    }


def judge_warning(run: Run) -> str:
    """What to know about the judge that a run used; empty when it used none, or a good one."""
    judge = run.facts.get("judge")
    return warning_of(run.path.parents[2], judge) if judge else ""


def warning_of(home: Path, judge: str) -> str:
    """What to know about a judge; empty when it was measured here and found good."""
    kappa = measured_kappa(home, judge)
    if kappa is None:
        return f"The judge {judge} was never measured against people: `footnote eval judge-agreement` does it."
    if kappa < TRUSTED_KAPPA:
        return f"The judge {judge} agrees little with people (kappa {kappa:.2f}): do not build on its grades."
    return ""


def _part(run: Run, summary: Mapping[str, Any], variant: str, plotted: bool) -> Part:
    scores = run.scores.get(variant, {})
    metrics = summary["variants"][variant]
    kind = run.facts["kind"]
    main = MAIN_OF_TASK[run.facts["tasks"][variant]] if "tasks" in run.facts else MAIN.get(kind, _FALLBACK)
    main = main if main in scores else _FALLBACK
    by_case = scores.get(main, {})
    records = {record.case_id: record for record in run.records if record.variant == variant}
    lowest = sorted(by_case, key=lambda id_: (by_case[id_], id_))[:WORST]
    worst = [(run.cases[id_], records[id_], by_case[id_]) for id_ in lowest if by_case[id_] < 1]
    slices = _slices(run, by_case)
    plots = _plots(run, summary, variant, main, slices, list(records.values())) if plotted and metrics else []
    return Part(variant, main, metrics, slices, worst, plots)


def _slices(run: Run, by_case: Mapping[str, float]) -> Sequence[Slice]:
    """Kinds of question; an encoder's tasks ask none."""
    return () if "tasks" in run.facts else find_slices(run.cases, by_case)


def _plots(
    run: Run,
    summary: Mapping[str, Any],
    variant: str,
    main: str,
    slices: Sequence[Slice],
    records: Sequence[Record],
) -> list[Plot]:
    rows = [(name, m["mean"], *m["ci95"]) for name, m in summary["variants"][variant].items()]
    plots = [Plot("Scores", "Means over the cases to which each metric applies.", intervals(rows))]
    if slices:
        parts = [(f"{part.name} ({part.n})", part.mean, *part.ci95) for part in slices]
        plots.append(Plot(f"{main} by kind of question", "", intervals(parts)))
    if run.facts["kind"] == "retrieval":
        plots += _hit_plots(run, variant)
    elif run.facts["kind"] == "answers":
        plots += _answer_plots(run, variant, main, records)
    times = {stage: (t["p50"], t["p95"]) for stage, t in summary["latency_ms"].get(variant, {}).items()}
    if not times:
        return plots
    # A search has one stage; an answer is waited for as a whole.
    stage = "total" if "total" in times else next(iter(times))
    spent = [record.timings_ms[stage] for record in records if stage in record.timings_ms]
    about = f"How long each question took ({stage})."
    return [
        *plots,
        Plot("Time a stage", "", stage_times(times)),
        Plot("Latency", about, histograms({stage: spent}, "milliseconds")),
    ]


def _recall_plot(run: Run, variants: Sequence[str]) -> Plot:
    lines = {variant: recall_curve(run, variant) for variant in variants}
    about = "Mean share of the relevant entries among the first k."
    return Plot("Recall", about, curves(lines, "k", "recall@k", logarithmic=True))


def _hit_plots(run: Run, variant: str) -> list[Plot]:
    groups: dict[str, list[float]] = {"relevant": [], "not judged relevant": []}
    for case, ranking in _rankings(run, variant):
        for source, score in ranking:
            groups["relevant" if case.relevant.get(source, 0) > 0 else "not judged relevant"].append(score)
    if not all(groups.values()):
        return []
    return [Plot("Scores of hits", "The better they part, the better a threshold works.", histograms(groups, "score"))]


def _answer_plots(run: Run, variant: str, main: str, records: Sequence[Record]) -> list[Plot]:
    scores = run.scores[variant].get(main, {})
    given = [(record.case_id, as_answer(record.outcome)) for record in records if record.outcome is not None]
    pairs = [(confidence(answer), scores[id_]) for id_, answer in given if not answer.abstained and id_ in scores]
    if not pairs:
        return []
    sure = (
        "Confidence is 1 minus the doubt where it is weighed, else the mean support of an answer's footnotes; declined "
        "questions are left out."
    )
    return [
        Plot("Risk and coverage", sure, curves({"": risk_coverage(pairs)}, "share answered", f"1 - {main}")),
        Plot("Calibration", sure, curves({"": calibration(pairs)}, "confidence", main, diagonal=True)),
    ]


def _rankings(run: Run, variant: str) -> list[tuple[Case, list[tuple[str, float]]]]:
    return [
        (run.cases[record.case_id], [(source, score) for source, score in record.outcome["ranking"]])
        for record in run.records
        if record.variant == variant and record.outcome is not None
    ]


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=select_autoescape(["html"]),  # what documents and models wrote is text, never markup
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["dict_of"] = dict
    environment.filters["one_line"] = lambda text: " ".join(str(text).split())
    return environment

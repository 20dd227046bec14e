"""Evaluation runs as HTML: the list, one run's figures and plots, and two runs side by side."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from app.display import count, shorten
from app.ui.ledger import moment
from app.ui.markup import escaped
from eval.report import MAIN, Part, Plot
from eval.run import Run
from indexer.errors import FootnoteError

QUESTION_CHARS = 160
Cell = tuple[str, str]  # HTML, class


def runs_html(rows: Sequence[tuple[str, Mapping[str, Any] | FootnoteError]]) -> str:
    """The runs with the metric that each kind is judged by; a file that cannot be read says why."""
    heads = ("Run", "Kind", "Cases", "Errors", "Scores", "Finished (UTC)")
    return _table("Runs", heads, [_run_row(*row) for row in rows])


def _run_row(name: str, told: Mapping[str, Any] | FootnoteError) -> list[Cell]:
    if isinstance(told, FootnoteError):
        return [(escaped(name), ""), (escaped(told.message), "fn-text-cell"), *[("", "")] * 4]
    dataset = escaped(told["dataset"])
    opener = f'<button type="button" class="fn-opener" data-fn-open="r.{escaped(name)}">{dataset}</button>'
    errors = sum(told["errors"].values())
    finished = moment(told["finished"]) if told["finished"] else "not finished"
    return [
        (f'{opener}<span class="fn-path"><bdi>{escaped(name)}</bdi></span>', ""),
        (escaped(told["kind"]), ""),
        (f"{told['cases']:,}", "fn-right"),
        (f"{errors:,}" if errors else "", "fn-right"),
        ("<br>".join(map(escaped, main_scores(told))), ""),
        (escaped(finished), "fn-when"),
    ]


def main_scores(summary: Mapping[str, Any]) -> list[str]:
    """The mean and interval that a kind of run is judged by, one line a variant."""
    told = []
    for variant, metrics in summary["variants"].items():
        name = MAIN.get(summary["kind"], "")
        name = name if name in metrics else next(iter(metrics), "")
        if name:
            told.append(" ".join(filter(None, (variant, name, _mean(metrics[name])))))
    return told


def _mean(figures: Mapping[str, Any]) -> str:
    low, high = figures["ci95"]
    return f"{figures['mean']:.3f} [{low:.3f}, {high:.3f}]"


def facts_html(run: Run, summary: Mapping[str, Any], warning: str) -> str:
    """What was measured and when, and what to beware of."""
    model = f", answered by {run.facts['model']}" if run.facts.get("model") else ""
    ended = f"finished {moment(summary['finished'])} UTC" if summary["finished"] else "not finished"
    measured = f"{count(summary['cases'], 'case')} of {summary['dataset']}{model}"
    told = f"{measured}; begun {moment(run.facts['begun'])}, {ended}."
    lines = [f"<p>{escaped(told)}</p>", f'<p class="fn-path">{escaped(run.id)}</p>']
    if summary["errors"]:
        kinds = ", ".join(f"{number} {kind}" for kind, number in summary["errors"].items())
        lines.append(f'<p class="fn-beware">Failed: {escaped(kinds)}; the means are without them.</p>')
    if found := summary["declining"]:
        low, high = found["f1_ci95"]
        lines.append(
            f"<p>Declined {found['recall']:.1%} of the questions without an answer and "
            f"{found['declined_answerable']:.1%} of the others; F1 {found['f1']:.3f} [{low:.3f}, {high:.3f}].</p>"
        )
    if usage := summary["judge_usage"]:
        lines.append(f"<p>Judging took {count(usage['calls'], 'call')}.</p>")
    for failed, kinds in summary["judge_failures"].items():
        told = ", ".join(f"{number} {kind}" for kind, number in kinds.items())
        lines.append(f'<p class="fn-beware">The judge failed on {escaped(failed)}: {escaped(told)}.</p>')
    if warning:
        lines.append(f'<p class="fn-beware">{escaped(warning)}</p>')
    return f'<div class="fn-top">{"".join(lines)}</div>'


def metrics_html(metrics: Mapping[str, Any]) -> str:
    """Means with intervals, coverage, method and meaning."""
    rows = [
        [
            (escaped(name), ""),
            (f"{m['mean']:.4f}", "fn-right"),
            (f"{m['ci95'][0]:.4f} to {m['ci95'][1]:.4f}", "fn-right"),
            (f"{m['n']:,} of {m['of']:,}", "fn-right"),
            (escaped(m["method"]), ""),
            (escaped(m["meaning"]), "fn-text-cell"),
        ]
        for name, m in metrics.items()
    ]
    return _table("Scores", ("Metric", "Mean", "95% interval", "Cases", "Method", "Meaning"), rows)


def slices_html(part: Part) -> str:
    """Kinds of question, each against the rest."""
    rows = [
        [
            (escaped(each.name), ""),
            (f"{each.n:,}", "fn-right"),
            (f"{each.mean:.4f}", "fn-right"),
            (f"{each.ci95[0]:.4f} to {each.ci95[1]:.4f}", "fn-right"),
            (f"{each.rest:.4f}", "fn-right"),
            (f"{each.p_holm:.4f}", "fn-right"),
        ]
        for each in part.slices
    ]
    return _table("Slices", ("Kind of question", "n", "Mean", "95% interval", "The rest", "p (Holm)"), rows)


def plot_html(plot: Plot) -> str:
    """A plot as a picture: its SVG is not let into the page, which would have to trust what a data set's names say."""
    data = base64.b64encode(plot.svg.encode()).decode()
    about = f'<p class="fn-meta">{escaped(plot.about)}</p>' if plot.about else ""
    picture = f'<img src="data:image/svg+xml;base64,{data}" alt="{escaped(plot.title)}, as a plot">'
    return f'<figure class="fn-plot"><figcaption>{escaped(plot.title)}</figcaption>{about}{picture}</figure>'


def cases_html(run: Run, listed: Sequence[tuple[str, float]], metric: str, variant: int) -> str:
    """Cases with their value of a metric, each of which opens; the variant is named by its place."""
    rows = [
        [(_case_opener(run, id_, f"k.{variant}.{id_}"), "fn-text-cell"), (f"{value:.3f}", "fn-right")]
        for id_, value in listed
    ]
    return _table("Cases", ("Question", metric), rows)


def comparison_html(metrics: Mapping[str, Any]) -> str:
    """What the tests say of each metric."""
    rows = []
    for name, test in metrics.items():
        low, high = test["ci95"]
        cells = [f"{test['mean_a']:.4f}", f"{test['mean_b']:.4f}", f"{test['difference']:+.4f}"]
        cells += [f"{low:+.4f} to {high:+.4f}", f"{test['p_holm']:.4f}"]
        cells += [f"{test[which]:,}" for which in ("wins", "losses", "ties")]
        rows.append([(escaped(name), ""), *((cell, "fn-right") for cell in cells)])
    heads = ("Metric", "A", "B", "B - A", "95% interval", "p (Holm)", "Wins", "Losses", "Ties")
    return _table("Comparison", heads, rows)


def moved_html(run: Run, listed: Sequence[tuple[str, float, float]], pair: int) -> str:
    """Cases with both runs' values, each of which opens; the pair of variants is named by its place."""
    rows = [
        [
            (_case_opener(run, id_, f"m.{pair}.{id_}"), "fn-text-cell"),
            (f"{a:.3f}", "fn-right"),
            (f"{b:.3f}", "fn-right"),
            (f"{b - a:+.3f}", "fn-right"),
        ]
        for id_, a, b in listed
    ]
    return _table("Cases of both", ("Question", "A", "B", "B - A"), rows)


def _case_opener(run: Run, case_id: str, reference: str) -> str:
    question = shorten(run.cases[case_id].question, QUESTION_CHARS)
    return (
        f'<button type="button" class="fn-opener" dir="auto" data-fn-open="{escaped(reference)}">'
        f"{escaped(question)}</button>"
    )


def _table(named: str, heads: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    numbers = {at for row in rows for at, (_, kind) in enumerate(row) if kind == "fn-right"}
    head = "".join(
        f'<th scope="col" class="{"fn-right" if at in numbers else ""}">{escaped(name)}</th>'
        for at, name in enumerate(heads)
    )
    body = "".join("<tr>" + "".join(f'<td class="{kind}">{html}</td>' for html, kind in row) + "</tr>" for row in rows)
    return (
        f'<div class="fn-wide" tabindex="0" role="region" aria-label="{escaped(named)}">'
        f'<table class="fn-table"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )

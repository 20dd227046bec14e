"""The curves of a run as an SVG."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from indexer.llm2vec.training.log import is_dev

Points = list[tuple[float, float]]


def write_curves(rows: Sequence[dict[str, Any]], path: Path, title: str) -> None:
    """Draw the loss of each step with its running mean, and below it the figure on held-out data."""
    import matplotlib
    from matplotlib.figure import Figure

    losses = [(row["step"], row.get("loss", row.get("contrast"))) for row in rows if "step" in row and not is_dev(row)]
    known = [(float(step), float(loss)) for step, loss in losses if loss is not None]
    measured = [row for row in rows if is_dev(row)]
    name = "dev_loss" if any("dev_loss" in row for row in measured) else "dev_ndcg_at_10"
    found = [(float(row["step"]), float(row[name])) for row in measured if name in row]
    charts = [
        (label, points) for label, points in (("training loss", known), (name.replace("_", " "), found)) if points
    ]
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "footnote"}):
        figure = Figure(figsize=(6.4, 2.4 * max(1, len(charts))), layout="constrained")
        figure.suptitle(title)
        for place, (label, points) in enumerate(charts, start=1):
            axes = figure.add_subplot(len(charts), 1, place)
            if points is known:
                axes.plot(*zip(*points, strict=True), color="#b8c4d6")
                axes.plot(*zip(*_smooth(points), strict=True), color="#1f4e9c")
            else:
                axes.plot(*zip(*points, strict=True), color="#b3541e", marker="o", markersize=3)
            axes.set_ylabel(label)
            axes.set_xlabel("step")
            axes.spines[["top", "right"]].set_visible(False)
        scratch = path.with_suffix(".part")
        figure.savefig(scratch, format="svg", metadata={"Date": None})
    scratch.replace(path)


def _smooth(points: Points) -> Points:
    """Exponential running mean over about a fiftieth of the run."""
    keep = 1 - 1 / max(1.0, len(points) / 50)
    smoothed: Points = []
    for step, value in points:
        smoothed.append((step, keep * smoothed[-1][1] + (1 - keep) * value if smoothed else value))
    return smoothed

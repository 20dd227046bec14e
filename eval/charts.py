"""The plots of a report, as SVG text that stands inside a page and needs nothing from outside."""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#8f2d2a", "#2f5d7c", "#5a7a3a", "#b07d2b", "#6b4f86")
_INK, _FAINT = "#23201c", "#d8d2c6"
_FEW = 12  # points that are worth a mark each
Interval = tuple[str, float, float, float]  # a label, a mean, and the ends of its interval


def intervals(rows: Sequence[Interval]) -> str:
    """Means as dots with their intervals as lines, one row each, from 0 to 1."""

    def draw(axes: "Axes") -> None:
        places = range(len(rows), 0, -1)
        for place, (_, mean, low, high) in zip(places, rows, strict=True):
            axes.plot([low, high], [place, place], color=COLOURS[0], linewidth=2, solid_capstyle="round")
            axes.plot([mean], [place], "o", color=COLOURS[0], markersize=6)
        axes.set_yticks(list(places), [label for label, *_ in rows])
        axes.set_xlim(0, 1)
        axes.set_ylim(0.4, len(rows) + 0.6)

    return _svg(draw, "mean with 95% interval", height=0.5 + 0.3 * len(rows))


def curves(
    lines: Mapping[str, Sequence[tuple[float, float]]],
    across: str,
    up: str,
    *,
    logarithmic: bool = False,
    diagonal: bool = False,
) -> str:
    """One line through the points of each name; both axes are shares, unless the first is `logarithmic`.

    The `diagonal` is where points would lie if what stands across were what stands up.
    """

    def draw(axes: "Axes") -> None:
        for (name, points), colour in zip(lines.items(), COLOURS * len(lines), strict=False):
            marker = "o" if len(points) < _FEW else None
            axes.plot(*zip(*points, strict=True), color=colour, label=name or None, linewidth=1.8, marker=marker)
        if diagonal:
            axes.plot([0, 1], [0, 1], color=_FAINT, linewidth=1, linestyle="--")
        if logarithmic:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter("{x:g}")
        else:
            axes.set_xlim(0, 1.02)
        axes.set_ylim(0, 1.02)
        axes.set_ylabel(up)
        if any(lines):
            _legend(axes)

    return _svg(draw, across)


def histograms(groups: Mapping[str, Sequence[float]], across: str) -> str:
    """Distributions of values over each other, each as shares of its own number."""

    def draw(axes: "Axes") -> None:
        values = [value for group in groups.values() for value in group]
        span = (min(values), max(values)) if min(values) < max(values) else (min(values) - 0.5, max(values) + 0.5)
        for (name, group), colour in zip(groups.items(), COLOURS, strict=False):
            shares = [1 / len(group)] * len(group)
            axes.hist(group, bins=30, range=span, weights=shares, color=colour, alpha=0.55, label=name)
        axes.set_ylabel("share")
        _legend(axes)

    return _svg(draw, across)


def stage_times(stages: Mapping[str, tuple[float, float]]) -> str:
    """Median of each stage's time as a bar, and its 95th percentile as a mark."""

    def draw(axes: "Axes") -> None:
        places = list(range(len(stages), 0, -1))
        medians, tails = zip(*stages.values(), strict=True)
        axes.barh(places, medians, color=COLOURS[1], height=0.6, label="median")
        axes.plot(tails, places, "|", color=COLOURS[0], markersize=12, markeredgewidth=2, label="95th percentile")
        axes.set_yticks(places, list(stages))
        _legend(axes)

    return _svg(draw, "milliseconds", height=1.1 + 0.3 * len(stages))


def _legend(axes: "Axes") -> None:
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=4, borderaxespad=0)


def _svg(draw: Callable[["Axes"], None], across: str, height: float = 2.8) -> str:
    import matplotlib
    from matplotlib.figure import Figure

    style: dict[str, Any] = {
        "svg.fonttype": "none",  # text stays text: it can be searched, and follows the page's font
        "svg.hashsalt": "footnote",  # the same figures, the same bytes
        "font.family": "sans-serif",
        "font.size": 9,
        "text.color": _INK,
        "axes.edgecolor": _FAINT,
        "axes.labelcolor": _INK,
        "xtick.color": _INK,
        "ytick.color": _INK,
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(6.6, height), layout="constrained")
        axes = figure.subplots()
        draw(axes)
        axes.set_xlabel(across)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x", color=_FAINT, linewidth=0.6)
        axes.set_axisbelow(True)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None}, transparent=True)
    drawn = text.getvalue()
    inner = drawn[drawn.index("<svg") :]
    return re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', 'role="img"', inner, count=1)

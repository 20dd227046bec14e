"""The curves of a run as an SVG: no plotting library for two line charts."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from indexer.llm2vec.training.log import is_dev

Points = list[tuple[float, float]]
WIDTH, HEIGHT, MARGIN = 640, 220, 46
HEAD = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1}" font-family="sans-serif" font-size="11">'
    '<rect width="100%" height="100%" fill="white"/><text x="46" y="18" font-size="13">{2}</text>'
)


def write_curves(rows: Sequence[dict[str, Any]], path: Path, title: str) -> None:
    """Draw the loss of each step with its running mean, and below it the figure on held-out data."""
    losses = [(row["step"], row.get("loss", row.get("contrast"))) for row in rows if "step" in row and not is_dev(row)]
    known = [(float(step), float(loss)) for step, loss in losses if loss is not None]
    measured = [row for row in rows if is_dev(row)]
    name = "dev_loss" if any("dev_loss" in row for row in measured) else "dev_ndcg_at_10"
    found = [(float(row["step"]), float(row[name])) for row in measured if name in row]
    charts = [("training loss", [(known, "#b8c4d6"), (_smooth(known), "#1f4e9c")])] if known else []
    charts += [(name.replace("_", " "), [(found, "#b3541e")])] if found else []
    body = [_chart(label, lines, 28 + index * HEIGHT) for index, (label, lines) in enumerate(charts)]
    text = HEAD.format(WIDTH, 36 + len(charts) * HEIGHT, escape(title)) + "".join(body) + "</svg>\n"
    scratch = path.with_suffix(".part")
    scratch.write_text(text, encoding="utf-8")
    scratch.replace(path)


def _chart(label: str, lines: Sequence[tuple[Points, str]], top: int) -> str:
    points = [point for line, _ in lines for point in line]
    right = max(step for step, _ in points) or 1.0
    low, high = min(value for _, value in points), max(value for _, value in points)
    span = (high - low) or 1.0
    bottom = top + HEIGHT - MARGIN
    parts = [f'<text x="{MARGIN}" y="{top + 14}">{escape(label)}</text>']
    for share in (0.0, 0.5, 1.0):
        y, x = bottom - share * (HEIGHT - 2 * MARGIN), MARGIN + share * (WIDTH - 2 * MARGIN)
        parts.append(f'<line x1="{MARGIN}" x2="{WIDTH - MARGIN}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{MARGIN - 4}" y="{y + 4:.1f}" text-anchor="end">{low + share * span:.3g}</text>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{share * right:.0f}</text>')
    for line, colour in lines:
        places = [
            (
                MARGIN + step / right * (WIDTH - 2 * MARGIN),
                bottom - (value - low) / span * (HEIGHT - 2 * MARGIN),
            )
            for step, value in line
        ]
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" fill="{colour}"/>' for x, y in places if len(line) < 40]
    return "".join(parts)


def _smooth(points: Points) -> Points:
    """Exponential running mean over about a fiftieth of the run."""
    keep = 1 - 1 / max(1.0, len(points) / 50)
    smoothed: Points = []
    for step, value in points:
        smoothed.append((step, keep * smoothed[-1][1] + (1 - keep) * value if smoothed else value))
    return smoothed

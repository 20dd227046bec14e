"""Options that several commands take."""

from enum import StrEnum
from typing import Annotated

import typer


class Mode(StrEnum):
    """How to search."""

    bm25 = "bm25"
    dense = "dense"
    hybrid = "hybrid"


class Domain(StrEnum):
    """Kinds of questions for which a judge has criteria of their own."""

    general = "general"
    coding = "coding"
    math = "math"
    writing = "writing"


class ProgressForm(StrEnum):
    """How progress is shown on stderr."""

    auto = "auto"
    json = "json"


class EngineName(StrEnum):
    """Where files are read and encoded."""

    local = "local"
    ray = "ray"


class FeedbackForm(StrEnum):
    """What thumbs become."""

    pairs = "pairs"
    preferences = "preferences"
    gold = "gold"


class GraderName(StrEnum):
    """Who can grade a single answer."""

    pointwise = "pointwise"
    geval = "geval"
    panel = "panel"


Name = Annotated[str, typer.Option("--collection", "-c", metavar="NAME", help="Which collection.")]
Filters = Annotated[
    list[str] | None,
    typer.Option(
        "--filter",
        "-f",
        metavar="FIELD=VALUE",
        help="Only documents that hold this, such as source=reports/*.pdf, type=pdf or date>=2024-03; may be repeated.",
        show_default=False,
    ),
]
Groups = Annotated[
    list[str] | None,
    typer.Option("--group", "-g", metavar="GROUP", help="Of whom; may be repeated.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else there.")]
ShowProgress = Annotated[
    ProgressForm,
    typer.Option("--progress", help="auto: a bar on a terminal, plain lines elsewhere; json: JSON lines on stderr."),
]
Hidden = Annotated[str, typer.Option("--collection", "-c", hidden=True)]
Criteria = Annotated[
    Domain | None,
    typer.Option("--domain", help="Judge by the criteria of this kind of question.", show_default="the prompt's own"),
]
Panel = Annotated[
    str | None,
    typer.Option(
        metavar="NAME,...",
        help="Who sits on the panel; NAME@MODEL asks another model of the server.",
        show_default="every kind that asks a model and can do it",
    ),
]
PriceIn = Annotated[float | None, typer.Option(min=0, help="Price of a million tokens that the judge reads.")]
PriceOut = Annotated[float | None, typer.Option(min=0, help="Price of a million tokens that the judge writes.")]

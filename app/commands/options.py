"""Options that several commands take."""

from enum import StrEnum
from typing import Annotated

import typer


class Mode(StrEnum):
    """How to search."""

    bm25 = "bm25"
    dense = "dense"
    hybrid = "hybrid"


Name = Annotated[str, typer.Option("--collection", "-c", metavar="NAME", help="Which collection.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else there.")]

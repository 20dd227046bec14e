"""Pages of a stored PDF as pictures, with the words of a quote boxed. What draws them runs in the parser's process."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from indexer.document import INSIDE, Document
from indexer.errors import DocumentError
from indexer.load import File, Limits, files_inside, open_file
from indexer.loaders.pdf_page import Box, PagePicture, draw_page

MOST_PAGES = 3  # of one quote


@dataclass(frozen=True, slots=True)
class PagePart:
    """The words of a quote that stand on one page, and what the page's text has before them."""

    number: int  # of the page, from 1
    words: str
    before: str


def page_parts(document: Document, start: int, end: int) -> tuple[PagePart, ...]:
    """Divide characters [start, end) of a document by its pages; at most three of them."""
    edges = (*document.pages, len(document.text))
    parts = []
    for number, (low, high) in enumerate(pairwise(edges), 1):
        words = document.text[max(low, start) : min(high, end)] if start < high and end > low else ""
        if words.strip():
            parts.append(PagePart(number, words, document.text[low : max(low, start)]))
    return tuple(parts[:MOST_PAGES])


def draw_source(request: dict[str, Any], limits: Limits) -> dict[str, Any]:
    """Answer a request for pictures, in the process that reads files; both are as JSON has them.

    Raises:
        DocumentError: the file is gone, was changed since it was indexed, or cannot be drawn.
    """
    source = request["draw"]
    data = _find(source, limits).read()
    if hashlib.sha256(data).hexdigest() != request["sha256"]:
        raise DocumentError(f"{source}: the file has changed since it was indexed", "Ingest it again.")
    try:
        drawn = [draw_page(data, **part) for part in request["parts"]]
    except MemoryError:
        raise
    except Exception as error:
        raise DocumentError(f"{source}: its page cannot be drawn: {error}", "Open it in a PDF viewer.") from error
    return {"pictures": [{**asdict(one), "png": base64.b64encode(one.png).decode()} for one in drawn]}


def drawing_request(document: Document, parts: Sequence[PagePart]) -> dict[str, Any]:
    """What `draw_source` is asked."""
    return {"draw": document.source, "sha256": document.sha256, "parts": [asdict(part) for part in parts]}


def pictures_from(reply: dict[str, Any]) -> tuple[PagePicture, ...]:
    """What `draw_source` answered."""
    return tuple(
        PagePicture(
            **{
                **one,
                "png": base64.b64decode(one["png"]),
                "boxes": tuple(Box(**box) for box in one["boxes"]),
            }
        )
        for one in reply["pictures"]
    )


def _find(source: str, limits: Limits) -> File:
    """The file of a source, on the disk or within an archive or mail."""
    if INSIDE not in source or Path(source).is_file():
        return open_file(Path(source), limits)
    file = open_file(Path(source.partition(INSIDE)[0]), limits)
    while file.source != source:
        holders = (one for one in files_inside(file, limits) if f"{source}{INSIDE}".startswith(f"{one.source}{INSIDE}"))
        inner = next(holders, None)
        if inner is None:
            raise DocumentError(f"{source}: it is no longer in {file.source}", "Ingest the archive again.")
        file = inner
    return file

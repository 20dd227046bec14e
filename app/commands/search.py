"""`search`: passages with the verdict of every stage."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from app.display import note, shorten, show
from app.door import emit
from app.settings import Settings
from app.wiring import build_retriever, open_collection
from indexer.filter import Filter
from retriever.hit import Hit
from retriever.search import Mode

_SHOWN_CHARS = 300


def run_search(
    settings: Settings, name: str, query: str, k: int, mode: str, rerank: bool, asked: Filter, as_json: bool
) -> None:
    """Search the documents of one collection that hold a filter, and print the hits."""
    collection = open_collection(settings, name)
    retriever = build_retriever(settings, collection, with_encoder=mode != "bm25", with_reranker=rerank)
    timings_ms: dict[str, float] = {}
    notes: list[str] = []
    hits = retriever.search(query, k, cast(Mode, mode), rerank, timings_ms, asked, notes=notes)
    if as_json:
        timings = {stage: round(spent, 2) for stage, spent in timings_ms.items()}
        found = {"query": query, "mode": mode, "hits": [hit_json(hit) for hit in hits]}
        return emit({**found, "timings_ms": timings, "notes": notes})
    _print(hits)
    for line in notes:
        note(f"({line})")
    return None


def hit_json(hit: Hit) -> dict[str, Any]:
    """The shape of a hit that other programs rely on."""
    return {
        "rank": hit.rank,
        "score": hit.score,
        "document": hit.chunk.document_id,
        "source": hit.source,
        "title": hit.title,
        "page": hit.chunk.page,
        "start": hit.chunk.start,
        "end": hit.chunk.end,
        "headings": list(hit.chunk.heading_path),
        "text": hit.chunk.text,
        "parts": {stage: {"score": part.score, "rank": part.rank} for stage, part in hit.parts.items()},
    }


def place(source: str, page: int | None) -> str:
    """Where words stand, for a reader: below the current folder the path is short."""
    path = Path(source)
    name = str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else source
    return f"{name}, page {page}" if page else name


def _print(hits: Sequence[Hit]) -> None:
    if not hits:
        return show("Nothing matches.")
    for hit in hits:
        parts = ", ".join(f"{stage} {part.score:.3f} (#{part.rank})" for stage, part in hit.parts.items())
        show(f"{hit.rank}. {place(hit.source, hit.chunk.page)}", "bold", wrap=False)
        show(parts, "dim", indent=3)
        show(shorten(hit.chunk.text, _SHOWN_CHARS), indent=3)
        show()
    return None

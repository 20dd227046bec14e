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
from retriever.request import Mode, SearchRequest

_SHOWN_CHARS = 300


def run_search(
    settings: Settings, name: str, query: str, k: int, mode: str, rerank: bool, asked: Filter, as_json: bool
) -> None:
    """Search the documents of one collection that hold a filter, and print the hits."""
    collection = open_collection(settings, name)
    retriever = build_retriever(settings, collection, with_encoder=mode != "bm25", with_reranker=rerank)
    found = retriever.find(SearchRequest(query, k, cast(Mode, mode), rerank, asked))
    if as_json:
        timings = {stage: round(spent, 2) for stage, spent in found.timings_ms.items()}
        told = {"query": query, "mode": mode, "hits": [hit_json(hit) for hit in found.hits]}
        return emit({**told, "timings_ms": timings, "notes": list(found.notes)})
    _print(found.hits)
    for line in found.notes:
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

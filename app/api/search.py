"""POST /search and GET /collections: passages without an answer, and what there is to search."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from app.api.access import Reader
from app.api.errors import described
from app.api.library import Library
from app.api.protocol import Conditions, Hit
from app.api.service import Served
from app.caller import Caller
from app.commands.search import hit_json
from indexer.errors import FootnoteError
from indexer.filter import parse_filter
from retriever.request import Mode

router = APIRouter(tags=["documents"])


class SearchRequest(BaseModel):
    """What to look for."""

    model_config = ConfigDict(extra="forbid")

    query: str
    collection: str = "default"
    k: Annotated[int, Field(ge=1, le=100)] = 10
    mode: Mode | None = None
    rerank: bool = False
    filters: Conditions = []


class Found(BaseModel):
    """The passages, best first, as `footnote search --json` gives them."""

    query: str
    mode: Mode
    hits: list[Hit]
    timings_ms: dict[str, float]
    notes: list[str]
    """What was asked for and did not happen, such as reranking in time."""


class CollectionInfo(BaseModel):
    """One collection; the figures are null, and `error` says why, when it cannot be read.

    `sequence`, which counts every change, is null where the caller may not read everything.
    """

    name: str
    documents: int | None = None
    chunks: int | None = None
    generation: int | None = None
    sequence: int | None = None
    encoder: str | None = None
    error: str | None = None


class Collections(BaseModel):
    """All that the caller may use."""

    collections: list[CollectionInfo]


@router.post("/search", responses=described(404, 409, 502, 503, 504))
async def search(body: SearchRequest, caller: Reader, service: Served) -> Found:
    """Find passages, with what each stage of the search thinks of them."""
    return Found.model_validate(
        await service.searches.run(lambda: _search(service.library, caller, body), service.section.timeout_s)
    )


@router.get("/collections", responses=described())
def list_collections(caller: Reader, service: Served) -> Collections:
    """List the collections."""
    names = service.library.names(caller)
    return Collections(collections=[_info(service.library, caller, name) for name in names])


def _search(library: Library, caller: Caller, body: SearchRequest) -> dict[str, Any]:
    mode, asked = body.mode or library.settings.retriever.mode, parse_filter(body.filters)
    found = library.search(caller, body.collection, body.query, body.k, mode, body.rerank, asked)
    timings_ms = {stage: round(spent, 2) for stage, spent in found.timings_ms.items()}
    hits = [hit_json(hit) for hit in found.hits]
    return {"query": body.query, "mode": mode, "hits": hits, "timings_ms": timings_ms, "notes": list(found.notes)}


def _info(library: Library, caller: Caller, name: str) -> CollectionInfo:
    try:
        reading = library.reading(caller, name)
        manifest = reading.manifest
        return CollectionInfo(
            name=name,
            documents=len(reading.documents()),
            chunks=reading.count(),
            generation=reading.collection.generation.number,
            sequence=reading.sequence() if not reading.rules().restrictions or caller.access.is_full else None,
            encoder=manifest.fingerprint if manifest else None,
        )
    except FootnoteError as error:  # one that is damaged must not hide the others
        return CollectionInfo(name=name, error=error.kind)

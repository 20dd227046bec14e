"""POST /search and GET /collections: passages without an answer, and what there is to search."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from app.api.access import Reader
from app.api.errors import described
from app.api.library import Library
from app.api.protocol import Conditions, Hit
from app.api.service import Served
from app.commands.search import hit_json
from indexer.errors import FootnoteError
from indexer.filter import parse_filter
from retriever.search import Mode

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


class CollectionInfo(BaseModel):
    """One collection; the figures are null, and `error` says why, when it cannot be read."""

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
    caller.check(body.collection)
    return Found.model_validate(
        await service.gate.run(lambda: _search(service.library, body), service.section.timeout_s)
    )


@router.get("/collections", responses=described())
def list_collections(caller: Reader, service: Served) -> Collections:
    """List the collections."""
    names = [name for name in service.library.names() if caller.may_use(name)]
    return Collections(collections=[_info(service.library, name) for name in names])


def _search(library: Library, body: SearchRequest) -> dict[str, Any]:
    mode = body.mode or library.settings.retriever.mode
    timings: dict[str, float] = {}
    retriever = library.retriever(body.collection, mode, body.rerank)
    hits = retriever.search(body.query, body.k, mode, body.rerank, timings, parse_filter(body.filters))
    timings_ms = {stage: round(spent, 2) for stage, spent in timings.items()}
    return {"query": body.query, "mode": mode, "hits": [hit_json(hit) for hit in hits], "timings_ms": timings_ms}


def _info(library: Library, name: str) -> CollectionInfo:
    try:
        collection = library.collection(name)
        manifest = collection.manifest
        return CollectionInfo(
            name=name,
            documents=len(collection.documents()),
            chunks=collection.count(),
            generation=collection.generation.number,
            sequence=collection.sequence(),
            encoder=manifest.fingerprint if manifest else None,
        )
    except FootnoteError as error:  # one that is damaged must not hide the others
        return CollectionInfo(name=name, error=error.kind)

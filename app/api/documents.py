"""/documents: upload, list, look at, delete."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, UploadFile
from pydantic import BaseModel

from app.api.access import Ingester, Reader
from app.api.errors import ApiError, described
from app.api.library import Library
from app.api.service import Served
from app.ui.uploads import save
from indexer.errors import IndexError_

router = APIRouter(tags=["documents"])
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_LOCK_WAIT_S = 10.0
Named = Annotated[str, Query(description="The collection.")]


class DocumentFields(BaseModel):
    """One line of the list."""

    id: str
    source: str
    title: str
    media_type: str
    bytes: int
    chunks: int
    pages: int
    added_at: str


class DocumentList(BaseModel):
    """A part of the documents, by source."""

    collection: str
    total: int
    documents: list[DocumentFields]


class WholeDocument(BaseModel):
    """A document as it was cleaned; offsets of footnotes are characters of `text`, `pages` where each page begins."""

    collection: str
    id: str
    source: str
    title: str
    media_type: str
    sha256: str
    text: str
    pages: list[int]


class Deleted(BaseModel):
    """What was removed."""

    collection: str
    deleted: str


class FileOutcome(BaseModel):
    """What became of one file of an upload."""

    name: str
    state: str
    reason: str
    remedy: str
    document_id: str
    chunks: int
    bytes: int


class IngestStatus(BaseModel):
    """How an upload fares: waiting, running, done (with a report on each file) or failed (with the error)."""

    id: str
    collection: str
    state: str
    files: list[str]
    report: list[FileOutcome]
    error: str
    files_done: int
    eta_s: float | None


@router.post("/documents", status_code=202, responses=described(503, 507))
def upload(
    files: list[UploadFile], caller: Ingester, service: Served, collection: Annotated[str, Form()] = "default"
) -> IngestStatus:
    """Upload files into a collection, which is made if need be. A file of an earlier upload's name replaces it."""
    caller.check(collection)
    if not re.match(_NAME, collection) or collection.endswith("\n"):
        raise ApiError(400, f"'{collection[:80]}' cannot be the name of a collection.", param="collection")
    service.ingests.check_room()
    contents = ((file.filename or "document", file.file.read()) for file in files)  # one at a time in memory
    try:
        paths = save(service.library.folder(collection), contents)
    except OSError as error:
        raise ApiError(507, f"The files could not be saved: {error.strerror}.", code="storage") from None
    return IngestStatus.model_validate(asdict(service.ingests.submit(collection, paths, caller.key_id)))


@router.get("/documents/ingests/{ingest_id}", responses=described(404))
def get_ingest(ingest_id: str, caller: Ingester, service: Served) -> IngestStatus:
    """How an upload fares."""
    ingest = service.ingests.get(ingest_id)
    if not caller.may_use(ingest.collection):
        raise ApiError(404, "There is no such upload.", code="not_found")
    return IngestStatus.model_validate(asdict(ingest))


@router.get("/documents", responses=described(404, 409))
def list_documents(
    caller: Reader,
    service: Served,
    collection: Named = "default",
    offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> DocumentList:
    """List the documents of a collection."""
    caller.check(collection)
    listed = service.library.collection(collection).documents()
    page = [DocumentFields(**asdict(info)) for info in listed[offset : offset + limit]]
    return DocumentList(collection=collection, total=len(listed), documents=page)


@router.get("/documents/{document_id}", responses=described(404, 409))
def get_document(document_id: str, caller: Reader, service: Served, collection: Named = "default") -> WholeDocument:
    """One document with its text."""
    caller.check(collection)
    document = _document(service.library, collection, document_id)
    fields = {name: value for name, value in document.items() if name != "metadata"}
    return WholeDocument(collection=collection, **fields)


@router.delete("/documents/{document_id}", responses=described(404, 409))
def delete_document(document_id: str, caller: Ingester, service: Served, collection: Named = "default") -> Deleted:
    """Delete a document; from then on it answers nowhere. If it was uploaded, its file goes, too."""
    caller.check(collection)
    document = _document(service.library, collection, document_id)
    with service.library.collection(collection).writer(command="delete by the API", timeout_s=_LOCK_WAIT_S) as writer:
        writer.delete(document_id)
    source = Path(document["source"])
    if source.parent == service.library.folder(collection).resolve():
        source.unlink(missing_ok=True)
    return Deleted(collection=collection, deleted=document_id)


def _document(library: Library, collection: str, document_id: str) -> dict[str, Any]:
    opened = library.collection(collection)
    try:
        return asdict(opened.document(document_id.encode("utf-8", "replace").decode("utf-8")))
    except IndexError_ as error:
        raise ApiError(404, f"{error.message}.", code="not_found") from None

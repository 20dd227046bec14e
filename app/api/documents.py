"""/documents: upload, list, look at, delete."""

import re
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, UploadFile
from pydantic import BaseModel

from app.api.access import Ingester, Reader
from app.api.errors import ApiError, described
from app.api.service import Served
from app.audit import local_user
from app.ui.uploads import discard, save
from indexer.access import check_groups
from indexer.errors import IndexError_
from indexer.reading import Reading

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
    files: list[UploadFile],
    caller: Ingester,
    service: Served,
    collection: Annotated[str, Form()] = "default",
    group: Annotated[list[str] | None, Form(description="Only callers of one of these find the files.")] = None,
) -> IngestStatus:
    """Upload files into a collection, which is made if need be. A file of an earlier upload's name replaces it."""
    service.library.check(caller, collection)
    if not re.match(_NAME, collection) or collection.endswith("\n"):
        raise ApiError(400, f"'{collection[:80]}' cannot be the name of a collection.", param="collection")
    groups = check_groups(group or ())
    if not caller.is_admin and not caller.groups.issuperset(groups):
        raise ApiError(403, "This key may upload only for groups of its own.", param="group", code="group_not_allowed")
    service.ingests.check_room()
    contents = ((file.filename or "document", file.file.read()) for file in files)  # one at a time in memory
    try:
        paths = save(service.library.folder(caller, collection), contents)
    except OSError as error:
        raise ApiError(507, f"The files could not be saved: {error.strerror}.", code="storage") from None
    return IngestStatus.model_validate(asdict(service.ingests.submit(collection, paths, caller.id, groups)))


@router.get("/documents/ingests/{ingest_id}", responses=described(404))
def get_ingest(ingest_id: str, caller: Ingester, service: Served) -> IngestStatus:
    """How an upload fares."""
    ingest = service.ingests.get(ingest_id, None if caller.is_admin else caller.id)
    if not service.library.may_use(caller, ingest.collection):
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
    listed = service.library.reading(caller, collection).documents()
    page = [DocumentFields(**asdict(info)) for info in listed[offset : offset + limit]]
    return DocumentList(collection=collection, total=len(listed), documents=page)


@router.get("/documents/{document_id}", responses=described(404, 409))
def get_document(document_id: str, caller: Reader, service: Served, collection: Named = "default") -> WholeDocument:
    """One document with its text."""
    document = _document(service.library.reading(caller, collection), document_id)
    fields = {name: value for name, value in document.items() if name != "metadata"}
    return WholeDocument(collection=collection, **fields)


@router.delete("/documents/{document_id}", responses=described(404, 409))
def delete_document(document_id: str, caller: Ingester, service: Served, collection: Named = "default") -> Deleted:
    """Delete a document; from then on it answers nowhere. What was uploaded of it goes, too."""
    reading = service.library.reading(caller, collection)
    document, sources = _document(reading, document_id), reading.sources(document_id)
    with (
        service.audit.recorded(caller.id or local_user(), "delete", collection, f"{document_id} {document['source']}"),
        reading.collection.writer(command="delete by the API", timeout_s=_LOCK_WAIT_S, merge_later=True) as writer,
    ):
        writer.delete(document_id)
    discard(service.library.settings.uploads_dir / collection, reading.collection, sources)
    return Deleted(collection=collection, deleted=document_id)


def _document(reading: Reading, document_id: str) -> dict[str, Any]:
    try:
        return asdict(reading.document(document_id.encode("utf-8", "replace").decode("utf-8")))
    except IndexError_ as error:
        raise ApiError(404, f"{error.message}.", code="not_found") from None

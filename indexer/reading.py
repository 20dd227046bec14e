"""A collection as one caller may read it. Doors that serve several people hand out nothing else."""

from dataclasses import dataclass

from indexer.access import Access, Rules
from indexer.collection import Collection
from indexer.document import Chunk, Document
from indexer.errors import IndexError_
from indexer.store.records import DocumentInfo, FileRow, Manifest


@dataclass(frozen=True, slots=True)
class Reading:
    """What a caller may see of a collection. What is hidden is answered for as if it were not there."""

    collection: Collection
    access: Access

    @property
    def name(self) -> str:
        return self.collection.name

    @property
    def manifest(self) -> Manifest | None:
        """What the serving generation was built with; None before the first document."""
        return self.collection.manifest

    def documents(self) -> list[DocumentInfo]:
        """List the documents by source."""
        return self.collection.documents(self.access)

    def document(self, document_id: str) -> Document:
        """Return one document with its text. Raises IndexError_ where there is none of that id."""
        return self.collection.document(document_id, self.access)

    def document_chunks(self, document_id: str) -> list[Chunk]:
        """Return the chunks of one document in reading order. Raises IndexError_ where there is none of that id."""
        return [chunk for _, chunk in self.collection.document_chunks(self.document(document_id).id)]

    def sources(self, document_id: str) -> list[str]:
        """List the files of one document; none if it is not there."""
        try:
            return self.collection.generation.truth.sources_of(self.document(document_id).id)
        except IndexError_:
            return []

    def files(self, state: str | None = None) -> list[FileRow]:
        """List the ledger by path."""
        return self.collection.generation.truth.files(state, self.access)

    def count(self) -> int:
        """Return the number of chunks."""
        return self.collection.count(self.access)

    def sequence(self) -> int:
        """Return a number that rises with every change, also of what is hidden: not for the caller's eyes."""
        return self.collection.sequence()

    def rules(self) -> Rules:
        """Return what the collection asks of its callers: not for the caller's eyes."""
        return self.collection.rules()

"""Which passages of a collection questions are written from: drawn under a seed, and spread over its documents."""

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from indexer.collection import Collection
from indexer.document import Chunk
from indexer.errors import IndexError_
from indexer.store.records import StoredChunk

SHORTEST_WORDS = 25  # a passage with fewer holds a heading, or a row or two

Place = tuple[str, int]  # document id, number of the chunk in it


@dataclass(frozen=True, slots=True)
class Passages:
    """The passages of a collection that are long enough, by document, and a hash of all its text."""

    collection: Collection
    lengths: tuple[tuple[str, tuple[int, ...]], ...]  # document id -> numbers of the chunks that are long enough
    usable: int
    too_short: int
    fingerprint: str
    named: Mapping[str, tuple[str, str]] = field(repr=False)  # document id -> source, title

    def drawn(self, seed: str, limit: int) -> list[Place]:
        """At most `limit` places: one of each document in an order drawn under the seed, then a second of each, ..."""
        order = list(self.lengths)
        random.Random(seed).shuffle(order)
        columns = [self._shuffled(id_, numbers, seed) for id_, numbers in order]
        return [place for row in zip_longest(*columns) for place in row if place is not None][:limit]

    def at(self, place: Place) -> StoredChunk:
        """The passage at a place.

        Raises:
            IndexError_: its document was changed or removed since the collection was read.
        """
        document_id, number = place
        source, title = self.named[document_id]
        chunks = _chunks(self.collection, document_id)
        if number >= len(chunks):
            raise IndexError_(
                f"{source} was changed or removed while questions were written from it.",
                "Give the command again with a new folder: it asks about what is there now.",
            )
        return StoredChunk(chunks[number], source, title)

    @staticmethod
    def _shuffled(document_id: str, numbers: Sequence[int], seed: str) -> list[Place]:
        places = [(document_id, number) for number in numbers]
        random.Random(f"{seed}:{document_id}").shuffle(places)
        return places


def read_passages(collection: Collection, on_progress: Callable[[str, int, int], None] | None = None) -> Passages:
    """Look through a collection once, one document at a time.

    Raises:
        IndexError_: it holds no passage that is long enough.
    """
    digest, lengths, too_short = hashlib.sha256(), [], 0
    documents = collection.documents()
    for done, info in enumerate(documents, start=1):
        chunks = _chunks(collection, info.id)
        digest.update(f"{info.source}\x00{len(chunks)}\x00".encode("utf-8", "surrogatepass"))
        digest.update("\x00".join(chunk.text for chunk in chunks).encode("utf-8", "surrogatepass"))
        numbers = tuple(n for n, chunk in enumerate(chunks) if len(chunk.text.split()) >= SHORTEST_WORDS)
        too_short += len(chunks) - len(numbers)
        if numbers:
            lengths.append((info.id, numbers))
        if on_progress:
            on_progress("reading", done, len(documents))
    if not lengths:
        raise IndexError_(
            f"Collection '{collection.name}' has no passage of {SHORTEST_WORDS} words to ask about.",
            f"Add documents: `footnote ingest FOLDER --collection {collection.name}`.",
        )
    named = {info.id: (info.source, info.title) for info in documents}
    usable = sum(len(numbers) for _, numbers in lengths)
    return Passages(collection, tuple(lengths), usable, too_short, digest.hexdigest(), named)


def _chunks(collection: Collection, document_id: str) -> list[Chunk]:
    return [chunk for _, chunk in collection.document_chunks(document_id)]

"""Six short texts that are searched, and how what was found is written down."""

from collections.abc import Callable, Sequence

from indexer.collection import Collection
from retriever.hit import Hit

Fill = Callable[..., list[str]]
TEXTS = [
    "the lamp of the lighthouse is wound by hand",
    "the keeper winds the lamp every evening",
    "goat cheese ripens in the cellar of the creamery",
    "the ferry sails in winter only when the wind allows",
    "storm signals are shown from the harbour wall",
    "the creamery sells cheese and butter",
]


def documents(hits: Sequence[Hit]) -> list[str]:
    return [hit.chunk.document_id for hit in hits]


def keys_of(collection: Collection) -> dict[str, int]:
    keys = [key for key, *_ in collection.texts()]
    return {stored.chunk.document_id: key for key, stored in collection.chunks(keys).items()}

"""The collections and models that the API serves, each opened once. Safe to share between threads.

Whatever is read here is read for a caller: there is no other way to a document.
"""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from app.api.errors import ApiError
from app.built import as_built, recipe_of
from app.caller import Caller, may_use, uploads_of
from app.experiment import Arm, ArmName, arm_settings
from app.resolved import chunk_settings, parse_limits
from app.settings import Settings
from app.wiring import build_chat_model, build_encoder, build_pipeline, build_retriever, open_collection
from generator.chat import ChatModel
from generator.pipeline import Event, Pipeline
from generator.prompt import Turn
from generator.server import ServerModel
from indexer.collection import Collection
from indexer.encoder import Encoder
from indexer.filter import Filter
from indexer.ingest import ingest
from indexer.ledger import IngestReport, OnProgress
from indexer.reading import Reading
from retriever.request import Mode, SearchRequest, SearchResult


class Library:
    """What the endpoints ask of the rooms below."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._opening = threading.Lock()
        self._loading = threading.Lock()  # another one: models load for seconds, collections open at once
        self._collections: dict[str, Collection] = {}
        self._pipelines: dict[tuple[str, ArmName], Pipeline] = {}
        self._model: ChatModel | None = None

    def names(self, caller: Caller) -> list[str]:
        """The collections that a caller may use."""
        return [name for name in Collection.list(self.settings.home) if self.may_use(caller, name)]

    def check(self, caller: Caller, name: str) -> None:
        """Refuse a collection that is out of reach, whether it exists or not.

        Raises:
            ApiError: it is (403).
        """
        if not self.may_use(caller, name):
            raise ApiError(403, "This key is not for that collection.", code="collection_not_allowed")

    def reading(self, caller: Caller, name: str) -> Reading:
        """A collection as the caller may read it.

        Raises:
            ApiError: it is out of reach (403), or there is none of that name (404).
            IndexError_: it is damaged.
        """
        self.check(caller, name)
        return Reading(self._collection(name), caller.access)

    def ask(
        self, caller: Caller, name: str, question: str, history: Sequence[Turn], asked: Filter, arm: Arm | None = None
    ) -> Iterator[Event]:
        """The events of an answer, in one arm of an experiment. Raises what `reading` and `Pipeline.ask` raise."""
        collection = self.reading(caller, name).collection
        yield from self._pipeline(collection, arm).ask(question, history, asked=asked, access=caller.access)

    def search(
        self, caller: Caller, name: str, query: str, k: int, mode: Mode, rerank: bool, asked: Filter
    ) -> SearchResult:
        """The passages, and how long each stage took. Raises what `reading` and `Retriever.find` raise."""
        collection = self.reading(caller, name).collection
        retriever = build_retriever(self.settings, collection, with_encoder=mode != "bm25", with_reranker=rerank)
        return retriever.find(SearchRequest(query, k, mode, rerank, asked, caller.access))

    def encoder_of(self, caller: Caller, name: str) -> Encoder:
        """The encoder that made a collection's vectors. Raises what `reading` and `build_encoder` raise."""
        collection = self.reading(caller, name).collection
        encoder = build_encoder(as_built(self.settings, collection))
        collection.check_encoder(encoder.fingerprint)
        return encoder

    def may_use(self, caller: Caller, name: str) -> bool:
        """Whether a collection is within a caller's reach."""
        return may_use(caller, name, self.settings.home, self._collection)

    def _collection(self, name: str) -> Collection:
        if name not in Collection.list(self.settings.home):
            raise ApiError(404, f"There is no collection '{name[:80]}'.", code="model_not_found", param="model")
        with self._opening:
            if name not in self._collections:
                self._collections[name] = open_collection(self.settings, name)
            return self._collections[name]

    def _pipeline(self, collection: Collection, arm: Arm | None) -> Pipeline:
        """What answers questions about a collection, in one arm of an experiment. Loads models at its first use."""
        key = collection.name, arm.name if arm else "a"
        with self._loading:
            if key not in self._pipelines:
                self._pipelines[key] = build_pipeline(arm_settings(self.settings, key[1]), collection)
            return self._pipelines[key]

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, as the chat model counts them."""
        with self._loading:
            self._model = self._model or build_chat_model(self.settings)
        return self._model.count_tokens([text])[0]

    def warm(self) -> None:
        """Load the models that answers need, and ask the model server. Raises ModelError where one is not there."""
        if self.settings.retriever.mode != "bm25":
            build_encoder(self.settings)
        with self._loading:
            self._model = self._model or build_chat_model(self.settings)
        if isinstance(self._model, ServerModel):
            self._model.check()
        _ = self._model.name  # without a name in the settings, there must be a model

    def folder(self, caller: Caller, name: str) -> Path:
        """Where the uploads of a caller to a collection are kept."""
        there = name in Collection.list(self.settings.home)
        return uploads_of(caller, self.settings.uploads_dir / name, self._collection(name) if there else None)

    def ingest(self, name: str, paths: list[Path], groups: Sequence[str], on_progress: OnProgress) -> IngestReport:
        """Index files for these groups into a collection, which is made if need be.

        Raises what `indexer.ingest.ingest` raises.
        """
        collection = open_collection(self.settings, name, create=True)
        own = as_built(self.settings, collection)
        return ingest(
            paths,
            collection,
            build_encoder(own),
            chunk_settings(own),
            on_progress,
            timeout_s=self.settings.indexer.lock_wait_s,
            limits=parse_limits(self.settings),
            recipe=recipe_of(own.encoder),
            groups=groups,
        )

"""The collections and models that the API serves, each opened once. Safe to share between threads."""

import threading
from pathlib import Path

from app.api.errors import ApiError
from app.built import as_built, recipe_of
from app.experiment import Arm, ArmName, arm_settings
from app.resolved import chunk_settings, parse_limits
from app.settings import Settings
from app.wiring import build_chat_model, build_encoder, build_pipeline, build_retriever, open_collection
from generator.chat import ChatModel
from generator.pipeline import Pipeline
from indexer.collection import Collection
from indexer.encoder import Encoder
from indexer.ingest import ingest
from indexer.ledger import IngestReport, OnProgress
from retriever.search import Retriever


class Library:
    """What the endpoints ask of the rooms below."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._opening = threading.Lock()
        self._loading = threading.Lock()  # another one: models load for seconds, collections open at once
        self._collections: dict[str, Collection] = {}
        self._pipelines: dict[tuple[str, ArmName], Pipeline] = {}
        self._model: ChatModel | None = None

    def names(self) -> list[str]:
        """The collections there are."""
        return Collection.list(self.settings.home)

    def collection(self, name: str) -> Collection:
        """One collection.

        Raises:
            ApiError: there is none of that name (404).
            IndexError_: it is damaged.
        """
        if name not in self.names():
            raise ApiError(404, f"There is no collection '{name[:80]}'.", code="model_not_found", param="model")
        with self._opening:
            if name not in self._collections:
                self._collections[name] = open_collection(self.settings, name)
            return self._collections[name]

    def pipeline(self, name: str, arm: Arm | None = None) -> Pipeline:
        """What answers questions about a collection, in one arm of an experiment. Loads models at its first use."""
        collection, key = self.collection(name), (name, arm.name if arm else "a")
        with self._loading:
            if key not in self._pipelines:
                self._pipelines[key] = build_pipeline(arm_settings(self.settings, key[1]), collection)
            return self._pipelines[key]

    def retriever(self, name: str, mode: str, rerank: bool) -> Retriever:
        """What searches a collection in one mode."""
        return build_retriever(self.settings, self.collection(name), with_encoder=mode != "bm25", with_reranker=rerank)

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, as the chat model counts them."""
        with self._loading:
            self._model = self._model or build_chat_model(self.settings)
        return self._model.count_tokens([text])[0]

    def warm(self) -> None:
        """Load the models that answers need. Raises ModelError where one is missing or its server is down."""
        if self.settings.retriever.mode != "bm25":
            self.encoder()
        with self._loading:
            self._model = self._model or build_chat_model(self.settings)
        _ = self._model.name  # a server is asked for it

    def encoder(self, collection: Collection | None = None) -> Encoder:
        """The encoder of a collection, or that of the settings."""
        return build_encoder(as_built(self.settings, collection) if collection else self.settings)

    def folder(self, name: str) -> Path:
        """Where the uploads of a collection are kept."""
        return self.settings.uploads_dir / name

    def ingest(self, name: str, paths: list[Path], on_progress: OnProgress) -> IngestReport:
        """Index files into a collection, which is made if need be. Raises what `indexer.ingest.ingest` raises."""
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
        )

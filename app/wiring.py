"""From settings to parts: the one place that decides which encoder, reranker and chat model are used."""

import logging
import threading
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from app.built import as_built, read_recipe
from app.rerankers import build_reranker
from app.resolved import (
    index_settings,
    marginal_settings,
    pipeline_settings,
    retriever_settings,
    server_settings,
    uses_server,
)
from app.sections.generation import ChoiceSection
from app.sections.indexing import EncoderSection
from app.settings import Settings
from generator.chat import ChatModel
from generator.entailment import Entailment
from generator.pipeline import Pipeline
from generator.trace import Observe
from indexer.chunk import CountTokens
from indexer.collection import Collection
from indexer.encoder import Encoder
from indexer.errors import ConfigError, ModelError
from indexer.ingest import Engine
from indexer.store.records import Manifest
from retriever.gather import GatheringEncoder
from retriever.search import Retriever

if TYPE_CHECKING:
    from generator.marginal import MarginalSettings

_log = logging.getLogger(__name__)
_loading = threading.Lock()
_gatherers: dict[int, GatheringEncoder] = {}
_LLM2VEC = ("adapter", "pooling", "query_instruction", "max_tokens", "dim")  # settings of that kind of encoder alone


def open_collection(settings: Settings, name: str, *, create: bool = False) -> Collection:
    """Open a collection of the settings' home; one that is made now has the settings' language.

    Raises:
        IndexError_: it does not exist (and `create` is false), or cannot be opened.
    """
    language, index = settings.indexer.language, index_settings(settings)
    return Collection.open(settings.home, name, create=create, language=language, index=index)


def settings_of(settings: Settings, name: str) -> Settings:
    """The settings as they hold for one collection (see as_built); those that are given if it does not exist yet."""
    is_there = name in Collection.list(settings.home)
    return as_built(settings, open_collection(settings, name)) if is_there else settings


def build_encoder(settings: Settings, *, adapter: bool = True) -> Encoder:
    """Load the encoder, once a process for the same settings.

    Raises:
        ModelError: weights or adapter are missing.
    """
    section = settings.encoder if adapter else settings.encoder.model_copy(update={"adapter": "none"})
    with _loading:  # two sessions that begin at once must not load it twice
        return _encoder(section, settings.models_dir)


def build_token_counter(settings: Settings) -> CountTokens:
    """Load what counts tokens as the encoder does, without its weights.

    Raises:
        ModelError: the tokenizer is missing.
    """
    from indexer.llm2vec.published import stack
    from indexer.llm2vec.tokens import load_token_counter
    from indexer.sentence_transformer import find_sentence_transformer

    if find_sentence_transformer(settings.encoder.model):  # small beside a decoder
        return build_encoder(settings).count_tokens
    folder, _ = stack(model_source(settings.encoder, settings.models_dir), adapter_dirs(settings.encoder))
    return load_token_counter(folder)


def on_processor(settings: Settings) -> Settings:
    """The same settings with the encoder on the processor, where GPUs are for other processes."""
    return settings.model_copy(update={"encoder": settings.encoder.model_copy(update={"device": "cpu"})})


def build_engine(settings: Settings, fingerprint: str, address: str) -> Engine:
    """Give the engine that ingests on the Ray cluster at `address`, or on one of this machine alone.

    Raises:
        ConfigError: Ray is not installed.
    """
    try:
        from indexer.ray_engine import RayEngine
    except ImportError as error:
        raise ConfigError(
            f"The engine is ray, and Ray is not installed: {error}.",
            "Install it with `pip install -r requirements-ray.txt`, on every node.",
        ) from error
    told = Settings(home=settings.home, encoder=settings.encoder)  # no more than the nodes need, and no key
    return RayEngine(partial(build_encoder, told), partial(build_token_counter, told), fingerprint, address)


def encoder_name(section: EncoderSection) -> str:
    """A short name of an encoder: its base and its adapters."""
    from indexer.sentence_transformer import find_sentence_transformer, model_name

    if folder := find_sentence_transformer(section.model):
        return model_name(folder) if folder == Path(section.model) else section.model
    base = Path(section.model).name
    folders = adapter_dirs(section)
    return "+".join([base, *(Path(folder).name for folder in folders)]) if folders else f"{base}, no adapter"


def encoder_of(manifest: Manifest, settings: Settings) -> str | None:
    """The name of the encoder of a generation; None where no name was kept yet."""
    return encoder_name(read_recipe(manifest.recipe, settings.encoder)) if manifest.recipe else None


def build_retriever(
    settings: Settings, collection: Collection, *, with_encoder: bool = True, with_reranker: bool = False
) -> Retriever:
    """Join a collection with its encoder, unless only bm25 is wanted, and with the reranker, if that is wanted.

    Raises:
        ModelError: weights are missing.
    """

    def own_encoder() -> Encoder:
        return _gathering(build_encoder(as_built(settings, collection)))

    encoder = own_encoder() if with_encoder else None
    reranker = build_reranker(settings) if with_reranker else None
    return Retriever(collection, encoder, retriever_settings(settings), reranker, own_encoder)


def _gathering(encoder: Encoder) -> GatheringEncoder:
    """The one that gathers the questions to an encoder, whichever collection they are asked of."""
    return _gatherers.setdefault(id(encoder), GatheringEncoder(encoder))  # which keeps it, and so its id


def build_pipeline(settings: Settings, collection: Collection) -> Pipeline:
    """Join everything that answers questions about one collection.

    Raises:
        ConfigError: a server or a reranker is wanted and none is named, or telemetry is and is not installed.
        ModelError: weights are missing.
    """
    section = settings.retriever
    observe, own = build_observer(settings), pipeline_settings(settings)  # what is wrong there is said before loading
    retriever = build_retriever(settings, collection, with_encoder=section.mode != "bm25", with_reranker=section.rerank)
    return Pipeline(
        retriever,
        build_chat_model(settings),
        collection,
        own,
        build_entailment(settings),
        observe,
    )


def build_observer(settings: Settings) -> Observe | None:
    """Give what sends traces to the collector that the settings name, or None.

    Raises:
        ConfigError: the packages for it are missing.
    """
    section = settings.telemetry
    if not section.otlp_endpoint:
        return None
    with _loading:
        return _observer(section.otlp_endpoint, section.content, uses_server(settings))


def build_entailment(settings: Settings) -> Entailment | None:
    """Give what checks sentences against passages beside words, or None where words do it alone.

    Raises:
        ConfigError: the cross-encoder or the server is not named.
        ModelError: weights are missing.
    """
    section = settings.generator
    if section.entailment == "encoder":
        from generator.entailment import EncoderEntailment

        return EncoderEntailment(build_encoder(settings))
    if section.entailment == "nli":
        if not section.nli_model:
            raise ConfigError("generator.entailment is nli, but no model is named.", "Set generator.nli_model.")
        with _loading:
            return _nli(section.nli_model)
    if section.entailment == "judge":
        from generator.judge import JudgeEntailment
        from generator.server import ServerModel

        if not section.base_url:
            raise ConfigError("generator.entailment is judge, but no server is named.", "Set generator.base_url.")
        return JudgeEntailment(ServerModel(server_settings(settings)))
    return None


def build_chat_model(settings: Settings) -> ChatModel:
    """Give the model that writes answers: a server's, or the one in this process, loaded once.

    Raises:
        ConfigError: a server is wanted and generator.base_url is empty, or it cannot do what generator.marginal says.
        ModelError: weights are missing.
    """
    section = settings.generator
    marginal = marginal_settings(section.marginal)
    if not uses_server(settings):
        with _loading:
            return _embedded(settings.models_dir, section.choice, marginal)
    from generator.rag_server import SequenceModel
    from generator.server import ServerModel

    if not section.base_url:
        raise ConfigError("generator.kind is server, but no server is named.", "Set generator.base_url.")
    server = server_settings(settings)
    return ServerModel(server) if marginal.mode == "none" else SequenceModel(server, marginal)


def model_source(section: EncoderSection, models_dir: Path) -> Path | str:
    """Folder or hub name of the encoder's base model; smollm2 is converted from its package at the first use."""
    from indexer.llm2vec.weights import base_model_dir

    return base_model_dir(models_dir) if section.model == "smollm2" else section.model


def model_dir(section: EncoderSection, models_dir: Path) -> Path:
    """Folder of the encoder's base model, fetched first if it is named by its hub name.

    Raises:
        ModelError: it is missing.
    """
    from indexer.llm2vec.published import locate

    return locate(model_source(section, models_dir))


def adapter_dir(section: EncoderSection) -> Path | None:
    """Folder of the encoder's one adapter, or None for the base model alone.

    Raises:
        ConfigError: there are several.
        ModelError: it is missing.
    """
    from indexer.llm2vec.published import locate

    adapters = adapter_dirs(section)
    if len(adapters) > 1:
        raise ConfigError("encoder.adapter names several adapters, and one is wanted here.", "Name one.")
    return locate(adapters[0]) if adapters else None


def adapter_dirs(section: EncoderSection) -> tuple[Path | str, ...]:
    """Folders or hub names of the encoder's adapters, in the order to merge; none for the base model alone."""
    from indexer.llm2vec.weights import DEFAULT_ADAPTER

    if not isinstance(section.adapter, str):
        return section.adapter
    if section.adapter == "none" or (section.adapter == "default" and section.model != "smollm2"):
        return ()
    if section.adapter != "default":
        return (section.adapter,)
    return () if DEFAULT_ADAPTER is None else (DEFAULT_ADAPTER,)


def _check_plain(section: EncoderSection) -> None:
    """Refuse what a sentence-transformers model does not take.

    Raises:
        ConfigError: an adapter, a pooling, an instruction or a limit is set beside it.
    """
    odd = [
        key for key, value in EncoderSection(model=section.model) if key in _LLM2VEC and getattr(section, key) != value
    ]
    if odd and not (odd == ["adapter"] and section.adapter == "none"):
        raise ConfigError(
            f"encoder.{odd[0]} is for LLM2Vec encoders, and {section.model} is a sentence-transformers model.",
            "Leave it out, or name a decoder in encoder.model.",
        )


@lru_cache(maxsize=2)
def _encoder(section: EncoderSection, models_dir: Path) -> Encoder:
    from indexer.llm2vec.encoder import load_encoder
    from indexer.sentence_transformer import SentenceTransformer, find_sentence_transformer

    if folder := find_sentence_transformer(section.model):
        _check_plain(section)
        return SentenceTransformer(
            folder, dtype=section.dtype, device=section.device, batch_tokens=section.batch_tokens
        )
    if section.model != "smollm2" and "/" not in section.model:  # a folder of the settings is absolute
        raise ModelError(
            f"The package {section.model}, which carries the encoder, is not installed.",
            "Install it into .venv, or run `footnote reindex --encoder default` for a collection made with it.",
        )
    adapters = adapter_dirs(section)
    if not adapters and section.adapter == "default" and section.model == "smollm2":
        _log.warning("the encoder's adapter is missing from this copy of Footnote: dense search will be poor")
    return load_encoder(
        model_source(section, models_dir),
        adapters,
        pooling=section.pooling,
        query_instruction=section.query_instruction,
        max_tokens=section.max_tokens,
        dim=section.dim or None,
        dtype=section.dtype,
        device=section.device,
        batch_tokens=section.batch_tokens,
    )


@lru_cache(maxsize=1)
def _embedded(models_dir: Path, choice: ChoiceSection, marginal: "MarginalSettings") -> ChatModel:
    from generator.embedded import load_embedded
    from indexer.llm2vec.weights import base_model_dir

    weights = choice.model_dump(exclude_none=True)
    return load_embedded(base_model_dir(models_dir), choice=weights, marginal=marginal)


@lru_cache(maxsize=1)
def _nli(name: str) -> Entailment:
    from generator.entailment import NliEntailment
    from indexer.llm2vec.published import locate

    return NliEntailment(locate(name))


@lru_cache(maxsize=1)
def _observer(endpoint: str, with_content: bool, is_server: bool) -> Observe:
    from generator.telemetry import send_to

    return send_to(endpoint, "openai_compatible" if is_server else "footnote", with_content=with_content)

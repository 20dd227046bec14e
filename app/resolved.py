"""What each room is told: its own settings, made from the application's."""

from typing import TYPE_CHECKING

from app.sections.generation import MarginalSection
from app.settings import Settings
from generator.doubt import DoubtSettings
from generator.pipeline import PipelineSettings
from indexer.chunk import ChunkSettings
from indexer.errors import ConfigError
from indexer.load import Limits
from indexer.store.index import IndexSettings
from retriever.search import RetrieverSettings
from retriever.select import SelectionSettings

if TYPE_CHECKING:
    from generator.expand import ExpansionSettings
    from generator.marginal import MarginalSettings
    from generator.server import ServerSettings


def pipeline_settings(settings: Settings) -> PipelineSettings:
    """What the pipeline needs to know of the settings."""
    section = settings.generator
    return PipelineSettings(
        passages=section.passages,
        mode=settings.retriever.mode,
        rerank=settings.retriever.rerank,
        max_answer_tokens=section.max_answer_tokens,
        max_question_chars=section.max_question_chars,
        max_prompt_tokens=section.max_prompt_tokens,
        carry_evidence=section.carry_evidence,
        selection=SelectionSettings(**settings.retriever.selection.model_dump()),
        expansion=expansion_settings(settings),
        doubt=doubt_settings(settings),
    )


def expansion_settings(settings: Settings) -> "ExpansionSettings | None":
    """What is written beside a question to be searched for; None where nothing is.

    Raises:
        ConfigError: no server is named that could write it, or the search has no use for it.
    """
    section = settings.retriever
    if section.expansion == "none":
        return None
    if not uses_server(settings) or not settings.generator.base_url:
        raise ConfigError(
            f"retriever.expansion is {section.expansion}, but no server is named to write it.",
            "Set generator.base_url, or retriever.expansion to none: the embedded reader follows no instructions.",
        )
    if section.expansion == "hyde" and section.mode == "bm25":
        raise ConfigError(
            "retriever.expansion is hyde, which adds to the question's vector, but retriever.mode is bm25.",
            "Set retriever.mode to hybrid or dense, or retriever.expansion to none.",
        )
    from generator.expand import ExpansionSettings

    return ExpansionSettings(section.expansion, section.expansion_queries, section.expansion_tokens)


def doubt_settings(settings: Settings) -> DoubtSettings | None:
    """What a server's answer is weighed by; None for the embedded reader, which has its own choice."""
    values = settings.generator.abstention.model_dump()
    return DoubtSettings(**values) if uses_server(settings) and values["decline_above"] is not None else None


def marginal_settings(section: MarginalSection) -> "MarginalSettings":
    """How passages share an answer.

    Raises:
        ConfigError: the decoding does not go with the mode.
    """
    from generator.marginal import MarginalSettings

    return MarginalSettings(section.mode, section.decoding, section.temperature, section.beams)


def uses_server(settings: Settings) -> bool:
    """Whether a server writes the answers."""
    section = settings.generator
    return section.kind == "server" or (section.kind == "auto" and bool(section.base_url))


def server_settings(settings: Settings) -> "ServerSettings":
    """What the client of the server needs to know of the settings."""
    from generator.server import ServerSettings

    section = settings.generator
    return ServerSettings(
        base_url=section.base_url,
        model=section.model,
        api_key=section.api_key.get_secret_value(),
        connect_timeout_s=section.connect_timeout_s,
        read_timeout_s=section.read_timeout_s,
        retries=section.retries,
        context_tokens=section.context_tokens,
        temperature=section.temperature,
        logprobs=section.logprobs,
    )


def retriever_settings(settings: Settings) -> RetrieverSettings:
    """What the retriever needs to know of the settings."""
    section = settings.retriever
    return RetrieverSettings(
        fusion=section.fusion,
        dense_weight=section.dense_weight,
        normalisation=section.normalisation,
        rrf_k=section.rrf_k,
        rrf_dense_weight=section.rrf_dense_weight,
        candidates=section.candidates,
        rerank_candidates=section.rerank_candidates,
        rerank_weight=section.rerank_weight,
        rerank_batch=section.rerank_batch,
        rerank_budget_ms=section.rerank_budget_ms,
        lexical_engine=section.lexical_engine,
        max_query_chars=section.max_query_chars,
    )


def chunk_settings(settings: Settings) -> ChunkSettings:
    """How documents are cut."""
    return ChunkSettings(settings.indexer.chunk_tokens, settings.indexer.chunk_overlap_tokens)


def index_settings(settings: Settings) -> IndexSettings:
    """Which index a new collection gets, and how a Milvus is reached."""
    milvus = settings.milvus
    return IndexSettings(
        kind=settings.indexer.index,
        uri=milvus.uri,
        token=milvus.token.get_secret_value(),
        index_type=milvus.index_type,
        vectors=milvus.vectors,
        timeout_s=milvus.timeout_s,
        dense_build=settings.indexer.dense_build,
    )


def parse_limits(settings: Settings) -> Limits:
    """What reading one file may take."""
    indexer = settings.indexer
    return Limits(
        max_bytes=round(indexer.max_file_mb * 2**20),
        max_chars=indexer.parse_max_chars,
        timeout_s=indexer.parse_timeout_s,
        memory_mb=indexer.parse_memory_mb,
        ocr_languages=indexer.ocr_languages,
    )

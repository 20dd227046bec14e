"""The reranker and the expansion of questions that the settings name."""

import threading
from dataclasses import replace
from functools import lru_cache

from app.resolved import expansion_settings, server_settings
from app.settings import Settings
from generator.expand import Expander
from indexer.errors import ConfigError
from retriever.rerank import Reranker

GENERATOR = "generator"  # the reranker that is the chat model's server
_loading = threading.Lock()


def build_reranker(settings: Settings) -> Reranker | None:
    """Load the cross-encoder, give what asks the server, or None when the settings name no reranker.

    Raises:
        ConfigError: the server is wanted, and none is named.
        ModelError: the cross-encoder is missing.
    """
    section = settings.retriever
    if section.reranker is None:
        return None
    if section.reranker != GENERATOR:
        with _loading:  # two sessions that begin at once must not load it twice
            return _cross_encoder(section.reranker, section.rerank_batch)
    if not settings.generator.base_url:
        raise ConfigError("retriever.reranker is generator, but no server is named.", "Set generator.base_url.")
    from generator.rerank import YesNoReranker
    from generator.server import ServerModel

    server = server_settings(settings)
    if section.rerank_budget_ms:  # no request may wait for longer than all may take
        most_s = section.rerank_budget_ms / 1000
        connect_s, read_s = min(server.connect_timeout_s, most_s), min(server.read_timeout_s, most_s)
        server = replace(server, connect_timeout_s=connect_s, read_timeout_s=read_s, retries=0)
    return YesNoReranker(ServerModel(server), section.rerank_batch)


def build_expander(settings: Settings) -> Expander | None:
    """Give what writes texts beside a question, or None when the settings want none.

    Raises:
        ConfigError: no server is named that could.
    """
    told = expansion_settings(settings)
    if told is None:
        return None
    from generator.server import ServerModel

    return Expander(ServerModel(server_settings(settings)), told)


@lru_cache(maxsize=1)
def _cross_encoder(name: str, batch: int) -> Reranker:
    from indexer.llm2vec.published import locate
    from retriever.rerank import CrossEncoderReranker

    folder = locate(name)
    return CrossEncoderReranker(folder, batch_pairs=batch, name="" if str(folder) == name else name)

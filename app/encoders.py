"""Encoders by a name given on the command line, beside the configured one."""

import os
from pathlib import Path

from app.sections.indexing import EncoderSection
from app.settings import Settings
from app.wiring import build_encoder, encoder_name, model_source
from indexer.encoder import Encoder
from indexer.errors import ConfigError

_CAUSAL = "causal"


def build_named_encoder(settings: Settings, name: str) -> tuple[Encoder, str]:
    """Load an encoder by its name, with the name to report it by.

    `name` is one that name_encoder() knows, or `causal`: the base as it was pretrained.

    Raises:
        ConfigError: it is none of these.
        ModelError: weights are missing or damaged, or there is no such pooling.
    """
    own, pooling = _pooling_of(name)
    if own == _CAUSAL:
        return _causal(settings, pooling), f"{Path(settings.encoder.model).name}, causal{_told(pooling)}"
    section = name_encoder(settings.encoder, name)
    encoder = build_encoder(settings.model_copy(update={"encoder": section}))
    return encoder, encoder_name(section) + _told(pooling)


def name_encoder(configured: EncoderSection, name: str) -> EncoderSection:
    """Find the settings of an encoder by its name; nothing is loaded.

    `name` is a sentence-transformers folder, an installed package that carries one, or LLM2Vec adapters on the
    configured base model: folders or hub names joined by +, `default` (the one that is shipped) or `none` (the bare
    bidirectional base); behind a colon, a pooling other than its own.

    Raises:
        ConfigError: it is none of these.
        ModelError: there is no such pooling.
    """
    from indexer.sentence_transformer import find_sentence_transformer

    if (folder := find_sentence_transformer(name)) is not None:
        place = {key: getattr(configured, key) for key in ("dtype", "device", "batch_tokens")}
        return EncoderSection(model=_settled(name) if folder == Path(name) else name, **place)
    own, pooling = _pooling_of(name)
    adapters = tuple(own.split("+"))
    for adapter in adapters:
        if own not in ("default", "none") and not _is_adapter(adapter):
            raise ConfigError(
                f"There is no encoder {adapter}: no sentence-transformers folder or installed package, and no adapter.",
                "Name a folder, or install the package into .venv first.",
            )
    settled = own if own in ("default", "none") else tuple(map(_settled, adapters))
    changed = {"adapter": settled if len(adapters) > 1 or isinstance(settled, str) else settled[0]}
    if find_sentence_transformer(configured.model) is not None:
        changed["model"] = "smollm2"
    return configured.model_copy(update=changed | ({"pooling": pooling} if pooling else {}))


def _settled(name: str) -> str:
    """A folder's name as it holds from anywhere; that of a package or on the hub as it is."""
    return os.path.abspath(name) if Path(name).is_dir() else name  # noqa: PTH100 - links stay as they were given


def _pooling_of(name: str) -> tuple[str, str]:
    """What stands before the last colon, and the pooling behind it; a folder's name may hold a colon of its own."""
    from indexer.llm2vec.published import named_pooling

    own, _, pooling = name.rpartition(":")
    if not own or Path(name).exists():
        return name, ""
    return own, named_pooling(pooling)


def _is_adapter(name: str) -> bool:
    return (Path(name) / "adapter_config.json").is_file() or "/" in name


def _causal(settings: Settings, pooling: str) -> Encoder:
    from indexer.llm2vec.encoder import load_encoder

    section = settings.encoder
    return load_encoder(
        model_source(section, settings.models_dir),
        (),
        pooling=pooling or section.pooling,
        query_instruction=section.query_instruction,
        max_tokens=section.max_tokens,
        dtype=section.dtype,
        device=section.device,
        batch_tokens=section.batch_tokens,
        causal=True,
    )


def _told(pooling: str) -> str:
    return f", {pooling}" if pooling else ""

"""Encoders by a name given on the command line, beside the configured one."""

from pathlib import Path

from app.settings import Settings
from app.wiring import build_encoder, encoder_name, model_source
from indexer.encoder import Encoder
from indexer.errors import ConfigError


def build_named_encoder(settings: Settings, name: str) -> tuple[Encoder, str]:
    """Load an encoder by its name, with the name to report it by.

    `name` is a sentence-transformers folder, an installed package that carries one, or LLM2Vec adapters on the
    configured base model: folders or hub names joined by +, `default` (the one that is shipped), `none` (the bare
    bidirectional base) or `causal` (the base as it was pretrained); behind a colon, a pooling other than its own.

    Raises:
        ConfigError: it is none of these.
        ModelError: weights are missing or damaged, or there is no such pooling.
    """
    from indexer.sentence_transformer import SentenceTransformer, find_sentence_transformer

    folder = find_sentence_transformer(name)
    if folder is not None:
        other = SentenceTransformer(folder, device=settings.encoder.device, batch_tokens=settings.encoder.batch_tokens)
        return other, other.name
    own, pooling = _pooling_of(name)
    if own == "causal":
        return _causal(settings, pooling), f"{Path(settings.encoder.model).name}, causal{_told(pooling)}"
    adapters = tuple(own.split("+"))
    for adapter in adapters:
        if own not in ("default", "none") and not _is_adapter(adapter):
            raise ConfigError(
                f"There is no encoder {adapter}: no sentence-transformers folder or installed package, and no adapter.",
                "Name a folder, or install the package into .venv first.",
            )
    changed = {"adapter": own if len(adapters) == 1 else adapters, **({"pooling": pooling} if pooling else {})}
    section = settings.encoder.model_copy(update=changed)
    encoder = build_encoder(settings.model_copy(update={"encoder": section}))
    return encoder, encoder_name(section) + _told(pooling)


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

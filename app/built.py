"""What a collection was built with, and when the settings may say otherwise.

A collection remembers its encoder by name and its chunking. They hold for everything that is done with it, until the
settings say something else than they did when its generation was chosen: the later word counts (docs/decisions.md).
"""

import json
from collections.abc import Mapping
from typing import Any

from app.sections.indexing import EncoderSection
from app.settings import Settings
from indexer.collection import Collection

# What decides a vector, and what decides a chunk; the rest of the sections is about speed and place.
_ENCODER = {"model", "adapter", "pooling", "query_instruction", "max_tokens", "dim"}
_CHUNKING = {"chunk_tokens", "chunk_overlap_tokens"}


def recipe_of(section: EncoderSection) -> str:
    """Write down an encoder so that as_built() can have it again: by name, not by weights."""
    return json.dumps(section.model_dump(mode="json", include=_ENCODER), sort_keys=True)


def read_recipe(recipe: str, section: EncoderSection) -> EncoderSection:
    """Read what recipe_of() wrote; device, number type and batches are those of `section`."""
    return EncoderSection.model_validate(section.model_dump() | json.loads(recipe))


def said_by(settings: Settings) -> dict[str, Any]:
    """What file and variables say of encoder and chunking, by full key; what is left to the defaults is not said."""
    encoder, indexer = settings.encoder, settings.indexer
    said = encoder.model_dump(mode="json", include=_ENCODER & encoder.model_fields_set)
    chunking = indexer.model_dump(mode="json", include=_CHUNKING & indexer.model_fields_set)
    return {f"encoder.{key}": said[key] for key in said} | {f"indexer.{key}": chunking[key] for key in chunking}


def as_built(settings: Settings, collection: Collection) -> Settings:
    """The settings for one collection: with the encoder and the chunking that it was built with.

    Where the settings have changed their word since, theirs stay; opening or searching then refuses what does not fit.
    """
    generation = collection.generation
    manifest, said, then = generation.truth.manifest(), said_by(settings), generation.chosen_under
    changes: dict[str, Any] = {}
    if manifest and manifest.recipe and not _changed(said, then, "encoder."):
        changes["encoder"] = read_recipe(manifest.recipe, settings.encoder)
    if manifest and manifest.chunk_tokens and not _changed(said, then, "indexer."):
        chunking = {"chunk_tokens": manifest.chunk_tokens, "chunk_overlap_tokens": manifest.chunk_overlap_tokens}
        changes["indexer"] = settings.indexer.model_copy(update=chunking)
    return settings.model_copy(update=changes)


def _changed(said: Mapping[str, Any], then: Mapping[str, Any], section: str) -> bool:
    now = {key: value for key, value in said.items() if key.startswith(section)}
    return bool(now) and now != {key: value for key, value in then.items() if key.startswith(section)}

"""`purge`, `reindex` and `rollback`: compacting a collection, rebuilding it, going back."""

from dataclasses import asdict, dataclass

from app.built import as_built, recipe_of, said_by
from app.commands.options import ProgressForm
from app.conversations import Conversations
from app.database import Database
from app.display import count, note, show
from app.door import emit
from app.encoders import name_encoder
from app.progress import Teller, progress_as
from app.resolved import chunk_settings
from app.settings import Settings
from app.wiring import build_encoder, encoder_name, open_collection
from app.withheld import of_record
from indexer.chunk import ChunkSettings
from indexer.encoder import Encoder
from indexer.errors import ConfigError
from indexer.purge import purge
from indexer.reindex import reindex, rollback
from indexer.store.language import LANGUAGES


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a reindex was asked for; None keeps what the collection has, or takes what the settings say anew."""

    encoder: str | None = None  # a name, as name_encoder() knows it
    chunk_tokens: int | None = None
    chunk_overlap_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Reindexed:
    """What a collection answers from after a reindex."""

    generation: int
    chunks: int
    chunk_tokens: int
    encoder: str


def run_reindex(settings: Settings, name: str, wanted: Wanted, form: ProgressForm, as_json: bool) -> None:
    """Rebuild from the stored text with another encoder or chunking, and say what was made.

    Raises:
        ConfigError: as of reindex_as().
    """
    with progress_as(form) as tell:
        made = reindex_as(settings, name, wanted, tell)
    more = f"{count(made.chunks, 'chunk')} of at most {made.chunk_tokens} tokens"
    _print_generation(name, made.generation, f"{more}, encoder {made.encoder}; `footnote rollback` goes back", as_json)


def run_speak(settings: Settings, name: str, language: str, as_json: bool, *, alone: bool) -> None:
    """Let a collection's index of words be one of another language; says so if nothing else is done.

    Raises:
        ConfigError: no stems of that language are known; nothing is done then.
    """
    if language not in LANGUAGES:
        raise ConfigError(
            f'"{language[:80]}" is no language that bm25 knows', f"Choose one of: {', '.join(LANGUAGES)}."
        )
    collection = open_collection(settings, name)
    collection.speak(language, note, timeout_s=settings.indexer.lock_wait_s)
    if not alone:
        return None
    if as_json:
        return emit({"collection": name, "generation": collection.generation.number, "language": language})
    return show(f"Collection '{name}': words are indexed anew, language {language}")


def reindex_as(settings: Settings, name: str, wanted: Wanted, tell: Teller) -> Reindexed:
    """Rebuild a collection from the stored text with another encoder or chunking.

    Raises:
        ConfigError: there is no such encoder, or the chunks do not fit it; nothing is done then.
    """
    collection = open_collection(settings, name)
    own = _as_wanted(as_built(settings, collection), settings, wanted)
    chunk_settings(own)  # what is wrong there should not be said after loading a model
    encoder = build_encoder(own)
    chunking = _fitting(chunk_settings(own), encoder, encoder_name(own.encoder), wanted)
    number = reindex(
        collection,
        encoder,
        chunking,
        tell,
        recipe=recipe_of(own.encoder),
        under=said_by(settings),
        on_wait=tell.wait,
        timeout_s=settings.indexer.lock_wait_s,
    )
    return Reindexed(number, collection.count(), chunking.max_tokens, encoder_name(own.encoder))


def _as_wanted(own: Settings, settings: Settings, wanted: Wanted) -> Settings:
    encoder = name_encoder(settings.encoder, wanted.encoder) if wanted.encoder is not None else own.encoder
    chunking = {"chunk_tokens": wanted.chunk_tokens, "chunk_overlap_tokens": wanted.chunk_overlap_tokens}
    changes = {key: value for key, value in chunking.items() if value is not None}
    return own.model_copy(update={"encoder": encoder, "indexer": own.indexer.model_copy(update=changes)})


def _fitting(chunking: ChunkSettings, encoder: Encoder, name: str, wanted: Wanted) -> ChunkSettings:
    """Lower a size that nobody asked for now to what the encoder reads; refuse one that was asked for."""
    limit = encoder.max_tokens
    if chunking.max_tokens <= limit:
        return chunking
    if wanted.chunk_tokens is not None:
        raise ConfigError(
            f"Chunks of {wanted.chunk_tokens} tokens are too long for {name}, which reads {limit}",
            f"Give --chunk-tokens {limit} or less, or leave it out.",
        )
    note(f"{name} reads {limit} tokens: chunks have at most that many, not {chunking.max_tokens}.")
    return ChunkSettings(limit, chunking.overlap_tokens)


def run_purge(settings: Settings, name: str, generations: bool, as_json: bool) -> None:
    """Write the collection's files anew, without what was deleted."""
    collection = open_collection(settings, name)
    done = purge(collection, generations, on_wait=note, timeout_s=settings.indexer.lock_wait_s)
    there = {info.id for info in collection.documents()}
    turns = Conversations(Database(settings.home)).amend(name, lambda turn: of_record(turn, there.__contains__))
    if as_json:
        return emit({"collection": name, **asdict(done), "turns_cleaned": turns})
    if turns:
        show(f"took the words of what is gone out of {count(turns, 'answered question')} of the chat page")
    for number in done.generations_removed:
        show(f"removed generation {number}")
    for number in done.generations_kept:
        show(f"Generation {number} is kept and may hold what was deleted since; --generations removes it.", "yellow")
    sizes = f"{done.bytes_before / 2**20:,.1f} MiB before, {done.bytes_after / 2**20:,.1f} MiB now"
    return show(f"Collection '{name}': nothing deleted is left in generation {collection.generation.number}; {sizes}")


def run_rollback(settings: Settings, name: str, as_json: bool) -> None:
    """Return to the generation before the last reindex."""
    collection = open_collection(settings, name)
    under = said_by(settings)
    number = rollback(collection, under=under, on_wait=note, timeout_s=settings.indexer.lock_wait_s)
    encoder = encoder_name(as_built(settings, collection).encoder)
    _print_generation(name, number, f"{count(collection.count(), 'chunk')}, encoder {encoder}", as_json)


def _print_generation(name: str, number: int, more: str, as_json: bool) -> None:
    if as_json:
        return emit({"collection": name, "generation": number})
    return show(f"Collection '{name}' now answers from generation {number}: {more}")

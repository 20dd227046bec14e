"""What the page asks of the rooms below, always for one reader: whoever reads the page now, or, in a thread of its own,
the caller that is given. Streamlit shares what is cached here between all readers: it is immutable or safe to share
between threads, and what depends on the reader's groups is kept by them."""

import argparse
import logging
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import streamlit as st

from app.audit import Audit, local_user
from app.built import as_built, recipe_of
from app.caller import Caller, may_use, uploads_of
from app.conversations import Conversations, TurnRecord
from app.database import Database
from app.experiment import Arm, ArmName, arm_settings, assign, record_exposure
from app.feedback import Thumb, index_state, last_thumbs, served, store_thumb
from app.resolved import chunk_settings, parse_limits
from app.ui.jobs import Report
from app.ui.person import need, reader
from app.ui.person import settings as settings
from app.ui.uploads import Outcome
from app.wiring import build_encoder, build_pipeline, build_retriever, open_collection
from app.withheld import of_record
from eval.synthesis.synthesize import written_folders
from generator.pipeline import Event, Pipeline, Stage
from indexer.access import Access
from indexer.collection import Collection
from indexer.document import Document
from indexer.errors import ConfigError, DocumentError, FootnoteError, IndexError_
from indexer.filter import parse_filter
from indexer.ingest import ingest
from indexer.ledger import Progress
from indexer.loaders.pdf_page import PagePicture
from indexer.page_picture import PagePart
from indexer.parser import Parser
from indexer.reading import Reading
from indexer.store.records import DocumentInfo
from retriever.hit import Hit
from retriever.request import SearchRequest
from retriever.search import Retriever

logger = logging.getLogger(__name__)

DEFAULT = "default"
WARM_AFTER_S = 3.0
_drawing = threading.Lock()


@dataclass(frozen=True, slots=True)
class Summary:
    name: str
    documents: int | None  # None when the collection cannot be read


def names() -> list[str]:
    """The collections that the reader may use."""
    caller = reader()
    home = settings().home
    return [name for name in Collection.list(home) if may_use(caller, name, home, _collection)]


def first_collection() -> str:
    """The collection that was named on the command line, else the default one, else the first there is."""
    there = names()
    if (named := _arguments().collection) and (str(named) in there or reader().is_admin):
        return str(named)
    return DEFAULT if DEFAULT in there or not there else there[0]


def check(caller: Caller, name: str) -> None:
    """Refuse a collection that is out of reach, whether it exists or not.

    Raises:
        ConfigError: it is.
    """
    if not may_use(caller, name, settings().home, _collection):
        raise ConfigError("That collection is not open to you.", "Choose another, or ask whoever runs Footnote.")


def review_folder() -> Path | None:
    """The folder of questions that was named on the command line."""
    folder: Path | None = _arguments().review
    return folder


def question_folders() -> list[Path]:
    """Folders of written questions: the one that was named on the command line, then those of this home's runs."""
    named = [folder] if (folder := review_folder()) else []
    return list(dict.fromkeys([*named, *written_folders(settings().home)]))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("collection", nargs="?")
    parser.add_argument("--review", type=Path)
    return parser.parse_args(sys.argv[1:])


def collections() -> list[Summary]:
    return [Summary(name, _count(name)) for name in names()]


def _count(name: str) -> int | None:
    try:
        return len(documents(name))
    except FootnoteError:  # one damaged collection must not keep the others from being chosen
        return None


def documents(name: str) -> tuple[DocumentInfo, ...]:
    """The documents of a collection; none when it does not exist yet."""
    if not is_there(name):
        return ()
    found = reading(name)
    manifest = found.manifest
    return _documents(name, found.access, found.sequence(), manifest.created_at if manifest else "")


def is_there(name: str) -> bool:
    """Whether there is a collection that the reader may use."""
    check(reader(), name)
    return name in Collection.list(settings().home)


def reading(name: str) -> Reading:
    """A collection as the reader may read it.

    Raises:
        ConfigError: it is out of reach.
        IndexError_: there is none of that name, or it is damaged.
    """
    caller = reader()
    check(caller, name)
    return Reading(_collection(name), caller.access)


def create(name: str) -> None:
    """Make an empty collection, if there is none of that name; for admins, who grant it to others."""
    need("admin")
    open_collection(settings(), name, create=True).close()


def document(name: str, document_id: str) -> Document | None:
    """A document with its text, or None when it is no longer there."""
    try:
        return reading(name).document(document_id)
    except IndexError_:
        return None


@st.cache_resource(show_spinner=False, max_entries=64, ttl=600)
def pictures(_document: Document, sha256: str, parts: tuple[PagePart, ...]) -> tuple[PagePicture, ...] | DocumentError:
    """The pages of a PDF with a quote's words boxed, or why there are none."""
    try:
        with _drawing:  # the parser is for one thread at a time
            return _parser().draw(_document, parts)
    except DocumentError as error:
        logger.info("no picture of a page: %s", error.message)
        return error


@cache
def _parser() -> Parser:
    return Parser(parse_limits(settings()))


def remove(name: str, document_id: str) -> None:
    """Delete a document that the reader may read, if it is there."""
    caller, found = need("ingest"), reading(name)
    if found.sources(document_id):
        with (
            Audit(database()).recorded(caller.id or local_user(), "delete", name, document_id),
            found.collection.writer(command="delete from the chat page") as writer,
        ):
            writer.delete(document_id)


def uploads_dir(caller: Caller, name: str) -> Path:
    """Where a caller's uploads to a collection are kept; they are its documents' sources."""
    there = name in Collection.list(settings().home)
    return uploads_of(caller, settings().uploads_dir / name, _collection(name) if there else None)


def arm_of(conversation_id: str) -> Arm | None:
    """The arm that a conversation has in the experiment that runs, if one does."""
    return assign(settings().experiment, f"conversation {conversation_id}")


def ask(
    caller: Caller,
    name: str,
    question: str,
    history: Sequence[tuple[str, str]],
    query: str | None,
    earlier: Sequence[Hit],
    filters: Sequence[str] = (),
    arm: Arm | None = None,
) -> Iterator[Event]:
    """The events of an answer; the first is that the models are loaded. Arguments as of the pipeline."""
    check(caller, name)
    yield Stage("load")
    asked, arm_name = parse_filter(filters), arm.name if arm else "a"
    yield from _pipeline(name, arm_name).ask(question, history, query, earlier, asked, caller.access)


def keep(caller: Caller, name: str, record: TurnRecord) -> TurnRecord:
    """Store what came of a question, with what was searched; returns it as it was stored."""
    if answer := record.answer:
        record = replace(record, index=index_state(_collection(name)))
        record_exposure(database(), record.arm, record.id, answer)
    Conversations(database(), caller.id).save(record)
    return record


@cache
def database() -> Database:
    return Database(settings().home)


def conversations() -> Conversations:
    """The conversations of the reader."""
    return Conversations(database(), reader().id)


def there(name: str) -> frozenset[str]:
    """Ids of the documents whose words the reader may see now; none where the collection cannot be read."""
    try:
        return frozenset(info.id for info in documents(name))
    except FootnoteError:
        return frozenset()


def turns(name: str, conversation_id: str) -> tuple[TurnRecord, ...]:
    """What was asked in a conversation of the reader about a collection, without words of documents that are gone."""
    kept = conversations().turns(conversation_id)
    ids = there(name)
    return tuple(of_record(record, ids.__contains__) for record in kept)


def judge(name: str, record: TurnRecord, thumb: Thumb) -> None:
    """Store what the reader thinks of an answer."""
    assert record.answer and record.index, "only an answer is judged"
    told = served(record.question, record.answer, record.index, record.arm, record.filters)
    store_thumb(database(), record.id, thumb, name, told, reader().id)


def thumbs(turn_ids: Sequence[str]) -> dict[str, Thumb]:
    """What the reader thinks of answers, where anything."""
    return last_thumbs(database(), turn_ids)


def index(caller: Caller, name: str, paths: Sequence[Path], report: Report) -> list[Outcome]:
    """Index a caller's files into a collection, which is made if need be."""
    report(0, len(paths), "Loading the encoder")
    collection = open_collection(settings(), name, create=True)
    own = as_built(settings(), collection)
    encoder = build_encoder(own)

    def tell(now: Progress) -> None:
        report(now.files_done, now.files_total, f"Indexing {Path(now.current).name}")

    with Audit(database()).recorded(caller.id or local_user(), "ingest", name, " ".join(map(str, paths))):
        report_of = ingest(
            paths,
            collection,
            encoder,
            chunk_settings(own),
            tell,
            on_wait=lambda message: report(0, len(paths), message.rstrip(".…")),
            timeout_s=settings().indexer.lock_wait_s,
            limits=parse_limits(own),
            recipe=recipe_of(own.encoder),
        )
    return [
        Outcome(Path(file.path).name, file.state, " ".join(filter(None, (file.reason, file.remedy))))
        for file in report_of.files
    ]


def sequence(name: str) -> int:
    """A number that rises with every change of a collection."""
    return reading(name).sequence()


def search(
    name: str, query: str, conditions: Sequence[str]
) -> tuple[tuple[Hit, ...], tuple[Hit, ...], dict[str, float], tuple[str, ...]]:
    """All that both retrievers find, with the verdict of every stage; the reranker's order, if there is one; times; and
    why there is none."""
    access = reading(name).access
    retriever, asked = _retriever(name), parse_filter(conditions)
    candidates = settings().retriever.candidates
    found = retriever.find(SearchRequest(query, 2 * candidates, asked=asked, access=access))
    if not _has_reranker():
        return found.hits, (), dict(found.timings_ms), ()
    reranked = retriever.find(SearchRequest(query, candidates, rerank=True, asked=asked, access=access))
    timings_ms = {**found.timings_ms, **reranked.timings_ms}
    return found.hits, () if reranked.notes else reranked.hits, timings_ms, reranked.notes


def _has_reranker() -> bool:
    return settings().retriever.reranker is not None


@cache
def warm(name: str) -> None:
    """Load the models of a collection soon, so that the first question need not wait for all of it; not at once, as
    importing torch would keep the page from being drawn."""
    if _collection_is_filled(name):
        timer = threading.Timer(WARM_AFTER_S, _load, (name,))
        timer.daemon = True
        timer.start()


def _collection_is_filled(name: str) -> bool:
    return name in Collection.list(settings().home) and _collection(name).count() > 0


def _load(name: str) -> None:
    try:
        _pipeline(name, "a")
        if settings().experiment.name:
            _pipeline(name, "b")
    except FootnoteError as error:  # the first question says so to the reader
        logger.warning("the models are not ready: %s", error.message)


@st.cache_resource(show_spinner=False)
def _collection(name: str) -> Collection:
    return open_collection(settings(), name)


@st.cache_resource(show_spinner=False, max_entries=32)
def _documents(name: str, access: Access, sequence: int, created_at: str) -> tuple[DocumentInfo, ...]:
    """The list as of one sequence number, for one access; the date only tells one state from another."""
    return tuple(_collection(name).documents(access))


@st.cache_resource(show_spinner=False)
def _retriever(name: str) -> Retriever:
    return build_retriever(settings(), _collection(name), with_reranker=_has_reranker())


@st.cache_resource(show_spinner=False)
def _pipeline(name: str, arm: ArmName) -> Pipeline:
    return build_pipeline(arm_settings(settings(), arm), _collection(name))

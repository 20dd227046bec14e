"""What the page asks of the rooms below. Streamlit shares what is cached here between all readers: it is immutable or
safe to share between threads, and nothing of a reader's own is in it."""

import argparse
import logging
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import streamlit as st

from app.built import as_built, recipe_of
from app.conversations import Conversations, TurnRecord
from app.database import Database
from app.experiment import Arm, ArmName, arm_settings, assign, record_exposure
from app.feedback import Thumb, index_state, last_thumbs, served, store_thumb
from app.resolved import chunk_settings, parse_limits
from app.settings import Settings, load_settings
from app.ui.jobs import Report
from app.ui.uploads import Outcome
from app.wiring import build_encoder, build_pipeline, build_retriever, open_collection
from eval.synthesis.synthesize import written_folders
from generator.pipeline import Event, Pipeline, Stage
from indexer.collection import Collection
from indexer.document import Document
from indexer.errors import DocumentError, FootnoteError, IndexError_
from indexer.filter import parse_filter
from indexer.ingest import ingest
from indexer.ledger import Progress
from indexer.loaders.pdf_page import PagePicture
from indexer.page_picture import PagePart
from indexer.parser import Parser
from indexer.store.records import DocumentInfo
from retriever.hit import Hit
from retriever.search import Retriever

logger = logging.getLogger(__name__)

DEFAULT = "default"
WARM_AFTER_S = 3.0
_drawing = threading.Lock()


@dataclass(frozen=True, slots=True)
class Summary:
    name: str
    documents: int | None  # None when the collection cannot be read


@cache
def settings() -> Settings:
    return load_settings()


def first_collection() -> str:
    """The collection that was named on the command line, else the default one, else the first there is."""
    names = Collection.list(settings().home)
    if named := _arguments().collection:
        return str(named)
    return DEFAULT if DEFAULT in names or not names else names[0]


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
    return [Summary(name, _count(name)) for name in Collection.list(settings().home)]


def _count(name: str) -> int | None:
    try:
        return len(documents(name))
    except FootnoteError:  # one damaged collection must not keep the others from being chosen
        return None


def documents(name: str) -> tuple[DocumentInfo, ...]:
    """The documents of a collection; none when it does not exist yet."""
    if name not in Collection.list(settings().home):
        return ()
    collection = _collection(name)
    manifest = collection.manifest
    return _documents(name, collection.sequence(), manifest.created_at if manifest else "")


def collection(name: str) -> Collection:
    """A collection, shared by all readers.

    Raises:
        IndexError_: there is none of that name, or it is damaged.
    """
    return _collection(name)


def create(name: str) -> None:
    """Make an empty collection, if there is none of that name."""
    open_collection(settings(), name, create=True).close()


def document(name: str, document_id: str) -> Document | None:
    """A document with its text, or None when it is no longer there."""
    try:
        return _collection(name).document(document_id)
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
    with _collection(name).writer(command="delete from the chat page") as writer:
        writer.delete(document_id)


def uploads_dir(name: str) -> Path:
    """Where uploaded files of a collection are kept; they are its documents' sources."""
    return settings().uploads_dir / name


def arm_of(conversation_id: str) -> Arm | None:
    """The arm that a conversation has in the experiment that runs, if one does."""
    return assign(settings().experiment, f"conversation {conversation_id}")


def ask(
    name: str,
    question: str,
    history: Sequence[tuple[str, str]],
    query: str | None,
    earlier: Sequence[Hit],
    filters: Sequence[str] = (),
    arm: Arm | None = None,
) -> Iterator[Event]:
    """The events of an answer; the first is that the models are loaded. Arguments as of the pipeline."""
    yield Stage("load")
    asked = parse_filter(filters)
    yield from _pipeline(name, arm.name if arm else "a").ask(question, history, query, earlier, asked)


def keep(name: str, record: TurnRecord) -> TurnRecord:
    """Store what came of a question, with what was searched; returns it as it was stored."""
    if answer := record.answer:
        record = replace(record, index=index_state(_collection(name)))
        record_exposure(database(), record.arm, record.id, answer)
    conversations().save(record)
    return record


@cache
def database() -> Database:
    return Database(settings().home)


def conversations() -> Conversations:
    """All conversations of this home."""
    return Conversations(database())


def judge(name: str, record: TurnRecord, thumb: Thumb) -> None:
    """Store what the reader thinks of an answer."""
    assert record.answer and record.index, "only an answer is judged"
    store_thumb(database(), record.id, thumb, name, served(record.question, record.answer, record.index, record.arm))


def thumbs(turn_ids: Sequence[str]) -> dict[str, Thumb]:
    """What the reader thinks of answers, where anything."""
    return last_thumbs(database(), turn_ids)


def index(name: str, paths: Sequence[Path], report: Report) -> list[Outcome]:
    """Index files into a collection, which is made if need be."""
    report(0, len(paths), "Loading the encoder")
    collection = open_collection(settings(), name, create=True)
    own = as_built(settings(), collection)
    encoder = build_encoder(own)

    def tell(now: Progress) -> None:
        report(now.files_done, now.files_total, f"Indexing {Path(now.current).name}")

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
    return _collection(name).sequence()


def search(
    name: str, query: str, conditions: Sequence[str]
) -> tuple[tuple[Hit, ...], tuple[Hit, ...], dict[str, float]]:
    """All that both retrievers find, with the verdict of every stage; the reranker's order, if there is one; times."""
    retriever, asked = _retriever(name), parse_filter(conditions)
    candidates, timings_ms = settings().retriever.candidates, dict[str, float]()
    hits = retriever.search(query, 2 * candidates, "hybrid", False, timings_ms, asked)
    reranked = retriever.search(query, candidates, "hybrid", True, timings_ms, asked) if _has_reranker() else ()
    return hits, reranked, timings_ms


def _has_reranker() -> bool:
    return settings().retriever.reranker is not None


@cache
def warm(name: str) -> None:
    """Load the models of a collection soon, so that the first question need not wait for all of it; not at once, as
    importing torch would keep the page from being drawn."""
    if documents(name):
        timer = threading.Timer(WARM_AFTER_S, _load, (name,))
        timer.daemon = True
        timer.start()


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
def _documents(name: str, sequence: int, created_at: str) -> tuple[DocumentInfo, ...]:
    """The list as of one sequence number; the other arguments only tell one state of a collection from another."""
    return tuple(_collection(name).documents())


@st.cache_resource(show_spinner=False)
def _retriever(name: str) -> Retriever:
    return build_retriever(settings(), _collection(name), with_reranker=_has_reranker())


@st.cache_resource(show_spinner=False)
def _pipeline(name: str, arm: ArmName) -> Pipeline:
    return build_pipeline(arm_settings(settings(), arm), _collection(name))

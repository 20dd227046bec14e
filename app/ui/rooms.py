"""What the pages ask of collections and documents, always for one reader.

That is whoever reads the page now, or, in a thread of its own, the caller that is given.
"""

import argparse
import logging
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from app.audit import Audit, local_user
from app.built import as_built, recipe_of
from app.caller import Caller, may_use, uploads_of
from app.resolved import chunk_settings, parse_limits
from app.ui import opened
from app.ui.jobs import Report
from app.ui.person import need, reader
from app.ui.person import settings as settings
from app.ui.uploads import Outcome, discard
from app.wiring import build_encoder, open_collection
from eval.synthesis.synthesize import written_folders
from indexer.collection import Collection
from indexer.document import Document
from indexer.errors import ConfigError, DocumentError, FootnoteError, IndexError_
from indexer.ingest import ingest
from indexer.ledger import Progress
from indexer.loaders.pdf_page import PagePicture
from indexer.page_picture import PagePart
from indexer.reading import Reading
from indexer.store.language import Language
from indexer.store.records import DocumentInfo

logger = logging.getLogger(__name__)

DEFAULT = "default"
_drawing = threading.Lock()


@dataclass(frozen=True, slots=True)
class Summary:
    name: str
    documents: int | None  # None when the collection cannot be read


def names() -> list[str]:
    """The collections that the reader may use."""
    caller = reader()
    home = settings().home
    return [name for name in Collection.list(home) if may_use(caller, name, home, opened.collection)]


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
    if not may_use(caller, name, settings().home, opened.collection):
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
    return opened.documents(name, found.access, found.sequence(), manifest.created_at if manifest else "")


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
    return Reading(opened.collection(name), caller.access)


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
            return opened.parser().draw(_document, parts)
    except DocumentError as error:
        logger.info("no picture of a page: %s", error.message)
        return error


def remove(name: str, document_id: str) -> None:
    """Delete a document that the reader may read, if it is there, and what was uploaded of it."""
    caller, found = need("ingest"), reading(name)
    if sources := found.sources(document_id):
        with (
            Audit(opened.database()).recorded(caller.id or local_user(), "delete", name, document_id),
            found.collection.writer(command="delete from the chat page", merge_later=True) as writer,
        ):
            writer.delete(document_id)
        discard(settings().uploads_dir / name, found.collection, sources)


def uploads_dir(caller: Caller, name: str) -> Path:
    """Where a caller's uploads to a collection are kept; they are its documents' sources."""
    there = name in Collection.list(settings().home)
    return uploads_of(caller, settings().uploads_dir / name, opened.collection(name) if there else None)


def index(caller: Caller, name: str, paths: Sequence[Path], report: Report) -> list[Outcome]:
    """Index a caller's files into a collection, which is made if need be."""
    report(0, len(paths), "Loading the encoder")
    collection = open_collection(settings(), name, create=True)
    own = as_built(settings(), collection)
    encoder = build_encoder(own)

    def tell(now: Progress) -> None:
        report(now.files_done, now.files_total, f"Indexing {Path(now.current).name}")

    with Audit(opened.database()).recorded(caller.id or local_user(), "ingest", name, " ".join(map(str, paths))):
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


def language(name: str) -> Language:
    """Whose words the index of a collection counts."""
    return reading(name).collection.generation.truth.language()


def sequence(name: str) -> int:
    """A number that rises with every change of a collection."""
    return reading(name).sequence()

"""load(): a file to cleaned Documents, or a DocumentError that says what is wrong with it.

A file is a document, and may hold further files: the members of an archive, the attachments of a mail. `open_file`
gives the file, `load_file` reads one and lists what it holds, `load` reads a file that is one document.
"""

import hashlib
import logging
import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath

from indexer.clean import clean_pages, clean_text
from indexer.content import may_be_read, recognise
from indexer.document import INSIDE, Document
from indexer.errors import DocumentError
from indexer.formats import IMAGE, PDF, Format
from indexer.loaders import ocr
from indexer.loaders.dates import iso_day
from indexer.loaders.extract import Extract, Member

logger = logging.getLogger(__name__)

MAX_DEPTH = 3  # archives within archives
_MAX_TITLE = 200
_HEAD_BYTES = 8192


@dataclass(frozen=True, slots=True)
class Limits:
    """What reading one file may take."""

    max_bytes: int = 64 * 2**20
    max_chars: int = 50_000_000  # of the text of one document
    timeout_s: float = 60.0
    memory_mb: int = 2048  # of address space, of the process that reads it
    ocr_languages: str = "eng"  # of scanned pages, as tesseract names them ("eng+deu"); empty: they are not read


@dataclass(frozen=True, slots=True)
class File:
    """A file to read, on the disk or inside another."""

    source: str
    read: Callable[[], bytes]
    depth: int = 0  # how many files it lies within
    left_out: str = ""  # why it is not to be read


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a file turned out to be: a document, files, or (a mail) both."""

    document: Document | None
    files: tuple[File, ...] = ()
    bytes: int = 0


class LeftOutError(DocumentError):
    """A file inside another is of a kind that is left out, as it would be in a folder."""


class UnboundedError(DocumentError):
    """A file holds more files than will ever be read; none of them is."""


def load(path: Path, limits: Limits | None = None) -> Document:
    """Read and clean one file that is a document.

    Raises:
        DocumentError: it cannot be read, is empty, too large, of a kind that is not read, encrypted, cut off, holds no
            text, or is an archive. Nothing else is raised, whatever the file holds.
    """
    limits = limits or Limits()
    document = load_file(open_file(path, limits), limits).document
    if document is None:
        raise DocumentError(f"{source_of(path)}: this is an archive of several documents", "Ingest it, or unpack it.")
    return document


def load_all(path: Path, limits: Limits | None = None) -> Iterator[tuple[File, Loaded | DocumentError]]:
    """Read a file and everything inside it, depth first."""
    limits = limits or Limits()
    waiting = [open_file(path, limits)]
    while waiting:
        file = waiting.pop()
        try:
            loaded = load_file(file, limits)
        except DocumentError as error:
            yield file, error
            if isinstance(error, UnboundedError):
                return
        else:
            yield file, loaded
            waiting += reversed(loaded.files)


def open_file(path: Path, limits: Limits) -> File:
    """Name a file on the disk; it is opened when it is read."""
    source = source_of(path)
    return File(source, partial(_read_bytes, path, source, limits.max_bytes))


def load_file(file: File, limits: Limits) -> Loaded:
    """Read one file; what it holds is listed, and not yet read.

    Raises:
        DocumentError: see `load`.
    """
    if file.left_out:
        raise LeftOutError(f"{file.source}: {file.left_out}", "Unpack it to read it.")
    data = _bytes_of(file, limits)
    form = _recognise(data, file)
    extract = _extract(form, data, file.source)
    if form.holds_files and file.depth >= MAX_DEPTH and extract.members:
        raise UnboundedError(
            f"{file.source}: files lie more than {MAX_DEPTH} deep within it", "Unpack it once or twice."
        )
    if extract.paged and form in (PDF, IMAGE):
        extract = _with_scans(extract, form, data, file, limits)
    files = tuple(_inside(file, member) for member in extract.members)
    if form.holds_files and not extract.parts:
        if not files:
            raise DocumentError(f"{file.source}: the archive is empty", "Fill it, or leave it out.")
        return Loaded(None, files, len(data))
    return Loaded(_document(file.source, data, form, extract, limits), files, len(data))


def files_inside(file: File, limits: Limits) -> tuple[File, ...]:
    """List what a file holds, without reading anything that holds no files."""
    try:
        data = _bytes_of(file, limits)
        form = _recognise(data, file)
        members = _extract(form, data, file.source).members if form.holds_files else ()
    except DocumentError:
        return ()
    return tuple(_inside(file, member) for member in members)


def source_of(path: Path) -> str:
    """The absolute path as text that can be stored: bytes of a name that are not UTF-8 are written as \\xNN."""
    try:
        resolved = str(path.resolve())
    except (OSError, RuntimeError, ValueError):  # a loop of links, or a name no file can have
        resolved = str(path.absolute())
    return resolved.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def title_from_name(stem: str) -> str:
    """A file name made readable: "annual_report-2024" -> "Annual report 2024"."""
    words = " ".join(clean_text(re.sub(r"[_\-.]+", " ", stem)).split()) or stem
    return (words[:1].upper() + words[1:] if words.islower() else words)[:_MAX_TITLE]


def _inside(file: File, member: Member) -> File:
    name = member.name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    name = "".join(char if char.isprintable() else "\ufffd" for char in name)
    return File(f"{file.source}{INSIDE}{name}", member.read, file.depth + 1, member.left_out)


def _bytes_of(file: File, limits: Limits) -> bytes:
    try:
        data = file.read()
    except DocumentError as error:
        raise _named(file, error) from error
    if len(data) > limits.max_bytes:
        raise _too_large(file.source, len(data), limits.max_bytes)
    if not data:
        raise DocumentError(f"{file.source}: the file is empty (0 bytes)", "Fill it, copy it again, or leave it out.")
    return data


def _recognise(data: bytes, file: File) -> Format:
    suffix = PurePosixPath(file.source).suffix.lower()
    if file.depth and not may_be_read(data[:_HEAD_BYTES], suffix):
        raise LeftOutError(f"{file.source}: files of this kind are not read", "Convert it to a kind that is.")
    try:
        return recognise(data, suffix)
    except DocumentError as error:
        raise _named(file, error) from error


def _named(file: File, error: DocumentError) -> DocumentError:
    return type(error)(f"{file.source}: {error.message}", error.remedy)


def _with_scans(extract: Extract, form: Format, data: bytes, file: File, limits: Limits) -> Extract:
    """Read the pages without text in the way that people do, where there is a program for it."""
    blank = [number for number, part in enumerate(extract.parts) if not any(map(str.isalnum, part))]
    if not blank or not limits.ocr_languages or not ocr.is_installed():
        return extract
    try:
        if form is IMAGE:
            parts = tuple(page.text for page in ocr.recognise_image(data, limits.ocr_languages, limits.timeout_s))
        else:
            texts = ocr.recognise_pages(data, blank, limits.ocr_languages, limits.timeout_s)
            parts = tuple(texts.get(number, part) for number, part in enumerate(extract.parts))
    except DocumentError as error:
        raise _named(file, error) from error
    return replace(extract, parts=parts, metadata=(*extract.metadata, ("recognised_pages", str(len(blank)))))


def _document(source: str, data: bytes, form: Format, extract: Extract, limits: Limits) -> Document:
    if sum(map(len, extract.parts)) > limits.max_chars:
        raise DocumentError(
            f"{source}: its text has more than {limits.max_chars:,} characters",
            "Split the file, or raise the setting indexer.parse_max_chars.",
        )
    text, pages = clean_pages(extract.parts)
    if not any(char.isalnum() for char in text):
        raise _no_text(extract, form, source)
    title = " ".join(clean_text(extract.title).split())[:_MAX_TITLE] or title_from_name(PurePosixPath(source).stem)
    return Document(
        id=hashlib.sha256(source.encode()).hexdigest()[:12],
        source=source,
        title=title,
        media_type=form.media_type,
        sha256=hashlib.sha256(data).hexdigest(),
        text=text,
        pages=pages if extract.paged else (),
        metadata=tuple(_said(name, value) for name, value in extract.metadata),
    )


def _said(name: str, value: str) -> tuple[str, str]:
    value = " ".join(clean_text(value).split())
    return name, iso_day(value) if name.lower() == "date" else value


def _read_bytes(path: Path, source: str, max_bytes: int) -> bytes:
    try:
        status = path.stat()
        mode, size = status.st_mode, status.st_size
        if stat.S_ISDIR(mode):
            raise DocumentError(f"{source}: this is a folder, not a file", "Name a file, or ingest the folder.")
        if not stat.S_ISREG(mode):
            raise DocumentError(f"{source}: this is not a regular file", "Name a file that holds a document.")
        if size > max_bytes:
            raise _too_large(source, size, max_bytes)
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except FileNotFoundError as error:
        if path.is_symlink():
            raise DocumentError(
                f"{source}: this link points to {os.readlink(path)!r}, which does not exist",  # noqa: PTH115
                "Repair or remove the link.",
            ) from error
        raise DocumentError(f"{source}: there is no such file", "Check the path.") from error
    except PermissionError as error:
        raise DocumentError(
            f"{source}: permission to read it is denied", "Give yourself read permission, or leave the file out."
        ) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise DocumentError(f"{source}: it cannot be read: {reason}", "Check the path and the disk.") from error
    return data


def _too_large(source: str, size: int, max_bytes: int) -> DocumentError:
    return DocumentError(
        f"{source}: it has {size / 2**20:,.1f} MiB, and the limit is {max_bytes / 2**20:,.1f} MiB",
        "Split the file, or raise the setting indexer.max_file_mb.",
    )


def _extract(form: Format, data: bytes, source: str) -> Extract:
    try:
        return form.reader()(data)
    except DocumentError as error:
        raise type(error)(f"{source}: {error.message}", error.remedy) from error
    except MemoryError:
        raise
    except ImportError as error:
        raise DocumentError(
            f"{source}: reading {form.name} needs the package {error.name}",
            "Install it: pip install -r requirements.txt",
        ) from error
    except Exception as error:
        logger.debug("loader failed on %s", source, exc_info=True)
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DocumentError(
            f"{source}: this {form.name} file is damaged and cannot be read: {reason}",
            "Open it in the program that made it and save it again, or copy it again.",
        ) from error


def _no_text(extract: Extract, form: Format, source: str) -> DocumentError:
    if form not in (PDF, IMAGE):
        return DocumentError(f"{source}: this {form.name} file holds no text", "Fill it, or leave it out.")
    if form is IMAGE:
        what = "this is a picture"
    else:
        what = f"none of its {len(extract.parts)} pages holds text; they are probably scanned images"
    if ocr.is_installed():
        return DocumentError(
            f"{source}: {what}, and text recognition finds no words in it",
            "Scan it again, sharper, or name its languages in the setting indexer.ocr_languages.",
        )
    return DocumentError(f"{source}: {what}", f"{ocr.INSTALL}, or run over it first: ocrmypdf in.pdf out.pdf")

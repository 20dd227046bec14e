"""load(): a file to a cleaned Document, or a DocumentError that says what is wrong with it."""

import hashlib
import logging
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from indexer.clean import clean_pages, clean_text
from indexer.content import check_content
from indexer.document import Document
from indexer.errors import DocumentError
from indexer.loaders.extract import Extract

logger = logging.getLogger(__name__)

MAX_BYTES = 64 * 2**20
_MAX_TITLE = 200


@dataclass(frozen=True, slots=True)
class _Format:
    name: str
    media_type: str
    reader: Callable[[], Callable[[bytes], Extract]]  # imports the loader when it is needed


def _text() -> Callable[[bytes], Extract]:
    from indexer.loaders.text import read_text

    return read_text


def _markdown() -> Callable[[bytes], Extract]:
    from indexer.loaders.text import read_markdown

    return read_markdown


def _html() -> Callable[[bytes], Extract]:
    from indexer.loaders.html import read_html

    return read_html


def _pdf() -> Callable[[bytes], Extract]:
    from indexer.loaders.pdf import read_pdf

    return read_pdf


def _docx() -> Callable[[bytes], Extract]:
    from indexer.loaders.docx import read_docx

    return read_docx


def _delimited() -> Callable[[bytes], Extract]:
    from indexer.loaders.delimited import read_delimited

    return read_delimited


_MARKDOWN = _Format("Markdown", "text/markdown", _markdown)
_HTML = _Format("HTML", "text/html", _html)
_DOCX_TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
_FORMATS = {
    ".md": _MARKDOWN,
    ".markdown": _MARKDOWN,
    ".html": _HTML,
    ".htm": _HTML,
    ".txt": _Format("text", "text/plain", _text),
    ".pdf": _Format("PDF", "application/pdf", _pdf),
    ".docx": _Format("DOCX", _DOCX_TYPE, _docx),
    ".csv": _Format("CSV", "text/csv", _delimited),
    ".tsv": _Format("TSV", "text/tab-separated-values", _delimited),
}
SUFFIXES = tuple(_FORMATS)


def load(path: Path, max_bytes: int = MAX_BYTES) -> Document:
    """Read and clean one file.

    Raises:
        DocumentError: it cannot be read, is empty, too large, of an unsupported ending, not what its ending says,
            encrypted, cut off, or holds no text. Nothing else is raised, whatever the file holds.
    """
    source = source_of(path)
    suffix = path.suffix.lower()
    data = _read_bytes(path, source, max_bytes)
    check_content(data, suffix, source)
    form = _FORMATS[suffix]
    extract = _extract(form, data, source)
    text, pages = clean_pages(extract.parts)
    if not any(char.isalnum() for char in text):
        raise _no_text(extract, form, source)
    title = " ".join(clean_text(extract.title).split())[:_MAX_TITLE] or title_from_name(Path(source).stem)
    return Document(
        id=hashlib.sha256(source.encode()).hexdigest()[:12],
        source=source,
        title=title,
        media_type=form.media_type,
        sha256=hashlib.sha256(data).hexdigest(),
        text=text,
        pages=pages if extract.paged else (),
        metadata=tuple((name, " ".join(clean_text(value).split())) for name, value in extract.metadata),
    )


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


def _read_bytes(path: Path, source: str, max_bytes: int) -> bytes:
    try:
        status = path.stat()
        mode, size = status.st_mode, status.st_size
        if stat.S_ISDIR(mode):
            raise DocumentError(f"{source}: this is a folder, not a file", "Name a file, or ingest the folder.")
        if not stat.S_ISREG(mode):
            raise DocumentError(f"{source}: this is not a regular file", "Name a file that holds a document.")
        if path.suffix.lower() not in _FORMATS:
            raise _unsupported(path, source)
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
    if len(data) > max_bytes:
        raise _too_large(source, len(data), max_bytes)
    if not data:
        raise DocumentError(f"{source}: the file is empty (0 bytes)", "Fill it, copy it again, or leave it out.")
    return data


def _unsupported(path: Path, source: str) -> DocumentError:
    ending = f"files ending in {path.suffix}" if path.suffix else "files without an ending"
    return DocumentError(f"{source}: {ending} are not supported", f"Convert it to one of {', '.join(SUFFIXES)}.")


def _too_large(source: str, size: int, max_bytes: int) -> DocumentError:
    return DocumentError(
        f"{source}: it has {size / 2**20:,.1f} MiB, and the limit is {max_bytes / 2**20:,.1f} MiB",
        "Split the file, or raise the setting indexer.max_file_mb.",
    )


def _extract(form: _Format, data: bytes, source: str) -> Extract:
    try:
        return form.reader()(data)
    except DocumentError as error:
        raise DocumentError(f"{source}: {error.message}", error.remedy) from error
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


def _no_text(extract: Extract, form: _Format, source: str) -> DocumentError:
    if extract.paged:
        return DocumentError(
            f"{source}: none of its {len(extract.parts)} pages holds text; they are probably scanned images",
            "Run text recognition over it first, for example: ocrmypdf in.pdf out.pdf",
        )
    return DocumentError(f"{source}: this {form.name} file holds no text", "Fill it, or leave it out.")

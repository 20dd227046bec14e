"""Whether a file's content is what its ending says."""

import io
import zipfile

from indexer.errors import DocumentError
from indexer.loaders.decode import starts_with_mark, unmarked_wide_encoding

_MAGIC = (
    (b"%PDF-", "a PDF", ".pdf"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old or password-protected Office file", ""),
    (b"{\\rtf", "RTF", ""),
    (b"\x89PNG\r\n\x1a\n", "a PNG image", ""),
    (b"\xff\xd8\xff", "a JPEG image", ""),
    (b"GIF8", "a GIF image", ""),
    (b"II*\0", "a TIFF image", ""),
    (b"MM\0*", "a TIFF image", ""),
    (b"\x1f\x8b", "a gzip archive", ""),
    (b"BZh", "a bzip2 archive", ""),
    (b"\xfd7zXZ\0", "an xz archive", ""),
    (b"7z\xbc\xaf'\x1c", "a 7z archive", ""),
    (b"Rar!\x1a\x07", "a RAR archive", ""),
    (b"\x7fELF", "a program", ""),
    (b"SQLite format 3\0", "an SQLite database", ""),
)
_ZIP_MEMBERS = (
    ("word/document.xml", "a Word document", ".docx"),
    ("xl/workbook.xml", "an Excel workbook", ""),
    ("ppt/presentation.xml", "a PowerPoint presentation", ""),
    ("META-INF/container.xml", "an EPUB book", ""),
    ("content.xml", "an OpenDocument file", ""),
)
_PDF_HEADER_WITHIN = 1024  # readers accept a PDF header this far into the file
_CONTROLS = bytes(code for code in range(0x20) if code not in (0x08, 0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x1B))
_CONTROLS_A_BYTE = 1 / 100  # a text may hold a stray control character, a binary file holds many
_NAMES = {".pdf": "a PDF", ".docx": "a Word document (DOCX)", ".html": "HTML", ".htm": "HTML"}


def check_content(data: bytes, suffix: str, source: str) -> None:
    """Refuse a file whose content contradicts its ending.

    Raises:
        DocumentError: what the content looks like, and what to do.
    """
    looks, fitting = _recognise(data)
    if looks and suffix == fitting:
        return
    if not looks and suffix not in (".pdf", ".docx"):
        if _is_text(data):
            return
        looks = "binary data"
    looks = looks or ("text" if _is_text(data) else "unknown binary data")
    remedy = f"Rename it to end in {fitting}." if fitting else "Export it as PDF, DOCX, HTML, Markdown, text or CSV."
    if looks in ("binary data", "unknown binary data"):
        remedy = "Copy the file again, or leave it out."
    elif looks == "text":
        remedy = "Rename it to end in .txt, or .html or .md when it is that."
    elif looks.startswith("a broken"):
        remedy = "Copy or download the file again."
    raise DocumentError(f"{source}: it ends in {suffix}, but its content is {looks}", remedy)


def _recognise(data: bytes) -> tuple[str, str]:
    """What known format the bytes are and the ending for it, where that is one we read."""
    if data.startswith(b"PK\x03\x04"):
        return _recognise_zip(data)
    for magic, name, suffix in _MAGIC:
        if data.startswith(magic):
            return name, suffix
    if not starts_with_mark(data) and b"%PDF-" in data[:_PDF_HEADER_WITHIN] and not _is_text(data):
        return "a PDF", ".pdf"
    return "", ""


def _recognise_zip(data: bytes) -> tuple[str, str]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError, EOFError):
        return "a broken ZIP archive, cut off or damaged", ""
    for member, name, suffix in _ZIP_MEMBERS:
        if member in names:
            return name, suffix
    return "a ZIP archive", ""


def _is_text(data: bytes) -> bool:
    if starts_with_mark(data) or unmarked_wide_encoding(data):
        return True
    controls = len(data) - len(data.translate(None, _CONTROLS))
    return controls <= len(data) * _CONTROLS_A_BYTE

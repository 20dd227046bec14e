"""Which format a file is, by its content; its ending only decides between kinds of text."""

import io
import re
import zipfile

from indexer.errors import DocumentError
from indexer.formats import (
    BY_SUFFIX,
    CAPTIONS,
    DOCX,
    EPUB,
    HTML,
    IMAGE,
    MAIL,
    NAMES,
    ODP,
    ODS,
    ODT,
    PDF,
    PPTX,
    SHEETS,
    TEXT,
    XML,
    ZIP,
    Format,
)
from indexer.loaders.decode import decode, starts_with_mark, unmarked_wide_encoding

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # the container of Office files before 2007, and of encrypted ones since
_ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")
_EXPORT = "Export it as PDF, DOCX, HTML, Markdown, text or CSV."
_IMAGES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*")
_UNPACK = "Unpack it, or pack it as ZIP."
_REFUSED = (
    (b"{\\rtf", "RTF", _EXPORT),
    (b"\x1f\x8b", "a gzip archive", _UNPACK),
    (b"BZh", "a bzip2 archive", _UNPACK),
    (b"\xfd7zXZ\0", "an xz archive", _UNPACK),
    (b"7z\xbc\xaf'\x1c", "a 7z archive", _UNPACK),
    (b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (b"\x7fELF", "a program", "Leave it out."),
    (b"SQLite format 3\0", "an SQLite database", "Export its tables as CSV."),
)
_OLE_STREAMS = (  # names of streams, in UTF-16 in the container's directory
    ("EncryptedPackage", "an Office file that is encrypted with a password", "Save a copy without the password."),
    ("WordDocument", "a Word file of before 2007 (.doc)", "Save it as DOCX and add that."),
    ("PowerPoint Document", "a PowerPoint file of before 2007 (.ppt)", "Save it as PPTX and add that."),
    ("__substg1.0_", "an Outlook message (.msg)", "Save it as EML and add that."),
)
_OLD_SHEETS = ("Workbook", "Book")
_MEMBERS = (
    ("word/document.xml", DOCX),
    ("xl/workbook.xml", SHEETS),
    ("xl/workbook.bin", SHEETS),
    ("ppt/presentation.xml", PPTX),
    ("META-INF/container.xml", EPUB),
)
_PACKAGES = {b"application/epub+zip": EPUB} | {each.media_type.encode(): each for each in (ODT, ODP, ODS)}
_MAIN_PARTS = ((b"wordprocessingml.document.main+xml", DOCX), (b"presentationml.presentation.main+xml", PPTX))
_PDF_HEADER_WITHIN = 1024  # readers accept a PDF header this far into the file
_CONTROLS = bytes(code for code in range(0x20) if code not in (0x08, 0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x1B))
_CONTROLS_A_BYTE = 1 / 100  # a text may hold a stray control character, a binary file holds many
_HEAD_BYTES = 8192
_HTML = re.compile(
    r"(?:\s|<\?xml[^>]{0,200}>|<!--.{0,2000}?-->)*<(?:!doctype\s+html|html)\b", re.IGNORECASE | re.DOTALL
)
_SUBRIP = re.compile(r"\s*\d+\s*\n\d\d:\d\d:\d\d,\d{3} --> ")
_MAIL_FIELD = re.compile(
    r"^(from|received|return-path|message-id|mime-version|delivered-to):", re.IGNORECASE | re.MULTILINE
)
_MAIL_START = re.compile(r"[A-Za-z][A-Za-z-]{1,40}:[ \t]")


def recognise(data: bytes, suffix: str) -> Format:
    """Tell the format of a file's bytes; `suffix` is its ending in lowercase.

    Raises:
        DocumentError: it is none that is read, and what to do about it. The message names no file.
    """
    if data.startswith(_ZIP_STARTS):
        return _recognise_zip(data)
    if data.startswith(_OLE):
        return _recognise_ole(data)
    for magic, name, remedy in _REFUSED:
        if data.startswith(magic):
            raise _unread(name, remedy)
    if data.startswith(b"%PDF-"):
        return PDF
    if data.startswith(_IMAGES) or (data.startswith(b"RIFF") and data[8:12] == b"WEBP") or _is_bitmap(data):
        return IMAGE
    if not _is_text(data):
        if b"%PDF-" in data[:_PDF_HEADER_WITHIN]:
            return PDF
        raise _unread("binary data of an unknown kind", "Copy the file again, or leave it out.")
    return _recognise_text(data, suffix)


def may_be_read(head: bytes, suffix: str) -> bool:
    """Whether a file is worth reading, by its first bytes: what is left is no document of any kind that is known."""
    known = head.startswith((*_ZIP_STARTS, _OLE, b"%PDF-", b"{\\rtf"))
    return suffix in BY_SUFFIX or known or (bool(head) and _is_text(head))


def _recognise_text(data: bytes, suffix: str) -> Format:
    by_ending = BY_SUFFIX.get(suffix, TEXT)
    head = decode(data[:_HEAD_BYTES])[0].lstrip("\ufeff")
    if by_ending is not HTML and _HTML.match(head):
        return HTML
    if head.lstrip().startswith("<?xml"):
        return HTML if by_ending is HTML else XML
    if head.startswith("WEBVTT") or _SUBRIP.match(head):
        return CAPTIONS
    if _MAIL_START.match(head):
        fields = head.replace("\r\n", "\n").split("\n\n", 1)[0]
        if len({match[1].lower() for match in _MAIL_FIELD.finditer(fields)}) >= 3:
            return MAIL
    if by_ending.binary:
        if b"endobj" in data or b"%%EOF" in data:
            raise _unread("the rest of a PDF whose beginning is missing", "Copy or download the file again.")
        return TEXT
    return by_ending


def _recognise_zip(data: bytes) -> Format:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = {entry.filename: entry for entry in archive.infolist()}
            for member, found in _MEMBERS:
                if member in names:
                    return found
            return _recognise_package(archive, names)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError, EOFError, RuntimeError) as error:
        raise _unread("a broken ZIP archive, cut off or damaged", "Copy or download the file again.") from error


def _recognise_package(archive: zipfile.ZipFile, names: dict[str, zipfile.ZipInfo]) -> Format:
    """What says of itself what it is: OpenDocument and EPUB by `mimetype`, Office by its list of content types."""

    def start(name: str) -> bytes:
        with archive.open(names[name]) as stream:
            return stream.read(2**20)

    if "mimetype" in names:
        kind = start("mimetype").strip().replace(b"-template", b"")
        if kind in _PACKAGES:
            return _PACKAGES[kind]
    elif "[Content_Types].xml" in names:
        types = start("[Content_Types].xml")
        for mark, found in _MAIN_PARTS:
            if mark in types:
                return found
    else:
        return ZIP
    raise _unread("an Office file of a kind that is not read, or one that lacks its main part", _EXPORT)


def _recognise_ole(data: bytes) -> Format:
    for stream, name, remedy in _OLE_STREAMS:
        if stream.encode("utf-16-le") in data:
            raise _unread(name, remedy)
    if any(f"{stream}\0".encode("utf-16-le") in data for stream in _OLD_SHEETS):
        return SHEETS
    raise _unread("an old or password-protected Office file", "Save it as DOCX, XLSX or PPTX without a password.")


def _is_bitmap(data: bytes) -> bool:
    return data.startswith(b"BM") and int.from_bytes(data[2:6], "little") == len(data)


def _unread(what: str, remedy: str) -> DocumentError:
    return DocumentError(f"its content is {what}", remedy or f"Convert it to {NAMES}.")


def _is_text(data: bytes) -> bool:
    if starts_with_mark(data) or unmarked_wide_encoding(data):
        return True
    controls = len(data) - len(data.translate(None, _CONTROLS))
    return controls <= len(data) * _CONTROLS_A_BYTE

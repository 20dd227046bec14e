"""Reading from ZIP packages and XML that nobody vouches for: bounded, and nothing fetched from elsewhere."""

import html
import io
import posixpath
import zipfile
from html.entities import html5
from typing import Any

from indexer.errors import DocumentError

MAX_UNPACKED_BYTES = 512 * 2**20
MAX_ENTRIES = 10_000
_NAMED_CHARACTERS = frozenset(name.removesuffix(";") for name in html5)


def open_package(data: bytes) -> zipfile.ZipFile:
    """Open a ZIP file. zipfile never gives more bytes of a member than its directory declares, so sums are bounds.

    Raises:
        DocumentError: it would unpack to more than 512 MiB, or has more than 10,000 members.
    """
    package = zipfile.ZipFile(io.BytesIO(data))
    entries = package.infolist()
    if len(entries) > MAX_ENTRIES:
        raise DocumentError(f"it holds more than {MAX_ENTRIES:,} files", "Split it.")
    if sum(entry.file_size for entry in entries) > MAX_UNPACKED_BYTES:
        raise DocumentError(
            f"it unpacks to more than {MAX_UNPACKED_BYTES // 2**20} MiB", "Leave out embedded media, or split it."
        )
    return package


def read_member(package: zipfile.ZipFile, name: str | zipfile.ZipInfo) -> bytes:
    """Unpack one member.

    Raises:
        DocumentError: it is missing, encrypted or damaged.
    """
    try:
        entry = package.getinfo(name) if isinstance(name, str) else name
        if entry.flag_bits & 1:
            raise DocumentError("it is encrypted with a password", "Pack it again without the password.")
        return package.read(entry)
    except KeyError as error:
        raise DocumentError(
            f"its part {name!r} is missing", "Open it in the program that made it and save it again."
        ) from error
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, ValueError) as error:
        raise DocumentError(f"it is damaged: {error}", "Pack or copy it again.") from error
    except Exception as error:  # zlib, bz2 and lzma each have their own
        if type(error).__module__ in ("zlib", "_lzma", "_bz2"):
            raise DocumentError(f"it is damaged: {error}", "Pack or copy it again.") from error
        raise


def read_part(package: zipfile.ZipFile, name: str) -> Any:
    """Unpack one member and parse it as XML."""
    return parse_xml(read_member(package, name))


def parse_xml(data: bytes) -> Any:
    """Parse XML to its root element, without comments; nothing outside of `data` is read.

    libxml2's own limits stay on: a depth of 256 elements, 10 MB in one text, and an amplification of entities.

    Raises:
        DocumentError: it is not well formed, or uses an entity other than the characters that HTML names.
    """
    from lxml import etree

    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise DocumentError(f"it is not well-formed XML: {error.msg}", "Save or download it again.") from error
    for entity in list(root.iter(etree.Entity)):
        _write_out(entity)
    return root


def local_name(element: Any) -> str:
    """The name of an element without its namespace."""
    return str(element.tag).rpartition("}")[2]


def relations(package: zipfile.ZipFile, part: str) -> dict[str, tuple[str, str]]:
    """The relationships of a part of an Office package: id -> (kind, name of the related part)."""
    folder, name = posixpath.split(part)
    listed = f"{folder}/_rels/{name}.rels"
    if listed not in package.namelist():
        return {}
    found = {}
    for element in read_part(package, listed):
        target, kind = element.get("Target") or "", (element.get("Type") or "").rpartition("/")[2]
        if element.get("TargetMode") != "External":
            found[element.get("Id") or ""] = (kind, posixpath.normpath(posixpath.join("/", folder, target)).lstrip("/"))
    return found


def _write_out(entity: Any) -> None:
    if entity.name not in _NAMED_CHARACTERS:
        raise DocumentError(
            f"it uses the entity &{entity.name};, and entities of its own are not expanded",
            "Write the text out in place of the entity.",
        )
    text = html.unescape(f"&{entity.name};") + (entity.tail or "")
    before, parent = entity.getprevious(), entity.getparent()
    if before is not None:
        before.tail = (before.tail or "") + text
    else:
        parent.text = (parent.text or "") + text
    parent.remove(entity)

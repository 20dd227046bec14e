"""ZIP archives: every file inside becomes a document of its own. Nothing is unpacked to the disk."""

import stat
import zipfile
from functools import partial
from pathlib import PurePosixPath

from indexer.errors import DocumentError
from indexer.loaders.extract import Extract, Member
from indexer.loaders.package import open_package, read_member


def read_zip(data: bytes) -> Extract:
    """List what an archive holds; a member that must not be read raises when it is asked for.

    Raises:
        DocumentError: it is a zip bomb, or damaged.
    """
    package = open_package(data)
    names: set[str] = set()
    members = []
    for entry in package.infolist():
        if not entry.is_dir():
            members.append(_member(package, entry, entry.filename in names))
            names.add(entry.filename)
    return Extract((), members=tuple(members))


def _member(package: zipfile.ZipFile, entry: zipfile.ZipInfo, twice: bool) -> Member:
    path = PurePosixPath(entry.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        error = DocumentError("its name leads out of the archive", "Do not trust this archive; pack it again.")
        return Member(entry.filename, partial(_refuse, error))
    if twice:
        error = DocumentError("the archive holds another file of this name", "Pack it again with distinct names.")
        return Member(f"{entry.filename} (at {entry.header_offset})", partial(_refuse, error))
    if stat.S_ISLNK(entry.external_attr >> 16):
        return Member(entry.filename, bytes, "It is a link")
    if "__MACOSX" in path.parts or any(part.startswith(".") for part in path.parts):
        return Member(entry.filename, bytes, "It is hidden")
    return Member(str(path), partial(read_member, package, entry))


def _refuse(error: DocumentError) -> bytes:
    raise error

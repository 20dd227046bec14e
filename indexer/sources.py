"""From what the user named to the files to read: folders expanded, and a reason for everything left out."""

import hashlib
import os
import re
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from indexer.content import may_be_read
from indexer.document import INSIDE
from indexer.errors import ConfigError
from indexer.formats import BY_SUFFIX, NAMES
from indexer.load import source_of

_BLOCK_BYTES = 1 << 20
_HEAD_BYTES = 8192


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file to read."""

    path: Path
    source: str  # absolute, links resolved: the name of its document
    bytes: int


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something that is not read, and why. `failed` when the user asked for just this."""

    source: str
    reason: str
    remedy: str
    failed: bool = False


def find_sources(paths: Sequence[Path]) -> tuple[list[Candidate], list[LeftOut]]:
    """Expand folders, in order of name; each file counts once, however many paths and links lead to it."""
    candidates: dict[str, Candidate] = {}
    left_out: dict[str, LeftOut] = {}
    for found in (entry for path in paths for entry in _expand(path)):
        if isinstance(found, LeftOut):
            left_out.setdefault(found.source, found)
        elif found.source not in candidates:
            candidates[found.source] = found
        elif (given := _name(found.path)) != found.source:
            left_out.setdefault(given, LeftOut(given, f"It is a link to {found.source}, which is read anyway", ""))
    return list(candidates.values()), [item for source, item in left_out.items() if source not in candidates]


def hash_file(path: Path, max_bytes: int) -> str:
    """Return the SHA-256 of a file; empty when it cannot be read or is too large: load() then says what is wrong."""
    digest, size = hashlib.sha256(), 0
    try:
        if not path.is_file():  # a pipe would be waited for without end
            return ""
        with path.open("rb") as stream:
            while (block := stream.read(_BLOCK_BYTES)) and size <= max_bytes:
                digest.update(block)
                size += len(block)
    except OSError:
        return ""
    return digest.hexdigest() if size <= max_bytes else ""


def path_of(source: str) -> Path:
    """Turn a source back into its path, which may have bytes that are no text (see source_of)."""
    path = Path(source)
    if "\\x" in source and not os.path.lexists(path):
        unescaped = re.sub(r"\\x([0-9a-f]{2})", lambda found: os.fsdecode(bytes.fromhex(found[1])), source)
        return Path(unescaped) if os.path.lexists(unescaped) else path
    return path


def is_gone(source: str, holding: Container[str] | None = None) -> bool:
    """Tell whether a file is no longer there; one that merely cannot be reached counts as there.

    What lies in an archive or mail is there as long as that is: whether it still holds it is known once it is read.
    `holding` names the sources that hold others, where that is known: beside a file x there may be a folder named x!.
    """
    holders = (each for each in _holders(source) if holding is None or each == source or each in holding)
    return all(_is_missing(each) for each in holders)


def file_of(source: str) -> Path:
    """The file that a source is, or the archive or mail on disk that it lies in."""
    return path_of(next((each for each in _holders(source) if not _is_missing(each)), source))


def _holders(source: str) -> Iterator[str]:
    """The source itself, then what it may lie in, from the inside."""
    yield source
    for at in reversed(list(re.finditer(re.escape(INSIDE), source))):
        yield source[: at.start()]


def _is_missing(source: str) -> bool:
    try:
        path_of(source).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def nothing_found(paths: Sequence[Path], left_out: Sequence[LeftOut]) -> ConfigError:
    """Say why there is nothing to read."""
    if len(left_out) == 1:
        return ConfigError(f"Nothing to ingest: {left_out[0].source}: {left_out[0].reason}", left_out[0].remedy)
    where = ", ".join(str(path) for path in paths[:3]) + (" ..." if len(paths) > 3 else "")
    seen = f"all {len(left_out)} files and folders there are left out" if left_out else "it is empty"
    return ConfigError(f"Nothing to ingest in {where}: {seen}", f"It reads {NAMES}.")


def _expand(path: Path) -> Iterator[Candidate | LeftOut]:
    if path.is_dir():
        yield from _walk(path)
    elif not path.exists() and not path.is_symlink():
        yield LeftOut(source_of(path), "There is no such file or folder", "Check the path.", failed=True)
    else:
        yield _candidate(path)  # the user named it: load() says what is wrong with it


def _walk(root: Path) -> Iterator[Candidate | LeftOut]:
    unreadable: list[LeftOut] = []

    def note(error: OSError) -> None:
        reason = f"The folder cannot be read: {error.strerror}"
        unreadable.append(LeftOut(source_of(Path(error.filename)), reason, "Check its permissions.", failed=True))

    for folder, folders, files in os.walk(root, onerror=note):
        here = Path(folder)
        yield from _prune(here, folders)
        for name in sorted(files):
            yield judge(here / name)
    yield from unreadable


def _prune(here: Path, folders: list[str]) -> Iterable[LeftOut]:
    """Take out of `folders` what is not to be entered, and put the rest in order."""
    left_out = []
    for name in sorted(folders):
        path = here / name
        if name.startswith("."):
            left_out.append(LeftOut(_name(path), "It is a hidden folder", "Name it to read it."))
        elif path.is_symlink():
            left_out.append(LeftOut(_name(path), "It is a link to a folder", "Name it to read it."))
        else:
            continue
        folders.remove(name)
    folders.sort()
    return left_out


def judge(path: Path) -> Candidate | LeftOut:
    """Decide whether a file that was found, not named, is to be read."""
    if path.name.startswith("."):
        return LeftOut(_name(path), "It is a hidden file", "Name it to read it.")
    if path.is_symlink():  # its target is met elsewhere in the folder, or lies outside of what was given
        return LeftOut(_name(path), f"It is a link to {source_of(path)}", "Name it to read it.")
    if not _may_be_read(path):
        ending = f"Files ending in {path.suffix}" if path.suffix else "Files without an ending"
        return LeftOut(_name(path), f"{ending}, and with such content, are not supported", f"Convert it to {NAMES}.")
    return _candidate(path)


def _may_be_read(path: Path) -> bool:
    """Whether the ending or the first bytes are those of a document; load() says more of what cannot be opened."""
    suffix = path.suffix.lower()
    if suffix in BY_SUFFIX or not path.is_file():
        return suffix in BY_SUFFIX
    try:
        with path.open("rb") as stream:
            return may_be_read(stream.read(_HEAD_BYTES), suffix)
    except OSError:
        return False


def _candidate(path: Path) -> Candidate:
    try:
        size = path.stat().st_size
    except OSError:
        size = 0
    return Candidate(path, source_of(path), size)


def _name(path: Path) -> str:
    """Absolute path of the thing itself, not of what it links to, as text that can be stored."""
    absolute = os.path.abspath(path)  # noqa: PTH100
    return absolute.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")

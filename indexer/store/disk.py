"""Files that are whole or absent: written under a temporary name, synced, then renamed."""

import errno
import json
import os
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from indexer.errors import IndexError_

_BLOCK_BYTES = 1 << 20
FULL_DISK_REMEDY = "Free some space and run the same command again; what was indexed before is kept."


def replace_file(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in place at one instant."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise disk_error(error, path) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a small JSON object atomically."""
    replace_file(path, lambda temporary: _write_text(temporary, json.dumps(value, indent=1)))


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a JSON object; None when the file is absent or is not one."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def checksum(path: Path, size: int | None = None) -> int:
    """Compute the CRC-32 of a file, or of its first `size` bytes."""
    crc, left = 0, path.stat().st_size if size is None else size
    with path.open("rb") as stream:
        while left > 0 and (block := stream.read(min(_BLOCK_BYTES, left))):
            crc, left = zlib.crc32(block, crc), left - len(block)
    return crc


def disk_error(error: OSError, path: Path) -> IndexError_:
    """Say what a failed file operation means to the user."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return IndexError_(f"No space left to write {path}", FULL_DISK_REMEDY)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return IndexError_(f"Not allowed to write {path}", "Check the folder's permissions, or choose another home.")
    return IndexError_(f"Cannot write {path}: {error.strerror or error}", "Check the disk and the folder.")


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, "utf-8")


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

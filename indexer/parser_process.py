"""The process that files are read in: limited, and unable to write a file. Parser starts it and speaks with it."""

import contextlib
import json
import math
import os
import resource
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from indexer.errors import DocumentError
from indexer.load import File, LeftOutError, Limits, UnboundedError, files_inside, load_file, open_file

_Send = Callable[[dict[str, Any]], None]


def main(limits_json: str) -> None:
    """Answer requests from stdin, one JSON line each, until it is closed. A reply is a JSON line on stdout."""
    limits = Limits(**json.loads(limits_json))
    replies = os.fdopen(os.dup(1), "wb")
    with Path(os.devnull).open("wb") as nothing:
        os.dup2(nothing.fileno(), 1)  # what a library prints must not end up among the replies

    def send(reply: dict[str, Any]) -> None:
        replies.write(json.dumps(reply).encode() + b"\n")
        replies.flush()

    _confine(limits)
    send({"ready": True})
    for line in sys.stdin.buffer:
        request = json.loads(line)
        try:
            if "draw" in request:
                _draw(request, limits, send)
            else:
                _answer(Path(request["path"]), request["answered"], limits, send)
        except BrokenPipeError:
            return
        except MemoryError:
            return  # already told; a fresh process serves the rest


def _confine(limits: Limits) -> None:
    sys.dont_write_bytecode = True
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    with contextlib.suppress(ValueError, OSError):  # a system that does not know this limit, or has a lower one
        resource.setrlimit(resource.RLIMIT_AS, (limits.memory_mb * 2**20,) * 2)


def _answer(path: Path, answered: int, limits: Limits, send: _Send) -> None:
    """Read a file and what is in it, depth first. The first `answered` files are not read again, and the last of
    these, on which a process before this one died, is not even opened."""
    waiting = [open_file(path, limits)]
    at = 0
    while waiting:
        file = waiting.pop()
        at += 1
        if at == answered:
            continue
        if at < answered:
            waiting += reversed(files_inside(file, limits))
            continue
        _limit_cpu(limits)
        send({"begin": file.source})
        files = _read(file, limits, send)
        if files is None:
            break
        waiting += reversed(files)
    send({"end": True})


def _draw(request: dict[str, Any], limits: Limits, send: _Send) -> None:
    from indexer.page_picture import draw_source

    _limit_cpu(limits)
    try:
        send(draw_source(request, limits))
    except DocumentError as error:
        send({"error": {"message": error.message, "remedy": error.remedy}})


def _limit_cpu(limits: Limits) -> None:
    """Bound the processor time of the next file: it holds also when the process that waits for the answer is gone."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = math.ceil(usage.ru_utime + usage.ru_stime + limits.timeout_s) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _read(file: File, limits: Limits, send: _Send) -> tuple[File, ...] | None:
    """Read one file and send what became of it; the files in it, or None when none of those is to be read."""
    try:
        loaded = load_file(file, limits)
        document = asdict(loaded.document) if loaded.document else None
        send({"source": file.source, "document": document, "bytes": loaded.bytes})
        return loaded.files
    except DocumentError as error:
        send(_refusal(file, error))
        return None if isinstance(error, UnboundedError) else ()
    except MemoryError:
        send(_refusal(file, _too_much_memory(file, limits)))
        raise


def _too_much_memory(file: File, limits: Limits) -> DocumentError:
    return DocumentError(
        f"{file.source}: reading it needs more than {limits.memory_mb:,} MiB of memory",
        "Split the file, or raise the setting indexer.parse_memory_mb.",
    )


def _refusal(file: File, error: DocumentError) -> dict[str, Any]:
    told = {"message": error.message, "remedy": error.remedy, "left_out": isinstance(error, LeftOutError)}
    return {"source": file.source, "error": told, "bytes": 0}

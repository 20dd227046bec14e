"""Parser: files are read in a process of their own, so that a file that crashes or never ends costs only itself.

The process is kept for the next file; it is started again after it was killed or died. Its answers are JSON, because
what is read back from a process that a file may have taken over must not be able to run anything.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from indexer.document import Chunk, Document
from indexer.errors import DocumentError
from indexer.load import LeftOutError, Limits, source_of
from indexer.loaders.pdf_page import PagePicture
from indexer.page_picture import PagePart, drawing_request, pictures_from
from indexer.sources import hash_file

_ROOT = Path(__file__).resolve().parent.parent
_START = "import sys; sys.path.insert(0, sys.argv[1]); from indexer.parser_process import main; main(sys.argv[2])"
_BLOCK_BYTES = 1 << 20
_START_S = 120.0
_REPLY_BYTES_A_CHAR = 12  # JSON writes a character outside of the basic plane as two escapes
_SPLIT = "Split the file, save it again in the program that made it, or leave it out."


@dataclass(frozen=True, slots=True)
class Ahead:
    """What was done for a file on the machine that read it, so that it need not be done again."""

    load_ms: float
    chunk_ms: float = 0.0
    encode_ms: float = 0.0
    chunks: tuple[Chunk, ...] = ()  # empty: still to be cut
    vectors: Mapping[bytes, npt.NDArray[np.float16]] = field(default_factory=dict)  # (dim,) by embed_hash


@dataclass(frozen=True, slots=True)
class Parsed:
    """What became of one file: a document, an error, or neither when it only holds further files."""

    source: str
    document: Document | None = None
    error: DocumentError | None = None
    bytes: int = 0
    ahead: Ahead | None = None


class Reader(Protocol):
    """Where an ingest gets its files from."""

    def digest(self, path: Path) -> str:
        """Return the SHA-256 of a file; empty when it cannot be read or is too large."""

    def parse(self, path: Path) -> Iterator[Parsed]:
        """Read a file and everything inside it, the file first. Whatever the files hold, only Parsed comes of it."""


class _Died(Exception):
    """The process is gone, or was killed for what its message says."""


class Parser:
    """Reads files in another process, within limits. Close it, or use it as a context manager; not for two threads."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._process: subprocess.Popen[bytes] | None = None
        self._received = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        self._received.clear()
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # with what it started
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()

    def digest(self, path: Path) -> str:
        """Return the SHA-256 of a file; empty when it cannot be read or is too large: parse() then says why."""
        return hash_file(path, self.limits.max_bytes)

    def parse(self, path: Path) -> Iterator[Parsed]:
        """Read a file and everything inside it, the file first. Whatever the files hold, only Parsed comes of it."""
        answered = 0
        while True:
            begun, last = "", None
            try:
                for reply in self._replies(path, answered):
                    if "begin" in reply:
                        begun = reply["begin"]
                        continue
                    last = _parsed(reply)
                    answered, begun = answered + 1, ""
                    yield last
                return
            except _Died as death:
                source = begun or source_of(path)
                yield Parsed(source, error=DocumentError(f"{source}: {death}", _remedy(death)))
                answered += 1
                if not begun:
                    return

    def draw(self, document: Document, parts: Sequence[PagePart]) -> tuple[PagePicture, ...]:
        """Draw pages of a stored PDF from its file, and box the words on them.

        Raises:
            DocumentError: the file is gone, was changed, cannot be drawn, or takes more than the limits.
        """
        try:
            self._ask(drawing_request(document, parts))
            reply = self._reply(time.monotonic() + self.limits.timeout_s)
        except _Died as death:
            raise DocumentError(f"{document.source}: {death}", _remedy(death)) from death
        if error := reply.get("error"):
            raise DocumentError(error["message"], error["remedy"])
        return pictures_from(reply)

    def _replies(self, path: Path, answered: int) -> Iterator[dict[str, Any]]:
        self._ask({"path": os.fspath(path.absolute()), "answered": answered})
        while True:
            reply = self._reply(time.monotonic() + self.limits.timeout_s)
            if "end" in reply:
                return
            yield reply

    def _ask(self, request: dict[str, Any]) -> None:
        line = json.dumps(request).encode() + b"\n"
        for attempt in range(2):  # it may have died since its last answer
            process = self._running()
            assert process.stdin
            try:
                process.stdin.write(line)
                process.stdin.flush()
                return
            except OSError:
                self.close()
                if attempt:
                    raise _Died("the process that reads files cannot be started") from None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self.close()
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, str(_ROOT), json.dumps(asdict(self.limits))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # an interrupt at the keyboard is this process's to answer
            )
            self._await_start()
        return self._process

    def _await_start(self) -> None:
        """Starting takes no time from the first file's limit."""
        try:
            self._reply(time.monotonic() + _START_S)
        except _Died:
            raise _Died("the process that reads files cannot be started") from None

    def _reply(self, deadline: float) -> dict[str, Any]:
        assert self._process and self._process.stdout
        stream, searched = self._process.stdout.fileno(), 0
        while (end := self._received.find(b"\n", searched)) < 0:
            searched = len(self._received)
            if searched > _REPLY_BYTES_A_CHAR * self.limits.max_chars + _BLOCK_BYTES:
                self.close()
                raise _Died("it gives more text than indexer.parse_max_chars allows")
            ready, _, _ = select.select([stream], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                self.close()
                raise _Died(f"reading it took longer than {self.limits.timeout_s:g} s")
            block = os.read(stream, _BLOCK_BYTES)
            if not block:
                raise _Died(self._cause())
            self._received += block
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        return dict(json.loads(line))

    def _cause(self) -> str:
        assert self._process
        code = self._process.wait()
        self.close()
        if code == -signal.SIGXCPU:
            return f"reading it took longer than {self.limits.timeout_s:g} s"
        if code == -signal.SIGKILL:
            return "the process that read it was killed, perhaps for want of memory"
        what = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return f"the parser crashed on it ({what})"


def _parsed(reply: dict[str, Any]) -> Parsed:
    if error := reply.get("error"):
        kind = LeftOutError if error["left_out"] else DocumentError
        return Parsed(reply["source"], error=kind(error["message"], error["remedy"]), bytes=reply["bytes"])
    if values := reply.get("document"):
        values["pages"] = tuple(values["pages"])
        values["metadata"] = tuple((name, value) for name, value in values["metadata"])
        return Parsed(reply["source"], Document(**values), bytes=reply["bytes"])
    return Parsed(reply["source"], bytes=reply["bytes"])


def _remedy(death: _Died) -> str:
    return "Split the file, or raise the setting indexer.parse_timeout_s." if "longer than" in str(death) else _SPLIT

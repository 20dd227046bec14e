"""The one vLLM process of a home: starting it, asking after it and ending it, from whichever terminal.

What is known of it lies in HOME/vllm, so nothing depends on the process that started it. A process is told by its
number and the moment it began: a number that was given to another process is never taken for ours.
"""

import itertools
import json
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from filelock import FileLock

from app.port import refuse_taken
from indexer.errors import ConfigError, ModelError

HOST = "127.0.0.1"
_POLL_S = 0.5
_HEALTH_S = 5.0  # a busy machine answers late
_STOP_S = 20.0  # for vLLM to end its workers itself
_ERROR_CHARS = 500
_LOG_BYTES = 2**18  # from the end of a log: where the last error is
_PREFIX = re.compile(r"^(?:\([^()]*pid=\d+\)\s*)?(?:(?:INFO|WARNING|ERROR)\s+[\d-]+ [\d:]+ \[[^\]]*\]\s?)?")
_ERROR = re.compile(r"^\s*(?:[\w.]*(?:Error|Exception)|[\w.]+: error): .+")
_SECOND_HAND = "See root cause above"  # how vLLM's front process speaks of an error that its engine told before


@dataclass(frozen=True, slots=True)
class Launch:
    """What to start."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    port: int
    model: str  # its name on the server


@dataclass(frozen=True, slots=True)
class Server:
    """A process that was started."""

    pid: int  # also its process group's
    birth: str  # see `birth_of`
    port: int
    model: str
    began: float  # seconds since 1970
    log: str
    workers: Mapping[str, str] = field(
        default_factory=dict
    )  # birth by pid: they outlive a front process that is killed

    @property
    def base_url(self) -> str:
        """What generator.base_url has to be."""
        return f"http://{HOST}:{self.port}/v1"

    @property
    def is_alive(self) -> bool:
        """Whether the very process still runs."""
        return birth_of(self.pid) == self.birth

    @property
    def is_ready(self) -> bool:
        """Whether it answers."""
        with suppress(OSError, urllib.error.HTTPError):
            direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy cannot reach this machine
            with direct.open(f"http://{HOST}:{self.port}/health", timeout=_HEALTH_S) as answer:
                return bool(answer.status == 200)
        return False


def start(folder: Path, launch: Launch) -> Server:
    """Start a process in a session of its own, so that it outlives the terminal, and remember it in `folder`.

    Raises:
        ConfigError: one runs already, or the port is taken.
        ModelError: the program is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "server.lock"):
        if (server := known(folder)) and server.is_alive:
            raise ConfigError(
                f"vLLM already serves {server.model} at {server.base_url} (process {server.pid}).",
                "Use it, or end it first: `footnote serve-model --stop`.",
            )
        stop(folder)  # the workers of one that died, which hold its memory
        refuse_taken(HOST, launch.port, "vLLM", f"footnote serve-model --port {launch.port + 1}")
        log = folder / "server.log"
        with log.open("wb") as output:
            try:
                process = subprocess.Popen(
                    launch.command,
                    env=launch.environment,
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise ModelError(
                    f"vLLM does not start: {launch.command[0]}: {error.strerror}.", "Install its environment again."
                ) from error
        server = Server(process.pid, birth_of(process.pid), launch.port, launch.model, time.time(), str(log))
        _remember(folder, server)
    return server


def _remember(folder: Path, server: Server) -> None:
    written = folder / "server.json.new"
    written.write_text(json.dumps(asdict(server)), encoding="utf-8")
    written.replace(folder / "server.json")


def known(folder: Path) -> Server | None:
    """Give the process that was started last, whether it runs or has died; None after `stop`."""
    try:
        return Server(**json.loads((folder / "server.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def wait_ready(folder: Path, server: Server, limit_s: float, tell: Callable[[float, str], None]) -> None:
    """Wait until it answers, and take note of its workers. `tell` gets the seconds so far and the log's last line.

    Raises:
        ModelError: it died, with the last error of its log, or did not answer in time.
    """
    began = time.monotonic()
    ready = False
    while not ready:
        ready = server.is_ready
        if (workers := _workers(server.pid)) != server.workers and workers:
            server = replace(server, workers=workers)
            _remember(folder, server)
        reap(server)
        if not server.is_alive:
            raise died(server, "before it answered")
        spent_s = time.monotonic() - began
        if spent_s > limit_s:
            raise ModelError(
                f"vLLM did not answer in {limit_s:g} s.", f"Its log is {server.log}; --wait SECONDS gives it longer."
            )
        tell(spent_s, last_line(Path(server.log)))
        time.sleep(_POLL_S)


def died(server: Server, when: str) -> ModelError:
    """What to say of a server that ended by itself."""
    return ModelError(f"vLLM ended {when}: {last_error(Path(server.log))}", f"Its whole log is {server.log}.")


def stop(folder: Path) -> Server | None:
    """End the process and its workers, gently at first; None when none runs."""
    server = known(folder)
    alive = server is not None and server.is_alive
    if server and alive:
        os.kill(server.pid, signal.SIGTERM)
        _wait_gone(server, _STOP_S)
    if server:
        # Of one that was killed the workers run on, holding its memory.
        for pid, birth in _processes(server):
            if birth_of(pid) == birth:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        reap(server)
    (folder / "server.json").unlink(missing_ok=True)
    return server if alive else None


def _processes(server: Server) -> list[tuple[int, str]]:
    """Pid and birth of all of it, its front process first."""
    return [(server.pid, server.birth), *((int(pid), birth) for pid, birth in server.workers.items())]


def _wait_gone(server: Server, limit_s: float) -> None:
    """Let it end in order: its last process tidies away shared memory."""
    deadline = time.monotonic() + limit_s
    while any(birth_of(pid) == birth for pid, birth in _processes(server)) and time.monotonic() < deadline:
        reap(server)
        time.sleep(0.1)


def _workers(group: int) -> dict[str, str]:
    """The processes of a group but for its leader; none where there is no /proc."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            pid = stat.parent.name
            if fields[2] == str(group) != pid and (birth := birth_of(int(pid))):  # proc(5): field 5, the process group
                found[pid] = birth
    return found


def reap(server: Server) -> int | None:
    """The exit code of a process that this one started, once it has ended."""
    with suppress(ChildProcessError):
        pid, status = os.waitpid(server.pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None
    return None


def birth_of(pid: int) -> str:
    """When a process began, to a hundredth of a second, and since which boot; empty if there is none any more."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return "" if Path("/proc/self/stat").exists() else _birth_by_ps(pid)
    if fields[0] in "ZX":  # has ended, and nobody took notice
        return ""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    return f"{boot} {fields[19]}"  # proc(5): field 22, in clock ticks


def _birth_by_ps(pid: int) -> str:
    told = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, birth = told.stdout.strip().partition(" ")
    return "" if state.startswith("Z") else birth.strip()


def last_error(log: Path) -> str:
    """The last error in a log of vLLM's: not the front process's word that there was one."""
    lines = [line for line in _tail(log) if line.strip()]
    errors = [n for n, line in enumerate(lines) if _ERROR.match(line) and _SECOND_HAND not in line]
    if not errors:
        return lines[-1].strip()[:_ERROR_CHARS] if lines else "its log is empty"
    at = errors[-1]
    told = [lines[at], *itertools.takewhile(lambda line: line.startswith("  "), lines[at + 1 :])]  # pydantic's go on
    return " ".join(" ".join(told).split())[:_ERROR_CHARS]


def last_line(log: Path) -> str:
    """What the process did last."""
    return next((line.strip() for line in reversed(_tail(log)) if line.strip()), "")


def _tail(log: Path) -> Sequence[str]:
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - _LOG_BYTES))
            text = stream.read().decode("utf-8", "replace")
    except OSError:
        return ()
    return [_PREFIX.sub("", line) for line in re.split(r"[\r\n]+", text)]

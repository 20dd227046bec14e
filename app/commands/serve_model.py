"""`serve-model`: one local vLLM, from its start to its end."""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from app.display import note, shorten, show
from app.door import emit, plain
from app.launches import launch_of
from app.settings import Settings, variable
from app.vllm import Server, died, known, last_error, reap, start, stop, wait_ready

_TELL_EVERY_S = 5.0
_WATCH_S = 0.5
_ENDED = (None, 0, -signal.SIGTERM, -signal.SIGINT)  # by somebody; SIGKILL comes from the system that lacks memory


def run_serve(
    settings: Settings,
    model: str,
    port: int,
    reader: bool,
    options: list[str],
    wait_s: float,
    detach: bool,
    as_json: bool,
) -> None:
    """Start vLLM and wait until it answers; then stay until it ends, unless it is to run on by itself."""
    launch = launch_of(settings, model, port, reader, options)
    with _ended_like_ctrl_c():
        server = start(_folder(settings), launch)
        ended = False
        try:
            with _telling(launch.model) as tell:
                wait_ready(_folder(settings), server, wait_s, tell)
            if as_json:
                emit(_state(server))
            else:
                _show_use(server, settings)
            ended = detach or as_json
            if not ended:
                show("Ctrl-C ends it; --detach would leave it running.", "dim")
                _watch(server)
                ended = True
        except KeyboardInterrupt:
            note("\nEnding vLLM…")
        finally:
            if not ended:
                stop(_folder(settings))


def show_server(settings: Settings, as_json: bool) -> None:
    """Say whether it runs and answers; of one that died, why."""
    server = known(_folder(settings))
    if as_json:
        return emit(_state(server))
    if server is None:
        return show("No vLLM was started here: `footnote serve-model` starts one.")
    if not server.is_alive:
        show(f"vLLM has ended: {last_error(Path(server.log))}", "red", wrap=False)
        return show(f"Its whole log is {server.log}.", wrap=False)
    if not server.is_ready:
        return show(f"vLLM is loading {server.model} (process {server.pid}); its log is {server.log}.", wrap=False)
    return _show_use(server, settings)


def stop_server(settings: Settings, as_json: bool) -> None:
    """End it, if it runs."""
    server = stop(_folder(settings))
    if as_json:
        return emit({"stopped": server is not None, "pid": server.pid if server else None})
    return show(f"vLLM (process {server.pid}) was ended." if server else "No vLLM of this home is running.")


def _folder(settings: Settings) -> Path:
    return settings.home / "vllm"


def _watch(server: Server) -> None:
    """Stay until the process ends.

    Raises:
        ModelError: it died.
    """
    while server.is_alive:
        time.sleep(_WATCH_S)
    if (code := reap(server)) not in _ENDED:
        raise died(server, f"with code {code}")


def _state(server: Server | None) -> dict[str, Any]:
    alive = server is not None and server.is_alive
    return {
        "running": alive,
        "ready": bool(alive and server and server.is_ready),
        "base_url": server.base_url if server and alive else None,
        "model": server.model if server else None,
        "pid": server.pid if server and alive else None,
        "uptime_s": round(time.time() - server.began, 1) if server and alive else None,
        "log": server.log if server else None,
        "error": last_error(Path(server.log)) if server and not alive else None,
    }


def _show_use(server: Server, settings: Settings) -> None:
    from generator.reader_files import READER_NAME

    show(f"vLLM serves {server.model} at {server.base_url} (process {server.pid}).", "bold", wrap=False)
    if server.model == READER_NAME:
        return show("It reads one passage at a time, in a format of its own (docs/commands.md): no generator.base_url.")
    if settings.generator.base_url == server.base_url:
        return show("The settings in force use it already.")
    show("To use it, for one command:", wrap=False)
    show(f"{variable('generator.base_url')}={server.base_url} ./footnote ui", indent=2, wrap=False)
    show("or for all, in footnote.toml:", wrap=False)
    show("[generator]", indent=2)
    return show(f'base_url = "{server.base_url}"', indent=2, wrap=False)


@contextmanager
def _telling(model: str) -> Iterator[Callable[[float, str], None]]:
    """Show what vLLM is doing while it loads: one line that changes, or a line every few seconds without a terminal."""
    if sys.stderr.isatty():
        with Console(stderr=True).status(f"Loading {escape(model)}") as status:
            yield lambda spent_s, doing: status.update(_line(model, spent_s, escape(plain(doing))))
        return
    told = [0.0]

    def tell(spent_s: float, doing: str) -> None:
        if spent_s - told[0] >= _TELL_EVERY_S:
            told[0] = spent_s
            note(_line(model, spent_s, doing))

    yield tell


def _line(model: str, spent_s: float, doing: str) -> str:
    return f"Loading {model}, {spent_s:.0f} s: {shorten(doing, 90)}"


@contextmanager
def _ended_like_ctrl_c() -> Iterator[None]:
    """A closed terminal or a `kill` must not leave vLLM behind without anybody knowing."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {each: signal.signal(each, interrupt) for each in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)

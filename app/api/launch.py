"""`serve`: the HTTP API until it is told to stop."""

import logging
import signal

import uvicorn

from app.api.access import asks_for_keys
from app.api.application import create_app
from app.api.keys import Keys
from app.database import Database
from app.display import note
from app.port import refuse_taken
from app.sections.serving import ServerSection
from app.settings import Settings
from app.ui.launch import LOOPBACK
from indexer.errors import ConfigError


def run_serve(settings: Settings, host: str | None, port: int | None) -> None:
    """Serve until Ctrl-C or SIGTERM; what runs then is finished first, for at most `server.shutdown_s`.

    Raises:
        ConfigError: another program listens on the port, or the address is open to others and asks for no keys.
    """
    named = {"host": host, "port": port}
    changes = {name: value for name, value in named.items() if value is not None}
    settings = settings.model_copy(update={"server": settings.server.model_copy(update=changes)})
    section = settings.server
    refuse_open(section, Keys(Database(settings.home)))
    refuse_taken(section.host, section.port, "The API", f"footnote serve --port {section.port + 1}")
    _log_requests()
    note(f"The API is at http://{f'[{section.host}]' if ':' in section.host else section.host}:{section.port}/v1")
    # uvicorn finishes what runs, and then raises the signal once more: an end that was asked for is no failure.
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        uvicorn.run(
            create_app(settings),
            host=section.host,
            port=section.port,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=section.shutdown_s,
        )
    finally:
        signal.signal(signal.SIGTERM, before)


def refuse_open(section: ServerSection, keys: Keys) -> None:
    """Refuse to serve others without asking who they are.

    Raises:
        ConfigError: the address is another than loopback, and no key is asked for.
    """
    if section.host not in LOOPBACK and not asks_for_keys(section, keys):
        raise ConfigError(
            f"On {section.host} anybody in the network could read and change every collection.",
            "Make a key, `footnote keys create NAME`, after which every request needs one; or listen on 127.0.0.1.",
        )


def _log_requests() -> None:
    """Each request is one line of JSON on stderr, and nothing before it."""
    log = logging.getLogger("app.api.requests")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False

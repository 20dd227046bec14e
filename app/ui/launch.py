"""Starts the server of the chat page."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from app.api.keys import Keys
from app.database import Database
from app.display import note
from app.port import refuse_taken
from app.settings import ROOT, Settings
from app.ui.secrets import write_secrets
from indexer.errors import ConfigError

PAGE = Path("app") / "ui" / "server.py"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
WILDCARDS = ("0.0.0.0", "::")


def run_ui(
    settings: Settings,
    collection: str | None = None,
    port: int | None = None,
    *,
    host: str | None = None,
    config: Path | None = None,
    open_browser: bool = False,
    review: Path | None = None,
) -> int:
    """Serve the page until the server ends or Ctrl-C is pressed; returns the exit code.

    It opens on the chat, or on a folder of written questions to `review`.

    Raises:
        ConfigError: another program listens on the port, the address is open to others and nobody could sign in, or
            the settings of the sign-in are not whole.
    """
    if host is not None:
        settings = settings.model_copy(update={"ui": settings.ui.model_copy(update={"host": host})})
    port = port or settings.ui.port
    refuse_open(settings, Keys(Database(settings.home)))
    refuse_taken(settings.ui.host, port, "The chat page", f"footnote ui --port {port + 1}")
    signs_in = write_secrets(settings, port) if settings.sign_in.metadata_url else None
    command = ui_command(settings, collection, port, open_browser=open_browser, review=review, secrets=signs_in)
    if settings.ui.host in WILDCARDS:
        note(f"The page is at port {port} of every address of this machine.")
    server = subprocess.Popen(command, cwd=ROOT, env=ui_environment(settings, config, os.environ))
    before = signal.signal(signal.SIGTERM, lambda *_: server.terminate())  # else the server would outlive us
    try:
        return server.wait()
    except KeyboardInterrupt:
        server.terminate()
        server.wait()
        return 0
    finally:
        signal.signal(signal.SIGTERM, before)


def refuse_open(settings: Settings, keys: Keys) -> None:
    """Refuse to show the page to others where nobody could say who they are.

    Raises:
        ConfigError: so it is, or a package for the sign-in is missing.
    """
    if settings.sign_in.metadata_url and find_spec("authlib") is None:
        raise ConfigError(
            "The sign-in needs the package Authlib.", "Install it with `pip install -r requirements-sign-in.txt`."
        )
    if settings.ui.host not in LOOPBACK and not settings.sign_in.metadata_url and not keys.exist():
        raise ConfigError(
            f"On {settings.ui.host} anybody in the network could read and change every collection.",
            "Let readers sign in, by sign_in in the settings or with a key that `footnote keys create NAME` makes; or "
            "listen on 127.0.0.1.",
        )


def ui_command(
    settings: Settings,
    collection: str | None,
    port: int,
    *,
    open_browser: bool = False,
    review: Path | None = None,
    secrets: Path | None = None,
) -> list[str]:
    """The command line of the server. It must run from the repository's root: only so does the page find the rooms."""
    options = {
        "server.address": settings.ui.host,
        "server.port": str(port),
        "server.headless": str(not open_browser).lower(),
        "server.maxUploadSize": str(settings.ui.max_upload_mb),
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
        "server.enableXsrfProtection": "true",
        "secrets.files": str(secrets or settings.home / "page" / "none.toml"),  # else one of the user's own is read
    }
    flags = [f"--{name}={value}" for name, value in options.items()]
    if settings.ui.host in LOOPBACK:
        # A page of another site must not reach this one by giving its own name our address.
        flags += [f"--server.allowedHosts={name}" for name in LOOPBACK]
    elif settings.ui.host in WILDCARDS:
        # Its greeting would ask a service on the internet for this machine's address.
        flags.append("--logger.hideWelcomeMessage=true")
    arguments = [collection] if collection else []
    if review is not None:
        arguments += ["--review", str(review.resolve())]
    return [sys.executable, "-m", "streamlit", "run", str(PAGE), *flags, "--", *arguments]


def ui_environment(settings: Settings, config: Path | None, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of the server: the same home and the same file of settings as here."""
    changed = {"FOOTNOTE_HOME": str(settings.home.resolve())}
    if config is not None:
        changed["FOOTNOTE_CONFIG"] = str(config.resolve())
    return {**environ, **changed}

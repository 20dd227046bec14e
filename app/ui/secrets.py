"""What Streamlit has to know to sign readers in: a file of its own kind, that nobody else may read."""

import json
import os
import secrets
import tomllib
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from app.settings import Settings
from indexer.errors import ConfigError
from indexer.store.disk import disk_error

CALLBACK = "/oauth2callback"
_COOKIE_BYTES = 32


def write_secrets(settings: Settings, port: int) -> Path:
    """Write HOME/page/secrets.toml and return its path. The cookies' secret stays, so that a restart signs nobody out.

    Raises:
        ConfigError: a setting of sign_in is missing or cannot be.
        IndexError_: the file cannot be written.
    """
    section = settings.sign_in
    for name in ("client_id", "client_secret"):
        value = getattr(section, name)
        if not (value if isinstance(value, str) else value.get_secret_value()):
            raise ConfigError(
                f"sign_in.metadata_url is set, and sign_in.{name} is not.", "Set it; the provider gave it."
            )
    redirect = section.redirect_url or f"http://localhost:{port}{CALLBACK}"
    if urlsplit(redirect).scheme not in ("http", "https") or urlsplit(redirect).path != CALLBACK:
        raise ConfigError(
            f"sign_in.redirect_url = {redirect} is no address of the page.",
            f"Write the address that readers open, with the path {CALLBACK}.",
        )
    path = settings.home / "page" / "secrets.toml"
    values = {
        "redirect_uri": redirect,
        "cookie_secret": _cookie_secret(path),
        "client_id": section.client_id,
        "client_secret": section.client_secret.get_secret_value(),
        "server_metadata_url": section.metadata_url,
    }
    _write(path, values, section.scopes)
    return path


def _cookie_secret(path: Path) -> str:
    try:
        return str(tomllib.loads(path.read_text(encoding="utf-8"))["auth"]["cookie_secret"])
    except (OSError, ValueError, KeyError, TypeError):
        return secrets.token_hex(_COOKIE_BYTES)


def _write(path: Path, values: Mapping[str, str], scopes: str) -> None:
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]  # TOML's strings are JSON's
    lines += ["[auth.client_kwargs]", f"scope = {json.dumps(scopes)}"]
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.unlink(missing_ok=True)  # one with other rights would keep them
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write("\n".join(["[auth]", *lines, ""]))
    except OSError as error:
        raise disk_error(error, path) from error

"""Where a Milvus is: `milvus://HOST:19530`, `milvus+tls://HOST:443/DATABASE`, or `milvus:FILE.db` for Milvus Lite."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from indexer.errors import ConfigError

SCHEMES = ("milvus", "milvus+tls")
_PORT = 19530
_FORMS = "Write milvus://HOST:19530, milvus+tls://HOST:PORT/DATABASE, or milvus:FILE.db for Milvus Lite."


@dataclass(frozen=True, slots=True)
class Address:
    """A Milvus: a server, or a file of Milvus Lite."""

    uri: str  # as it is remembered and shown; never with a secret
    endpoint: str  # as pymilvus wants it
    database: str = ""

    @property
    def is_lite(self) -> bool:
        """Whether it is a file that this process opens itself."""
        return self.endpoint.endswith(".db") and "://" not in self.endpoint


def parse_address(text: str) -> Address:
    """Read an address; the path of a file is made absolute.

    Raises:
        ConfigError: it is none, or it carries a user or a password.
    """
    scheme, _, rest = text.partition(":")
    if scheme not in SCHEMES or not rest:
        raise ConfigError(f'"{text[:200]}" is no address of a Milvus', _FORMS)
    if not rest.startswith("//"):
        return _file(text, rest)
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port or _PORT
    except ValueError as error:
        raise ConfigError(f"The address of Milvus is not valid: {error}", _FORMS) from error
    if parts.username is not None or parts.password is not None:  # it would be kept in clear beside the collection
        raise ConfigError(
            "The address of Milvus carries a user or a password",
            "Leave it out, and set milvus.token to USER:PASSWORD, as in FOOTNOTE_MILVUS__TOKEN.",
        )
    database = parts.path.strip("/")
    if not host or "/" in database or parts.query or parts.fragment:
        raise ConfigError(f'"{text[:200]}" is no address of a Milvus', _FORMS)
    shown = f"[{host}]" if ":" in host else host
    place = f"{shown}:{port}"
    uri = f"{scheme}://{place}" + (f"/{database}" if database else "")
    return Address(uri, f"{'https' if scheme.endswith('tls') else 'http'}://{place}", database)


def _file(text: str, rest: str) -> Address:
    path = Path(rest).expanduser().absolute()
    if not text.startswith("milvus:") or path.suffix != ".db":
        raise ConfigError(f'"{text[:200]}" names no file of Milvus Lite: it must end in .db', _FORMS)
    return Address(f"milvus:{path}", str(path))

"""Whether a port is free to listen on."""

import socket

from indexer.errors import ConfigError


def refuse_taken(host: str, port: int, who: str, instead: str) -> None:
    """Check that `who` can listen on a port; `instead` is the command that takes another one.

    Raises:
        ConfigError: another program listens there, or the address is not this machine's.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigError(
                f"{who} cannot listen on {host}:{port}: {error.strerror}.",
                f"Stop the other program, or choose another port: `{instead}`.",
            ) from error

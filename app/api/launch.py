"""`serve`: the HTTP API until it is told to stop."""

import uvicorn

from app.api.application import create_app
from app.display import note
from app.settings import Settings
from app.ui.launch import refuse_taken


def run_serve(settings: Settings, port: int | None) -> None:
    """Serve until Ctrl-C or SIGTERM; what runs then is finished first, for at most `server.shutdown_s`.

    Raises:
        ConfigError: another program listens on the port.
    """
    host, port = settings.server.host, port or settings.server.port
    refuse_taken("The API", "serve", host, port)
    note(f"The API is at http://{f'[{host}]' if ':' in host else host}:{port}/v1")
    uvicorn.run(
        create_app(settings),
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=round(settings.server.shutdown_s) or None,
        timeout_keep_alive=30,
    )

"""The container's own command and health check, with a real server."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

from deployed import COMMANDS, DEPLOY, OVERLAYS, PORTS, containers, healthcheck

from app.settings import ROOT


def status(port: int, path: str) -> int:
    from urllib.error import HTTPError

    try:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
            return int(answer.status)
    except HTTPError as error:
        return int(error.code)


def test_the_health_check_tells_a_server_that_runs_from_one_that_does_not(tmp_path: Path) -> None:
    """The container's own settings and commands, on a free port and without loading a model."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    ours = {"HOME", "PATH", "LANG"}
    environment = {name: value for name, value in os.environ.items() if name in ours} | {
        "PYTHONPATH": str(ROOT),
        "FOOTNOTE_CONFIG": str(DEPLOY / "footnote.toml"),
        "FOOTNOTE_HOME": str(tmp_path / "home"),
        "FOOTNOTE_SERVER__PORT": str(port),
        "FOOTNOTE_ENCODER__MODEL": str(tmp_path / "none"),
    }
    check = [sys.executable, *healthcheck()[1:]]
    check[-1] = check[-1].replace(f":{PORTS['api']}/", f":{port}/")
    server = subprocess.Popen([sys.executable, "-m", "app", *COMMANDS["api"]], cwd=tmp_path, env=environment)
    try:
        until = time.monotonic() + 120
        while subprocess.run(check, stderr=subprocess.DEVNULL).returncode:
            assert server.poll() is None
            assert time.monotonic() < until, "the server never became healthy"
            time.sleep(0.2)
        for overlay in OVERLAYS:
            told = containers(overlay)["api"]
            assert status(port, told["livenessProbe"]["httpGet"]["path"]) == 200
            assert status(port, told["readinessProbe"]["httpGet"]["path"]) == 503  # no model
        assert status(port, "/v1/models") == 401
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
    finally:
        server.kill()
    assert subprocess.run(check, stderr=subprocess.DEVNULL).returncode

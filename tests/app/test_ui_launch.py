"""How the server of the page is started."""

import socket
from pathlib import Path

import pytest

from app.settings import ROOT, Settings
from app.ui import rooms
from app.ui.launch import PAGE, run_ui, ui_command, ui_environment
from indexer.errors import ConfigError


def test_the_command_keeps_to_this_machine_and_calls_nobody() -> None:
    command = ui_command(Settings(), "contracts", 8600)
    assert command[1:5] == ["-m", "streamlit", "run", str(PAGE)]
    assert (ROOT / PAGE).exists()
    assert {"--server.address=127.0.0.1", "--server.port=8600", "--browser.gatherUsageStats=false"} <= set(command)
    assert "--server.allowedHosts=localhost" in command
    assert command[-2:] == ["--", "contracts"]


def test_a_folder_to_review_is_named_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command = ui_command(Settings(), None, 8600, review=Path("asked"))  # the server runs in another folder
    assert command[-3:] == ["--", "--review", str(tmp_path / "asked")]
    monkeypatch.setattr("sys.argv", ["main.py", *command[-2:]])
    monkeypatch.setattr("app.ui.person.is_loopback", lambda: True)
    assert rooms.review_folder() == tmp_path / "asked"
    monkeypatch.setattr("sys.argv", ["main.py", "contracts"])
    assert (rooms.review_folder(), rooms.first_collection()) == (None, "contracts")


def test_a_page_for_the_network_answers_to_any_name() -> None:
    settings = Settings.model_validate({"ui": {"host": "0.0.0.0"}})
    command = ui_command(settings, None, 8501)
    assert not any("allowedHosts" in part for part in command)
    assert "--logger.hideWelcomeMessage=true" in command  # the greeting asks the internet for our address
    assert "--logger.hideWelcomeMessage=true" not in ui_command(Settings(), None, 8501)
    assert command[-1] == "--"


def test_the_server_reads_the_same_home_and_settings(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    environment = ui_environment(settings, tmp_path / "footnote.toml", {"PATH": "/bin"})
    assert environment == {
        "PATH": "/bin",
        "FOOTNOTE_HOME": str(tmp_path / "home"),
        "FOOTNOTE_CONFIG": str(tmp_path / "footnote.toml"),
    }


def test_a_port_in_use_is_said_before_anything_starts() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError) as caught:
            run_ui(Settings(), port=port)
    assert f"127.0.0.1:{port}" in caught.value.message
    assert f"--port {port + 1}" in caught.value.remedy

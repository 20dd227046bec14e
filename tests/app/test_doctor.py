"""`doctor`: what it finds present and missing."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from app.doctor import examine
from app.launches import Installed
from app.settings import Settings, load_settings, variable
from indexer.llm2vec.published import locate

Footnote = Callable[..., Any]


def look(settings: Settings) -> dict[str, Any]:
    return {check.name: check for check in examine(settings)}


def test_this_installation_can_run(home: Path) -> None:
    checks = look(load_settings())
    for name in ("python", "packages", "home", "disk", "encoder", "faiss", "tantivy"):
        assert checks[name].state == "ok", checks[name]


def test_exit_code_and_shape(footnote: Footnote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOOTNOTE_RETRIEVER__RERANKER", "/nowhere")
    result = footnote("doctor", "--json")
    assert result.code == 1
    assert result.json["ok"] is False
    reranker = next(check for check in result.json["checks"] if check["name"] == "reranker")
    assert reranker == {
        "name": "reranker",
        "state": "missing",
        "found": "/nowhere",
        "remedy": "Correct retriever.reranker.",
    }
    assert "missing  reranker" in footnote("doctor").stdout


@pytest.mark.parametrize(("key", "check"), [("retriever.reranker", "reranker"), ("encoder.model", "encoder")])
def test_a_name_on_the_hub_is_looked_for_in_the_cache_of_downloads(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, check: str
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    settings = load_settings(None, {variable(key): "tiny/ranker"})
    found = look(settings)[check]
    assert (found.state, found.found) == (
        "missing",
        "tiny/ranker, not in the cache of downloads, and downloading is off",
    )
    assert "HF_HUB_OFFLINE=0" in found.remedy and f"folder in {key}" in found.remedy
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    assert look(settings)[check].found.endswith("it is fetched at the first use")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    snapshot = tmp_path / "cache" / "models--tiny--ranker" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("abc")
    (snapshot / "config.json").write_text("{}")
    assert look(settings)[check].state == "missing", "a download that was cut off"
    (snapshot / "model.safetensors.index.json").write_text(
        '{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}'
    )
    (snapshot / "model-1.safetensors").touch()
    assert look(settings)[check].state == "missing", "half of the weights"
    (snapshot / "model-2.safetensors").touch()
    found = look(settings)[check]
    assert (found.state, found.found, found.remedy) == ("ok", "tiny/ranker, in the cache of downloads", "")
    assert locate("tiny/ranker") == snapshot, "what doctor finds is what is loaded"


def test_a_local_vllm_is_looked_for(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.launches.installed", lambda: None)
    assert look(load_settings())["vllm"].state == "optional"
    monkeypatch.setattr("app.launches.installed", lambda: Installed("cpu", "0.32.0"))
    assert look(load_settings())["vllm"].found == "0.32.0 for the processor, not running"


def test_a_home_that_cannot_be_made(home: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    check = look(load_settings(None, {"FOOTNOTE_HOME": str(tmp_path / "file" / "home")}))["home"]
    assert check.state == "missing"
    assert "FOOTNOTE_HOME" in check.remedy


def test_a_wrong_pin_is_named(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "requirements.txt").write_text("typer==0.0.1\nno-such-package==1\n", encoding="utf-8")
    monkeypatch.setattr("app.doctor.ROOT", tmp_path)
    check = look(load_settings())["packages"]
    assert check.state == "missing"
    assert "typer" in check.found
    assert "no-such-package missing (pinned 1)" in check.found


@pytest.fixture
def server() -> Iterator[str]:
    """A server that lists one model."""

    class Lists(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"object": "list", "data": [{"id": "tiny", "object": "model", "max_model_len": 512}]})
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Lists) as listening:
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}/v1"
        listening.shutdown()


def test_the_server_is_asked(home: Path, server: str) -> None:
    check = look(load_settings(None, {"FOOTNOTE_GENERATOR__BASE_URL": server}))["generator"]
    assert (check.state, check.found) == ("ok", f"{server} serves tiny: 512 tokens")
    away = look(load_settings(None, {"FOOTNOTE_GENERATOR__BASE_URL": "http://127.0.0.1:9/v1"}))["generator"]
    assert away.state == "missing"
    assert away.remedy
    nameless = look(load_settings(None, {"FOOTNOTE_GENERATOR__KIND": "server"}))["generator"]
    assert "generator.base_url" in nameless.remedy

"""`migrate`, and a collection in Milvus behind every other command."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.resolved import index_settings
from app.settings import load_settings
from indexer.errors import ConfigError
from tests.indexer.moving import needs_milvus

Footnote = Callable[..., Any]


@needs_milvus
def test_a_collection_moves_there_and_back(footnote: Footnote, papers: Path, tmp_path: Path, encoder: Any) -> None:
    footnote("ingest", papers)
    before = footnote("search", "tower", "--json").json["hits"]
    encoder.encoded.clear()
    moved = footnote("migrate", "--to", "milvus:./moved.db", "--json")
    assert moved.code == 0, moved.stderr
    told = moved.json
    assert (told["kind"], told["written"], told["resumed_after"]) == ("milvus", told["chunks"], None)
    assert told["place"].startswith(f"milvus:{tmp_path}/moved.db, footnote_default_0001_")
    assert not encoder.encoded
    status = footnote("status", "--json").json
    assert status["index"] == {"kind": "milvus", "place": told["place"]}
    assert f"Index: milvus, {told['place']}" in footnote("status").stdout
    assert footnote("documents", "--json").json["index"] == "milvus"
    assert [hit["source"] for hit in footnote("search", "tower", "--json").json["hits"]] == [
        hit["source"] for hit in before
    ]
    (papers / "fog.txt").write_text("The fog horn sounded all night.")
    assert footnote("ingest", papers).code == 0
    assert footnote("search", "horn", "--mode", "bm25", "--json").json["hits"][0]["text"].startswith("The fog horn")
    assert footnote("verify", "--json").json["index"] == "milvus"
    assert "index milvus: everything agrees" in footnote("verify").stdout
    assert "nothing was to be written" in footnote("migrate", "--to", "milvus:./moved.db").stdout
    assert footnote("migrate", "--to", "local", "--json").json["kind"] == "local"
    assert footnote("status", "--json").json["index"]["kind"] == "local"
    assert footnote("search", "horn", "--mode", "bm25", "--json").json["hits"]


@needs_milvus
def test_new_collections_go_where_the_settings_say(
    footnote: Footnote, papers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    footnote("ingest", papers / "bees.txt", "-c", "old")
    monkeypatch.setenv("FOOTNOTE_INDEXER__INDEX", "milvus")
    monkeypatch.setenv("FOOTNOTE_MILVUS__URI", f"milvus:{tmp_path}/index.db")
    assert footnote("ingest", papers, "-c", "new").code == 0
    assert footnote("status", "-c", "new", "--json").json["index"]["kind"] == "milvus"
    assert footnote("status", "-c", "old", "--json").json["index"]["kind"] == "local"
    (milvus,) = (check for check in footnote("doctor", "--json").json["checks"] if check["name"] == "milvus")
    assert (milvus["state"], "Milvus" in milvus["found"]) == ("ok", True)
    monkeypatch.delenv("FOOTNOTE_INDEXER__INDEX")
    monkeypatch.delenv("FOOTNOTE_MILVUS__URI")
    assert footnote("search", "bees", "-c", "new", "--json").json["hits"]  # the collection remembers


def test_usage_mistakes_and_what_is_not_there(footnote: Footnote, papers: Path) -> None:
    footnote("ingest", papers)
    assert footnote("migrate", "--to", "redis://host").code == 2
    assert footnote("migrate").code == 2
    wrong = footnote("migrate", "--to", "milvus:plain", "--json")
    assert (wrong.code, "must end in .db" in wrong.json["error"]["message"]) == (1, True)
    assert footnote("migrate", "--to", "local", "-c", "nowhere").code == 1


@needs_milvus
def test_a_server_that_is_not_there_is_named(footnote: Footnote, papers: Path) -> None:
    footnote("ingest", papers)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    refused = footnote("migrate", "--to", f"milvus://127.0.0.1:{port}", "--json")
    assert refused.code == 1
    assert f"milvus://127.0.0.1:{port} does not answer" in refused.json["error"]["message"]
    assert footnote("status", "--json").json["index"]["kind"] == "local"


def test_a_missing_address_is_said_before_a_collection_is_made(
    footnote: Footnote, papers: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOOTNOTE_INDEXER__INDEX", "milvus")
    refused = footnote("ingest", papers, "--json")
    assert (refused.code, refused.json["error"]["remedy"]) == (1, "Set milvus.uri.")
    monkeypatch.setenv("FOOTNOTE_INDEXER__INDEX", "local")
    assert footnote("ingest", papers).code == 0


def test_the_address_of_a_file_is_relative_to_the_settings_and_the_token_is_hidden(tmp_path: Path) -> None:
    file = tmp_path / "footnote.toml"
    file.write_text('[milvus]\nuri = "milvus:index.db"\ntoken = "root:hush"\n')
    settings = load_settings(file, {})
    assert settings.milvus.uri == f"milvus:{tmp_path}/index.db"
    assert "hush" not in repr(settings) + repr(index_settings(settings)) + settings.model_dump_json()
    assert index_settings(settings).token == "root:hush"
    file.write_text('[milvus]\nuri = "milvus://host"\ntoken = 5\n')
    with pytest.raises(ConfigError) as raised:
        load_settings(file, {})
    assert "(hidden)" in raised.value.message

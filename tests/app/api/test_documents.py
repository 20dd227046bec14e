"""Uploading, searching, looking and deleting over the API, and thumbs."""

import errno
import json
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from running import Running, wait_for

from app.api.library import Library
from app.database import Database
from app.settings import load_settings
from indexer.ledger import Progress


@pytest.fixture
def client(serve: Any) -> Any:
    with serve().client() as made:
        yield made


def upload(client: httpx.Client, files: dict[str, bytes], collection: str = "papers") -> dict[str, Any]:
    """Upload and wait to the end."""
    answered = client.post(
        "/documents", data={"collection": collection}, files=[("files", item) for item in files.items()]
    )
    assert answered.status_code == 202, answered.text
    wait_for(lambda: ingest(client, answered.json()["id"])["state"] in ("done", "failed"))
    return ingest(client, answered.json()["id"])


def ingest(client: httpx.Client, id_: str) -> dict[str, Any]:
    return dict(client.get(f"/documents/ingests/{id_}").json())


def test_from_an_upload_to_a_passage_and_its_end(client: httpx.Client, home: Path) -> None:
    told = upload(client, {"ferry.txt": b"The ferry leaves at nine.", "../../bees.txt": b"The bees swarm in May."})
    assert (told["state"], told["files"], told["files_done"]) == ("done", ["ferry.txt", "bees.txt"], 2)
    assert [file["state"] for file in told["report"]] == ["indexed", "indexed"]
    assert (home / "uploads" / "papers" / "bees.txt").is_file()
    listed = client.get("/documents", params={"collection": "papers"}).json()
    assert (listed["total"], [item["title"] for item in listed["documents"]]) == (2, ["Bees", "Ferry"])
    one = client.get("/documents", params={"collection": "papers", "offset": 1, "limit": 1}).json()
    assert (one["total"], [item["title"] for item in one["documents"]]) == (2, ["Ferry"])
    found = client.post("/search", json={"query": "when does the ferry leave", "collection": "papers", "k": 1}).json()
    (hit,) = found["hits"]
    assert set(hit["parts"]) == {"bm25", "dense", "convex"}
    whole = client.get(f"/documents/{hit['document']}", params={"collection": "papers"}).json()
    assert whole["text"][hit["start"] : hit["end"]] == hit["text"]
    gone = client.delete(f"/documents/{hit['document']}", params={"collection": "papers"})
    assert gone.json() == {"collection": "papers", "deleted": hit["document"]}
    assert not (home / "uploads" / "papers" / "ferry.txt").exists()
    assert client.get(f"/documents/{hit['document']}", params={"collection": "papers"}).status_code == 404
    assert client.delete(f"/documents/{hit['document']}", params={"collection": "papers"}).status_code == 404
    again = client.post("/search", json={"query": "ferry", "collection": "papers", "mode": "bm25"}).json()
    assert again["hits"] == []


def test_a_file_that_fails_is_named_with_its_reason(client: httpx.Client) -> None:
    told = upload(client, {"good.txt": b"The ferry leaves at nine.", "empty.pdf": b"", "odd.xyz": b"?"})
    assert told["state"] == "done"
    assert {file["name"]: file["state"] for file in told["report"]} == {
        "good.txt": "indexed",
        "empty.pdf": "failed",
        "odd.xyz": "failed",
    }
    assert all(file["reason"] and file["remedy"] for file in told["report"] if file["state"] == "failed")


def test_no_room_for_an_upload(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(folder: Path, files: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("app.api.documents.save", full)
    refused = client.post("/documents", files={"files": ("a.txt", b"text")})
    assert (refused.status_code, refused.json()["error"]["code"]) == (507, "storage")
    assert "No space left" in refused.json()["error"]["message"]


def test_the_file_of_a_document_that_was_not_uploaded_stays(client: httpx.Client, footnote: Any, papers: Path) -> None:
    footnote("ingest", papers, "--collection", "own")
    first = client.get("/documents", params={"collection": "own"}).json()["documents"][0]
    assert client.delete(f"/documents/{first['id']}", params={"collection": "own"}).status_code == 200
    assert Path(first["source"]).is_file()


def test_every_upload_of_the_same_bytes_goes_with_its_document(client: httpx.Client, home: Path) -> None:
    upload(client, {"a.txt": b"The ferry leaves at nine.", "b.txt": b"The ferry leaves at nine.", "c.txt": b"Else."})
    listed = client.get("/documents", params={"collection": "papers"}).json()["documents"]
    (ferry,) = [item for item in listed if item["title"] != "C"]
    assert client.delete(f"/documents/{ferry['id']}", params={"collection": "papers"}).status_code == 200
    assert [path.name for path in (home / "uploads" / "papers").iterdir()] == ["c.txt"]


@pytest.mark.parametrize("name", ["", "../x", "a/b", "-x", "x" * 65, "x\n"])
def test_a_name_that_no_collection_can_have(client: httpx.Client, home: Path, name: str) -> None:
    answered = client.post("/documents", data={"collection": name}, files={"files": ("a.txt", b"text")})
    assert answered.status_code == 400 or (name == "" and answered.status_code == 202)  # an empty field is the default
    assert not (home / "x").exists()


def test_collections_and_one_that_is_damaged(client: httpx.Client, footnote: Any, papers: Path, home: Path) -> None:
    footnote("ingest", papers, "--collection", "good")
    footnote("ingest", papers, "--collection", "bad")
    (truth,) = (home / "collections" / "bad").rglob("truth.db")
    for file in truth.parent.glob("truth.db*"):
        file.write_bytes(b"nothing of a database" * 100)
    good, bad = sorted(client.get("/collections").json()["collections"], key=lambda item: item["name"] == "bad")
    assert (good["name"], good["documents"], good["chunks"], good["encoder"]) == ("good", 3, 3, "words-1")
    assert (bad["name"], bad["documents"], bad["error"]) == ("bad", None, "IndexError")


def test_an_upload_that_was_cut_off_goes_on_with_the_next_server(
    serve: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, real = threading.Event(), Library.ingest

    def endless(self: Library, name: str, paths: list[Path], groups: list[str], on_progress: Any) -> Any:
        while True:
            on_progress(Progress(0, 1, 0, 0, 0, 0.0, None, "a.txt"))
            held.set()
            time.sleep(0.01)

    monkeypatch.setattr(Library, "ingest", endless)
    first = serve()
    with first.client() as client:
        answered = client.post("/documents", data={"collection": "c"}, files={"files": ("a.txt", b"The ferry leaves.")})
        assert held.wait(10)
        assert ingest(client, answered.json()["id"])["state"] == "running"
    first.stop()
    monkeypatch.setattr(Library, "ingest", real)
    with serve().client() as client:
        wait_for(lambda: ingest(client, answered.json()["id"])["state"] == "done")
        assert client.get("/documents", params={"collection": "c"}).json()["total"] == 1


def test_too_many_uploads_in_line(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    real = Library.ingest
    monkeypatch.setattr(Library, "ingest", lambda *given: (go.wait(20), real(*given))[1])
    with serve(ingests=1).client() as client:
        statuses = []
        for number in range(4):
            answered = client.post("/documents", files={"files": (f"{number}.txt", b"The ferry leaves.")})
            statuses.append(answered.status_code)
        assert statuses[0] == 202
        assert statuses[-1] == 503
        assert int(answered.headers["retry-after"]) > 0
        assert answered.json()["error"]["code"] == "overloaded"
        go.set()


def test_a_thumb_is_stored_with_all_that_led_to_the_answer(serve: Any, tower: str, home: Path) -> None:
    with serve().client() as client:
        question = {"role": "user", "content": "How tall is the tower?"}
        asked = {"model": tower, "messages": [question], "footnote": {"filters": ["title!=Ferry"]}}
        answered = client.post("/v1/chat/completions", json=asked).json()
        thumb = {"id": answered["id"], "thumb": "down", "reason": "too short", "correction": "34 metres"}
        assert client.post("/feedback", json=thumb).json() == {"number": 1}
        assert client.post("/feedback", json={**thumb, "thumb": "up"}).json() == {"number": 2}
        assert client.post("/feedback", json={**thumb, "id": "chatcmpl-none"}).status_code == 404
        assert client.post("/feedback", json={**thumb, "thumb": "sideways"}).status_code == 400
    with Database(home).connected() as db:
        columns = "collection, answer_id, thumb, reason, correction, served, filters"
        row = db.execute(f"SELECT {columns} FROM feedback WHERE number = 1").fetchone()
        assert row[:5] == ("tower", answered["id"], "down", "too short", "34 metres")
        assert row[6] == '["title!=Ferry"]'
        served = json.loads(row[5])
        with pytest.raises(sqlite3.IntegrityError, match="append only"):
            db.execute("UPDATE feedback SET thumb = 'up'")
        with pytest.raises(sqlite3.IntegrityError, match="append only"):
            db.execute("DELETE FROM feedback")
    assert served["question"] == served["query"] == "How tall is the tower?"
    assert served["answer"] == "The tower is 34 metres tall [1]."
    assert (served["prompt"], served["model"], served["encoder"]) == ("answer-1", "tiny", "words-1")
    assert served["generation"] == 1
    assert served["sequence"] > 0
    assert set(served["hits"][0]["parts"]) == {"bm25", "dense", "convex"}
    (citation,) = served["citations"]
    assert citation[1] == served["hits"][0]["document"]


def test_health_readiness_and_figures(serve: Any, tower: str, model: Any) -> None:
    with serve().client() as client:
        assert client.get("/health").json() == {"status": "ok"}
        wait_for(lambda: client.get("/ready").status_code == 200)
        question = {"role": "user", "content": "How tall is the tower?"}
        client.post("/v1/chat/completions", json={"model": tower, "messages": [question]})
        client.get("/no/such/path")
        text = client.get("/metrics").text
    assert 'footnote_requests_total{method="POST",route="/v1/chat/completions",status="200"} 1.0' in text
    assert 'footnote_requests_total{method="GET",route="-",status="404"} 1.0' in text
    assert 'footnote_answer_stage_seconds_count{stage="generate"} 1.0' in text
    assert "footnote_answers_running 0.0" in text
    assert "process_resident_memory_bytes" in text
    assert "tower" not in text


def test_not_ready_without_its_model(serve: Any, model: Any) -> None:
    model.behaviour = "html"
    with serve().client() as client:
        wait_for(lambda: "OpenAI protocol" in client.get("/ready").json()["reason"])
        assert client.get("/ready").status_code == 503
        assert client.get("/health").status_code == 200


@pytest.mark.parametrize("name", ["", "tiny"])
def test_ready_follows_the_model_server(
    home: Path, encoder: Any, model: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("app.api.monitor._AGAIN_S", 0.05)
    variables = {"FOOTNOTE_GENERATOR__BASE_URL": model.base_url, "FOOTNOTE_GENERATOR__MODEL": name}
    running = Running(load_settings(None, {"FOOTNOTE_HOME": str(home), **variables}))
    with running.client() as client:
        for behaviour, said in (("hangs up", "No model server answers"), ("key", "refuses the key")):
            wait_for(lambda: client.get("/ready").json() == {"ready": True, "reason": ""})
            model.behaviour = behaviour
            wait_for(lambda: client.get("/ready").status_code == 503)
            assert said in client.get("/ready").json()["reason"]
            assert client.get("/health").status_code == 200
            model.behaviour = "well"
        wait_for(lambda: client.get("/ready").status_code == 200)
    running.stop()

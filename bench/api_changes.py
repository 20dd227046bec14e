"""Documents that come and go while a service answers, and who still cites what is gone. A part of bench/api.py."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

WORDS = ("amber", "cobalt", "crimson", "ivory", "jade", "ochre", "russet", "teal", "umber", "violet")
_PAUSE_S = 1.0


@dataclass(slots=True)
class Changes:
    """What was added and deleted, and when; for several threads."""

    added: int = 0
    deleted: int = 0
    found_ms: list[float] = field(default_factory=list)  # from the upload to the search that finds it
    wrong: list[str] = field(default_factory=list)
    gone_at: dict[str, float] = field(default_factory=dict)  # document id -> when its deletion was answered
    asked_about: str = ""  # a question whose document was deleted, or is there now
    lock: threading.Lock = field(default_factory=threading.Lock)

    def look_at(self, footnote: Mapping[str, Any], began: float) -> None:
        """Note an answer that cites, or was given, a document that was gone before it was asked for."""
        named = {each["document"] for each in (*footnote["citations"], *footnote["hits"])}
        with self.lock:
            late = [id_ for id_ in named if self.gone_at.get(id_, began) < began]
            self.wrong += [f"an answer names {id_}, which was deleted before it was asked for" for id_ in late]


def change(client: httpx.Client, collection: str, changes: Changes, ended: Callable[[], bool]) -> None:
    """Add a document, find it, delete it, and find it no more, until the time is up."""
    number = 0
    while not ended():
        number += 1
        word = WORDS[number % len(WORDS)]
        name, said = f"beacon-{number}.txt", f"The lamp of beacon Quillon {number} is painted {word}."
        changes.asked_about = f"Which colour is the lamp of beacon Quillon {number} painted?"
        try:
            _add_and_delete(client, collection, name, said, changes)
        except httpx.HTTPError as error:
            changes.wrong.append(f"{name}: no answer, {type(error).__name__}")
        except _Refused as refused:
            changes.wrong.append(f"{name}: {refused}")
        time.sleep(_PAUSE_S)


class _Refused(Exception):
    """The service said something else than it should."""


def _add_and_delete(client: httpx.Client, collection: str, name: str, said: str, changes: Changes) -> None:
    began = time.monotonic()
    sent = client.post("/documents", data={"collection": collection}, files={"files": (name, said.encode())})
    told = _json(sent, 202)
    while told["state"] in ("waiting", "running"):
        time.sleep(0.2)
        told = _json(client.get(f"/documents/ingests/{told['id']}"), 200)
    if told["state"] != "done" or told["report"][0]["state"] not in ("indexed", "unchanged"):
        raise _Refused(f"it was not indexed: {told['error'] or told['report']}")
    id_ = told["report"][0]["document_id"]
    if id_ not in _search(client, collection, said):
        raise _Refused("it is not found although it was indexed")
    changes.found_ms.append((time.monotonic() - began) * 1000)
    changes.added += 1
    _json(client.delete(f"/documents/{id_}", params={"collection": collection}), 200)
    with changes.lock:
        changes.gone_at[id_] = time.monotonic()
    changes.deleted += 1
    if id_ in _search(client, collection, said):
        raise _Refused("it is found although it was deleted")


def _search(client: httpx.Client, collection: str, query: str) -> set[str]:
    body = {"collection": collection, "query": query, "k": 5}
    return {hit["document"] for hit in _json(client.post("/search", json=body), 200)["hits"]}


def _json(answer: httpx.Response, status: int) -> Any:
    for _ in range(20):
        if answer.status_code not in (429, 503):
            break
        time.sleep(float(answer.headers.get("Retry-After", 1)))
        answer = _again(answer)
    if answer.status_code != status:
        raise _Refused(f"{answer.request.method} {answer.request.url.path} gave {answer.status_code}")
    return answer.json()


def _again(answer: httpx.Response) -> httpx.Response:
    request = answer.request
    with httpx.Client(timeout=600) as client:
        request.read()
        return client.send(httpx.Request(request.method, request.url, headers=request.headers, content=request.content))

"""Broken uploads against the HTTP API: every one gets a 202 or a documented refusal, and leaves nothing behind.

    python -m bench.uploads [--requests 500] [--folder ../shared/bench/documents] [--seed 0]

A server in this process, with a home of its own, gets real files that are cut short, flipped, spliced and filled with
zeros, ZIP archives that unpack without end, empty files and wrong media types, under names with ../, NUL, control and
surrogate bytes, other scripts and thousands of letters, in forms that are whole, cut short or none at all. Nothing is
encoded: what is tried is the way in. The exit code is 1 when an answer is a 5xx or none, an upload does not end, or a
file stays anywhere but under the name of an accepted upload. The last line is JSON.
"""

import argparse
import io
import json
import os
import random
import socket
import sys
import tempfile
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from app.api import library
from app.api.application import create_app
from app.settings import load_settings
from eval.index import NoEncoder

DOCUMENTS = Path(os.environ.get("FOOTNOTE_BENCH", "../shared/bench")) / "documents"
DOCUMENTED = {202, 400, 403, 413}  # docs/api.md: a refusal of the request; 401 and 429 need keys
MOST_BYTES, UPLOAD_MB = 400_000, 2.0
BOUNDARY = b"fn-5f1c"
NAMES = (
    *("../../{}", "..\\..\\{}", "/etc/{}", "C:\\{}", "{}/", "%2e%2e%2f{}"),
    *("a\x00{}", "\x00", "", ".", "..", " ", "{}.", "\r\n{}", '"; filename="{}', "CON.{}", ".upload-x{}", "{}"),
    *("{}" * 600, "a" * 199 + "é{}", "\N{RIGHT-TO-LEFT OVERRIDE}fdp.{}", "страница {}", "ファイル{}", "e\u0301{}"),
)
TYPES = (b"application/pdf", b"text/html; charset=utf-16", b"image/png", b"nonsense", b"", b"multipart/mixed")
FORMS = ("whole",) * 12 + ("cut", "no boundary", "json", "no type", "other boundary", "header", "bare", "collection")


@dataclass(slots=True)
class Tally:
    """What came back."""

    statuses: Counter[str] = field(default_factory=Counter)
    accepted: set[str] = field(default_factory=set)  # names under which files may stay
    ingests: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--folder", type=Path, default=DOCUMENTS, help="of files that are broken")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    library.build_encoder = lambda settings: NoEncoder()  # type: ignore[attr-defined,misc]
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        told = run(Path(scratch), options.folder, options.requests, options.seed)
    print(json.dumps({"bench": "uploads", "seconds": round(time.monotonic() - began, 1), **told}))
    sys.exit(1 if told["wrong"] else 0)


def run(scratch: Path, folder: Path, requests: int, seed: int) -> dict[str, Any]:
    """Send so many requests to a server of its own, and say what came of them."""
    rng, tally, home, spool = random.Random(seed), Tally(), scratch / "home", scratch / "spool"
    spool.mkdir()
    before, tempfile.tempdir = tempfile.tempdir, str(spool)
    try:
        with serving(home) as url, httpx.Client(base_url=url, timeout=120) as client:
            for number, (headers, body) in enumerate(drawn(rng, folder, requests)):
                send(client, headers, body, tally, f"request {number}")
            await_all(client, tally)
    finally:
        tempfile.tempdir = before
    tally.wrong += left_behind(scratch, home, spool, tally.accepted)
    states = Counter(tally.statuses)
    return {"requests": requests, "seed": seed, "statuses": dict(sorted(states.items())), "wrong": tally.wrong[:20]}


class serving:
    """A server in a thread, for a block."""

    def __init__(self, home: Path) -> None:
        limits = {
            "SERVER__INGESTS": "100000",
            "SERVER__MAX_UPLOAD_MB": str(UPLOAD_MB),
            "INDEXER__PARSE_TIMEOUT_S": "20",
        }
        variables = {f"FOOTNOTE_{name}": value for name, value in limits.items()}
        app = create_app(
            load_settings(None, {**variables, "FOOTNOTE_HOME": str(home), "FOOTNOTE_RETRIEVER__MODE": "bm25"})
        )
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(60)


def send(client: httpx.Client, headers: dict[str, bytes], body: bytes, tally: Tally, named: str) -> None:
    """Send one request and look at its answer."""
    try:
        answer = client.post("/documents", content=body, headers=headers)
    except httpx.HTTPError as error:
        tally.wrong.append(f"{named}: no answer, {type(error).__name__}")
        return
    tally.statuses[str(answer.status_code)] += 1
    if answer.status_code not in DOCUMENTED:
        tally.wrong.append(f"{named}: {answer.status_code} {answer.text[:200]}")
    elif answer.status_code == 202:
        tally.ingests.append(answer.json()["id"])
        tally.accepted.update(answer.json()["files"])
    elif not answer.json()["error"]["message"]:
        tally.wrong.append(f"{named}: {answer.status_code} without a word")


def await_all(client: httpx.Client, tally: Tally) -> None:
    """Wait until what was accepted is indexed or has failed for a reason."""
    for id_ in tally.ingests:
        until = time.monotonic() + 600
        while (told := client.get(f"/documents/ingests/{id_}").json())["state"] in ("waiting", "running"):
            if time.monotonic() > until:
                tally.wrong.append(f"{id_} does not end")
                return
            time.sleep(0.05)
        if told["state"] != "done":
            tally.wrong.append(f"{id_}: {told['error']}")
        for file in told["report"]:
            tally.statuses[f"file {file['state']}"] += 1
            if file["state"] == "failed" and not file["reason"]:
                tally.wrong.append(f"{id_}: {file['name']} failed without a reason")


def left_behind(scratch: Path, home: Path, spool: Path, accepted: set[str]) -> list[str]:
    """Files that should not be there."""
    uploads = home / "uploads"
    stray = [path for path in uploads.rglob("*") if path.is_file() and path.name not in accepted]
    stray += [path for path in scratch.iterdir() if path not in (home, spool)]
    stray += [
        path for path in home.iterdir() if path.name.split(".")[0] not in ("uploads", "collections", "server", "models")
    ]
    stray += [path for path in spool.rglob("*") if path.is_file()]
    return [f"left behind: {str(path)[-80:]!r}" for path in stray]


def drawn(rng: random.Random, folder: Path, requests: int) -> Iterator[tuple[dict[str, bytes], bytes]]:
    """Requests: headers and body."""
    seeds = [(path.name, path.read_bytes()) for path in sorted(folder.iterdir()) if path.stat().st_size < MOST_BYTES]
    for _ in range(requests):
        parts = [part_of(rng, seeds) for _ in range(rng.choice((1, 1, 1, 2, 3, 0)))]
        yield form_of(rng, parts, rng.choice(FORMS))


def part_of(rng: random.Random, seeds: list[tuple[str, bytes]]) -> bytes:
    """One file of a form."""
    name, content = rng.choice(seeds)
    named = rng.choice(NAMES).replace("{}", name) if rng.random() < 0.6 else name
    raw = named.encode("utf-8", "surrogatepass") + (b"\xff\xfe" if rng.random() < 0.05 else b"")
    raw = raw if rng.random() < 0.3 else raw.replace(b"\r\n", b"%0D%0A").replace(b'"', b"%22")
    kind = rng.choice(TYPES)
    head = b'Content-Disposition: form-data; name="files"; filename="' + raw + b'"\r\n'
    return (
        head + (b"Content-Type: " + kind + b"\r\n" if kind else b"") + b"\r\n" + broken(rng, content, seeds) + b"\r\n"
    )


def broken(rng: random.Random, content: bytes, seeds: list[tuple[str, bytes]]) -> bytes:
    """A file that is not what it was."""
    at = rng.randrange(len(content) + 1)
    match rng.choice(("as it is", "empty", "cut", "flip", "splice", "zeros", "bomb", "nested", "large")):
        case "empty":
            return b""
        case "cut":
            return content[:at]
        case "flip":
            flipped = bytearray(content)
            for _ in range(1 + len(flipped) // 500):
                flipped[rng.randrange(len(flipped))] = rng.randrange(256)
            return bytes(flipped)
        case "splice":
            return content[:at] + rng.choice(seeds)[1][at // 2 :]
        case "zeros":
            return content[:at] + bytes(5000)
        case "bomb":
            return zipped("bomb.txt", bytes(30_000_000))
        case "nested":
            return zipped("../../out.txt", content[:1000], *(("in.zip", zipped("a.txt", content[:2000])),))
        case "large":
            return content * 8 if rng.random() < 0.3 else content
    return content


def zipped(name: str, content: bytes, *more: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for named, words in ((name, content), *more):
            archive.writestr(named, words)
    return buffer.getvalue()


def form_of(rng: random.Random, parts: list[bytes], form: str) -> tuple[dict[str, bytes], bytes]:
    """The files as a form, or as something that is none."""
    fields = b""
    if form == "collection":
        wild = rng.choice(["../x", "a" * 300, "\x00", "", "fuzz\n", "コレクション", "default/..", "CON"])
        fields = (
            b"--"
            + BOUNDARY
            + b'\r\nContent-Disposition: form-data; name="collection"\r\n\r\n'
            + wild.encode()
            + b"\r\n"
        )
    body = fields + b"".join(b"--" + BOUNDARY + b"\r\n" + part for part in parts) + b"--" + BOUNDARY + b"--\r\n"
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY.decode()}"}
    match form:
        case "cut":
            body = body[: rng.randrange(len(body))]
        case "no boundary":
            headers["Content-Type"] = "multipart/form-data"
        case "json":
            headers["Content-Type"] = "application/json"
        case "no type":
            del headers["Content-Type"]
        case "other boundary":
            headers["Content-Type"] = "multipart/form-data; boundary=" + rng.choice(
                ["x", "é", '""', "a" * 500, "fn 5f1c"]
            )
        case "header":
            body = body.replace(
                b"Content-Disposition: form-data", rng.choice([b"Content-Disposition:", b"X" * 9000 + b": y", b":"])
            )
        case "bare":
            body = b"".join(parts)
    return {name: value.encode("latin-1", "replace") for name, value in headers.items()}, body


if __name__ == "__main__":
    main()

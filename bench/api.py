"""Concurrent chat streams against a running API: errors by status, the service's own time, its memory.

    footnote serve --port 8080                       # before a model server, generator.base_url
    python -m bench.api --url http://127.0.0.1:8080 --collection demo --streams 50 --seconds 300

Every stream asks one of the sample questions after another, as a client that reads to the end. The service's own time
is what the client waited for the whole answer, less the time in which the model wrote (`timings_ms.generate`); waiting
in the service's line counts as its own, and `door` is the part of it that is not the pipeline's (`timings_ms.total`).
429 and 503 are documented answers and counted apart. Memory is the service's resident size as /metrics gives it, after
the first answer of every stream and at the end. The last line is JSON.
"""

import argparse
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Barrier, Lock

import httpx
import numpy as np

QUESTIONS = Path(__file__).parents[1] / "data" / "questions" / "queries.jsonl"
_TIMEOUT_S = 600.0
_RESIDENT = re.compile(r"^process_resident_memory_bytes (\S+)$", re.MULTILINE)


@dataclass(slots=True)
class Tally:
    """What all streams saw."""

    statuses: Counter[str] = field(default_factory=Counter)
    own_ms: list[float] = field(default_factory=list)
    door_ms: list[float] = field(default_factory=list)
    total_ms: list[float] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    def add(self, status: str, total_ms: float = 0.0, timings_ms: Mapping[str, float] | None = None) -> None:
        """Count one answer; only a whole one has times."""
        with self.lock:
            self.statuses[status] += 1
            if timings_ms is not None:
                self.total_ms.append(total_ms)
                self.own_ms.append(total_ms - timings_ms.get("generate", 0.0))
                self.door_ms.append(total_ms - timings_ms["total"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="of the API, without /v1")
    parser.add_argument("--collection", default="demo")
    parser.add_argument("--key", default="", help="with the scope admin, where the API asks for keys")
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=300)
    options = parser.parse_args()
    questions = [json.loads(line)["text"] for line in QUESTIONS.read_text(encoding="utf-8").splitlines()]
    tally, warm = Tally(), Barrier(options.streams + 1)
    with ThreadPoolExecutor(options.streams) as pool:
        working = [
            pool.submit(work, options, questions[n:] + questions[:n], tally, warm) for n in range(options.streams)
        ]
        warm.wait()
        begin = resident_mb(options)
        began = time.monotonic()
        warm.wait()
        for stream in working:
            stream.result()
    seconds = time.monotonic() - began
    if not tally.own_ms:
        sys.exit(f"no answer came: {dict(tally.statuses)}")
    print(json.dumps(figures(options, tally, seconds, begin, resident_mb(options))))


def work(options: argparse.Namespace, questions: Sequence[str], tally: Tally, warm: Barrier) -> None:
    """Ask once to warm up, and then until time is up."""
    with client(options) as session:
        ask(session, options.collection, questions[-1], Tally())
        warm.wait()
        warm.wait()
        until = time.monotonic() + options.seconds
        asked = 0
        while time.monotonic() < until:
            ask(session, options.collection, questions[asked % len(questions)], tally)
            asked += 1


def ask(session: httpx.Client, collection: str, question: str, tally: Tally) -> None:
    """Stream one answer to its end."""
    body = {"model": collection, "stream": True, "messages": [{"role": "user", "content": question}]}
    began = time.perf_counter()
    try:
        with session.stream("POST", "/v1/chat/completions", json=body) as answered:
            lines = list(answered.iter_lines())
        total_ms = (time.perf_counter() - began) * 1000
    except httpx.HTTPError as error:
        tally.add(type(error).__name__)
        return
    if answered.status_code != 200:
        tally.add(str(answered.status_code))
        time.sleep(float(answered.headers.get("Retry-After", 1)))
        return
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    if "error" in events[-1] or "data: [DONE]" not in lines:
        tally.add("broken stream")
        return
    tally.add("200", total_ms, events[-1]["footnote"]["timings_ms"])


def figures(
    options: argparse.Namespace, tally: Tally, seconds: float, begin: float, end: float
) -> dict[str, str | float | dict[str, int]]:
    """The line of figures."""
    times = {"own": tally.own_ms, "door": tally.door_ms, "total": tally.total_ms}
    quantiles = {
        f"{name}_p{q}_ms": round(float(np.percentile(values, q)), 1) for name, values in times.items() for q in (50, 95)
    }
    return {
        "bench": "api",
        "streams": options.streams,
        "seconds": round(seconds, 1),
        "answers": len(tally.own_ms),
        "statuses": dict(tally.statuses),
        **quantiles,
        "memory_begin_mb": begin,
        "memory_end_mb": end,
    }


def client(options: argparse.Namespace) -> httpx.Client:
    """A client of the API."""
    headers = {"Authorization": f"Bearer {options.key}"} if options.key else {}
    return httpx.Client(base_url=options.url, headers=headers, timeout=_TIMEOUT_S)


def resident_mb(options: argparse.Namespace) -> float:
    """Megabytes that the service holds in memory."""
    with client(options) as session:
        found = _RESIDENT.search(session.get("/metrics").text)
    if found is None:
        sys.exit("/metrics does not tell the resident memory: is the key one with the scope admin?")
    return round(float(found[1]) / 2**20, 1)


if __name__ == "__main__":
    main()

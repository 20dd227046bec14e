"""Concurrent chat streams against a running API: errors by status, the service's own time, its memory, and whether what
is added is found and what is deleted stays away meanwhile.

    FOOTNOTE_SERVER__ANSWERS=64 footnote serve --port 8080      # before a model server, generator.base_url
    python -m bench.api --url http://127.0.0.1:8080 --collection demo --streams 50 --seconds 300

Every stream asks one of the sample questions after another, as a client that reads to the end; every fifth question is
about a document that was just added or deleted (--changes off leaves that out). Streams begin one by one within --ramp
seconds, as people do; what is measured begins when the last has begun. The service's own time (`own`) is what the
client waited for less the time in which models worked: the generator wrote (`generate`), the encoder read the question
and what came before it (`encode`), and the question stood in line (`line`), where more streams ask than
`server.answers` are worked on. `with_encoder` leaves `encode` in. `door` is the part of it beyond the pipeline: HTTP,
keys, JSON. Stages of the pipeline are told apart (`search` holds `encode`). 429 and 503 are documented answers and
counted apart. Memory is the resident size that /metrics gives, every five seconds, with its slope over the second half.
The last line is JSON; the exit code is 1 where anything but 200, 429 or 503 came back, where an answer names a document
that was deleted before it was asked for, or where one that was added is not found.
"""

import argparse
import json
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Barrier, Event, Lock, Thread
from typing import Any

import httpx
import numpy as np

from bench.api_changes import Changes, change

QUESTIONS = Path(__file__).parents[1] / "data" / "questions" / "queries.jsonl"
_TIMEOUT_S, _SAMPLE_S, _EVERY = 600.0, 5.0, 5
STAGES = ("line", "encode", "search", "select", "prompt", "generate", "cite")
_RESIDENT = re.compile(r"^process_resident_memory_bytes (\S+)$", re.MULTILINE)


@dataclass(slots=True)
class Tally:
    """What all streams saw."""

    statuses: Counter[str] = field(default_factory=Counter)
    own_ms: list[float] = field(default_factory=list)
    with_encoder_ms: list[float] = field(default_factory=list)
    door_ms: list[float] = field(default_factory=list)
    total_ms: list[float] = field(default_factory=list)
    stages_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    memory_mb: list[tuple[float, float]] = field(default_factory=list)  # seconds since the start, resident megabytes
    changes: Changes = field(default_factory=Changes)
    lock: Lock = field(default_factory=Lock)

    def add(self, status: str, total_ms: float = 0.0, timings_ms: Mapping[str, float] | None = None) -> None:
        """Count one answer; only a whole one has times."""
        with self.lock:
            self.statuses[status] += 1
            if timings_ms is not None:
                self.total_ms.append(total_ms)
                line_ms = timings_ms["line"]
                with_encoder_ms = total_ms - line_ms - timings_ms.get("generate", 0.0)
                self.with_encoder_ms.append(with_encoder_ms)
                self.own_ms.append(with_encoder_ms - timings_ms.get("encode", 0.0))
                self.door_ms.append(total_ms - line_ms - timings_ms["total"])
                for stage in STAGES:
                    self.stages_ms[stage].append(timings_ms.get(stage, 0.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="of the API, without /v1")
    parser.add_argument("--collection", default="demo")
    parser.add_argument("--key", default="", help="with the scope admin, where the API asks for keys")
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--ramp", type=float, default=15, help="seconds within which all streams have begun")
    parser.add_argument("--changes", choices=("on", "off"), default="on", help="add and delete documents meanwhile")
    options = parser.parse_args()
    questions = [json.loads(line)["text"] for line in QUESTIONS.read_text(encoding="utf-8").splitlines()]
    tally, begin = Tally(), Barrier(options.streams + 1)
    with ThreadPoolExecutor(options.streams) as pool:
        working = [
            pool.submit(work, options, questions[n:] + questions[:n], tally, begin, options.ramp * n / options.streams)
            for n in range(options.streams)
        ]
        begin.wait()
        time.sleep(options.ramp)
        began, ended = time.monotonic(), Event()
        beside = [Thread(target=sample, args=(options, tally, began, ended))]
        if options.changes == "on":
            beside.append(Thread(target=keep_changing, args=(options, tally.changes, ended)))
        for each in beside:
            each.start()
        for stream in working:
            stream.result()
        seconds = time.monotonic() - began
        ended.set()
        for each in beside:
            each.join()
    if not tally.own_ms:
        sys.exit(f"no answer came: {dict(tally.statuses)}")
    told = figures(options, tally, seconds)
    print(json.dumps(told))
    sys.exit(1 if tally.changes.wrong or set(tally.statuses) - {"200", "429", "503"} else 0)


def keep_changing(options: argparse.Namespace, changes: Changes, ended: Event) -> None:
    """Add and delete documents until the streams have ended."""
    with client(options) as session:
        change(session, options.collection, changes, ended.is_set)


def sample(options: argparse.Namespace, tally: Tally, began: float, ended: Event) -> None:
    """Look at the service's memory now and again, and at the end."""
    while True:
        is_last = ended.wait(_SAMPLE_S)
        tally.memory_mb.append((time.monotonic() - began, resident_mb(options)))
        if is_last:
            return


def work(options: argparse.Namespace, questions: Sequence[str], tally: Tally, begin: Barrier, wait_s: float) -> None:
    """Ask one question after another until time is up; those that end before all streams have begun do not count."""
    with client(options) as session:
        begin.wait()
        counted = time.monotonic() + options.ramp
        time.sleep(wait_s)
        asked, not_counted = 0, Tally()
        while (now := time.monotonic()) < counted + options.seconds:
            question = questions[asked % len(questions)]
            if asked % _EVERY == _EVERY - 1:
                question = tally.changes.asked_about or question
            ask(session, options.collection, question, tally if now >= counted else not_counted)
            asked += 1


def ask(session: httpx.Client, collection: str, question: str, tally: Tally) -> None:
    """Stream one answer to its end."""
    body = {"model": collection, "stream": True, "messages": [{"role": "user", "content": question}]}
    asked_at, began = time.monotonic(), time.perf_counter()
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
    footnote = events[-1]["footnote"]
    tally.changes.look_at(footnote, asked_at)
    tally.add("200", total_ms, footnote["timings_ms"])


def figures(options: argparse.Namespace, tally: Tally, seconds: float) -> dict[str, Any]:
    """The line of figures."""
    memory = np.array(tally.memory_mb)  # (n, 2)
    late = memory[len(memory) // 2 :]
    slope = float(np.polyfit(late[:, 0] / 60, late[:, 1], 1)[0]) if len(late) > 2 else None
    times = {"own": tally.own_ms, "with_encoder": tally.with_encoder_ms, "door": tally.door_ms}
    times |= {"total": tally.total_ms, **tally.stages_ms}
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
        "memory_mb": [round(float(value), 1) for value in (memory[0, 1], memory[:, 1].max(), memory[-1, 1])],
        "memory_slope_mb_per_min": None if slope is None else round(slope, 2),
        "added": tally.changes.added,
        "deleted": tally.changes.deleted,
        "found_after_ms_p50": round(float(np.median(tally.changes.found_ms)), 1) if tally.changes.found_ms else None,
        "wrong": tally.changes.wrong[:20],
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

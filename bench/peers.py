"""Search in Footnote, Haystack, LlamaIndex and txtai, side by side: the same passages, the same vectors.

    python -m bench.peers --chunks 100000 --folder /large/disk/peers [--parts build,time,quality] [--only txtai]

Each contender runs in a process and an environment of its own, as bench/peers_run.py says; what it builds is kept under
--folder and built once. "time" is over a made collection (bench/search_made.py): Footnote and one other at a time have
their saved indexes opened in fresh processes, one thread each, and take turns of up to 50 questions or --limit seconds
for each mode, over --rounds rounds; opening is timed with packages loaded, "process" is the processor time from start
to the first answer. Milliseconds of wall and processor time are a search's own, without the pipe. "resident" is what is
in memory after the last turn, files mapped into it included; "peak" is the most since the start. Recall is of ten, that
of dense search, against an exact scan. "quality" is nDCG@10 on scifact with vectors of all-MiniLM-L6-v2, with paired
95% intervals of Footnote's hybrid less theirs. Where a library fuses ten candidates of each search as it comes,
"hybrid-100" has a hundred, as Footnote and txtai have. The last line is JSON. The exit code is 1 when Footnote's hybrid
search is behind one of them in median time or memory, or in quality beyond the interval.
"""

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from bench.ingest import PEERS, TORCH
from bench.official import clean_environ, environment
from bench.peers_contenders import K
from bench.peers_given import give_judged, give_made, sources
from bench.search import alone, quantile, recall
from bench.search_made import SETS
from eval.dataset import load_dataset
from eval.metrics import score_rankings
from eval.statistics import bootstrap_interval, compare_paired
from indexer.encoder import Vectors

RUNNER = Path(__file__).parent / "peers_run.py"
OURS = "footnote"
CACHE = Path(tempfile.gettempdir()) / "footnote-peers"
FAISS = "faiss-cpu==1.15.1"
HAYSTACK = ((PEERS["haystack"][0], "faiss-haystack==3.0.0", FAISS),)
STEPS = {
    "haystack": HAYSTACK,
    "haystack-faiss": HAYSTACK,
    "llamaindex": (
        (
            PEERS["llamaindex"][0],
            "llama-index-vector-stores-faiss==0.7.0",
            "llama-index-retrievers-bm25==0.8.0",
            FAISS,
        ),
    ),
    "txtai": ((TORCH,), (TORCH, PEERS["txtai"][0], FAISS)),
}
TURN = 50
JUDGED = "scifact"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, default=CACHE)
    parser.add_argument("--bench", type=Path, default=os.environ.get("FOOTNOTE_BENCH", "../shared/bench"))
    parser.add_argument("--parts", default="build,time,quality", help="what is run; what is missing is built anyway")
    parser.add_argument("--only", default=",".join(STEPS), help="the others, with commas")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--limit", type=float, default=1.5, help="seconds of a turn in one mode (1.5)")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
    names, parts = options.only.split(","), options.parts.split(",")
    if unknown := set(names) - set(STEPS):
        parser.error(f"there is no contender {', '.join(unknown)}")
    if missing := [name for name in SETS if not (options.bench / name).is_dir()]:
        sys.exit(
            f"{options.bench} does not hold {', '.join(missing)}: name the folder of the shared sets with --bench."
        )
    pythons = {name: python_of(name, options.folder / "environments") for name in (OURS, *names)}
    made, told = options.folder / f"made-{options.chunks}", {}
    if {"build", "time"} & set(parts):
        alone(give_made, made, options.bench, options.chunks)
        told["build"] = build(made, pythons)
    if "time" in parts:
        told["time"] = {name: side_by_side(made, name, pythons, options.rounds, options.limit) for name in names}
        with_recall(told["time"], made / "given")
    if "quality" in parts:
        told["quality"] = quality(options.folder / JUDGED, options.bench / JUDGED, pythons)
    show(told)
    bars = judge(told)
    print(json.dumps({"bench": "peers", "chunks": options.chunks, "versions": STEPS, **told, "bars": bars}))
    sys.exit(0 if all(bars.values()) else 1)


def python_of(name: str, folder: Path) -> Path:
    return Path(sys.executable) if name == OURS else environment(folder / name.partition("-")[0], STEPS[name])


def build(folder: Path, pythons: Mapping[str, Path]) -> dict[str, Any]:
    """Let each build and save its indexes, unless they are there; what that took, as it was told then."""
    told = {}
    for name, python in pythons.items():
        done = folder / f"{name}.json"
        if name != OURS and not done.exists():
            logging.info("%s builds %s", name, folder.name)
            command = [str(python), str(RUNNER), "build", name, str(folder / "given"), str(folder / name), str(done)]
            subprocess.run(command, check=True, env=clean_environ(), stdout=sys.stderr)
        if done.exists():
            told[name] = json.loads(done.read_text(encoding="utf-8"))
    return told


class Served:
    """A contender that has opened its indexes and answers turns of questions."""

    def __init__(self, name: str, python: Path, folder: Path) -> None:
        command = [str(python), str(RUNNER), "serve", name, str(folder / "given"), str(folder / name)]
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process is
        pipe, environ = subprocess.PIPE, clean_environ() | ONE_THREAD
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=self._log, env=environ, text=True)
        self.name, self.opened = name, self._answer()

    def ask(self, mode: str, first: int, count: int, limit_s: float) -> dict[str, Any]:
        """Ask questions from `first` on: as many as the limit lets begin."""
        assert self._process.stdin is not None
        job = {"mode": mode, "first": first, "count": count, "limit_s": limit_s}
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._log.seek(0)
            raise SystemExit(f"{self._process.args} failed:\n{self._log.read().decode()[-3000:]}")
        told: dict[str, Any] = json.loads(line)
        return told

    def __enter__(self) -> "Served":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._log.close()


def side_by_side(
    folder: Path, name: str, pythons: Mapping[str, Path], rounds: int, limit_s: float
) -> dict[str, dict[str, Any]]:
    """Footnote and one other in turns; what was told of each."""
    logging.info("%s beside %s", OURS, name)
    with Served(OURS, pythons[OURS], folder) as ours, Served(name, pythons[name], folder) as theirs:
        both = (ours, theirs)
        for served in both:  # once, uncounted: each page of the files has been asked for
            for mode in served.opened["modes"]:
                served.ask(mode, 0, rounds * TURN, 2 * limit_s)
        turns: dict[str, list[dict[str, Any]]] = {served.name: [] for served in both}
        for number in range(rounds):
            for served in both if number % 2 else reversed(both):
                for mode in served.opened["modes"]:
                    turn = served.ask(mode, number * TURN, TURN, limit_s)
                    turns[served.name].append({"mode": mode, "first": number * TURN, **turn})
        return {served.name: summary(served.opened, turns[served.name]) for served in both}


def summary(opened: Mapping[str, Any], turns: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A contender's turns in figures; what dense search found is kept for its recall, by question."""
    told: dict[str, Any] = {key: round(opened[key], 2) for key in ("open_s", "open_cpu_s", "process_cpu_s")}
    told |= {key: turns[-1][key] for key in ("peak_mb", "resident_mb", "own_mb")}
    for mode in opened["modes"]:
        own = [turn for turn in turns if turn["mode"] == mode]
        wall, cpu = ([ms for turn in own for ms in turn[key]] for key in ("wall_ms", "cpu_ms"))
        told[mode] = {"n": len(wall), "p50": quantile(wall, 50), "p95": quantile(wall, 95), "cpu": quantile(cpu, 50)}
    told["dense_found"] = {
        turn["first"] + at: ids for turn in turns if turn["mode"] == "dense" for at, ids in enumerate(turn["found"])
    }
    return told


def with_recall(pairs: Mapping[str, Mapping[str, dict[str, Any]]], given: Path) -> None:
    """Put the recall of dense search in the place of what it found."""
    vectors = np.load(given / "vectors.npy").astype(np.float32)
    asked = np.load(given / "question_vectors.npy")
    row = {name: at for at, name in enumerate(sources(given))}
    for told in (told for pair in pairs.values() for told in pair.values()):
        found = {at % len(asked): ids for at, ids in told.pop("dense_found").items()}
        told["recall"] = recalled(vectors, asked[list(found)], [[row[name] for name in ids] for ids in found.values()])


def recalled(vectors: Vectors, asked: Vectors, found: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Share of the found rows (q, k) that are as near as the last of the exact ones, with a 95% interval."""
    scores = asked @ vectors.T  # (q, n)
    least = -np.partition(-scores, K - 1, axis=1)[:, K - 1]
    hits = [[(at, float(row[at])) for at in rows] for row, rows in zip(scores, found, strict=True)]
    shares = recall(hits, least.tolist())
    return {"n": len(shares), "mean": round(float(np.mean(shares)), 4), "ci95": rounded(bootstrap_interval(shares))}


def quality(folder: Path, dataset_folder: Path, pythons: Mapping[str, Path]) -> dict[str, Any]:
    """nDCG@10 of each contender's modes, and Footnote's hybrid less each of theirs, question by question."""
    alone(give_judged, folder, dataset_folder)
    build(folder, pythons)
    cases, source = load_dataset(dataset_folder).judged, sources(folder / "given")
    relevant = {case.id: case.relevant for case in cases}
    scores: dict[str, dict[str, list[float]]] = {}
    for name, python in pythons.items():
        logging.info("%s answers %s", name, folder.name)
        scores[name] = {}
        with Served(name, python, folder) as served:
            for mode in served.opened["modes"]:
                found = served.ask(mode, 0, len(cases), 1e9)["found"]
                ranked = {case.id: [source[key] for key in ids] for case, ids in zip(cases, found, strict=True)}
                by_case = score_rankings(relevant, ranked)[f"ndcg@{K}"]
                scores[name][mode] = [by_case[case.id] for case in cases]
    return compared(scores)


def compared(scores: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, Any]:
    """Each mean with its interval, and what Footnote's hybrid has more than it."""
    ours = scores[OURS]["hybrid"]
    told: dict[str, Any] = {}
    for name, modes in scores.items():
        told[name] = {}
        for mode, values in modes.items():
            pair = compare_paired(values, ours)
            told[name][mode] = {
                "n": pair.n,
                "ndcg": round(pair.mean_a, 4),
                "ci95": rounded(bootstrap_interval(values)),
                "ours_more": round(pair.difference, 4),
                "more_ci95": rounded(pair.ci95),
            }
    return told


def judge(told: Mapping[str, Any]) -> dict[str, bool]:
    """Which bars are met, of those that were measured."""
    bars = {}
    for name, pair in told.get("time", {}).items():
        ours, theirs = pair[OURS], pair[name]
        for mode in (mode for mode in theirs if mode.startswith("hybrid")):
            bars[f"{mode} p50, {name}"] = ours["hybrid"]["p50"] < theirs[mode]["p50"]
        for column in ("resident_mb", "peak_mb"):
            bars[f"{column}, {name}"] = ours[column] < theirs[column]
    for name, modes in told.get("quality", {}).items():
        for mode in (mode for mode in modes if name != OURS and mode.startswith("hybrid")):
            bars[f"nDCG of {mode}, {name}"] = modes[mode]["more_ci95"][1] >= 0
    return bars


def show(told: Mapping[str, Any]) -> None:
    for name, spent in told.get("build", {}).items():
        print(f"build   {name:15} {spent['cpu_s']:9.1f} s of processor, {spent['peak_mb']} MB at most")
    for other, pair in told.get("time", {}).items():
        for name, one in pair.items():
            first = f"time    {name:15} beside {other}" if name == OURS else f"time    {name:15}"
            print(first, json.dumps(one))
    for name, modes in told.get("quality", {}).items():
        for mode, one in modes.items():
            print(f"quality {name:15} {mode:10} {json.dumps(one)}")


def rounded(pair: Sequence[float]) -> list[float]:
    return [round(value, 4) for value in pair]


if __name__ == "__main__":
    main()

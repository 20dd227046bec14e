"""One contender of bench/peers.py, run in its own environment; those of other libraries import nothing of Footnote.

python peers_run.py build CONTENDER GIVEN STORE TOLD.json
python peers_run.py serve CONTENDER GIVEN STORE

GIVEN is a folder with texts.jsonl {id, text}, vectors.npy, questions.json and question_vectors.npy: what is indexed and
asked, with all vectors. STORE is the folder that a contender keeps on disk. `serve` opens it in this fresh process, and
then answers one line of JSON with one: {"mode", "first", "count", "limit_s"} with milliseconds of wall and processor
time and the ids that were found, for so many questions as the limit lets begin.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.peers_contenders import CONTENDERS, K


class Given:
    """Texts, questions and their vectors."""

    def __init__(self, folder):
        self.folder = folder
        self.questions = json.loads((folder / "questions.json").read_text(encoding="utf-8"))
        self.asked = np.load(folder / "question_vectors.npy").astype(np.float32)
        self._row = {text: row for row, text in enumerate(self.questions)}

    def texts(self):
        """Ids and texts of all passages, in order."""
        with (self.folder / "texts.jsonl").open(encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        return [row["id"] for row in rows], [row["text"] for row in rows]

    def vectors(self):
        """Those of the passages (n, dim)."""
        return np.load(self.folder / "vectors.npy").astype(np.float32)

    def encode(self, question):
        """The given vector of a question."""
        return self.asked[self._row[question]]


def memory_mb():
    """This process's memory: the peak, what is resident, and how much of that no file backs."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    sizes = {
        name: int(line.split()[1]) // 1024
        for line in lines
        if (name := line.partition(":")[0]).startswith(("Vm", "Rss"))
    }
    return {"peak_mb": sizes["VmHWM"], "resident_mb": sizes["VmRSS"], "own_mb": sizes["RssAnon"]}


def build(contender, told):
    began, before = time.perf_counter(), time.process_time()
    contender.build()
    spent = {"seconds": time.perf_counter() - began, "cpu_s": time.process_time() - before}
    told.write_text(json.dumps({**spent, **memory_mb()}), encoding="utf-8")


def serve(contender, answers):
    began, before = time.perf_counter(), time.process_time()
    contender.open()
    assert len(contender.search("hybrid", contender.given.questions[0])) == K, "ten passages"
    spent = {"open_s": time.perf_counter() - began, "open_cpu_s": time.process_time() - before}
    answer(answers, {**spent, "process_cpu_s": time.process_time(), "modes": contender.modes, **memory_mb()})
    for line in sys.stdin:
        answer(answers, {**turn(contender, **json.loads(line)), **memory_mb()})


def turn(contender, mode, first, count, limit_s):
    """Ask so many questions one after the other, at least one."""
    wall_ms, cpu_ms, found = [], [], []
    ends = time.perf_counter() + limit_s
    for at in range(first, first + count):
        question = contender.given.questions[at % len(contender.given.questions)]
        cpu, began = time.process_time(), time.perf_counter()
        ids = contender.search(mode, question)
        wall_ms.append(1000 * (time.perf_counter() - began))
        cpu_ms.append(1000 * (time.process_time() - cpu))
        found.append(ids)
        if time.perf_counter() > ends:
            break
    return {"wall_ms": wall_ms, "cpu_ms": cpu_ms, "found": found}


def answer(answers, told):
    answers.write(json.dumps(told) + "\n")
    answers.flush()


def main(what, name, given, store, told=None):
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)  # whatever a library prints goes beside the answers
        Path(store).mkdir(parents=True, exist_ok=True)
        contender = CONTENDERS[name](Given(Path(given)), Path(store))
        if what == "build":
            build(contender, Path(told))
        else:
            serve(contender, answers)


if __name__ == "__main__":
    main(*sys.argv[1:])

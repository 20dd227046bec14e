"""Answering a data set: order, errors, conversations, and runs that are killed."""

import json
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from eval.answers import answer_cases, evaluate_answers
from eval.dataset import Case, drawn, load_dataset
from eval.outcome import as_answer, as_outcome
from eval.run import load_run, runs_folder, writing
from generator.answer import Answer, Citation
from generator.pipeline import Done, Event, Stage
from generator.prompt import Message, Prompt, Turn
from indexer.document import Chunk
from indexer.errors import ModelError
from retriever.hit import Hit, Part

ROOT = Path(__file__).parents[2]
PART = Hit(
    Chunk("d:0", "d", "It burned oil.", 0, 14, ("Lamp",), 3), "lamp.md", "Lamp", 1.5, 1, "bm25", {"bm25": Part(1.5, 1)}
)


class Echo:
    """Answers with the question, after the turns before it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[Turn, ...]]] = []
        self.failing: set[str] = set()
        self.defect = ""
        self.together = self.most = 0
        self.pause_s = 0.0
        self._counting = threading.Lock()

    def ask(self, question: str, history: Sequence[Turn] = ()) -> Iterator[Event]:
        with self._counting:
            self.together += 1
            self.most = max(self.most, self.together)
        time.sleep(self.pause_s)
        self.asked.append((question, tuple(history)))
        with self._counting:
            self.together -= 1
        if question in self.failing:
            raise ModelError("The server is down.", "Start it.")
        if question == self.defect:
            raise KeyError("a defect")
        yield Stage("search")
        prompt = Prompt((Message("user", question),), (PART,), 7, question, "answer-1")
        yield Done(Answer(f"{question} [1]", (), (PART,), False, question, {"total": random.random()}, "echo"), prompt)


def cases(count: int) -> list[Case]:
    return [Case(f"q{n:03}", f"question {n}", answers=(f"question {n}",)) for n in range(count)]


def answered(home: Path, pipeline: Echo, asked: Sequence[Case], concurrency: int = 1) -> str:
    with writing(runs_folder(home), {"kind": "answers", "dataset": "tiny"}, {}, asked) as run:
        answer_cases(pipeline, asked, run, concurrency=concurrency)
        return run.path.stem


def test_everything_about_a_case_is_kept(tmp_path: Path) -> None:
    run = load_run(tmp_path, answered(tmp_path, Echo(), cases(1)))
    (record,) = run.records
    assert record.outcome is not None
    assert record.outcome["answer"] == "question 0 [1]"
    assert record.outcome["hits"][0]["chunk"]["text"] == "It burned oil."
    assert record.outcome["prompt"] == {
        "version": "answer-1",
        "tokens_at_most": 7,
        "messages": [{"role": "user", "content": "question 0"}],
    }
    assert set(record.timings_ms) == {"total"}


def test_an_answer_survives_storage() -> None:
    citation = Citation(1, "d:0", "d", "lamp.md", 3, 0, 14, "It burned oil.", 0.9)
    answer = Answer("It burned oil. [1]", (citation,), (PART,), False, "what?", model="m", dropped_markers=2)
    assert as_answer(json.loads(json.dumps(as_outcome(answer)))) == answer


def test_many_at_a_time_are_recorded_in_order(tmp_path: Path) -> None:
    pipeline = Echo()
    pipeline.pause_s = 0.01
    run = load_run(tmp_path, answered(tmp_path, pipeline, cases(40), concurrency=8))
    assert [record.case_id for record in run.records] == [case.id for case in cases(40)]
    assert 1 < pipeline.most <= 8


def test_an_error_is_typed_and_the_others_go_on(tmp_path: Path) -> None:
    pipeline = Echo()
    pipeline.failing = {"question 1"}
    run = load_run(tmp_path, answered(tmp_path, pipeline, cases(3)))
    assert [record.error for record in run.records] == ["", "ModelError", ""]
    assert run.records[1].message == "The server is down."
    pipeline.failing.clear()
    pipeline.asked.clear()
    again = load_run(tmp_path, answered(tmp_path, pipeline, cases(3)))
    assert pipeline.asked == [("question 1", ())]
    assert (again.id, [record.error for record in again.records]) == (run.id, ["", "", ""])


def test_a_defect_ends_the_run_and_keeps_what_was_done(tmp_path: Path) -> None:
    pipeline = Echo()
    pipeline.defect = "question 2"
    with pytest.raises(KeyError, match="a defect"):
        answered(tmp_path, pipeline, cases(5))
    assert [record.case_id for record in load_run(tmp_path, "last").records] == ["q000", "q001"]


def test_a_conversation_is_asked_where_its_answers_are_not_known(tmp_path: Path) -> None:
    pipeline = Echo()
    turns = (("When was it lit?", "In 1842."), ("By whom?", ""))
    answered(tmp_path, pipeline, [Case("q", "And then?", turns=turns)])
    first = ("When was it lit?", "In 1842.")
    assert pipeline.asked == [("By whom?", (first,)), ("And then?", (first, ("By whom?", "By whom? [1]")))]


def test_a_draw_is_the_same_again_and_keeps_the_order() -> None:
    every = cases(50)
    some = drawn(every, 10, 3)
    assert (len(some), some) == (10, drawn(every, 10, 3))
    assert [case.id for case in some] == sorted(case.id for case in some)
    assert some != drawn(every, 10, 4)
    assert {case.id for case in some} < {case.id for case in drawn(every, 20, 3)}
    assert drawn(every, 50, 3) == drawn(every, None, 3) == every


def test_scores_are_in_the_run(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "corpus.jsonl").write_text('{"_id": "lamp.md", "title": "", "text": "It burned oil."}\n')
    queries = [{"_id": "a", "text": "oil", "answers": ["oil"]}, {"_id": "b", "text": "no", "answerable": False}]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in queries))
    (folder / "qrels.tsv").write_text("a\tlamp.md\t1\n")
    run = evaluate_answers(Echo(), load_dataset(folder), tmp_path, {"model": "echo"}, concurrency=2)
    assert run.scores[""]["em"] == {"a": 1.0, "b": 0.0}
    assert run.scores[""]["context_precision"] == {"a": 1.0}
    assert run.facts["model"] == "echo"


KILLED = """
    import sys, time
    from pathlib import Path
    from eval.answers import answer_cases, score_answers
    from eval.dataset import Case
    from eval.run import runs_folder, writing
    from generator.answer import Answer
    from generator.pipeline import Done

    class Slow:
        def ask(self, question, history=()):
            time.sleep(0.03)  # 3 s in all: twenty kills of some hundredths leave something to do
            yield Done(Answer(question.upper(), (), (), question.endswith("7"), question, {"total": time.time()}, "m"))

    cases = [Case(f"q{n:03}", f"question {n}", answers=(f"question {n % 50}",)) for n in range(300)]
    with writing(runs_folder(Path(sys.argv[1])), {"kind": "answers", "dataset": "tiny"}, {}, cases) as run:
        print("began", flush=True)
        answer_cases(Slow(), cases, run, concurrency=3)
        run.finish(score_answers(cases, run.records()))
"""


def test_a_run_killed_20_times_is_the_undisturbed_one(tmp_path: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(KILLED)]
    subprocess.run([*command, str(tmp_path / "calm")], cwd=ROOT, check=True, capture_output=True)
    wait, kills, disturbed = random.Random(4), 0, tmp_path / "disturbed"
    while kills < 20:
        process = subprocess.Popen([*command, str(disturbed)], cwd=ROOT, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(wait.uniform(0, 0.015))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
    subprocess.run([*command, str(disturbed)], cwd=ROOT, check=True, capture_output=True)
    assert len(list(runs_folder(disturbed).glob("*.db"))) == 1
    calm, other = (load_run(home, "last") for home in (tmp_path / "calm", disturbed))
    assert len(other.records) == 300
    assert [(r.case_id, r.outcome, r.error) for r in calm.records] == [
        (r.case_id, r.outcome, r.error) for r in other.records
    ]
    assert calm.scores == other.scores

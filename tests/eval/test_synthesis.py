"""Writing questions: draws, order, errors, kills, the folder that comes of it, and what people decide."""

import json
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eval.dataset import Span
from eval.formats import load_any
from eval.index import sources_of
from eval.run import list_facts, load_run
from eval.synthesis.candidate import KINDS, as_json
from eval.synthesis.passages import Passages, read_passages
from eval.synthesis.question_set import (
    check_folder,
    decide,
    load_questions,
    save_questions,
    use_only_accepted,
)
from eval.synthesis.synthesize import (
    FAILURES_IN_A_ROW,
    Plan,
    Written,
    identity_of,
    plan_counts,
    synthesize,
    written_folders,
)
from indexer.collection import Collection
from indexer.errors import ConfigError, DatasetError, IndexError_, ModelError
from retriever.hit import Hit
from retriever.search import Retriever
from tests.eval.written import Islander, island
from tests.retriever.conftest import WordEncoder, add_texts

ROOT = Path(__file__).parents[2]
NAMES = ("Arran", "Bute", "Canna", "Danna", "Eigg", "Foula", "Gigha", "Hoy", "Iona", "Jura", "Kerrera", "Luing")
PLAN = Plan(dict.fromkeys(KINDS, 2), dict.fromkeys(KINDS, 12), seed=3, k=5)


@pytest.fixture
def passages(tmp_path: Path) -> Passages:
    collection = Collection.open(tmp_path / "home", "islands", create=True)
    texts = [island(name, number) for number, name in enumerate(NAMES)]
    add_texts(collection, WordEncoder(), [*texts, "Too short to ask about."])
    return read_passages(collection)


def write(
    passages: Passages, home: Path, model: Islander, plan: Plan = PLAN, concurrency: int = 1, **options: Any
) -> tuple[str, Written]:
    retriever = Retriever(passages.collection, WordEncoder())

    def search(question: str, depth: int) -> Sequence[Hit]:
        return retriever.search(question, depth)

    identity = identity_of(passages, model, plan, {"mode": "hybrid"})
    return synthesize(passages, search, model, plan, home, identity, concurrency=concurrency, **options)


def told(written: Written) -> list[Mapping[str, Any]]:
    return [as_json(candidate) for candidate in written.candidates]


def test_enough_of_every_kind_is_written(passages: Passages, tmp_path: Path) -> None:
    _, written = write(passages, tmp_path, Islander())
    figures = written.figures(PLAN)
    assert {kind: figure["kept"] for kind, figure in figures.items()} == dict.fromkeys(KINDS, 2)
    assert [candidate.kind for candidate in written.kept] == [kind for kind in KINDS for _ in range(2)]
    assert all(figure["errors"] == 0 for figure in figures.values())
    two = next(candidate for candidate in written.kept if candidate.kind == "two")
    assert len({quote.document_id for quote in two.quotes}) == 2
    for candidate in written.kept:
        for quote in candidate.quotes:
            text = passages.collection.document(quote.document_id).text
            assert text[quote.start : quote.end] == quote.text


def test_every_rejected_candidate_is_kept_with_its_reason(passages: Passages, tmp_path: Path) -> None:
    plan = Plan({"single": 12}, {"single": 12})
    name, written = write(passages, tmp_path, Islander(badly_on=["Eigg", "Hoy"]), plan)
    assert written.figures(plan)["single"] == {
        "wanted": 12, "kept": 10, "tried": 12, "errors": 0, "rejected": {"leak": 2},
    }  # fmt: skip
    records = load_run(tmp_path, name).records
    dropped = [r.outcome for r in records if r.outcome and r.outcome["reason"] == "leak"]
    assert {outcome["passages"][0]["chunk"]["text"].split()[0] for outcome in dropped} == {"Eigg", "Hoy"}
    assert all("in the passage" in outcome["written"]["question"] for outcome in dropped)


def test_passages_are_spread_over_documents(tmp_path: Path) -> None:
    drawn = Passages(
        None,  # type: ignore[arg-type]
        (("a", (0, 1, 2, 3)), ("b", (0,)), ("c", (4, 5))), 7, 0, "", {},
    )  # fmt: skip
    places = drawn.drawn("7", 10)
    assert sorted(places) == [("a", 0), ("a", 1), ("a", 2), ("a", 3), ("b", 0), ("c", 4), ("c", 5)]
    assert {document for document, _ in places[:3]} == {"a", "b", "c"}
    assert Counter(document for document, _ in places[:5]) == {"a": 2, "c": 2, "b": 1}
    assert drawn.drawn("7", 3) == places[:3]
    assert any(drawn.drawn(str(seed), 10) != places for seed in range(5))


def test_what_is_too_short_is_counted_and_the_fingerprint_is_of_the_text(passages: Passages, tmp_path: Path) -> None:
    assert (passages.usable, passages.too_short) == (12, 1)
    again = read_passages(passages.collection)
    assert again.fingerprint == passages.fingerprint
    add_texts(passages.collection, WordEncoder(), [island("Mull", 40)], prefix="more")
    assert read_passages(passages.collection).fingerprint != passages.fingerprint
    empty = Collection.open(tmp_path, "empty", create=True)
    with pytest.raises(IndexError_, match="no passage of 25 words"):
        read_passages(empty)


def test_counts_are_shared() -> None:
    assert plan_counts(10, KINDS) == {"single": 3, "two": 3, "unanswerable": 2, "follow-up": 2}
    assert plan_counts(3, ["unanswerable", "single"]) == {"single": 2, "unanswerable": 1}


def test_order_and_not_speed_decides(passages: Passages, tmp_path: Path) -> None:
    _, alone = write(passages, tmp_path / "a", Islander(badly_on=["Eigg"]))
    _, many = write(passages, tmp_path / "b", Islander(badly_on=["Eigg"], pause_s=0.002), concurrency=8)
    assert told(alone) == told(many)


def test_an_interrupt_at_any_call_costs_only_what_was_running(passages: Passages, tmp_path: Path) -> None:
    calm = Islander(badly_on=["Eigg"])
    _, whole = write(passages, tmp_path / "calm", calm)
    restless, interrupts = Islander(badly_on=["Eigg"]), 0
    while True:
        restless.left = 5  # more than one candidate takes
        try:
            name, written = write(passages, tmp_path / "restless", restless)
            break
        except KeyboardInterrupt:
            interrupts += 1
    assert interrupts > 3
    assert told(written) == told(whole)
    assert len(list((tmp_path / "restless/eval/runs").glob("*.db"))) == 1
    assert restless.calls <= calm.calls + interrupts * 5
    before = restless.calls
    assert write(passages, tmp_path / "restless", restless) == (name, written)  # finished: nothing is asked again
    assert restless.calls == before


KILLED = """
    import sys
    from pathlib import Path
    from eval.synthesis.passages import read_passages
    from indexer.collection import Collection
    from tests.eval.test_synthesis import PLAN, write
    from tests.eval.written import Islander
    passages = read_passages(Collection.open(Path(sys.argv[1]), "islands"))
    print("began", flush=True)
    write(passages, Path(sys.argv[2]), Islander(badly_on=["Eigg"], pause_s=0.02), PLAN, 3)
"""


def test_a_killed_process_is_gone_on_with(passages: Passages, tmp_path: Path) -> None:
    _, calm = write(passages, tmp_path / "calm", Islander(badly_on=["Eigg"]))
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path / "home"), str(tmp_path / "killed")]
    wait, kills = random.Random(1), 0
    for _ in range(3):
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(wait.uniform(0.05, 0.3))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
    assert kills > 0
    _, written = write(passages, tmp_path / "killed", Islander(badly_on=["Eigg"]))
    assert told(written) == told(calm)
    assert len(list((tmp_path / "killed/eval/runs").glob("*.db"))) == 1


def test_a_failure_is_an_error_that_is_tried_again(passages: Passages, tmp_path: Path) -> None:
    plan, model = Plan({"single": 12}, {"single": 12}), Islander()
    model.down_for = ["Gigha"]
    name, written = write(passages, tmp_path, model, plan)
    assert [(record.error, record.message) for record in written.errors] == [("ModelError", "The server is down.")]
    assert written.figures(plan)["single"] == {"wanted": 12, "kept": 11, "tried": 12, "errors": 1, "rejected": {}}
    model.down_for, model.calls = [], 0
    again, written = write(passages, tmp_path, model, plan)
    assert (again, len(written.kept), model.calls) == (name, 12, 2)  # to write and to read, for that island only


def test_a_server_that_is_down_ends_the_run(passages: Passages, tmp_path: Path) -> None:
    model = Islander()
    model.down_for = NAMES
    with pytest.raises(ModelError, match="10 questions failed one after the other; the last: The server is down"):
        write(passages, tmp_path, model)
    assert model.calls == FAILURES_IN_A_ROW


def test_a_document_that_goes_away_meanwhile_ends_the_run(passages: Passages, tmp_path: Path) -> None:
    with passages.collection.writer() as writer:
        writer.delete("doc4")
    plan = Plan({"single": 12}, {"single": 12})
    with pytest.raises(IndexError_, match=r"doc4\.txt was changed or removed"):
        write(passages, tmp_path, Islander(), plan)


def test_progress_has_a_time_left(passages: Passages, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int, float | None]] = []
    plan = Plan({"single": 4}, {"single": 12})
    write(passages, tmp_path, Islander(pause_s=0.01), plan, on_progress=lambda *now: seen.append(now))
    assert [(kind, kept, wanted) for kind, kept, wanted, _ in seen] == [("single", n, 4) for n in range(1, 5)]
    assert all(left is not None and 0 < left < 5 for *_, left in seen[:-1])
    assert seen[-1][3] == 0


@pytest.fixture
def folder(passages: Passages, tmp_path: Path) -> Path:
    out = tmp_path / "asked"
    model = Islander(badly_on=["Eigg", "Hoy", "Bute"])
    name, written = write(passages, tmp_path / "home", model, facts={"out": str(out)})
    save_questions(out, name, written, PLAN, identity_of(passages, model, PLAN, {"mode": "hybrid"}))
    return out


def test_the_folder_is_a_data_set_of_the_collection(folder: Path, passages: Passages) -> None:
    dataset = load_any(folder, sources_of(passages.collection))
    questions = load_questions(folder)
    assert [case.id for case in dataset.cases] == [candidate.id for candidate in questions.candidates]
    for case, candidate in zip(dataset.cases, questions.candidates, strict=True):
        assert (case.question, case.turns, case.answerable) == (
            candidate.question, candidate.turns, candidate.kind != "unanswerable",
        )  # fmt: skip
        assert case.answers == ((candidate.answer,) if candidate.answerable else ())
        assert case.spans == tuple(Span(quote.source, quote.start, quote.end) for quote in candidate.quotes)
        assert dict(case.relevant) == {quote.source: 1 for quote in candidate.quotes}
    assert {len(case.relevant) for case in dataset.cases} == {0, 1, 2}
    with pytest.raises(DatasetError, match="questions and no corpus") as refused:
        load_any(folder)
    assert "--served" in refused.value.remedy


def test_every_question_says_where_it_comes_from(folder: Path, passages: Passages) -> None:
    questions = load_questions(folder)
    for candidate in questions.candidates:
        origin = questions.provenance[candidate.id]
        assert (origin["model"], origin["seed"]) == ("islander", 3)
        assert origin["prompts"] == [f"synthesize-{candidate.kind}-1", "read-1"]
        assert origin["collection"] == {"name": "islands", "fingerprint": passages.fingerprint}
        assert origin["chunks"] == [held.chunk.id for held in candidate.passages]
        assert set(origin["sources"]) <= sources_of(passages.collection)
    rejected = [json.loads(line) for line in (folder / "rejected.jsonl").read_text().splitlines()]
    assert rejected
    assert {row["reason"] for row in rejected} <= {"leak", "not_retrieved"}
    about = json.loads((folder / "synthesis.json").read_text())
    assert sum(sum(kind["rejected"].values()) for kind in about["kinds"].values()) == len(rejected)


def test_another_command_does_not_write_into_the_folder(folder: Path, passages: Passages, tmp_path: Path) -> None:
    identity = identity_of(passages, Islander(), PLAN, {"mode": "hybrid"})
    check_folder(folder, identity)
    check_folder(tmp_path / "new", identity)
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun/.lock").touch()
    check_folder(tmp_path / "begun", identity)
    with pytest.raises(ConfigError, match="in another way"):
        check_folder(folder, identity_of(passages, Islander(), replace(PLAN, seed=4), {"mode": "hybrid"}))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="no questions of ours"):
        check_folder(tmp_path / "mine", identity)


def test_what_is_rejected_leaves_the_set_and_what_is_edited_is_asked(folder: Path, passages: Passages) -> None:
    first, second, *rest = [candidate.id for candidate in load_questions(folder).candidates]
    decide(folder, first, "rejected")
    questions = decide(folder, second, "accepted", "How tall is it, really?", "107")
    assert questions.counts() == {"accepted": 1, "rejected": 1, "undecided": len(rest), "used": 1 + len(rest)}
    cases = {case.id: case for case in load_any(folder, sources_of(passages.collection)).cases}
    assert list(cases) == [second, *rest]
    assert (cases[second].question, cases[second].answers) == ("How tall is it, really?", ("107",))
    assert first not in (folder / "qrels.tsv").read_text() + (folder / "spans.jsonl").read_text()
    use_only_accepted(folder, True)
    assert [case.id for case in load_any(folder, sources_of(passages.collection)).cases] == [second]
    use_only_accepted(folder, False)
    questions = decide(folder, second, None)
    assert questions.verdict(second) == "undecided"
    assert load_questions(folder).used()[0].question.startswith("How high")


def test_decisions_outlive_the_writing_of_more(folder: Path, passages: Passages, tmp_path: Path) -> None:
    first = load_questions(folder).candidates[0].id
    decide(folder, first, "rejected")
    model = Islander(badly_on=["Eigg", "Hoy", "Bute"])
    name, written = write(passages, tmp_path / "home", model)
    save_questions(folder, name, written, PLAN, identity_of(passages, model, PLAN, {"mode": "hybrid"}))
    assert load_questions(folder).verdict(first) == "rejected"
    assert first not in (folder / "queries.jsonl").read_text()


def test_bad_decisions_are_refused(folder: Path) -> None:
    with pytest.raises(DatasetError, match="no question nobody"):
        decide(folder, "nobody", "accepted")
    none = next(candidate for candidate in load_questions(folder).candidates if not candidate.answerable)
    with pytest.raises(DatasetError, match="is to have no answer"):
        decide(folder, none.id, "accepted", "", "an answer")
    (folder / "decisions.json").write_text('{"accepted_only": false, "decisions": {"x": {"verdict": "perhaps"}}}')
    with pytest.raises(DatasetError, match="holds no decisions"):
        load_questions(folder)
    (folder / "candidates.jsonl").write_text('{"_id": "x"}\n')
    with pytest.raises(DatasetError, match="line 1: no question of ours"):
        load_questions(folder)
    with pytest.raises(DatasetError, match="holds no questions to review"):
        load_questions(folder / "nowhere")


def test_folders_are_found_by_their_runs(folder: Path, tmp_path: Path) -> None:
    assert written_folders(tmp_path / "home") == [folder]
    assert [facts["out"] for facts in list_facts(tmp_path / "home", "synthesis")] == [str(folder)]
    assert written_folders(tmp_path / "nowhere") == []


def test_a_set_without_any_answer_is_a_set(passages: Passages, tmp_path: Path) -> None:
    plan, model, out = Plan({"unanswerable": 2}, {"unanswerable": 12}), Islander(), tmp_path / "none"
    name, written = write(passages, tmp_path, model, plan)
    save_questions(out, name, written, plan, identity_of(passages, model, plan, {}))
    cases = load_any(out, sources_of(passages.collection)).cases
    assert [(case.answerable, case.answers, dict(case.relevant)) for case in cases] == [(False, (), {})] * 2

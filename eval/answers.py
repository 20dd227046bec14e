"""Ask a data set's questions of the served pipeline, and keep everything that comes back."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from eval.answer_metrics import score_answer
from eval.claim_metrics import ClaimJudge, prompts_of
from eval.dataset import Case, Dataset, drawn
from eval.judge import GRADES, Grader
from eval.judgements import claim_scores, failures, judge_answers
from eval.outcome import as_answer, as_outcome
from eval.run import Record, Run, RunWriter, Scores, failed_record, finished_run, load_run, runs_folder, writing
from eval.similarity import similarity_scores
from eval.work import record_each
from generator.citations import without_markers
from generator.pipeline import Done, Event
from generator.prompt import Turn
from generator.usage import Prices, Tally, tallied
from indexer.encoder import Encoder
from indexer.errors import FootnoteError
from retriever.hit import Hit

OnProgress = Callable[[str, int, int], None]
JUDGED = "judged"  # the metric that a grader gives


class Answers(Protocol):
    """What an evaluation needs of a Pipeline."""

    def ask(
        self, question: str, history: Sequence[Turn] = (), query: str | None = None, earlier: Sequence[Hit] = ()
    ) -> Iterator[Event]:
        """Answer one question."""


def evaluate_answers(
    pipeline: Answers,
    dataset: Dataset,
    home: Path,
    identity: Mapping[str, Any],
    *,
    limit: int | None = None,
    seed: int = 0,
    concurrency: int = 1,
    judge_concurrency: int = 1,
    grader: Grader | None = None,
    claim_judge: ClaimJudge | None = None,
    encoder: Encoder | None = None,
    prices: Prices | None = None,
    reuse: bool = False,
    carries: bool = False,
    on_progress: OnProgress | None = None,
) -> Run:
    """Answer a data set's questions, or `limit` of them drawn under the seed, and score the answers.

    `identity` says what the pipeline is made of. A `grader` grades every answer for which a reference is known, a
    `claim_judge` judges what was answered by its metrics, an `encoder` says how near texts are. `prices` turn the
    judges' tokens into money, and are no part of what names the run. After a kill, the same call goes on with what is
    missing. `reuse` takes a finished run of the same evaluation where there is one. `carries` says that the pipeline
    carries evidence, for which the turn before a follow-up has to be answered, too.

    Raises:
        ConfigError: the same evaluation is running in another process.
    """
    cases = drawn(dataset.cases, limit, seed)
    whole = {
        "kind": "answers",
        "dataset": dataset.name,
        "dataset_sha256": dataset.sha256,
        "limit": limit,
        "seed": seed if limit else None,
        "judge": grader.name if grader else None,
        **({"judged_metrics": _told_of(claim_judge)} if claim_judge else {}),
        **identity,
    }
    if reuse and (path := finished_run(home, whole)):
        return load_run(home, str(path))
    with writing(runs_folder(home), whole, {"concurrency": concurrency}, cases) as run:
        if prices:
            run.note("prices", asdict(prices))
        answer_cases(
            pipeline, cases, run, concurrency=concurrency, grader=grader, carries=carries, on_progress=on_progress
        )
        if claim_judge:
            judge_answers(claim_judge, cases, run, concurrency=judge_concurrency, on_progress=on_progress)
        records = run.records()
        metrics = dict(score_answers(cases, records)[""])
        metrics |= claim_scores(records, claim_judge.metrics) if claim_judge else {}
        metrics |= similarity_scores(cases, records, encoder) if encoder else {}
        run.finish({"": metrics}, complete=not failures(records))
    return load_run(home, run.path.stem)


def answer_cases(
    pipeline: Answers,
    cases: Sequence[Case],
    run: RunWriter,
    *,
    concurrency: int = 1,
    grader: Grader | None = None,
    carries: bool = False,
    on_progress: OnProgress | None = None,
) -> None:
    """Answer the cases that the run does not hold yet, at most `concurrency` at a time, and record each as it ends.

    A case that fails is recorded with the error's type and message; the others go on.
    """
    done = {case_id for _, case_id in run.done()}
    todo = [(place, case) for place, case in enumerate(cases) if case.id not in done]
    known = len(cases) - len(todo)
    record_each(
        todo,
        lambda one: answer_case(pipeline, one[1], one[0], grader, carries=carries),
        run,
        concurrency,
        (lambda more: on_progress("questions", known + more, len(cases))) if on_progress else None,
    )


def answer_case(
    pipeline: Answers, case: Case, place: int, grader: Grader | None = None, *, carries: bool = False
) -> Record:
    """Answer one case after the turns before it, which are asked themselves where their answers are not known.

    The last of them is asked also when it `carries` its evidence over; what is known of its answer stays the history.

    Only what Footnote itself calls an error becomes a record; anything else is a defect, and ends the run.
    """
    spent = Tally()  # by the grader
    try:
        history: list[Turn] = []
        earlier: tuple[Hit, ...] = ()
        for number, (question, answer) in enumerate(case.turns, start=1):
            is_wanted = carries and number == len(case.turns)
            said = _ask(pipeline, question, history).answer if is_wanted or not answer else None
            earlier = said.evidence if said and is_wanted else ()
            history.append((question, answer or (said.text if said else "")))
        done = _ask(pipeline, case.question, history, earlier)
        outcome = as_outcome(done.answer) | {"prompt": _prompt(done)}
        if grader and (case.answers or not grader.needs_reference) and not done.answer.abstained:
            words, known = without_markers(done.answer.text), " / ".join(case.answers)
            with tallied() as spent:
                outcome["judgement"] = grader.grade(case.question, known, words)
    except FootnoteError as error:
        return failed_record(case.id, place, error, wasted=spent.total)
    return Record(case.id, place, outcome=outcome, timings_ms=dict(done.answer.timings_ms))


def score_answers(cases: Sequence[Case], records: Sequence[Record]) -> Scores:
    """Every metric of every answered case."""
    by_id = {case.id: case for case in cases}
    metrics: dict[str, dict[str, float]] = {}
    for record in records:
        if record.outcome is None or record.case_id not in by_id:
            continue
        for name, value in score_answer(by_id[record.case_id], as_answer(record.outcome)).items():
            metrics.setdefault(name, {})[record.case_id] = round(value, 6)
        if "judgement" in record.outcome:
            metrics.setdefault(JUDGED, {})[record.case_id] = _as_share(record.outcome["judgement"]["grade"])
    return {"": metrics}


def _told_of(judge: ClaimJudge) -> dict[str, Any]:
    """What decides the judged metrics, beside the model server's settings."""
    prompts = {metric: prompts_of(metric) for metric in judge.metrics}
    return {"model": judge.model, "prompts": prompts, "encoder": judge.encoder_fingerprint}


def _as_share(grade: float) -> float:
    return round((grade - GRADES[0]) / (GRADES[-1] - GRADES[0]), 6)


def _prompt(done: Done) -> dict[str, Any] | None:
    prompt = done.prompt
    if prompt is None:
        return None
    messages = [asdict(message) for message in prompt.messages]
    return {"version": prompt.version, "tokens_at_most": prompt.token_count, "messages": messages}


def _ask(pipeline: Answers, question: str, history: Sequence[Turn], earlier: tuple[Hit, ...] = ()) -> Done:
    turns = tuple(history)
    for event in pipeline.ask(question, turns, earlier=earlier) if earlier else pipeline.ask(question, turns):
        if isinstance(event, Done):
            return event
    raise AssertionError("ask() ends with Done")

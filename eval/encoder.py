"""How well an encoder does on tasks of MTEB's types, as one run: a task is a variant of it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import Any

from eval.dataset import Case, load_dataset
from eval.index import OnProgress
from eval.mteb_tasks import EXPERIMENTS, SEED, check_mteb, score_task
from eval.retrieval import evaluate_retrieval
from eval.run import Record, Run, finished_run, load_run, runs_folder, writing
from eval.summary import metric_figures
from eval.tasks import MAIN, Task
from eval.vectors import KeptEncoder
from indexer.encoder import Encoder
from retriever.search import RetrieverSettings

KIND = "encoder"


def evaluate_encoder(
    tasks: Sequence[Task],
    encoder: Encoder,
    name: str,
    home: Path,
    settings: RetrieverSettings | None = None,
    *,
    reuse: bool = False,
    on_progress: OnProgress | None = None,
) -> Run:
    """Score an encoder on each task, and keep it as a run of which the tasks are the variants.

    Retrieval is the served dense search over the task's corpus, and a run of its own beside. All else is scored by mteb
    (see eval/mteb_tasks.py); its vectors are kept under `home`/eval. After a kill the same call goes on with the task
    that was under way, and encodes only what it had not. `reuse` takes a finished run of the same evaluation.

    Raises:
        ConfigError: a task needs mteb, and it is not installed.
        ModelError: the encoder cannot run, or makes all texts alike.
    """
    if any(task.type != "retrieval" for task in tasks):
        check_mteb()
    identity = _identity(tasks, encoder, settings or RetrieverSettings())
    if reuse and (path := finished_run(home, identity)):
        return load_run(home, str(path))
    cases = {task.name: cases_of(task) for task in tasks}
    asked = [case for task in tasks for case in cases[task.name]]
    places = {case.id: place for place, case in enumerate(asked)}
    with writing(runs_folder(home), identity, {"encoder_name": name}, asked) as run:
        done = {variant for variant, _ in run.done()}
        kept = KeptEncoder(encoder, home / "eval" / "vectors")
        for task in tasks:
            if task.name in done:
                continue
            if task.type == "retrieval":
                outcomes = _retrieve(task, encoder, home, settings, on_progress)
            else:
                outcomes = _score(task, kept, on_progress)
            told = zip(cases[task.name], outcomes, strict=True)
            run.add(*(Record(case.id, places[case.id], task.name, outcome) for case, outcome in told))  # all or none
        run.finish(_scores(run.records()))
    return load_run(home, str(run.path))


def figures(run: Run) -> dict[str, dict[str, Any]]:
    """What each task of a run shows: {task: {metric: {"mean", "ci95", "n", "of", "method", "meaning"}}}."""
    shown = {}
    for task in run.facts["tasks"]:
        scores = run.scores[task]
        shown[task] = metric_figures(scores, len(next(iter(scores.values()))), run.facts)
    return shown


def mean_over_tasks(run: Run) -> float:
    """Mean of the tasks' main figures, as leaderboards give it; no interval, for tasks are no sample."""
    return fmean(fmean(run.scores[task][MAIN[type_]].values()) for task, type_ in run.facts["tasks"].items())


def cases_of(task: Task) -> tuple[Case, ...]:
    """The task's cases, named by the task and their own name. A clustering's are its experiments."""
    if task.type == "retrieval":
        return tuple(replace(case, id=f"{task.name}/{case.id}") for case in load_dataset(task.folder).judged)
    if task.type == "clustering":
        asked = [(str(number), f"clustering {number} of {EXPERIMENTS}") for number in range(1, EXPERIMENTS + 1)]
    elif task.type == "classification":
        asked = [(row.id, row.text) for row in task.labelled]
    elif task.type == "reranking":
        asked = [(each.id, each.query) for each in task.candidates]
    else:
        asked = [(pair.id, f"{pair.first} | {pair.second}") for pair in task.pairs]
    return tuple(Case(f"{task.name}/{id_}", text) for id_, text in asked)


def _score(task: Task, encoder: Encoder, on_progress: OnProgress | None) -> list[Mapping[str, Any]]:
    scored = score_task(task, encoder, partial(on_progress, f"{task.name}, texts") if on_progress else None)
    return [
        {**predicted, "scores": {metric: values[place] for metric, values in scored.values.items()}}
        for place, predicted in enumerate(scored.predicted)
    ]


def _retrieve(
    task: Task, encoder: Encoder, home: Path, settings: RetrieverSettings | None, on_progress: OnProgress | None
) -> list[Mapping[str, Any]]:
    told = evaluate_retrieval(task.folder, ["dense"], encoder, home, settings, reuse=True, on_progress=on_progress)
    run = load_run(home, told["run"])
    scores = run.scores["dense"]
    return [
        {**(record.outcome or {}), "scores": {metric: values[record.case_id] for metric, values in scores.items()}}
        for record in run.records
    ]


def _scores(records: Sequence[Record]) -> dict[str, dict[str, dict[str, float]]]:
    scores: dict[str, dict[str, dict[str, float]]] = {}
    for record in records:
        assert record.outcome is not None  # a task that fails ends the command
        for metric, value in record.outcome["scores"].items():
            scores.setdefault(record.variant, {}).setdefault(metric, {})[record.case_id] = value
    return scores


def _identity(tasks: Sequence[Task], encoder: Encoder, settings: RetrieverSettings) -> dict[str, Any]:
    types = {task.type for task in tasks}
    return {
        "kind": KIND,
        "dataset": _name(tasks),
        "dataset_sha256": _hash(tasks),
        "encoder": encoder.fingerprint,
        "tasks": {task.name: task.type for task in tasks},
        "settings": asdict(settings) if "retrieval" in types else None,
        "mteb": {"version": version("mteb"), "seed": SEED} if types != {"retrieval"} else None,
    }


def _name(tasks: Sequence[Task]) -> str:
    """The task's name, or that of the folder in which several stand."""
    if len(tasks) == 1:
        return tasks[0].name
    return "+".join(dict.fromkeys(task.folder.resolve().parent.name for task in tasks))


def _hash(tasks: Sequence[Task]) -> str:
    told = "\n".join(f"{task.name}\t{task.type}\t{task.sha256}" for task in sorted(tasks, key=lambda task: task.name))
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()

"""`eval answers`: the served pipeline, asked a data set's questions."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import typer

from app.commands.eval_gate import Gate
from app.display import Meter, count, note, progress, show, show_table
from app.door import emit
from app.settings import Settings
from app.wiring import (
    build_chat_model,
    build_encoder,
    build_reranker,
    chunk_settings,
    encoder_name,
    open_collection,
    pipeline_settings,
    retriever_settings,
    server_settings,
    uses_server,
)
from eval.answers import evaluate_answers
from eval.dataset import Dataset
from eval.formats import load_any
from eval.index import chunking_for, index_corpus, sources_of
from eval.judge import PointwiseJudge
from eval.report import judge_warning
from eval.run import Run
from eval.summary import summarise
from generator.chat import ChatModel
from generator.pipeline import Pipeline
from generator.server import ServerModel
from indexer.collection import Collection
from indexer.errors import ConfigError
from retriever.search import Retriever

CONCURRENT_WITH_SERVER = 16


@dataclass(frozen=True, slots=True)
class Asking:
    """Which questions are asked, and how."""

    limit: int | None = None
    seed: int = 0
    concurrency: int | None = None
    judged: bool = False
    reuse: bool = False  # take a finished run of the same


def run_answers(
    settings: Settings,
    path: Path,
    name: str | None,
    limit: int | None,
    seed: int,
    concurrency: int | None,
    judged: bool,
    gate: Gate,
    as_json: bool,
) -> None:
    """Answer and score the questions, and print the means; exit with 1 if a case failed or the gate does not hold."""
    with progress() as meter:
        served = open_collection(settings, name) if name is not None else None
        asking = Asking(limit, seed, concurrency, judged)
        run, _ = evaluate_with(settings, path, served, asking, meter)
    summary = summarise(run)
    metrics, stages = summary["variants"].get("", {}), summary["latency_ms"].get("", {})
    if as_json:
        facts = {
            name: run.facts[name] for name in ("model", "judge", "encoder_name", "chunking", "settings", "versions")
        }
        emit(
            {
                **{name: summary[name] for name in ("run", "dataset", "cases", "errors")},
                "metrics": metrics,
                "latency_ms": stages,
                **facts,
            }
        )
    else:
        show(f"{run.id}: {count(summary['cases'], 'question')}, answered by {run.facts['model']}")
        show_metrics(metrics)
    if warning := judge_warning(run):
        note(warning)
    if gate.close(run):
        raise typer.Exit(1)


def evaluate_with(
    settings: Settings, path: Path, served: Collection | None, asking: Asking, meter: Meter
) -> tuple[Run, Collection]:
    """Build the pipeline that the settings describe, ask it, and give the run and the collection that it searched."""
    grader = PointwiseJudge(judge_model(settings)) if asking.judged else None
    ready = prepare(settings, path, served, meter)
    run = evaluate_answers(
        ready.pipeline,
        ready.dataset,
        settings.home,
        ready.identity,
        limit=asking.limit,
        seed=asking.seed,
        grader=grader,
        concurrency=asking.concurrency or (CONCURRENT_WITH_SERVER if uses_server(settings) else 1),
        reuse=asking.reuse,
        on_progress=meter,
    )
    return run, ready.collection


@dataclass(frozen=True, slots=True)
class Prepared:
    """The pipeline that the settings describe, over what a data set is asked of; `identity` says what it is made of."""

    dataset: Dataset
    collection: Collection
    pipeline: Pipeline
    model: ChatModel
    identity: dict[str, Any]


def prepare(settings: Settings, path: Path, served: Collection | None, meter: Meter) -> Prepared:
    """Build what serves, over a collection or over the data set's own corpus, which is indexed where it is new."""
    dataset = load_any(path, None if served is None else sources_of(served))
    encoder = build_encoder(settings) if settings.retriever.mode != "bm25" else None
    chunking = chunking_for(dataset, encoder, chunk_settings(settings))
    collection = index_corpus(dataset, settings.home, encoder, chunking, meter) if served is None else served
    reranker = build_reranker(settings) if settings.retriever.rerank else None
    retriever = Retriever(collection, encoder, retriever_settings(settings), reranker)
    model = build_chat_model(settings)
    identity = {
        "model": model.name,
        "encoder": encoder.fingerprint if encoder else None,
        "encoder_name": encoder_name(settings.encoder) if encoder else None,
        "chunking": asdict(chunking) if chunking else None,
        "collection": None if served is None else [served.name, served.sequence()],
        "settings": told_settings(settings),
    }
    pipeline = Pipeline(retriever, model, collection, pipeline_settings(settings))
    return Prepared(dataset, collection, pipeline, model, identity)


def show_metrics(metrics: dict[str, Any]) -> None:
    """Print means with their intervals and coverage."""
    rows = [
        (name, f"{m['mean']:.3f}", f"{m['ci95'][0]:.3f} to {m['ci95'][1]:.3f}", f"{m['n']} of {m['of']}", m["method"])
        for name, m in metrics.items()
    ]
    show_table(("metric", "mean", "95% interval", "cases", "method"), rows)


def judge_model(settings: Settings) -> ServerModel:
    """The model server as a judge.

    Raises:
        ConfigError: none is set.
    """
    if not uses_server(settings) or not settings.generator.base_url:
        raise ConfigError("A language model as judge needs a model server.", "Set generator.base_url.")
    return ServerModel(server_settings(settings))


def told_settings(settings: Settings) -> dict[str, Any]:
    """Every setting that can change an answer; no key, and no place on this disk."""
    generator = settings.generator.model_dump(mode="json", exclude={"api_key"})
    return {
        "retriever": asdict(retriever_settings(settings)),
        "pipeline": asdict(pipeline_settings(settings)),
        "generator": generator,
    }

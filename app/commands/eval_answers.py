"""`eval answers`: the served pipeline, asked a data set's questions."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import typer

from app.built import as_built
from app.commands.eval_gate import Gate
from app.commands.judges import Judging, build_grader, judge_model, steps_of
from app.display import Meter, count, note, progress, show, show_table
from app.door import emit
from app.rerankers import build_reranker
from app.resolved import chunk_settings, pipeline_settings, retriever_settings, uses_server
from app.settings import Settings
from app.wiring import build_chat_model, build_encoder, build_entailment, encoder_name, open_collection
from eval.answers import evaluate_answers
from eval.claim_metrics import CLAIM_METRICS, ClaimJudge, needs_encoder
from eval.dataset import Dataset
from eval.formats import load_any
from eval.index import chunking_for, index_corpus, sources_of
from eval.report import judge_warning
from eval.run import Run, whose
from eval.summary import summarise
from generator.chat import ChatModel
from generator.pipeline import Event, Pipeline
from generator.prompt import Turn
from generator.usage import Prices
from indexer.access import FULL, Access
from indexer.collection import Collection
from indexer.encoder import Encoder
from retriever.hit import Hit
from retriever.search import Retriever

CONCURRENT_WITH_SERVER = 16


@dataclass(frozen=True, slots=True)
class Asking:
    """Which questions are asked, and how."""

    limit: int | None = None
    seed: int = 0
    concurrency: int | None = None
    grader: str = ""  # who grades the answers; empty: nobody
    judging: Judging = field(default_factory=Judging)
    judged_metrics: tuple[str, ...] = ()
    prices: Prices | None = None
    reuse: bool = False  # take a finished run of the same
    owner: str = ""  # whose run it is, where somebody signed in
    access: Access = FULL  # and what of a served collection they may read


def run_answers(settings: Settings, path: Path, name: str | None, asking: Asking, gate: Gate, as_json: bool) -> None:
    """Answer and score the questions, and print the means; exit with 1 if anything failed or the gate does not hold."""
    with progress() as meter:
        served = open_collection(settings, name) if name is not None else None
        run, _ = evaluate_with(settings, path, served, asking, meter)
    summary = summarise(run)
    metrics, stages = summary["variants"].get("", {}), summary["latency_ms"].get("", {})
    if as_json:
        known = ("model", "judge", "judged_metrics", "encoder_name", "chunking", "settings", "versions")
        facts = {name: run.facts[name] for name in known if name in run.facts}
        emit(
            {
                **{name: summary[name] for name in ("run", "dataset", "cases", "errors")},
                "metrics": metrics,
                "declining": summary["declining"],
                "latency_ms": stages,
                **{name: summary[name] for name in ("judge_failures", "judge_usage")},
                **facts,
            }
        )
    else:
        show(f"{run.id}: {count(summary['cases'], 'question')}, answered by {run.facts['model']}")
        show_metrics(metrics)
        if summary["declining"]:
            show(told_of_declining(summary["declining"]))
        if summary["judge_usage"]:
            show(told_of_usage(summary["judge_usage"]))
    if warning := judge_warning(run):
        note(warning)
    if gate.close(run):
        raise typer.Exit(1)


def evaluate_with(
    settings: Settings, path: Path, served: Collection | None, asking: Asking, meter: Meter
) -> tuple[Run, Collection]:
    """Build the pipeline that the settings describe, ask it, and give the run and the collection that it searched."""
    grader = build_grader(settings, asking.grader, asking.judging) if asking.grader else None
    claim_judge = _claim_judge(settings, asking.judged_metrics)
    access = asking.access if served is not None else FULL
    ready = prepare(settings, path, served, meter, access)
    steps = steps_of([grader] if grader else [])
    run = evaluate_answers(
        _Reader(ready.pipeline, access),
        ready.dataset,
        settings.home,
        {**ready.identity, **({"steps": steps} if steps else {}), **whose(asking.owner, asking.access)},
        limit=asking.limit,
        seed=asking.seed,
        grader=grader,
        claim_judge=claim_judge,
        encoder=ready.encoder,
        prices=asking.prices,
        judge_concurrency=asking.concurrency or CONCURRENT_WITH_SERVER,
        concurrency=asking.concurrency or (CONCURRENT_WITH_SERVER if uses_server(settings) else 1),
        reuse=asking.reuse,
        carries=settings.generator.carry_evidence,
        on_progress=meter,
    )
    return run, ready.collection


@dataclass(frozen=True, slots=True)
class _Reader:
    """A pipeline that is asked by somebody who may not read everything."""

    pipeline: Pipeline
    access: Access

    def ask(
        self, question: str, history: Sequence[Turn] = (), query: str | None = None, earlier: Sequence[Hit] = ()
    ) -> Iterator[Event]:
        """Answer one question."""
        return self.pipeline.ask(question, history, query, earlier, access=self.access)


@dataclass(frozen=True, slots=True)
class Prepared:
    """The pipeline that the settings describe, over what a data set is asked of; `identity` says what it is made of."""

    dataset: Dataset
    collection: Collection
    encoder: Encoder | None
    pipeline: Pipeline
    model: ChatModel
    identity: dict[str, Any]


def prepare(settings: Settings, path: Path, served: Collection | None, meter: Meter, access: Access = FULL) -> Prepared:
    """Build what serves, over a collection or over the data set's own corpus, which is indexed where it is new."""
    dataset = load_any(path, None if served is None else sources_of(served, access))
    if served is not None:
        settings = as_built(settings, served)
    own = pipeline_settings(settings)  # what is wrong there is said before loading
    encoder = build_encoder(settings) if settings.retriever.mode != "bm25" else None
    chunking = chunking_for(dataset, encoder, chunk_settings(settings))
    language = settings.indexer.language
    collection = served or index_corpus(dataset, settings.home, encoder, chunking, meter, language)
    reranker = build_reranker(settings) if settings.retriever.rerank else None
    retriever = Retriever(collection, encoder, retriever_settings(settings), reranker)
    model = build_chat_model(settings)
    identity = {
        "model": model.name,
        "encoder": encoder.fingerprint if encoder else None,
        "encoder_name": encoder_name(settings.encoder) if encoder else None,
        "chunking": asdict(chunking) if chunking else None,
        "collection": None if served is None else [served.name, served.sequence()],
        **({"reranker": reranker.name} if reranker else {}),
        "settings": told_settings(settings),
    }
    pipeline = Pipeline(retriever, model, collection, own, build_entailment(settings))
    return Prepared(dataset, collection, encoder, pipeline, model, identity)


def show_metrics(metrics: dict[str, Any]) -> None:
    """Print means with their intervals and coverage."""
    rows = [
        (name, f"{m['mean']:.3f}", f"{m['ci95'][0]:.3f} to {m['ci95'][1]:.3f}", f"{m['n']} of {m['of']}", m["method"])
        for name, m in metrics.items()
    ]
    show_table(("metric", "mean", "95% interval", "cases", "method"), rows)


def read_judged_metrics(text: str) -> tuple[str, ...]:
    """Judged metrics from NAME,... or all.

    Raises:
        BadParameter: a name is unknown.
    """
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if wrong := [name for name in names if name not in (*CLAIM_METRICS, "all")]:
        known = ", ".join(CLAIM_METRICS)
        raise typer.BadParameter(f"{wrong[0]!r} is none of {known}, all", param_hint="--judge-metrics")
    return tuple(CLAIM_METRICS) if "all" in names else names


def told_of_declining(found: dict[str, Any]) -> str:
    """One line about how well questions without an answer were told apart."""
    low, high = found["f1_ci95"]
    shares = (
        f"{found['recall']:.1%} of the questions without an answer, {found['declined_answerable']:.1%} of the others"
    )
    return f"Declined: {shares}; F1 {found['f1']:.3f} ({low:.3f} to {high:.3f})"


def told_of_usage(usage: dict[str, Any]) -> str:
    """One line about what the judge took."""
    cost = "" if usage["cost"] is None else f", cost {usage['cost']:,.4f}"
    tokens = f"{usage['prompt_tokens']:,} tokens in, {usage['completion_tokens']:,} out"
    return f"Judging took {count(usage['calls'], 'call')}: {tokens}{cost}"


def _claim_judge(settings: Settings, metrics: tuple[str, ...]) -> ClaimJudge | None:
    if not metrics:
        return None
    model = judge_model(settings)
    encoder: Encoder | None = build_encoder(settings) if any(map(needs_encoder, metrics)) else None
    return ClaimJudge(model, metrics, encoder)


def told_settings(settings: Settings) -> dict[str, Any]:
    """Every setting that can change an answer; no key, and no place on this disk."""
    generator = settings.generator.model_dump(mode="json", exclude={"api_key"})
    generator["nli_model"] = Path(settings.generator.nli_model or "").name
    return {
        "retriever": asdict(retriever_settings(settings)),
        "pipeline": asdict(pipeline_settings(settings)),
        "generator": generator,
    }

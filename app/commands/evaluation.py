"""`footnote eval`: what the commands that measure take. What they do is in eval_*.py, imported on use."""

from pathlib import Path
from typing import Annotated

import typer

from app.commands.options import Criteria, GraderName, Hidden, Json, Mode, Panel, PriceIn, PriceOut
from app.door import opened

evaluation = typer.Typer(
    help="Measure the search and the answers that are served.", no_args_is_help=True, rich_markup_mode=None
)

Dataset = Annotated[
    Path,
    typer.Option(
        "--dataset", metavar="DIR|FILE", help="BEIR folder or SQuAD .json; with --served .csv, .tsv, .jsonl too."
    ),
]
Served = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Ask this collection; judgements name its documents.", show_default="DIR's own corpus"
    ),
]
FailBelow = Annotated[
    list[str] | None, typer.Option(metavar="METRIC=VALUE", help="Exit with 1 when a mean is below; MODE.METRIC too.")
]
NoWorseThan = Annotated[
    str | None, typer.Option(metavar="RUN", help="Exit with 1 when a metric is significantly worse than in that run.")
]
Reuse = Annotated[bool, typer.Option("--reuse", help="Take the finished run of the same evaluation, if there is one.")]


@evaluation.command()
def retrieval(
    context: typer.Context,
    dataset: Dataset,
    modes: Annotated[str, typer.Option(metavar="MODE,...", help="Any of bm25, dense, hybrid.")] = "bm25,dense,hybrid",
    encoder: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A sentence-transformers folder or package, or an LLM2Vec adapter.",
            show_default="the configured one",
        ),
    ] = None,
    metrics: Annotated[str, typer.Option(metavar="NAME,...", help="More of ir_measures: AP, P@5, Success@1.")] = "",
    spans: Annotated[
        bool, typer.Option("--spans", help="Count a hit by the words that hold an answer (spans.jsonl).")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="So many questions, drawn at random.")] = None,
    fail_below: FailBelow = None,
    no_worse_than: NoWorseThan = None,
    reuse: Reuse = False,
    served: Served = None,
    collection: Hidden = "default",
    as_json: Json = False,
) -> None:
    """Measure nDCG@10, recall@100 and MRR@10 on a data set."""
    names = [name.strip() for name in modes.split(",") if name.strip()]
    wrong = [name for name in names if name not in Mode.__members__]
    if wrong or not names:
        raise typer.BadParameter(f"{wrong[0] if wrong else modes!r} is none of {', '.join(Mode)}", param_hint="--modes")
    with opened(context, as_json) as settings:
        from app.commands.eval_gate import Gate
        from app.commands.eval_retrieval import run_retrieval

        measures = [name.strip() for name in metrics.split(",") if name.strip()]
        gate = Gate.read(settings, fail_below or (), no_worse_than)
        run_retrieval(settings, dataset, served, names, encoder, spans, measures, limit, reuse, gate, as_json)


@evaluation.command()
def encoder(
    context: typer.Context,
    tasks: Annotated[
        list[Path],
        typer.Option("--tasks", metavar="DIR", help="A task's folder, a BEIR folder, or a folder of such; repeatable."),
    ],
    encoder: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="default, none (no adapter), causal, adapters joined by +, a sentence-transformers folder or package; "
            "repeatable.",
            show_default="the configured one",
        ),
    ] = None,
    fail_below: FailBelow = None,
    no_worse_than: NoWorseThan = None,
    reuse: Reuse = False,
    collection: Hidden = "default",
    as_json: Json = False,
) -> None:
    """Measure encoders on tasks of MTEB's types: sts, pairs, reranking, classification, clustering, retrieval."""
    with opened(context, as_json) as settings:
        from app.commands.eval_encoder import run_encoder
        from app.commands.eval_gate import Gate

        gate = Gate.read(settings, fail_below or (), no_worse_than)
        run_encoder(settings, tasks, encoder or (), reuse, gate, as_json)


@evaluation.command()
def answers(
    context: typer.Context,
    dataset: Dataset,
    limit: Annotated[int | None, typer.Option(min=1, help="So many questions, drawn under --seed.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides which questions.")] = 0,
    concurrency: Annotated[
        int | None, typer.Option(min=1, max=512, help="Questions at a time.", show_default="1, 16 with a server")
    ] = None,
    judge: Annotated[bool, typer.Option("--judge", help="Let the model server grade the answers, too.")] = False,
    grader: Annotated[
        GraderName | None, typer.Option(help="Grade the answers by this judge.", show_default="pointwise with --judge")
    ] = None,
    judge_metrics: Annotated[
        str,
        typer.Option(
            metavar="NAME,...|all", help="ragas' metrics, judged by the model server; docs/evaluation.md lists them."
        ),
    ] = "",
    domain: Criteria = None,
    panel: Panel = None,
    price_in: PriceIn = None,
    price_out: PriceOut = None,
    fail_below: FailBelow = None,
    no_worse_than: NoWorseThan = None,
    reuse: Reuse = False,
    served: Served = None,
    collection: Hidden = "default",
    as_json: Json = False,
) -> None:
    """Answer a data set's questions as they would be answered to a user, and score the answers.

    A run that was killed goes on when the same command is given again.
    """
    with opened(context, as_json) as settings:
        from app.commands.eval_answers import Asking, read_judged_metrics, run_answers
        from app.commands.eval_gate import Gate
        from app.commands.judges import read_judging, read_prices

        gate = Gate.read(settings, fail_below or (), no_worse_than)
        graded = grader.value if grader else ("pointwise" if judge else "")
        asking = Asking(
            limit,
            seed,
            concurrency,
            graded,
            read_judging([graded] if graded else [], domain, panel),
            read_judged_metrics(judge_metrics),
            read_prices(price_in, price_out),
            reuse,
        )
        run_answers(settings, dataset, served, asking, gate, as_json)


@evaluation.command()
def sweep(
    context: typer.Context,
    dataset: Dataset,
    tried: Annotated[
        list[str],
        typer.Option("--try", metavar="KEY=VALUE,...", help="Values of a setting; all combinations are tried."),
    ],
    answers: Annotated[bool, typer.Option("--answers", help="Measure the answers, not the search.")] = False,
    metric: Annotated[str | None, typer.Option(metavar="NAME", show_default="ndcg@10, or f1 with --answers")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE.toml", help="Gets the best settings.")] = None,
    collection: Hidden = "default",
    as_json: Json = False,
) -> None:
    """Try combinations of settings: the weaker half is dropped on few questions, the rest measured on all."""
    with opened(context, as_json) as settings:
        from app.commands.eval_sweep import run_sweep

        run_sweep(settings, dataset, answers, tried, metric or ("f1" if answers else "ndcg@10"), out, as_json)


@evaluation.command()
def injection(
    context: typer.Context,
    dataset: Annotated[
        Path | None,
        typer.Option("--dataset", metavar="DIR", help="Attacks of your own.", show_default="data/injection"),
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, max=512, help="Attacks at a time.", show_default="1, 16 with a server")
    ] = None,
    fail_below: FailBelow = None,
    no_worse_than: NoWorseThan = None,
    collection: Hidden = "default",
    as_json: Json = False,
) -> None:
    """Attack the answering with documents that give orders, and say how often it obeys."""
    with opened(context, as_json) as settings:
        from app.commands.eval_gate import Gate
        from app.commands.eval_injection import run_injection

        gate = Gate.read(settings, fail_below or (), no_worse_than)
        run_injection(settings, dataset, concurrency, gate, as_json)


@evaluation.command()
def calibrate(
    context: typer.Context,
    dataset: Dataset,
    served: Served = None,
    collection: Hidden = "default",
    out: Annotated[Path | None, typer.Option(metavar="FILE.toml", help="Gets the settings, if they help.")] = None,
    reader: Annotated[
        bool, typer.Option("--reader", help="Learn instead when the embedded reader answers, and with which words.")
    ] = False,
    abstention: Annotated[
        bool, typer.Option("--abstention", help="Learn instead when to decline what the model server answered.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Decides the folds.")] = 0,
    as_json: Json = False,
) -> None:
    """Learn from judged questions how to join bm25 and dense; nothing is changed for a gain within chance."""
    if reader and abstention:
        raise typer.BadParameter("--reader and --abstention are learned one at a time", param_hint="--abstention")
    with opened(context, as_json) as settings:
        from app.commands.eval_calibrate import run_calibrate, run_calibrate_abstention, run_calibrate_reader

        run = run_calibrate_abstention if abstention else run_calibrate_reader if reader else run_calibrate
        run(settings, dataset, served, out, seed, as_json)

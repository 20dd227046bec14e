"""`footnote eval`: what each command takes. What it does is in eval_*.py, imported on use."""

from pathlib import Path
from typing import Annotated

import typer

from app.commands.options import Domain, GraderName, Json, Mode, Name
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
Hidden = Annotated[str, typer.Option("--collection", "-c", hidden=True)]
FailBelow = Annotated[
    list[str] | None, typer.Option(metavar="METRIC=VALUE", help="Exit with 1 when a mean is below; MODE.METRIC too.")
]
NoWorseThan = Annotated[
    str | None, typer.Option(metavar="RUN", help="Exit with 1 when a metric is significantly worse than in that run.")
]
Criteria = Annotated[
    Domain | None,
    typer.Option("--domain", help="Judge by the criteria of this kind of question.", show_default="the prompt's own"),
]
Panel = Annotated[
    str | None,
    typer.Option(
        metavar="NAME,...",
        help="Who sits on the panel; NAME@MODEL asks another model of the server.",
        show_default="every kind that asks a model and can do it",
    ),
]
PriceIn = Annotated[float | None, typer.Option(min=0, help="Price of a million tokens that the judge reads.")]
PriceOut = Annotated[float | None, typer.Option(min=0, help="Price of a million tokens that the judge writes.")]
Reuse = Annotated[bool, typer.Option("--reuse", help="Take the finished run of the same evaluation, if there is one.")]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run's name, its beginning or end, its file, or last.")]


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
        run_retrieval(settings, dataset, served, names, encoder, spans, measures, reuse, gate, as_json)


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
def runs(context: typer.Context, collection: Hidden = "default", as_json: Json = False) -> None:
    """List the runs."""
    with opened(context, as_json) as settings:
        from app.commands.eval_runs import list_all

        list_all(settings, as_json)


@evaluation.command()
def compare(
    context: typer.Context,
    run_a: RunName,
    run_b: RunName,
    variant_a: Annotated[str | None, typer.Option("--mode-a", metavar="MODE", help="Of run A.")] = None,
    variant_b: Annotated[str | None, typer.Option("--mode-b", metavar="MODE", help="Of run B.")] = None,
    judge: Annotated[
        str | None, typer.Option(metavar="NAME", help="Also let this judge compare the answers; see judge-agreement.")
    ] = None,
    domain: Criteria = None,
    panel: Panel = None,
    collection: Hidden = "default",
    as_json: Json = False,
) -> None:
    """Say which metrics differ between two runs by more than chance, and which cases moved most."""
    with opened(context, as_json) as settings:
        from app.commands.eval_runs import run_compare
        from app.commands.judges import read_judging

        judging = read_judging([judge] if judge else [], domain, panel)
        run_compare(settings, run_a, run_b, variant_a, variant_b, judge, judging, as_json)


@evaluation.command()
def report(
    context: typer.Context,
    run: RunName,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.html|FILE.md", help="Gets the report.", show_default="RUN.html here")
    ] = None,
    collection: Hidden = "default",
    as_json: Json = False,
) -> None:
    """Write one self-contained page about a run."""
    with opened(context, as_json) as settings:
        from app.commands.eval_runs import write_report

        write_report(settings, run, out, as_json)


@evaluation.command()
def export(
    context: typer.Context,
    run: RunName,
    out: Annotated[Path, typer.Option(metavar="FILE.jsonl|FILE.csv", help="One line a case; without times.")],
    collection: Hidden = "default",
    as_json: Json = False,
) -> None:
    """Write every case of a run with its outcome and scores."""
    with opened(context, as_json) as settings:
        from app.commands.eval_runs import export_run

        export_run(settings, run, out, as_json)


@evaluation.command("judge-agreement")
def judge_agreement(
    context: typer.Context,
    dataset: Annotated[Path, typer.Option("--dataset", metavar="DIR", help="Pairs of answers that people compared.")],
    judge: Annotated[
        list[str] | None,
        typer.Option(
            "--judge",
            "--judges",
            metavar="NAME,...",
            help="f1, rouge_l, encoder; pairwise, pointwise, geval, panel ask the model server.",
            show_default="all that can be had but panel",
        ),
    ] = None,
    domain: Criteria = None,
    panel: Panel = None,
    repeat: Annotated[
        int | None, typer.Option(min=2, max=50, help="Ask so often, with sampling, and tell how much verdicts vary.")
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(min=0.01, max=2, help="Of repeated judging; its seeds are 1, 2, 3...", show_default="0.7"),
    ] = None,
    price_in: PriceIn = None,
    price_out: PriceOut = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many pairs.")] = None,
    own_model: Annotated[str, typer.Option(metavar="NAME", help="Part of the names of the judge's own answers.")] = "",
    collection: Hidden = "default",
    as_json: Json = False,
) -> None:
    """Measure judges against people: agreement, order, length and self-preference."""
    with opened(context, as_json) as settings:
        from app.commands.eval_judge import run_judge_agreement
        from app.commands.judges import read_judging, read_prices

        names = [name.strip() for given in judge or () for name in given.split(",") if name.strip()]
        judging = read_judging(names or ["all"], domain, panel, repeat, temperature)
        prices = read_prices(price_in, price_out)
        run_judge_agreement(settings, dataset, names, judging, limit, own_model, prices, as_json)


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
    seed: Annotated[int, typer.Option(min=0, help="Decides the folds.")] = 0,
    as_json: Json = False,
) -> None:
    """Learn from judged questions how to join bm25 and dense; nothing is changed for a gain within chance."""
    with opened(context, as_json) as settings:
        from app.commands.eval_calibrate import run_calibrate, run_calibrate_reader

        run = run_calibrate_reader if reader else run_calibrate
        run(settings, dataset, served, out, seed, as_json)


@evaluation.command()
def synthesize(
    context: typer.Context,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Gets the questions; a new folder, or that of this command.")
    ],
    collection: Name = "default",
    number: Annotated[int, typer.Option("--count", min=1, max=100_000, help="Questions in all.")] = 20,
    kinds: Annotated[
        str, typer.Option(metavar="KIND,...", help="Any of single, two, unanswerable, follow-up.")
    ] = "single,two,unanswerable,follow-up",
    attempts: Annotated[
        int | None,
        typer.Option(min=1, help="Most passages tried for a kind.", show_default="10 for each question"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides which passages.")] = 0,
    k: Annotated[
        int, typer.Option("--k", "-k", min=1, max=100, help="The search must find a question's passages among so many.")
    ] = 10,
    concurrency: Annotated[
        int | None, typer.Option(min=1, max=512, help="Passages at a time.", show_default="16")
    ] = None,
    as_json: Json = False,
) -> None:
    """Let the model server write questions about a collection, and keep those that pass the filters.

    Writing that was killed goes on when the same command is given again.
    """
    from eval.synthesis.candidate import KINDS

    names = [name.strip() for name in kinds.split(",") if name.strip()]
    wrong = [name for name in names if name not in KINDS]
    if wrong or not names:
        raise typer.BadParameter(
            f"{wrong[0] if wrong else kinds!r} is none of {', '.join(KINDS)}", param_hint="--kinds"
        )
    chosen = [kind for kind in KINDS if kind in names]
    if number < len(chosen):
        raise typer.BadParameter(f"{number} is fewer than the kinds asked for", param_hint="--count")
    with opened(context, as_json) as settings:
        from app.commands.eval_synthesize import run_synthesize

        run_synthesize(settings, collection, out, number, chosen, attempts, seed, k, concurrency, as_json)


@evaluation.command()
def review(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that `eval synthesize` wrote.")],
    accepted_only: Annotated[
        bool | None,
        typer.Option(
            "--accepted-only/--undecided-too",
            help="Whether questions that nobody has looked at are used.",
            show_default="as it was; at first they are",
        ),
    ] = None,
    no_ui: Annotated[bool, typer.Option("--no-ui", help="Only say what was decided.")] = False,
    port: Annotated[int | None, typer.Option(min=1, max=65535, show_default="ui.port, 8501")] = None,
    collection: Hidden = "default",
    as_json: Json = False,
) -> None:
    """Open the page on which people accept, edit and reject written questions."""
    with opened(context, as_json) as settings:
        from app.commands.eval_synthesize import run_review

        run_review(settings, folder, accepted_only, as_json)
        if not (no_ui or as_json):
            from app.ui.launch import run_ui

            raise typer.Exit(run_ui(settings, None, port, config=context.obj.config, review=folder))

"""`footnote train`: what each command takes. What it does is in train_run.py and train_mine.py, imported on use."""

from pathlib import Path
from typing import Annotated

import typer

from app.commands.options import Json
from app.door import opened

training = typer.Typer(
    help="Train the encoder on your own texts and pairs.", no_args_is_help=True, rich_markup_mode=None
)

Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="The adapter; an unfinished run there goes on.")]
Name = Annotated[str | None, typer.Option("--collection", "-c", metavar="NAME", help="The texts of a collection.")]
Paths = Annotated[
    list[Path] | None, typer.Argument(metavar="[PATH...]", help="Files and folders to learn from.", show_default=False)
]
TextFile = Annotated[
    Path | None, typer.Option("--texts", metavar="FILE", help='JSONL(.gz) of {"text": ...} or of pairs.')
]
PairFile = Annotated[
    Path,
    typer.Option("--pairs", metavar="FILE", help='JSONL(.gz): {"anchor", "positive"[, "negatives"][, "source"]}.'),
]
Start = Annotated[
    str | None, typer.Option("--from", metavar="ADAPTER", help="Go on from an adapter's folder, default or none.")
]
Steps = Annotated[
    int | None, typer.Option(min=1, help="Optimizer steps.", show_default="3 passes, from 10 to 1000 steps")
]
Minutes = Annotated[float | None, typer.Option(min=0.01, help="End after this long, whatever the steps.")]
Batch = Annotated[int | None, typer.Option(min=2, help="Texts or pairs a step.", show_default="the paper's, 48 pairs")]
Tokens = Annotated[int | None, typer.Option(min=4, help="A longer text is cut.", show_default="512, 128, 112")]
Rate = Annotated[float | None, typer.Option(min=0, help="Peak learning rate.", show_default="by stage")]
Rank = Annotated[int | None, typer.Option(min=1, help="Rank of the LoRA matrices.", show_default="16")]
Alpha = Annotated[int | None, typer.Option(min=1, help="Strength of the LoRA matrices.", show_default="twice the rank")]
Layers = Annotated[int | None, typer.Option(min=1, help="Keep only the lowest layers.", show_default="all")]
Seed = Annotated[int, typer.Option(min=0, help="Decides everything that is drawn.")]
DevEvery = Annotated[int, typer.Option(min=1, metavar="STEPS", help="How often to measure on held-out data.")]
GradCache = Annotated[
    bool, typer.Option("--grad-cache", help="Large batches in little memory, for a third more time a step.")
]
Temperature = Annotated[float | None, typer.Option(min=0.001, help="Of the softmax.", show_default="by stage")]
Teacher = Annotated[str | None, typer.Option(metavar="DIR|PACKAGE", help="A sentence-transformers model.")]


@training.command()
def mntp(
    context: typer.Context,
    out: Out,
    paths: Paths = None,
    collection: Name = None,
    texts: TextFile = None,
    start: Start = None,
    steps: Steps = None,
    minutes: Minutes = None,
    batch: Batch = None,
    max_tokens: Tokens = None,
    learning_rate: Rate = None,
    rank: Rank = None,
    alpha: Alpha = None,
    layers: Layers = None,
    seed: Seed = 0,
    dev_every: DevEvery = 50,
    as_json: Json = False,
) -> None:
    """Predict masked tokens: the decoder learns to look ahead."""
    with opened(context, as_json) as settings:
        from app.commands.train_run import Source, common_options, run_mntp

        common = common_options(context.params)
        run_mntp(settings, common, Source(tuple(paths or ()), collection, texts), context, as_json)


@training.command()
def simcse(
    context: typer.Context,
    out: Out,
    paths: Paths = None,
    collection: Name = None,
    texts: TextFile = None,
    dev: Annotated[Path | None, typer.Option(metavar="FILE", help="Pairs to measure on.")] = None,
    start: Start = None,
    steps: Steps = None,
    minutes: Minutes = None,
    batch: Batch = None,
    max_tokens: Tokens = None,
    learning_rate: Rate = None,
    temperature: Temperature = None,
    rank: Rank = None,
    alpha: Alpha = None,
    layers: Layers = None,
    grad_cache: GradCache = False,
    seed: Seed = 0,
    dev_every: DevEvery = 50,
    as_json: Json = False,
) -> None:
    """Tell texts apart without any labels."""
    with opened(context, as_json) as settings:
        from app.commands.train_run import Source, common_options, run_simcse

        common = common_options(context.params)
        source = Source(tuple(paths or ()), collection, texts)
        run_simcse(settings, common, source, dev, temperature, grad_cache, context, as_json)


@training.command()
def contrastive(
    context: typer.Context,
    pairs: PairFile,
    out: Out,
    teacher: Teacher = None,
    cap: Annotated[list[str] | None, typer.Option(metavar="SOURCE=N", help="Most pairs of a source.")] = None,
    hard_negatives: Annotated[int | None, typer.Option(min=0, help="Of a pair's, a step.", show_default="1")] = None,
    distill_weight: Annotated[float | None, typer.Option(min=0, help="Of the teacher.", show_default="1")] = None,
    neighbourhoods: Annotated[
        int | None, typer.Option(min=1, help="Groups of similar anchors a step: 1 is the hardest.", show_default="4")
    ] = None,
    start: Start = None,
    steps: Steps = None,
    minutes: Minutes = None,
    batch: Batch = None,
    max_tokens: Tokens = None,
    learning_rate: Rate = None,
    temperature: Temperature = None,
    rank: Rank = None,
    alpha: Alpha = None,
    layers: Layers = None,
    grad_cache: GradCache = False,
    seed: Seed = 0,
    dev_every: DevEvery = 50,
    as_json: Json = False,
) -> None:
    """Learn from pairs of what is asked and what answers it, such as an export of your feedback."""
    with opened(context, as_json) as settings:
        from app.commands.train_run import PairOptions, common_options, run_contrastive

        common = common_options(context.params)
        options = PairOptions(
            pairs, teacher, tuple(cap or ()), hard_negatives, distill_weight, neighbourhoods, temperature, grad_cache
        )
        run_contrastive(settings, common, options, context, as_json)


@training.command()
def mine(
    context: typer.Context,
    pairs: PairFile,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Gets the pairs with their negatives.")],
    collection: Annotated[
        str | None, typer.Option("--collection", "-c", metavar="NAME", help="Where to look; else the pairs' positives.")
    ] = None,
    teacher: Teacher = None,
    cross_encoder: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Judges candidates; its scores are kept for training.")
    ] = None,
    negatives: Annotated[int, typer.Option(min=1, max=100, help="Most negatives of a pair.")] = 4,
    candidates: Annotated[int, typer.Option(min=1, max=1000, help="Looked at, by words and by vectors each.")] = 50,
    margin: Annotated[
        float, typer.Option(min=0.1, max=1, help="Above this share of the positive's score it may be an answer.")
    ] = 0.95,
    as_json: Json = False,
) -> None:
    """Find hard negatives for pairs: texts that look like an answer and are none."""
    with opened(context, as_json) as settings:
        from app.commands.train_mine import MineOptions, run_mine

        options = MineOptions(pairs, out, collection, teacher, cross_encoder, negatives, candidates, margin)
        run_mine(settings, options, as_json)


@training.command()
def average(
    context: typer.Context,
    adapters: Annotated[list[Path], typer.Argument(metavar="ADAPTER...", help="Folders, two or more.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Gets the mean adapter.")],
    as_json: Json = False,
) -> None:
    """Average adapters of which one went on from the other."""
    with opened(context, as_json):
        from app.display import show
        from app.door import emit
        from indexer.llm2vec.training.average import average_adapters

        average_adapters(adapters, out)
        if as_json:
            emit({"adapter": str(out), "averaged": [str(adapter) for adapter in adapters]})
        else:
            show(f"Adapter: {out}", wrap=False)

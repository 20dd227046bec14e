"""`eval retrieval`: the served search, measured on a data set."""

from collections.abc import Sequence
from pathlib import Path

import typer

from app.built import as_built
from app.commands.eval_gate import Gate
from app.display import count, note, progress, show, show_table
from app.door import emit
from app.encoders import build_named_encoder
from app.rerankers import build_expander, build_reranker
from app.resolved import chunk_settings, retriever_settings
from app.settings import Settings
from app.wiring import build_encoder, encoder_name, open_collection
from eval.metrics import RETRIEVAL_METRICS
from eval.retrieval import evaluate_retrieval
from eval.run import load_run
from indexer.encoder import Encoder


def run_retrieval(
    settings: Settings,
    dataset: Path,
    name: str | None,
    modes: Sequence[str],
    other: str | None,
    by_span: bool,
    measures: Sequence[str],
    limit: int | None,
    reuse: bool,
    gate: Gate,
    as_json: bool,
) -> None:
    """Evaluate each mode with the configured encoder, or the one named, and print the means.

    Reranking and expansion are those of the settings, as `ask` has them.

    Exit with 1 if the gate does not hold.
    """
    encoder, shown = None, None
    served = open_collection(settings, name) if name is not None else None
    if served is not None:
        settings = as_built(settings, served)
    expander = build_expander(settings)
    reranker = build_reranker(settings) if settings.retriever.rerank else None
    if any(mode != "bm25" for mode in modes):
        encoder, shown = _encoder(settings, other)
    with progress() as meter:
        report = evaluate_retrieval(
            dataset,
            modes,
            encoder,
            settings.home,
            retriever_settings(settings),
            chunking=chunk_settings(settings) if by_span and served is None else None,
            served=served,
            by_span=by_span,
            reranker=reranker,
            expander=expander,
            measures=measures,
            limit=limit,
            reuse=reuse,
            language=settings.indexer.language,
            on_progress=meter,
        )
    report["encoder_name"] = shown
    if as_json:
        emit(report)
    else:
        metrics = (*RETRIEVAL_METRICS, *measures)
        rows = [
            (mode, *(f"{scores[metric]:.4f}" for metric in metrics), scores["n"])
            for mode, scores in report["modes"].items()
        ]
        cut = f", {report['truncated']:,} cut at the encoder's limit" if report["truncated"] else ""
        show(f"{report['dataset']}: {report['entries']:,} entries{cut}" + (f"; encoder {shown}" if shown else ""))
        show_table(("mode", *metrics, "n"), rows)
        for mode, scores in report["modes"].items():
            if scores["left_out"]:
                note(f"{mode}: {count(scores['left_out'], 'question')} without the reranker or the expansion")
        show(f"Run: {report['run']}")
    if gate.close(load_run(settings.home, report["run"])):
        raise typer.Exit(1)


def _encoder(settings: Settings, name: str | None) -> tuple[Encoder, str]:
    if name is not None:
        return build_named_encoder(settings, name)
    return build_encoder(settings), encoder_name(settings.encoder)

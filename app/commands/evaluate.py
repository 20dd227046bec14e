"""`eval retrieval`: the served search, measured on a data set."""

from collections.abc import Sequence
from pathlib import Path

from app.display import progress, show, show_table
from app.door import emit
from app.settings import Settings
from app.wiring import build_encoder, retriever_settings
from eval.metrics import RETRIEVAL_METRICS
from eval.retrieval import evaluate_retrieval


def run_retrieval(settings: Settings, dataset: Path, modes: Sequence[str], as_json: bool) -> None:
    """Evaluate each mode and print the means."""
    encoder = build_encoder(settings) if any(mode != "bm25" for mode in modes) else None
    with progress() as meter:
        report = evaluate_retrieval(
            dataset, modes, encoder, settings.home, retriever_settings(settings), on_progress=meter
        )
    if as_json:
        return emit(report)
    rows = [
        (mode, *(f"{scores[metric]:.4f}" for metric in RETRIEVAL_METRICS), scores["n"])
        for mode, scores in report["modes"].items()
    ]
    show(f"{report['dataset']}: {report['entries']:,} entries")
    return show_table(("mode", *RETRIEVAL_METRICS, "n"), rows)

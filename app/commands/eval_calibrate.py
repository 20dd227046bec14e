"""`eval calibrate`: the fusion's settings, learned from judged questions."""

import json
from pathlib import Path

from app.display import progress, show
from app.door import emit
from app.settings import Settings
from app.wiring import build_encoder, open_collection, retriever_settings
from eval.calibrate import Calibration, as_json, calibrate, changed
from eval.formats import load_any
from eval.index import index_corpus, sources_of
from indexer.errors import ConfigError
from retriever.search import RetrieverSettings


def run_calibrate(
    settings: Settings, path: Path, name: str | None, out: Path | None, seed: int, wants_json: bool
) -> None:
    """Learn on a data set's own corpus, or on a served collection; print what to change, or that nothing helps."""
    encoder, present = build_encoder(settings), retriever_settings(settings)
    if out is not None and out.exists():
        raise ConfigError(f"{out} is there already.", "Name a new file, and move the lines over.")
    with progress() as meter:
        served = open_collection(settings, name) if name is not None else None
        dataset = load_any(path, None if served is None else sources_of(served))
        collection = index_corpus(dataset, settings.home, encoder, on_progress=meter) if served is None else served
        found = calibrate(collection, encoder, dataset.judged, present, seed=seed, on_progress=meter)
    lines = _toml(found, present)
    if out is not None and found.helps:
        try:
            out.write_text(lines, encoding="utf-8")
        except OSError as error:
            raise ConfigError(
                f"{out} cannot be written: {error.strerror}.", "Name a file in a folder of yours."
            ) from error
    if wants_json:
        return emit(as_json(found, present))
    test = found.held_out
    low, high = test.ci95
    show(f"nDCG@10 of {test.n} questions: {test.mean_a:.4f} now; {test.mean_b:.4f} learned and tried on others")
    show(f"Gain {test.difference:+.4f} ({low:+.4f} to {high:+.4f}), p = {test.p:.4f}")
    if not found.helps:
        return show("That is within chance: keep the settings as they are.")
    show(f"\nBeyond chance. Put this into footnote.toml{f', or take {out}' if out else ''}:\n")
    return show(lines.rstrip())


def _toml(found: Calibration, present: RetrieverSettings) -> str:
    values = changed(found, present)
    return "".join(["[retriever]\n", *(f"{key} = {json.dumps(value)}\n" for key, value in values.items())])

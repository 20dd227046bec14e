"""`eval calibrate`: the settings of the search, or of the embedded reader's choice, learned from judged questions."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.commands.eval_answers import prepare
from app.display import count, progress, show, show_table
from app.door import emit, unwritable
from app.settings import Settings
from app.wiring import build_encoder, open_collection, retriever_settings
from eval.calibrate import as_json, calibrate, changed
from eval.formats import load_any
from eval.index import index_corpus, sources_of
from eval.reader_choice import as_json as reader_json
from eval.reader_choice import as_look, learn, look_at
from eval.reader_choice import weights as learned_weights
from generator.embedded import EmbeddedModel
from indexer.errors import ConfigError, DatasetError


def run_calibrate(
    settings: Settings, path: Path, name: str | None, out: Path | None, seed: int, wants_json: bool
) -> None:
    """Learn on a data set's own corpus, or on a served collection; print what to change, or that nothing helps."""
    _check_new(out)
    encoder, present = build_encoder(settings), retriever_settings(settings)
    with progress() as meter:
        served = open_collection(settings, name) if name is not None else None
        dataset = load_any(path, None if served is None else sources_of(served))
        collection = index_corpus(dataset, settings.home, encoder, on_progress=meter) if served is None else served
        found = calibrate(collection, encoder, dataset.judged, present, seed=seed, on_progress=meter)
    lines = _toml("retriever", changed(found, present))
    if found.helps:
        _write(out, lines)
    if wants_json:
        return emit(as_json(found, present))
    test = found.held_out
    low, high = test.ci95
    show(f"nDCG@10 of {test.n} questions: {test.mean_a:.4f} now; {test.mean_b:.4f} learned and tried on others")
    show(f"Gain {test.difference:+.4f} ({low:+.4f} to {high:+.4f}), p = {test.p:.4f}")
    return _advise(found.helps, lines, out)


def run_calibrate_reader(
    settings: Settings, path: Path, name: str | None, out: Path | None, seed: int, wants_json: bool
) -> None:
    """Learn when the embedded reader should answer, and with which words; print what to change."""
    _check_new(out)
    with progress() as meter:
        served = open_collection(settings, name) if name is not None else None
        ready = prepare(settings, path, served, meter)
        reader = ready.model
        if not isinstance(reader, EmbeddedModel):
            raise ConfigError(f"{reader.name} is no embedded reader.", 'Set generator.kind = "embedded".')
        cases, data = ready.dataset.cases, ready.dataset
        identity = {**ready.identity, "dataset_sha256": data.sha256}
        run = look_at(ready.pipeline, reader, cases, settings.home, data.name, identity, meter)
    failed = [record for record in run.records if record.error]
    if failed:
        raise DatasetError(
            f"{count(len(failed), 'question')} could not be read, such as {failed[0].case_id}: {failed[0].message}",
            "The same command tries only those again.",
        )
    looks = {record.case_id: as_look(record.outcome) for record in run.records if record.outcome is not None}
    learned = learn(cases, [looks[case.id] for case in cases], reader.choice, seed)
    lines = _toml("generator.choice", learned_weights(learned))
    if learned.helps:
        _write(out, lines)
    if wants_json:
        return emit(reader_json(learned))
    test, before, after = learned.test, learned.present, learned.held_out
    low, high = test.ci95
    show(f"Token F1 of {test.n} questions: {test.mean_a:.3f} now; {test.mean_b:.3f} learned and tried on others")
    show(f"Gain {test.difference:+.3f} ({low:+.3f} to {high:+.3f}), p = {test.p:.4f}")
    show_table(
        ("declining", "now", "learned"),
        [
            ("questions without an answer", f"{before.recall:.1%}", f"{after.recall:.1%}"),
            ("questions with an answer", f"{before.declined_answerable:.1%}", f"{after.declined_answerable:.1%}"),
            ("F1", f"{before.f1:.3f}", f"{after.f1:.3f}"),
        ],
    )
    return _advise(learned.helps, lines, out)


def _check_new(out: Path | None) -> None:
    if out is not None and out.exists():
        raise ConfigError(f"{out} is there already.", "Name a new file, and move the lines over.")


def _write(out: Path | None, lines: str) -> None:
    if out is None:
        return
    try:
        out.write_text(lines, encoding="utf-8")
    except OSError as error:
        raise unwritable(out, error) from error


def _advise(helps: bool, lines: str, out: Path | None) -> None:
    if not helps:
        return show("That is within chance: keep the settings as they are.")
    show(f"\nBeyond chance. Put this into footnote.toml{f', or take {out}' if out else ''}:\n")
    return show(lines.rstrip())


def _toml(section: str, values: Mapping[str, Any]) -> str:
    return "".join([f"[{section}]\n", *(f"{key} = {json.dumps(value)}\n" for key, value in values.items())])

"""`eval calibrate`: settings of the search, of the embedded reader's choice, or of abstention, from questions."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.built import as_built
from app.commands.eval_answers import Asking, evaluate_with, prepare
from app.display import count, progress, show, show_table
from app.door import emit, unwritable
from app.resolved import retriever_settings, uses_server
from app.sections.generation import AbstentionSection
from app.settings import Settings
from app.wiring import build_encoder, open_collection
from eval.abstention import COVERAGES
from eval.abstention import as_json as abstention_json
from eval.abstention import learn as learn_abstention
from eval.abstention import weights as abstention_weights
from eval.calibrate import as_json, calibrate, changed
from eval.declining import Declining
from eval.formats import load_any
from eval.index import index_corpus, sources_of
from eval.outcome import as_answer
from eval.reader_choice import as_json as reader_json
from eval.reader_choice import as_look, learn, look_at
from eval.reader_choice import weights as learned_weights
from eval.run import Run
from eval.statistics import PairedTest
from generator.embedded import EmbeddedModel
from indexer.errors import ConfigError, DatasetError


def run_calibrate(
    settings: Settings, path: Path, name: str | None, out: Path | None, seed: int, wants_json: bool
) -> None:
    """Learn on a data set's own corpus, or on a served collection; print what to change, or that nothing helps."""
    _check_new(out)
    served = open_collection(settings, name) if name is not None else None
    encoder = build_encoder(as_built(settings, served) if served is not None else settings)
    present = retriever_settings(settings)
    with progress() as meter:
        dataset = load_any(path, None if served is None else sources_of(served))
        language = settings.indexer.language
        collection = served or index_corpus(dataset, settings.home, encoder, None, meter, language)
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
    _refuse_failed(run)
    looks = {record.case_id: as_look(record.outcome) for record in run.records if record.outcome is not None}
    learned = learn(cases, [looks[case.id] for case in cases], reader.choice, seed)
    lines = _toml("generator.choice", learned_weights(learned))
    if learned.helps:
        _write(out, lines)
    if wants_json:
        return emit(reader_json(learned))
    _show_gain(learned.test)
    _show_declining(learned.present, learned.held_out)
    return _advise(learned.helps, lines, out)


def run_calibrate_abstention(
    settings: Settings, path: Path, name: str | None, out: Path | None, seed: int, wants_json: bool
) -> None:
    """Learn when to decline what a server answered; the answers are a run that is kept, and taken where it is there."""
    _check_new(out)
    if not uses_server(settings):
        raise ConfigError("--abstention is for a model server, and none is set.", "Set generator.base_url.")
    # Asked for everything that may tell, and with nothing declined by weights of before.
    changes = {"logprobs": True, "abstention": AbstentionSection()}
    asked = settings.model_copy(update={"generator": settings.generator.model_copy(update=changes)})
    with progress() as meter:
        served = open_collection(settings, name) if name is not None else None
        run, _ = evaluate_with(asked, path, served, Asking(reuse=True), meter)
    _refuse_failed(run)
    answers = {record.case_id: as_answer(record.outcome) for record in run.records if record.outcome is not None}
    learned = learn_abstention(list(run.cases.values()), [answers[id_] for id_ in run.cases], seed)
    lines = "[generator]\nlogprobs = true\n\n" + _toml("generator.abstention", abstention_weights(learned))
    if learned.helps:
        _write(out, lines)
    if wants_json:
        return emit({"run": run.id, **abstention_json(learned)})
    show(f"{run.id}: {count(len(run.cases), 'question')}, answered by {run.facts['model']}")
    _show_gain(learned.test)
    _show_declining(learned.present, learned.held_out)
    rows = [
        (f"{c:.0%}", s, d) for c, s, d in zip(COVERAGES, learned.by_support.risks, learned.by_doubt.risks, strict=True)
    ]
    rows.append(("mean", learned.by_support.area, learned.by_doubt.area))
    show_table(("of the answers", "1 - F1 by support", "1 - F1 by doubt"), rows)
    return _advise(learned.helps, lines, out)


def _refuse_failed(run: Run) -> None:
    failed = [record for record in run.records if record.error]
    if failed:
        raise DatasetError(
            f"{count(len(failed), 'question')} failed, such as {failed[0].case_id}: {failed[0].message}",
            "The same command tries only those again.",
        )


def _show_gain(test: PairedTest) -> None:
    low, high = test.ci95
    show(f"Token F1 of {test.n} questions: {test.mean_a:.3f} now; {test.mean_b:.3f} learned and tried on others")
    show(f"Gain {test.difference:+.3f} ({low:+.3f} to {high:+.3f}), p = {test.p:.4f}")


def _show_declining(before: Declining, after: Declining) -> None:
    def told(share: float | None, interval: tuple[float, float] | None) -> str:
        return f"{share:.3f} ({interval[0]:.3f} to {interval[1]:.3f})" if share is not None and interval else "-"

    rows = [
        ("precision", told(before.precision, before.precision_ci95), told(after.precision, after.precision_ci95)),
        ("recall", told(before.recall, before.recall_ci95), told(after.recall, after.recall_ci95)),
        ("F1", told(before.f1, before.f1_ci95), told(after.f1, after.f1_ci95)),
        ("declined with an answer", f"{before.declined_answerable:.1%}", f"{after.declined_answerable:.1%}"),
    ]
    show_table(("declining", "now", "learned"), rows)


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

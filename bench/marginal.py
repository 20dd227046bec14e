"""RAG-Sequence and RAG-Token beside plain concatenation: the same model, passages and beam.

    python -m bench.marginal --set qed-dev --limit 100 --passages 5
    python -m bench.marginal --set qed-dev --search hybrid --modes copied,fast

`concatenated` reads all passages as one text; `sequence` (thorough), `fast` and `token` are generator.marginal's modes;
`copied` is the default, which copies words of one passage. Questions without an answer are left out, and nothing
declines. By default the passages are bm25's, so that nothing has to be encoded. What was written is kept in the home,
question by question, so that this may be killed and repeated; it is then cited and scored by the served pipeline. One
table row for each, each with its difference to the first of `--modes` on the same questions; the last line is JSON.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from eval.answers import evaluate_answers
from eval.dataset import Case, drawn, load_dataset
from eval.index import index_corpus
from eval.run import Run
from eval.statistics import compare_paired
from eval.summary import summarise
from generator import rag
from generator.beams import Step, beam_search
from generator.embedded import MAX_PASSAGE_TOKENS, EmbeddedModel, load_embedded
from generator.marginal import Array, MarginalSettings
from generator.pipeline import Pipeline, PipelineSettings, Token
from generator.prompt import Prompt
from generator.reading import Reading
from indexer.llm2vec.encoder import load_encoder
from indexer.llm2vec.weights import DEFAULT_ADAPTER, base_model_dir
from retriever.hit import Hit
from retriever.search import Retriever

ROOT = Path(__file__).parents[1]
BENCH = Path(os.environ.get("FOOTNOTE_BENCH", ROOT.parent / "shared" / "bench"))
SETTINGS = {
    "concatenated": MarginalSettings("token"),  # of one passage every mode is the same beam search
    "sequence": MarginalSettings("sequence"),
    "fast": MarginalSettings("sequence", "fast"),
    "token": MarginalSettings("token"),
    "copied": MarginalSettings(),
}
METRICS = ("em", "f1", "contains", "answered", "citation_precision")


class Reader(EmbeddedModel):
    """Reads the passages of a question once for all modes."""

    def like(self, marginal: MarginalSettings, name: str) -> "Reader":
        """The same model in another mode."""
        other = type(self)(self._model, self._tokenizer, name, self.choice, marginal)
        other._turn, other._known = self._turn, self._known
        return other

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._known: dict[tuple[Reading, ...], Any] = {}

    def _prefix(self, readings: Sequence[Reading]) -> Any:
        key = tuple(readings)
        if key not in self._known:
            self._known.clear()
            self._known[key] = super()._prefix(readings)
        return self._known[key]


class Concatenation(Reader):
    """Reads all passages as one."""

    def _readings(self, question: str, hits: Sequence[Hit]) -> tuple[list[Reading], tuple[float, ...]]:
        text = "\n".join(f"{hit.title}\n{hit.chunk.text}".strip() for hit in hits)
        return [self._tokenizer.reading(question, "", text, MAX_PASSAGE_TOKENS * len(hits))], (1.0,)

    def stream(self, prompt: Prompt, max_tokens: int = 512) -> Iterator[str]:
        yield next(super().stream(prompt, max_tokens))  # without a marker: citing finds the passage


def search_once() -> None:
    """Both decodings of RAG-Sequence search the same beams: let the second have those of the first."""
    known: dict[tuple[Any, ...], Any] = {}

    def search(first: Array, step: Step, end: int, beams: int, max_tokens: int) -> Any:
        key = (first.tobytes(), end, beams, max_tokens)
        if key not in known:
            known.clear()
            known[key] = beam_search(first, step, end, beams, max_tokens)
        return known[key]

    rag.beam_search = search  # type: ignore[assignment]


class Written:
    """Gives the answers that were written before."""

    context_tokens = 8192
    follows_instructions = False

    def __init__(self, name: str, texts: Mapping[str, str], counting: EmbeddedModel) -> None:
        self.name, self._texts = name, texts
        self.count_tokens = counting.count_tokens

    def stream(self, prompt: Prompt, max_tokens: int = 512) -> Iterator[str]:
        yield self._texts[prompt.question]


def write(
    cases: Sequence[Case], ask: Callable[[str, str], str], names: Sequence[str], kept: Path
) -> dict[str, dict[str, str]]:
    """Raw answers by contender and question; those that are kept are not written again."""
    lines = kept.read_text(encoding="utf-8").splitlines() if kept.exists() else []
    texts: dict[str, dict[str, str]] = {name: {} for name in names}
    for told in map(json.loads, lines):
        texts.setdefault(told["name"], {})[told["question"]] = told["text"]
    with kept.open("a", encoding="utf-8") as stream:
        for done, case in enumerate(cases, start=1):
            for name in names:
                if case.question not in texts[name]:
                    text = texts[name][case.question] = ask(name, case.question)
                    told = {"name": name, "question": case.question, "text": text}
                    stream.write(json.dumps(told, ensure_ascii=False) + "\n")
                    stream.flush()
            print(f"  {done} of {len(cases)}", file=sys.stderr, flush=True)
    return texts


def readers(model_dir: Path, names: Sequence[str]) -> tuple[str, dict[str, Reader]]:
    """The name of the reader, which changes with its weights, and one for each mode."""
    loaded = load_embedded(model_dir, choice={"decline_above": 1.0})
    parts = (loaded._model, loaded._tokenizer, loaded.name, loaded.choice)
    kinds = {True: Concatenation(*parts), False: Reader(*parts)}
    return loaded.name, {name: kinds[name == "concatenated"].like(SETTINGS[name], name) for name in names}


def difference(run: Run, baseline: Run, metric: str) -> Mapping[str, Any]:
    ours, theirs = run.scores[""][metric], baseline.scores[""][metric]
    both = [case for case in ours if case in theirs]
    return asdict(compare_paired([theirs[case] for case in both], [ours[case] for case in both]))


def tell(runs: Mapping[str, Run]) -> dict[str, Any]:
    """Print a row for each mode, and give the figures."""
    first = next(iter(runs))
    print("| " + " | ".join(["mode", *METRICS, f"F1 - {first}"]) + " |\n" + "|---" * (len(METRICS) + 2) + "|")
    results: dict[str, Any] = {}
    for name, run in runs.items():
        metrics = summarise(run)["variants"][""]
        moved = difference(run, runs[first], "f1")
        results[name] = {"run": run.id, "metrics": {m: metrics[m] for m in METRICS}, "f1_difference": moved}
        cells = [
            f"{metrics[m]['mean']:.3f} [{metrics[m]['ci95'][0]:.2f}, {metrics[m]['ci95'][1]:.2f}]" for m in METRICS
        ]
        cells.append(f"{moved['difference']:+.3f} [{moved['ci95'][0]:.2f}, {moved['ci95'][1]:.2f}] p {moved['p']:.2f}")
        print("| " + " | ".join([name, *cells]) + " |")
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", default="qed-dev", help="a folder under FOOTNOTE_BENCH, or a path")
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--passages", type=int, default=5)
    parser.add_argument("--modes", default=",".join(SETTINGS))
    parser.add_argument("--search", choices=("bm25", "hybrid"), default="bm25")
    parser.add_argument("--home", type=Path, default=Path(tempfile.gettempdir()) / "footnote-bench")
    options = parser.parse_args()
    dataset = load_dataset(Path(options.set) if Path(options.set).is_dir() else BENCH / options.set)
    dataset = replace(dataset, cases=tuple(case for case in dataset.cases if case.answerable))
    base = base_model_dir(options.home / "models")
    adapters = [DEFAULT_ADAPTER] if DEFAULT_ADAPTER else []
    encoder = load_encoder(base, adapters) if options.search == "hybrid" else None
    collection = index_corpus(dataset, options.home, encoder)
    retriever = Retriever(collection, encoder)
    settings = PipelineSettings(passages=options.passages, mode=options.search)
    names = options.modes.split(",")
    search_once()
    weights, models = readers(base, names)

    def ask(name: str, question: str) -> str:
        events = Pipeline(retriever, models[name], collection, settings).ask(question)
        return "".join(event.text for event in events if isinstance(event, Token))

    kept = options.home / f"marginal-{dataset.name}-{options.search}-{options.passages}-{weights}.jsonl"
    texts = write(drawn(dataset.cases, options.limit, 0), ask, names, kept)
    runs = {}
    for name in names:
        pipeline = Pipeline(retriever, Written(name, texts[name], models[name]), collection, settings)
        identity = {
            "bench": "marginal",
            "mode": name,
            "passages": options.passages,
            "search": options.search,
            "reader": weights,
        }
        runs[name] = evaluate_answers(pipeline, dataset, options.home, identity, limit=options.limit)
    results = tell(runs)
    print(json.dumps({"bench": "marginal", "set": dataset.name, "n": options.limit, "results": results}))


if __name__ == "__main__":
    main()

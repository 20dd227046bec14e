"""The embedded reader beside SmolLM2 as it comes and the best sentence, with passages found and with the right one.

    python -m bench.reader --sets clapnq-dev,squad2-dev --limit 100
    python -m bench.reader --sets qed-dev --contexts gold --readers shipped,sentence --mode bm25

A reader is `shipped`, an adapter's folder, `untuned` (SmolLM2 writes freely to the prompt that a server gets), or
`sentence` (the sentence that has most of the question's words, always with its footnote). `found` are the passages of
the served search; `gold` are those judged relevant, for the questions that have some. Every run is kept in the home
and goes on after a kill. One table row for each set, context and reader; the last line is JSON.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from eval.answers import evaluate_answers
from eval.dataset import Dataset, load_dataset
from eval.index import index_corpus, whole
from eval.summary import summarise
from generator.align import coverages
from generator.chat import ChatModel
from generator.embedded import EmbeddedModel, load_embedded
from generator.pipeline import Pipeline, PipelineSettings
from generator.prompt import Prompt
from generator.reader_files import DEFAULT_READER
from generator.sentences import split_sentences
from indexer.collection import Collection
from indexer.encoder import Encoder
from indexer.llm2vec.encoder import load_encoder
from indexer.llm2vec.weights import DEFAULT_ADAPTER, base_model_dir
from retriever.hit import Hit
from retriever.request import SearchRequest, SearchResult
from retriever.search import Retriever

ROOT = Path(__file__).parents[1]
BENCH = Path(os.environ.get("FOOTNOTE_BENCH", ROOT.parent / "shared" / "bench"))
METRICS = (
    "em", "f1", "contains", "answered", "abstention_precision", "abstention_recall", "citation_precision",
    "citation_recall", "quote_support",
)  # fmt: skip
Mode = Literal["bm25", "dense", "hybrid"]


class BestSentence:
    """Answers with the sentence of all passages that has most of the question's words; never declines."""

    name = "best sentence"
    context_tokens = 100_000
    follows_instructions = False

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text) for text in texts]

    def stream(self, prompt: Prompt, max_tokens: int = 512) -> Iterator[str]:
        sentences = [
            (number, hit.chunk.text[low:high].strip())
            for number, hit in enumerate(prompt.hits, start=1)
            for low, high in split_sentences(hit.chunk.text)
        ]
        shares = coverages(prompt.question, [text for _, text in sentences])
        number, text = sentences[max(range(len(sentences)), key=lambda n: (shares[n], -n))]
        yield f"{text} [{number}]"


class Untuned(EmbeddedModel):
    """SmolLM2 as it comes, asked as a server is asked."""

    def stream(self, prompt: Prompt, max_tokens: int = 512) -> Iterator[str]:
        yield from super().stream(replace(prompt, hits=()), min(max_tokens, 64))


class GoldPassages:
    """Gives the passages that are judged relevant for a question."""

    def __init__(self, dataset: Dataset, collection: Collection) -> None:
        self._relevant = {case.question: case.relevant for case in dataset.judged}
        self._ids = {info.source: info.id for info in collection.documents()}
        self._collection = collection

    def find(self, request: SearchRequest) -> SearchResult:
        sources = [source for source in self._relevant[request.query] if source in self._ids]
        hits = []
        for rank, source in enumerate(sources[: request.k], start=1):
            document = self._collection.document(self._ids[source])
            hits.append(Hit(whole(document), source, document.title, 1.0, rank, "gold"))
        return SearchResult(tuple(hits))


def reader(spec: str, models: Path) -> ChatModel:
    if spec == "sentence":
        return BestSentence()
    base = base_model_dir(models)
    if spec == "untuned":
        plain = load_embedded(base, None)
        return Untuned(plain._model, plain._tokenizer, "SmolLM2-135M-Instruct")
    return load_embedded(base, DEFAULT_READER if spec == "shipped" else Path(spec))


def measure(
    dataset: Dataset,
    collection: Collection,
    encoder: Encoder | None,
    context: str,
    model: ChatModel,
    options: argparse.Namespace,
) -> Mapping[str, Any]:
    searcher = GoldPassages(dataset, collection) if context == "gold" else Retriever(collection, encoder)
    asked = replace(dataset, cases=dataset.judged) if context == "gold" else dataset
    identity = {"bench": "reader", "context": context, "mode": options.mode, "model": model.name}
    pipeline = Pipeline(searcher, model, collection, PipelineSettings(mode=options.mode))
    run = evaluate_answers(pipeline, asked, options.home, identity, limit=options.limit, reuse=True, on_progress=tell)
    summary = summarise(run)
    if summary["errors"]:
        sys.exit(f"{run.id} failed: {summary['errors']}")
    metrics: Mapping[str, Any] = summary["variants"][""]
    return metrics


def tell(what: str, done: int, total: int) -> None:
    if done % 64 == 0 or done == total:
        print(f"  {what}: {done} of {total}", file=sys.stderr, flush=True)


def row(name: Sequence[str], metrics: Mapping[str, Any]) -> str:
    cells = [
        f"{m['mean']:.3f} [{m['ci95'][0]:.2f}, {m['ci95'][1]:.2f}] {m['n']}" if (m := metrics.get(metric)) else "-"
        for metric in METRICS
    ]
    return "| " + " | ".join([*name, *cells]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default="clapnq-dev,squad2-dev", help="folders under FOOTNOTE_BENCH, or paths")
    parser.add_argument("--readers", default="sentence,untuned,shipped")
    parser.add_argument("--contexts", default="gold,found")
    parser.add_argument("--mode", choices=("bm25", "dense", "hybrid"), default="hybrid")
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--home", type=Path, default=Path(tempfile.gettempdir()) / "footnote-bench")
    options = parser.parse_args()
    results: dict[str, Any] = {}
    print("| " + " | ".join(["set", "passages", "reader", *METRICS]) + " |")
    print("|" + "---|" * (3 + len(METRICS)))
    # A corpus that is searched by words alone needs no vectors.
    adapters = [DEFAULT_ADAPTER] if DEFAULT_ADAPTER else []
    encoder = load_encoder(base_model_dir(options.home / "models"), adapters) if options.mode != "bm25" else None
    models = [(spec, reader(spec, options.home / "models")) for spec in options.readers.split(",")]
    for name in options.sets.split(","):
        dataset = load_dataset(Path(name) if Path(name).is_dir() else BENCH / name)
        collection = index_corpus(dataset, options.home, encoder, on_progress=tell)
        for context in options.contexts.split(","):
            for spec, model in models:
                metrics = measure(dataset, collection, encoder, context, model, options)
                results[f"{dataset.name}/{context}/{spec}"] = {name: metrics.get(name) for name in METRICS}
                print(row((dataset.name, context, spec), metrics), flush=True)
    print(json.dumps({"mode": options.mode, "limit": options.limit, "results": results}))


if __name__ == "__main__":
    main()

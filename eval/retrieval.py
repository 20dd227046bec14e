"""How well the served retriever finds what is relevant."""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from statistics import fmean, median
from types import MappingProxyType
from typing import Any, cast

import numpy as np

from eval.dataset import Case, Dataset, drawn
from eval.formats import load_any
from eval.index import OnProgress, index_corpus, sources_of
from eval.metrics import check_measures, score_rankings
from eval.run import Record, RunWriter, finished_run, load_run, runs_folder, whose, writing
from eval.statistics import bootstrap_interval
from generator.expand import Expander, told_of
from generator.followup import self_contained
from indexer.access import FULL, Access
from indexer.chunk import ChunkSettings
from indexer.collection import Collection
from indexer.encoder import Encoder, Vectors
from indexer.errors import ConfigError, DatasetError
from indexer.reading import Reading
from indexer.store.language import Language
from indexer.store.text import embed_text
from retriever.expansion import Expansion
from retriever.hit import Hit
from retriever.request import MODES, Mode, SearchRequest
from retriever.rerank import Reranker
from retriever.search import Retriever, RetrieverSettings

DEPTH = 100  # documents ranked for each question: recall@100 needs no more
_RECORDS_A_COMMIT = 32  # what a kill costs
_EXPANDED_AT_ONCE = 16
_CHUNKS_A_DOCUMENT = 5  # so many chunks are fetched for each of them when the corpus is chunked


def evaluate_retrieval(
    dataset_dir: Path,
    modes: Sequence[str],
    encoder: Encoder | None,
    home: Path,
    settings: RetrieverSettings | None = None,
    *,
    chunking: ChunkSettings | None = None,
    reranker: Reranker | None = None,
    expander: Expander | None = None,
    served: Collection | None = None,
    by_span: bool = False,
    measures: Sequence[str] = (),
    limit: int | None = None,
    reuse: bool = False,
    owner: str = "",
    access: Access = FULL,
    language: Language = "english",
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Score each mode on a data set's judged questions, and say what was evaluated.

    `encoder` may be None when `modes` is bm25 alone: nothing is encoded then. The corpus is indexed once for each
    encoder and chunking, under `home`/eval. With a `reranker` every mode is reranked, with an `expander` every question
    expanded; how often either failed, so that the search went on without it, is told as "left_out".
    With a collection that is `served`, that one is searched instead, and judgements name its documents' sources.
    `measures` of ir_measures are computed beside ours. `limit` draws so many questions. `reuse` takes a finished run of
    the same evaluation where there is one. An `owner` is whose run it is; what is served is searched with that caller's
    `access`. `language` is that of the corpus's words.
    `by_span` counts a hit as relevant if it overlaps words that hold an answer, instead of by its document.
    Texts that the encoder cuts are counted as "truncated". Every ranking is stored in a run as it is made; after a
    kill, the same call ranks what is missing.

    Returns:
        {"run", "dataset",
        "modes": {mode: {"ndcg@10", "recall@100", "mrr@10", "n", "ci95": {metric: [low, high]}, "p50_ms", "left_out"}},
        "entries",
        "indexed", "truncated", "encoder", "chunking", "settings"}

    Raises:
        ConfigError: a mode is unknown or needs an encoder that was not given.
        DatasetError: the data set does not load.
    """
    _check_modes(modes, encoder)
    check_measures(measures, DEPTH)
    settings = settings or RetrieverSettings()
    dataset = load_any(dataset_dir, None if served is None else sources_of(served, access))
    collection = served or index_corpus(dataset, home, encoder, chunking, on_progress, language)
    if not dataset.judged:
        raise DatasetError(f"{dataset_dir} names no relevant document.", "Retrieval is measured against such names.")
    cases = drawn(_span_cases(dataset) if by_span else dataset.judged, limit)
    k = DEPTH if chunking is None and served is None else DEPTH * _CHUNKS_A_DOCUMENT
    identity = {
        "kind": "retrieval",
        "dataset": dataset.name,
        "dataset_sha256": dataset.sha256,
        "modes": list(modes),
        "encoder": encoder.fingerprint if encoder else None,
        "chunking": asdict(chunking) if chunking else None,
        "settings": asdict(settings),
        "reranked": reranker.name if reranker else None,
        **({"expanded": expander.name} if expander else {}),
        "by_span": by_span,
        "measures": list(measures),
        "limit": limit,
        "collection": None if served is None else [served.name, served.sequence()],
        **whose(owner, access),
        **({} if served is not None or language == "english" else {"language": language}),
    }
    path = finished_run(home, identity) if reuse else None
    if path is None:
        with writing(runs_folder(home), identity, {}, cases) as writer:
            reading = Reading(collection, access if served is not None else FULL)
            _rank_missing(writer, reading, cases, modes, encoder, settings, reranker, expander, k, on_progress)
            rankings = _rankings(writer)
            writer.finish({mode: _scores(cases, rankings[mode], measures) for mode in modes})
        path = writer.path
    run = load_run(home, str(path))
    latencies_ms = {mode: [r.timings_ms["search"] for r in run.records if r.variant == mode] for mode in modes}
    results = {
        mode: _summary(run.scores[mode])
        | {"p50_ms": round(median(latencies_ms[mode]), 2), "left_out": _left_out(run.records, mode)}
        for mode in modes
    }
    return {
        "run": run.id,
        "dataset": dataset.name,
        "modes": results,
        "entries": len(dataset.entries) if served is None else len(collection.documents()),
        "indexed": len(collection.documents()),
        "truncated": _truncated(collection, encoder),
        **{name: identity[name] for name in ("encoder", "chunking", "settings")},
    }


class _EncodedQuestions:
    """The encoder, with the questions already encoded: together they take less time than one after the other."""

    def __init__(self, encoder: Encoder, questions: Sequence[str], on_progress: OnProgress | None) -> None:
        self.fingerprint, self.dim = encoder.fingerprint, encoder.dim
        self.query_instruction, self.max_tokens = encoder.query_instruction, encoder.max_tokens
        self._encoder = encoder
        distinct = list(dict.fromkeys(questions))
        tell = partial(_tell_done, on_progress, len(distinct)) if on_progress else None
        vectors = encoder.encode(distinct, encoder.query_instruction, tell)
        self._vectors = dict(zip(distinct, vectors, strict=True))

    def encode(
        self, texts: Sequence[str], instruction: str = "", on_progress: Callable[[int], None] | None = None
    ) -> Vectors:
        """Rows (len(texts), dim) of questions that were encoded; another text is encoded now."""
        if instruction == self.query_instruction and all(text in self._vectors for text in texts):
            return np.stack([self._vectors[text] for text in texts])
        return self._encoder.encode(texts, instruction, on_progress)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text."""
        return self._encoder.count_tokens(texts)


def _tell_done(on_progress: OnProgress, total: int, done: int) -> None:
    on_progress("questions", done, total)


def _truncated(collection: Collection, encoder: Encoder | None) -> int | None:
    """Number of texts that the encoder cut; None without an encoder."""
    if encoder is None:
        return None
    texts = [embed_text(title, heading_path, text) for _, title, heading_path, text in collection.texts()]
    return sum(tokens > encoder.max_tokens for tokens in encoder.count_tokens(texts))


def _check_modes(modes: Sequence[str], encoder: Encoder | None) -> None:
    for mode in modes:
        if mode not in MODES:
            raise ConfigError(f'"{mode}" is not a search mode', f"Choose from: {', '.join(MODES)}.")
        if mode != "bm25" and encoder is None:
            raise ConfigError(f"The mode {mode} needs an encoder", "Give one, or evaluate bm25 alone.")
    if not modes:
        raise ConfigError("No search mode was given to evaluate", f"Choose from: {', '.join(MODES)}.")


def _rank_missing(
    run: RunWriter,
    reading: Reading,
    cases: Sequence[Case],
    modes: Sequence[str],
    encoder: Encoder | None,
    settings: RetrieverSettings,
    reranker: Reranker | None,
    expander: Expander | None,
    k: int,
    on_progress: OnProgress | None,
) -> None:
    """Rank what the run does not hold yet."""
    done = run.done()
    todo = {mode: [(place, case) for place, case in enumerate(cases) if (mode, case.id) not in done] for mode in modes}
    asked = [searched_for(case) for mode, missing in todo.items() if mode != "bm25" for _, case in missing]
    questions = _EncodedQuestions(encoder, asked, on_progress) if encoder is not None and asked else None
    retriever = Retriever(reading.collection, questions, settings, reranker)
    missing_cases = [case for missing in todo.values() for _, case in missing]
    expansions = _expanded(expander, [searched_for(case) for case in missing_cases], on_progress)
    for mode, missing in todo.items():
        ranked: list[Record] = []
        for place, case in missing:
            expansion = expansions.get(searched_for(case))
            ranked.append(
                _rank(retriever, case, place, cast(Mode, mode), k, reranker is not None, reading.access, expansion)
            )
            if len(ranked) == _RECORDS_A_COMMIT:
                run.add(*ranked)
                ranked = []
            if on_progress:
                on_progress(mode, place + 1, len(cases))
        run.add(*ranked)


def _span_cases(dataset: Dataset) -> tuple[Case, ...]:
    """The cases with spans; what is relevant to them are the spans themselves."""
    spanned = [case for case in dataset.cases if case.spans]
    if not spanned:
        raise DatasetError(f"{dataset.folder} says nowhere which words hold an answer.", "It needs a spans.jsonl.")
    return tuple(replace(case, relevant=MappingProxyType({span.name: 1 for span in case.spans})) for case in spanned)


def _found(case: Case, hit: Hit) -> list[str]:
    """What a hit counts as: its document, or, where spans are relevant, those that it overlaps, else itself."""
    if not any(span.name in case.relevant for span in case.spans):
        return [hit.source]
    chunk = hit.chunk
    return [
        span.name
        for span in case.spans
        if span.entry == hit.source and span.start < chunk.end and chunk.start < span.end
    ] or [chunk.id]


def searched_for(case: Case) -> str:
    """The question; one that follows others is made self-contained by rule first, as it is when no server writes."""
    return self_contained(case.question, case.turns)


def _expanded(
    expander: Expander | None, questions: Sequence[str], on_progress: OnProgress | None
) -> dict[str, Expansion]:
    """What is searched for beside each question; a server writes for several at once."""
    if expander is None:
        return {}
    distinct, found = list(dict.fromkeys(questions)), dict[str, Expansion]()
    with ThreadPoolExecutor(_EXPANDED_AT_ONCE) as pool:
        for question, expansion in zip(distinct, pool.map(expander.expand, distinct), strict=True):
            found[question] = expansion
            if on_progress:
                on_progress("expansions", len(found), len(distinct))
    return found


def _left_out(records: Sequence[Record], mode: str) -> int:
    """Questions of a mode for which the reranker or the expansion failed."""
    return sum(bool(r.outcome and r.outcome.get("notes")) for r in records if r.variant == mode)


def _rank(
    retriever: Retriever,
    case: Case,
    place: int,
    mode: Mode,
    k: int,
    rerank: bool,
    access: Access,
    expansion: Expansion | None,
) -> Record:
    """Rank entries for one question, best first; the time is without encoding the question or expanding it."""
    asked = SearchRequest(searched_for(case), k, mode, rerank, access=access, loosely=True, expansion=expansion)
    found = retriever.find(asked)
    notes = [*told_of(expansion), *found.notes]
    spent_ms = sum(spent for stage, spent in found.timings_ms.items() if stage != "encode")
    best: dict[str, float] = {}
    for hit in found.hits:
        for name in _found(case, hit):
            best.setdefault(name, round(hit.score, 6))
    ranking = [[source, score] for source, score in best.items()][:DEPTH]
    outcome: dict[str, Any] = {"ranking": ranking}
    outcome |= {"notes": notes} if notes else {}
    outcome |= {"expansion": asdict(expansion)} if expansion else {}
    return Record(case.id, place, mode, outcome, timings_ms={"search": round(spent_ms, 3)})


def _rankings(run: RunWriter) -> dict[str, dict[str, list[str]]]:
    """mode -> case id -> entry ids, best first."""
    rankings: dict[str, dict[str, list[str]]] = defaultdict(dict)
    for record in run.records():
        assert record.outcome is not None  # a search that fails ends the command
        rankings[record.variant][record.case_id] = [source for source, _ in record.outcome["ranking"]]
    return rankings


def _scores(
    cases: Sequence[Case], rankings: Mapping[str, Sequence[str]], measures: Sequence[str]
) -> Mapping[str, Mapping[str, float]]:
    return score_rankings({case.id: case.relevant for case in cases}, rankings, measures)


def _summary(scores: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    values = {metric: list(by_case.values()) for metric, by_case in scores.items()}
    means: dict[str, Any] = {metric: round(fmean(values[metric]), 6) for metric in values}
    intervals = {metric: [round(end, 4) for end in bootstrap_interval(values[metric])] for metric in values}
    assert all(math.isfinite(mean) for mean in means.values())
    return means | {"n": len(values["ndcg@10"]), "ci95": intervals}

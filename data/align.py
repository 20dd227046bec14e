"""Find every quote of data/questions/queries.jsonl in the text that Footnote's own loader makes of its document.

    python -m data.align [--out FOLDER]

Writes what follows from the questions and the corpus: corpus.jsonl, qrels.tsv, spans.jsonl. Fails with the list of all
quotes that are missing or that occur more than once; only white space may differ between a quote and its document.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from indexer.document import Document
from indexer.load import load

DATA = Path(__file__).resolve().parent
CORPUS = DATA / "corpus"
QUESTIONS = DATA / "questions"

Row = dict[str, Any]


def read_rows(path: Path) -> list[Row]:
    """The objects of a JSON Lines file, in order."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def load_corpus() -> dict[str, Document]:
    """Every document of the corpus by its path relative to data/corpus, in path order."""
    paths = sorted(path for path in CORPUS.rglob("*") if path.is_file())
    return {path.relative_to(CORPUS).as_posix(): load(path) for path in paths}


def find_quote(quote: str, text: str) -> list[tuple[int, int]]:
    """Every place (start, end) in `text` where the words of `quote` stand, with any white space between them."""
    pattern = r"\s+".join(re.escape(word) for word in quote.split())
    return [match.span() for match in re.finditer(pattern, text)]


def align(queries: Iterable[Row], documents: dict[str, Document]) -> tuple[list[Row], list[str]]:
    """Return the spans of all quotes, and one line for each quote that has not exactly one place."""
    spans, problems = [], []
    for query in queries:
        for evidence in query["evidence"]:
            name, quote = evidence["document"], evidence["quote"]
            text = documents[name].text if name in documents else ""
            places = find_quote(quote, text)
            if len(places) != 1:
                problems.append(f"{query['_id']}: {len(places)} times in {name}: {quote}")
                continue
            start, end = places[0]
            spans.append({"_id": query["_id"], "document": name, "start": start, "end": end, "quote": text[start:end]})
    return spans, problems


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def write_derived(out: Path, queries: list[Row], documents: dict[str, Document], spans: list[Row]) -> None:
    """corpus.jsonl and qrels.tsv in the layout of retrieval sets, spans.jsonl with character offsets."""
    write_rows(
        out / "corpus.jsonl",
        ({"_id": name, "title": document.title, "text": document.text} for name, document in documents.items()),
    )
    relevant = dict.fromkeys(
        (query["_id"], evidence["document"]) for query in queries for evidence in query["evidence"]
    )
    lines = ["query-id\tcorpus-id\tscore", *(f"{query}\t{name}\t1" for query, name in relevant)]
    (out / "qrels.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_rows(out / "spans.jsonl", spans)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=QUESTIONS)
    out = parser.parse_args().out
    queries, documents = read_rows(QUESTIONS / "queries.jsonl"), load_corpus()
    spans, problems = align(queries, documents)
    if problems:
        print("\n".join(problems), file=sys.stderr)
        return 1
    write_derived(out, queries, documents, spans)
    print(f"{len(queries)} questions, {len(spans)} spans in {len({span['document'] for span in spans})} documents")
    return 0


if __name__ == "__main__":
    sys.exit(main())

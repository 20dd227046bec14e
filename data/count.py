"""Print the table of counts that data/README.md shows.

python -m data.count
"""

import re
from collections import Counter
from pathlib import Path

from data.align import CORPUS, QUESTIONS, read_rows
from data.build import SOURCES, read_source

NOT_TEXT = re.compile(r"<(script|style)\b.*?</\1>|<[^>]*>", re.DOTALL)
WORD = re.compile(r"\w+(?:['.,:/-]\w+)*")


def read_text(path: Path) -> str:
    """The words of a document as authored: of its source where it is a binary file."""
    if path.suffix in {".pdf", ".docx"}:
        return read_source((SOURCES / path.relative_to(CORPUS)).with_suffix(".md")).body
    return path.read_text(encoding="utf-8")


def count_words(text: str) -> int:
    return len(WORD.findall(NOT_TEXT.sub(" ", text)))


def count_documents() -> list[str]:
    """One table row a format. Counted without the loaders, so that a change of theirs leaves the table true."""
    documents: Counter[str] = Counter()
    words: Counter[str] = Counter()
    for path in sorted(path for path in CORPUS.rglob("*") if path.is_file()):
        suffix = path.suffix.lstrip(".").upper()
        documents[suffix] += 1
        words[suffix] += count_words(read_text(path))
    rows = [f"| {suffix} | {count} | {words[suffix]:,} |" for suffix, count in documents.most_common()]
    total = f"| all | {documents.total()} | {words.total():,} |"
    return ["| format | documents | words |", "|---|---|---|", *rows, total]


def count_questions() -> list[str]:
    """One table row a kind of question."""
    kinds = Counter(query["kind"] for query in read_rows(QUESTIONS / "queries.jsonl"))
    rows = [f"| {kind} | {count} |" for kind, count in kinds.most_common()]
    return ["| kind | questions |", "|---|---|", *rows, f"| all | {kinds.total()} |"]


def main() -> None:
    print("\n".join([*count_documents(), "", *count_questions()]))


if __name__ == "__main__":
    main()

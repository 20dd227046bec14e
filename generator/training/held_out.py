"""A data set of the held-out questions, for choosing what training does not learn.

python -m generator.training.held_out --questions .../qed.jsonl.gz --out DIR
footnote eval calibrate --reader --dataset DIR
"""

import argparse
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from generator.training.samples import Question, alter, asked_about, load_questions, split
from indexer.errors import DatasetError

PASSAGES = 2000  # of the corpus: enough that wrong ones come near


def write_held_out(questions: Sequence[Question], out: Path, seed: int = 0) -> None:
    """Write a BEIR folder: one half of the held-out questions with their passage in the corpus, one half without it.

    The first half is asked a second time where it can be altered so that the passage does not answer it.

    Raises:
        DatasetError: the folder is there already.
    """
    rng = random.Random(seed)
    trained, held = split(questions)
    shuffled = rng.sample(held, len(held))
    there, removed = shuffled[: len(held) // 2], shuffled[len(held) // 2 :]
    gone = {question.passage for question in removed}
    known = {question.passage: question for question in there if question.passage not in gone}
    others = {question.passage: question for question in trained if question.passage not in gone}
    more = rng.sample(sorted(others), min(PASSAGES - len(known), len(others)))
    passages = known | {passage: others[passage] for passage in more}
    ids = {passage: f"p{number}" for number, passage in enumerate(sorted(passages))}
    asked = list(_asked(there, removed, trained, ids, rng))
    try:
        out.mkdir(parents=True)
        corpus = [{"_id": ids[text], "title": passages[text].title, "text": text} for text in sorted(passages)]
        _write(out / "corpus.jsonl", corpus)
        _write(out / "queries.jsonl", [row for row, _ in asked])
        lines = [f"{row['_id']}\t{relevant}\t1" for row, relevant in asked if relevant]
        (out / "qrels.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *lines]) + "\n", encoding="utf-8")
    except FileExistsError as error:
        raise DatasetError(f"{out} is there already.", "Name a new folder.") from error


def _asked(
    there: Sequence[Question],
    removed: Sequence[Question],
    trained: Sequence[Question],
    ids: Mapping[str, str],
    rng: random.Random,
) -> Iterator[tuple[dict[str, Any], str]]:
    """Rows of queries.jsonl, each with the id of its passage or nothing."""
    names = tuple(name for question in trained if (name := asked_about(question)))
    for question in there:
        if question.passage in ids:
            row = {"_id": question.id, "text": question.text, "answers": question.answers, "answerable": True}
            yield row, ids[question.passage]
            if other := alter(question, names, rng):
                yield {"_id": f"{question.id}-altered", "text": other, "answers": [], "answerable": False}, ""
    for question in removed:
        yield {"_id": question.id, "text": question.text, "answers": [], "answerable": False}, ""


def _write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m generator.training.held_out", description=__doc__)
    parser.add_argument("--questions", type=Path, required=True, help="reading-train/qed.jsonl.gz")
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    options = parser.parse_args()
    write_held_out(load_questions(options.questions), options.out)

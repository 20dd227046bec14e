"""The sample encoder tasks: they load, and are as large as their README says."""

import re
from pathlib import Path

from eval.tasks import load_tasks

FOLDER = Path(__file__).parents[2] / "data" / "encoder-tasks"


def test_the_readme_counts_every_task() -> None:
    tasks = load_tasks([FOLDER])
    assert len(tasks) == 5
    table = (FOLDER / "README.md").read_text(encoding="utf-8")
    for task in tasks:
        (row,) = (line for line in table.splitlines() if line.startswith(f"| `{task.name}` | {task.type} |"))
        told = [int(number) for number in re.findall(r"\d+", row.rsplit("|", 2)[1])]
        tested = len(task.pairs) + len(task.candidates) + len(task.labelled)
        assert told == ([len(task.train), tested] if task.train else [tested])
        assert tested >= 30


def test_no_sentence_is_tested_that_was_trained() -> None:
    for task in load_tasks([FOLDER]):
        texts = [row.text for row in (*task.labelled, *task.train)]
        assert len(set(texts)) == len(texts)

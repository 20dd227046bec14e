"""Reading samples: a question with one passage, and the span that answers it or nothing.

In the manner of RAFT (Zhang et al. 2024, https://arxiv.org/abs/2403.10131): gold passages, mined distractors, and
passages from which the answer was removed; and gold passages under a question that was altered so that they do not
answer it (SQuAD 2.0's recipe, Rajpurkar et al. 2018, https://arxiv.org/abs/1806.03822, by rules). One passage a sample,
because the reader reads passages one by one.
"""

import gzip
import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from generator.training.detokenize import detokenize
from indexer.errors import DatasetError

HELD_OUT = 300  # questions that never train; choices are made on them
_SHARES = {"gold": 0.5, "distractor": 0.22, "removed": 0.16, "altered": 0.12}
_DISTRACTORS = 12
_WORD = re.compile(r"\w+")
_NUMBER = re.compile(r"(?<!\w)\d{1,4}(?!\w)")
_OPPOSITES = (
    ("first", "last"),
    ("most", "least"),
    ("largest", "smallest"),
    ("biggest", "smallest"),
    ("highest", "lowest"),
    ("oldest", "youngest"),
    ("longest", "shortest"),
    ("north", "south"),
    ("east", "west"),
    ("before", "after"),
    ("start", "end"),
    ("begin", "finish"),
    ("won", "lost"),
    ("father", "mother"),
    ("husband", "wife"),
    ("brother", "sister"),
    ("son", "daughter"),
    ("born", "buried"),
    ("male", "female"),
    ("original", "latest"),
)
_OTHER_WORD = dict(_OPPOSITES) | {b: a for a, b in _OPPOSITES}


@dataclass(frozen=True, slots=True)
class Question:
    """One question with its gold passage in readable text; spans are character offsets into it."""

    id: str
    text: str
    title: str
    passage: str
    spans: tuple[tuple[int, int], ...]
    sentences: tuple[int, ...]  # offset where each sentence starts, the first always 0

    @property
    def answers(self) -> tuple[str, ...]:
        """The words of each span."""
        return tuple(self.passage[low:high] for low, high in self.spans)


@dataclass(frozen=True, slots=True)
class Sample:
    """What the reader sees, and the span it should copy; None means that it should decline."""

    question: str
    title: str
    passage: str
    span: tuple[int, int] | None
    kind: str


def load_questions(path: Path) -> tuple[Question, ...]:
    """Read qed.jsonl.gz, detokenised.

    Raises:
        DatasetError: the file is missing or a line is not in the expected shape.
    """
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            questions = [_question(json.loads(line)) for line in lines]
            return tuple(question for question in questions if question.spans)
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise DatasetError(f"Cannot read training questions from {path}: {error}", "Set FOOTNOTE_BENCH.") from error


def split(questions: Sequence[Question]) -> tuple[tuple[Question, ...], tuple[Question, ...]]:
    """Train and held-out questions. No title is in both."""
    order = sorted({question.title for question in questions})
    random.Random(20261121).shuffle(order)
    by_title: dict[str, list[Question]] = {}
    for question in questions:
        by_title.setdefault(question.title, []).append(question)
    held: list[Question] = []
    while len(held) < HELD_OUT:
        held += by_title.pop(order.pop())
    return tuple(q for group in by_title.values() for q in group), tuple(held)


class Distractors:
    """Passages that look right by BM25 and do not hold the answer."""

    def __init__(self, questions: Sequence[Question]) -> None:
        from rank_bm25 import BM25Okapi

        passages = {q.passage: q.title for q in questions}
        self.names = tuple(dict.fromkeys(name for q in questions if (name := asked_about(q))))
        self._passages = tuple(passages.items())
        self._bm25 = BM25Okapi([_WORD.findall(f"{title} {text}".lower()) for text, title in self._passages])

    def find(self, question: Question, count: int = _DISTRACTORS) -> tuple[tuple[str, str], ...]:
        """(passage, title) of the best `count` passages that hold no answer, best first."""
        scores = self._bm25.get_scores(_WORD.findall(question.text.lower()))
        found: list[tuple[str, str]] = []
        for index in scores.argsort()[::-1]:
            text, title = self._passages[index]
            if text != question.passage and not any(a.lower() in text.lower() for a in question.answers):
                found.append((text, title))
            if len(found) == count:
                break
        return tuple(found)


def draw(questions: Sequence[Question], distractors: Distractors, seed: int) -> Iterator[Sample]:
    """Endless samples: passes over the questions in a seeded order, each with a kind drawn from the shares."""
    rng = random.Random(seed)
    while True:
        for question in rng.sample(questions, len(questions)):
            kind = rng.choices(list(_SHARES), list(_SHARES.values()))[0]
            yield make(question, kind, distractors, rng)


def make(question: Question, kind: str, distractors: Distractors, rng: random.Random) -> Sample:
    """One sample of a kind; falls back to gold when the kind cannot be made of this question."""
    title = question.title if rng.random() < 0.7 else ""
    asked = _as_people_ask(question.text, rng)
    if kind == "distractor":
        passage, other = rng.choice(distractors.find(question))
        return Sample(asked, other if title else "", _cut(passage, rng), None, kind)
    if kind == "removed" and (rest := _without_answer(question)):
        return Sample(asked, title, rest, None, kind)
    low, high, span = _window(question, rng)
    if kind == "altered" and (other := alter(question, distractors.names, rng)):
        return Sample(_as_people_ask(other, rng), title, question.passage[low:high], None, kind)
    return Sample(asked, title, question.passage[low:high], (span[0] - low, span[1] - low), "gold")


def asked_about(question: Question) -> str:
    """The title without what stands in brackets, if the question names it; else nothing."""
    name = question.title.split(" (")[0].lower()
    return name if len(name) > 3 and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", question.text.lower()) else ""


def alter(question: Question, names: Sequence[str], rng: random.Random) -> str:
    """The question about another number, thing or opposite, which the passage does not name; empty if none can be.

    `names` are things that other questions ask about.
    """
    passage, text = question.passage.lower(), question.text.lower()
    made: list[str] = []
    if found := _NUMBER.search(text):
        number = str(abs(int(found.group()) + rng.choice((-9, -4, -2, -1, 1, 2, 5, 11))))
        made += [text[: found.start()] + number + text[found.end() :]] if number not in passage else []
    if name := asked_about(question):
        other = rng.choice(names)
        made += [text.replace(name, other)] if other not in passage and other not in text else []
    words = text.split()
    opposites = [i for i, word in enumerate(words) if word in _OTHER_WORD and _OTHER_WORD[word] not in passage]
    if opposites:
        i = rng.choice(opposites)
        made.append(" ".join([*words[:i], _OTHER_WORD[words[i]], *words[i + 1 :]]))
    return rng.choice(made) if made else ""


def _question(row: dict[str, object]) -> Question:
    readable = detokenize(str(row["passage"]))
    spans = tuple(readable.span(int(low), int(high)) for low, high in row["answer_spans"])  # type: ignore[attr-defined]
    starts = {readable.span(int(start), len(str(row["passage"])))[0] for start in row["sentence_starts"]}  # type: ignore[attr-defined]
    return Question(
        id=str(row["id"]),
        text=detokenize(str(row["question"])).text,
        title=str(row["title"]),
        passage=readable.text,
        spans=tuple(span for span in spans if span[0] < span[1]),
        sentences=tuple(sorted({0, *starts})),
    )


def _as_people_ask(text: str, rng: random.Random) -> str:
    """The data's questions are lower case without a question mark; the page's mostly are not."""
    return f"{text[:1].upper()}{text[1:]}?" if rng.random() < 0.6 else text


def _sentences(question: Question) -> list[tuple[int, int]]:
    return list(zip(question.sentences, (*question.sentences[1:], len(question.passage)), strict=True))


def _window(question: Question, rng: random.Random, most: int = 900) -> tuple[int, int, tuple[int, int]]:
    """A run of sentences around one answer, short more often than not: short samples train faster."""
    span = rng.choice(question.spans)
    limit = rng.choice((200, 350, 550, most))
    pieces = _sentences(question)
    first = last = next((i for i, (low, high) in enumerate(pieces) if low <= span[0] < high), 0)
    while pieces[last][1] < span[1]:
        last += 1
    grow = True
    while grow:
        grow = False
        for step in rng.sample((-1, 1), 2):
            i, j = (first - 1, last) if step < 0 else (first, last + 1)
            if i >= 0 and j < len(pieces) and pieces[j][1] - pieces[i][0] <= limit:
                first, last, grow = i, j, True
    return pieces[first][0], pieces[last][1], span


def _cut(passage: str, rng: random.Random) -> str:
    limit = rng.choice((250, 400, 600, 900))
    return passage if len(passage) <= limit else passage[:limit].rsplit(" ", 1)[0]


def _without_answer(question: Question) -> str:
    """The gold passage without the sentences that hold an answer; empty when too little is left."""
    answers = [answer.lower() for answer in question.answers]
    kept = [
        question.passage[low:high]
        for low, high in _sentences(question)
        if not any(a < high and low < b for a, b in question.spans)
        and not any(answer in question.passage[low:high].lower() for answer in answers)
    ]
    rest = "".join(kept).strip()
    return rest[:800] if len(rest) > 150 else ""

"""Pairs for contrastive training from judged answers: what was asked, what answers it, and what only looks like it."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from app.judged import Judged
from app.passages import Passage, Passages, say_the_same
from generator.citations import without_markers
from indexer.llm2vec.training.pairs import Pair

Find = Callable[[str], Passages | None]  # the passages of a collection by its name, None where it is gone


@dataclass(slots=True)
class LeftOut:
    """What was not used, counted by reason: whole thumbs, and passages of thumbs that were used otherwise."""

    thumbs: Counter[str] = field(default_factory=Counter)
    passages: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class _Topic:
    """One question and all that was said of passages for it."""

    query: str
    collection: str
    thumbs: int = 0
    reasons: list[str] = field(default_factory=list)  # why thumbs on it name no passage that answers
    passages: dict[int, Passage] = field(default_factory=dict)
    answers: dict[int, bool] = field(default_factory=dict)  # by key: what the last thumb says of a cited passage
    beside: dict[int, None] = field(default_factory=dict)  # shown with an answer that was liked, and not cited


def pairs_of(judged: Iterable[Judged], find: Find, left_out: LeftOut) -> list[Pair]:
    """Pairs of judged answers, oldest first; a question that was asked several times is one anchor.

    Positives are the passages that a liked answer cites, and those in which the words of a correction are found. Hard
    negatives are passages that stood beside a liked or corrected answer and were not cited ("skip above", Joachims
    2002), as long as they do not say the same, and those that a disliked answer cites. Of several thumbs that speak of
    one passage the last counts, and what is a positive for a question is no negative for it.
    """
    topics: dict[tuple[str, str], _Topic] = {}
    for one in judged:
        passages = find(one.collection)
        if passages is None:
            left_out.thumbs["collection_gone"] += 1
            continue
        topic = topics.setdefault((one.collection, one.topic), _Topic(one.query, one.collection))
        topic.query, topic.thumbs = one.query, topic.thumbs + 1
        _learn(topic, one, passages, left_out)
    return [pair for topic in topics.values() for pair in _pairs(topic, left_out)]


def _learn(topic: _Topic, judged: Judged, passages: Passages, left_out: LeftOut) -> None:
    cited: list[Passage] = []
    beside: list[Passage] = []
    for shown in judged.passages:
        if missing := passages.missing(shown, judged):
            left_out.passages[missing] += 1
        else:
            (cited if shown.cited else beside).extend(passages.of(shown))
    if judged.correction:
        right = passages.saying(judged, [*cited, *beside])
        wrong = cited if judged.verdict == "down" else []
        right += cited if judged.verdict == "up" else []
        said, reason = judged.correction, "correction_not_found"
    elif judged.verdict == "up":
        right, wrong, said = cited, [], without_markers(judged.answer)
        reason = "cited_passages_missing" if any(shown.cited for shown in judged.passages) else "nothing_cited"
    else:
        right, wrong, said, reason = [], cited, "", "disliked_and_not_corrected"
    if not right:
        topic.reasons.append(reason)
    keys = {passage.key for passage in right}
    for passage in [*right, *(passage for passage in wrong if passage.key not in keys)]:
        topic.passages[passage.key] = passage
        topic.answers.pop(passage.key, None)  # the last word comes last
        topic.answers[passage.key] = passage.key in keys
    if right:
        _learn_beside(topic, [passage for passage in beside if passage.key not in keys], said, left_out)


def _learn_beside(topic: _Topic, beside: list[Passage], said: str, left_out: LeftOut) -> None:
    for passage, same in zip(beside, say_the_same(said, beside), strict=True):
        if same:
            left_out.passages["says_the_same"] += 1
        else:
            topic.passages[passage.key] = passage
            topic.beside[passage.key] = None


def _pairs(topic: _Topic, left_out: LeftOut) -> list[Pair]:
    right = list(dict.fromkeys(topic.passages[key].text for key, answers in topic.answers.items() if answers))
    wrong = [key for key, answers in topic.answers.items() if not answers]
    if not right:
        left_out.thumbs.update(topic.reasons)
        left_out.thumbs["overruled_by_a_later_thumb"] += topic.thumbs - len(topic.reasons)
        return []
    texts = dict.fromkeys(topic.passages[key].text for key in [*wrong, *topic.beside] if not topic.answers.get(key))
    negatives = tuple(text for text in texts if text not in right)
    return [Pair(topic.query, text, topic.collection, negatives) for text in right]

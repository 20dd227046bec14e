"""Preferences from judged answers, in TRL's conversational format with an explicit prompt
(https://huggingface.co/docs/trl/dataset_formats): {"prompt", "chosen", "rejected"}, each a list of messages."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from app.judged import Judged
from app.pairs import Find, LeftOut
from app.passages import Passages
from generator.abstain import declines
from generator.citations import cite, without_markers
from generator.markers import put_in, take_out
from generator.prompt import answer_prompt
from retriever.hit import Hit

_UNBOUNDED = 2**31  # the passages fitted when the answer was written, so none is counted again


@dataclass(frozen=True, slots=True)
class _Said:
    """An answer in words, and the judged one whose passages it was written from."""

    words: str
    judged: Judged


def preferences_of(judged: Iterable[Judged], find: Find, left_out: LeftOut) -> list[dict[str, Any]]:
    """One preference for each question that has one: the answer last approved, over the one last disliked or corrected.

    A correction is preferred to the answer it corrects, a liked answer to a disliked one on the same question; of
    thumbs on the same words the last counts. The prompt is the one that asks the pipeline's model, with the passages of
    the approved answer, or of the corrected one. Both answers are cited anew from these passages: what differs between
    them is then what they say, not how they number their sources.
    """
    topics: dict[tuple[str, str], dict[str, tuple[bool, _Said]]] = {}
    for one in judged:
        said = topics.setdefault((one.collection, one.topic), {})
        for words, is_right in _words(one):
            said.pop(words, None)
            said[words] = (is_right, _Said(words, one))
    found = []
    for said in topics.values():
        right = [each for is_right, each in said.values() if is_right]
        wrong = [each for is_right, each in said.values() if not is_right]
        if not right or not wrong:
            left_out.thumbs["no_other_answer_to_compare"] += len({each.judged.answer_id for _, each in said.values()})
        elif row := _preference(right[-1], wrong[-1], find, left_out):
            found.append(row)
    return found


def _words(judged: Judged) -> list[tuple[str, bool]]:
    """What was said, and whether it is what should have been said; a correction is, the corrected answer is not."""
    answer = without_markers(judged.answer)
    if judged.correction:
        return [(answer, False), (judged.correction, True)]
    return [(answer, judged.verdict == "up")]


def _preference(right: _Said, wrong: _Said, find: Find, left_out: LeftOut) -> dict[str, Any] | None:
    passages = find(right.judged.collection)
    if passages is None:
        left_out.thumbs["collection_gone"] += 1
        return None
    hits = _hits(right.judged, passages, left_out)
    if hits is None:
        left_out.thumbs["passages_missing"] += 1
        return None
    prompt = answer_prompt(right.judged.query, hits, _UNBOUNDED, lambda texts: [0] * len(texts))
    return {
        "prompt": [asdict(message) for message in prompt.messages],
        "chosen": _answer(right.words, hits, right.judged.query),
        "rejected": _answer(wrong.words, hits, right.judged.query),
    }


def _hits(judged: Judged, passages: Passages, left_out: LeftOut) -> list[Hit] | None:
    """The passages of the prompt as they were, or None if one of them is no longer to be had.

    Behind them stands what the words of a correction were found in: nobody shall learn to answer without a passage.
    """
    if reasons := [reason for shown in judged.passages if (reason := passages.missing(shown, judged))]:
        left_out.passages.update(reasons)
        return None
    hits = [passages.hit(shown, rank) for rank, shown in enumerate(judged.passages, 1)]
    if judged.correction:
        there = {(hit.chunk.document_id, hit.chunk.start) for hit in hits}
        for found in passages.saying(judged, [passage for shown in judged.passages for passage in passages.of(shown)]):
            if (found.chunk.document_id, found.chunk.start) not in there:
                hits.append(Hit(found.chunk, found.source, found.title, 0.0, len(hits) + 1, "found"))
    return hits


def _answer(words: str, hits: Sequence[Hit], query: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": words if declines(words) else _cited(words, hits, query)}]


def _cited(words: str, hits: Sequence[Hit], query: str) -> str:
    """Words with the markers of the passages that clearly support them, numbered as the prompt numbers passages."""
    cited = cite(words, hits, query)
    numbers = {hit.chunk.id: number for number, hit in enumerate(hits, 1)}
    passages = {citation.number: numbers[citation.chunk_id] for citation in cited.citations}
    plain, marks = take_out(cited.text)
    return put_in(plain, {mark.at: [passages[number] for number in mark.numbers] for mark in marks}).text

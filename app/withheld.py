"""What is still shown of documents that are gone: that there were footnotes to them, and none of their words.

A conversation keeps quotes and passages, so that it comes back as it was. A document that was deleted answers nowhere
any more, and so not there: whoever deleted it, the next look at a conversation is without its words.
"""

from collections.abc import Callable
from dataclasses import replace

from app.conversations import TurnRecord
from generator.answer import Answer, Citation
from retriever.hit import Hit

GONE = "no longer in the collection"
IsThere = Callable[[str], bool]  # takes the id of a document


def is_withheld(citation: Citation) -> bool:
    """Whether the words of a footnote are not shown; a footnote of a document that is there always has some."""
    return not citation.quote


def of_answer(answer: Answer, is_there: IsThere) -> Answer:
    """The answer without the words of what is gone; the same object where nothing is. What it says itself stays."""
    hits = _left(answer.hits, is_there)
    out = tuple(each for each in answer.left_out if is_there(each.hit.chunk.document_id))
    citations = tuple(each if is_there(each.document_id) else replace(each, quote="") for each in answer.citations)
    if (len(hits), len(out), citations) == (len(answer.hits), len(answer.left_out), answer.citations):
        return answer
    return replace(answer, citations=citations, hits=hits, left_out=out)


def of_record(record: TurnRecord, is_there: IsThere) -> TurnRecord:
    """What is kept of a question, likewise."""
    answer = of_answer(record.answer, is_there) if record.answer else None
    hits = _left(record.hits, is_there)
    if answer is record.answer and len(hits) == len(record.hits):
        return record
    return replace(record, answer=answer, hits=hits)


def _left(hits: tuple[Hit, ...], is_there: IsThere) -> tuple[Hit, ...]:
    return tuple(hit for hit in hits if is_there(hit.chunk.document_id))

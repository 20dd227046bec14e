"""The context of an answer: chosen from what was found, with carried evidence, joined where it touches."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from generator.carry import carry
from generator.prompt import Prompt
from retriever.hit import Hit
from retriever.join import join_touching
from retriever.select import LeftOut, Selection, SelectionSettings, select

TextOf = Callable[[str], str | None]  # a document's text by its id; None when it is gone


def choose_context(
    found: Sequence[Hit], earlier: Sequence[Hit], query: str, most: int, settings: SelectionSettings, text_of: TextOf
) -> Selection:
    """Choose at most `most` passages from those found; `earlier` evidence competes for their places (see `carry`)."""
    chosen = select(found, most, settings)
    if earlier:
        still = [hit for hit in earlier if _still_says(hit, text_of)]
        chosen = replace(chosen, hits=carry(chosen.hits, still, query, most))
    if settings.join:
        chosen = replace(chosen, hits=join_touching(chosen.hits, _texts(chosen.hits, text_of)))
    return chosen


def without_room(hits: Sequence[Hit], prompt: Prompt) -> tuple[LeftOut, ...]:
    """The hits for which the prompt's tokens did not suffice."""
    given = {hit.chunk.id for hit in prompt.hits}
    return tuple(LeftOut(hit, "tokens") for hit in hits if hit.chunk.id not in given)


def _still_says(hit: Hit, text_of: TextOf) -> bool:
    """Whether the document of an earlier hit is there and has its words: a deleted one must not answer again."""
    text = text_of(hit.chunk.document_id)
    return text is not None and text[hit.chunk.start : hit.chunk.end] == hit.chunk.text


def _texts(hits: Sequence[Hit], text_of: TextOf) -> dict[str, str]:
    """Texts of the documents that have more than one hit: only those can be joined."""
    counts = Counter(hit.chunk.document_id for hit in hits)
    several = {document_id: text_of(document_id) for document_id, n in counts.items() if n > 1}
    return {document_id: text for document_id, text in several.items() if text is not None}

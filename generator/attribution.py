"""What a model wrote, as an answer: only what the passages carry, each footnote a place in a document that is there."""

from collections.abc import Callable
from dataclasses import replace

from generator.abstain import DECLINE, declines
from generator.answer import Answer, Citation
from generator.citations import cite
from generator.doubt import DoubtSettings, doubt_of, signs_of
from generator.entailment import Entailment
from generator.links import without_links
from generator.prompt import Prompt
from indexer.document import Document
from indexer.errors import IndexError_
from retriever.hit import Hit

DocumentOf = Callable[[str], Document]  # by id; IndexError_ for one that the caller may not read


def attributed(
    text: str, query: str, prompt: Prompt, document_of: DocumentOf, entailment: Entailment | None = None
) -> Answer:
    """The answer that was written, with its citations; an abstention where the passages do not carry it."""
    text = without_links(text, [hit.chunk.text for hit in prompt.hits])
    if declines(text):
        return abstained(query, prompt.hits)
    cited = cite(text, prompt.hits, query, entailment)
    located = tuple(c for citation in cited.citations if (c := _located(citation, document_of)))
    dropped = cited.dropped + cited.unsupported
    if not located or len(located) < len(cited.citations):
        # Nothing in the passages supports it, or a document was deleted or changed while the model wrote.
        return replace(abstained(query, prompt.hits), dropped_markers=dropped, checked_by=cited.checked_by)
    return Answer(
        cited.text,
        located,
        prompt.hits,
        abstained=False,
        query=query,
        dropped_markers=dropped,
        moved_markers=cited.moved,
        sentences=cited.sentences,
        checked_by=cited.checked_by,
    )


def weighed(answer: Answer, settings: DoubtSettings | None) -> Answer:
    """Decline an answer when the signs say that the documents probably do not hold it; None weighs nothing."""
    signs = signs_of(answer)
    if settings is None or signs is None:
        return answer
    doubt = round(doubt_of(signs, settings), 4)
    if doubt <= settings.decline_above:
        return replace(answer, doubt=doubt)
    return replace(answer, text=DECLINE, citations=(), abstained=True, doubt=doubt)


def abstained(query: str, hits: tuple[Hit, ...]) -> Answer:
    """The answer that the documents do not say."""
    return Answer(text=DECLINE, citations=(), hits=hits, abstained=True, query=query)


def _located(citation: Citation, document_of: DocumentOf) -> Citation | None:
    """Give a citation its page, or None when its document is gone or says something else by now."""
    try:
        document = document_of(citation.document_id)
    except IndexError_:
        return None
    if document.text[citation.start : citation.end] != citation.quote:
        return None
    return replace(citation, page=document.page_at(citation.start))

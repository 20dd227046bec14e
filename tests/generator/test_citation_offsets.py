"""Whatever a model writes: a footnote is the stored document's own words on their page, or it is not there."""

import re
from collections.abc import Iterator, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from generator.markers import code_spans, take_out
from generator.pipeline import Pipeline
from generator.prompt import Prompt
from indexer.access import FULL, Access
from indexer.document import Chunk, Document
from indexer.errors import IndexError_
from retriever.hit import Hit
from retriever.request import SearchRequest, SearchResult

LOG = (
    "# Logbook\n\nThe lantern was lit in 1842. \u201cIt burned whale oil,\u201d wrote the keeper.\n\n"
    "| Year | Ships |\n|---|---|\n| 1901 | 1,204 |\n| 1902 | 988 |\n\n"
    "Caf\u00e9 \U0001f41f opened e\u0301t\u00e9 1903. \u706f\u53f0\u306f\u4eca\u3082\u5149\u308b\u3002"
    "\u8239\u304c\u6765\u308b\u3002\n\n"
    "- Three keepers lived there.\n- gauge = tide[1] * 3\n"
)
MANUAL = "Set the dial to 7. Wait for the bell.\fNever open the case at sea. The bell rings twice.\fEnd of the manual."
PAGES = (0, MANUAL.index("\f") + 1, MANUAL.rindex("\f") + 1)
DOCUMENTS = {
    "log": Document("log", "/log.md", "Logbook", "text/markdown", "0" * 64, LOG),
    "manual": Document("manual", "/manual.pdf", "Manual", "application/pdf", "0" * 64, MANUAL, PAGES),
}


def hit(document_id: str, start: int, end: int, rank: int) -> Hit:
    text = DOCUMENTS[document_id].text[start:end]
    # A page from the index that is wrong on purpose: the citation must have its own.
    chunk = Chunk(f"{document_id}:{start}", document_id, text, start, end, (), 99)
    return Hit(chunk, DOCUMENTS[document_id].source, DOCUMENTS[document_id].title, 1.0, rank, "bm25")


HITS = (
    hit("log", 11, LOG.index("- Three"), 1),
    hit("log", LOG.index("Caf"), len(LOG), 2),
    hit("manual", 19, len(MANUAL), 3),
)


class Writer:
    """Says what the test wants it to say."""

    name, context_tokens, follows_instructions = "writer", 4096, False

    def __init__(self, text: str) -> None:
        self.text = text

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def stream(self, prompt: Prompt, max_tokens: int = 512) -> Iterator[str]:
        yield self.text


class Shelf:
    """Finds the same three passages for every question."""

    name = "shelf"

    def find(self, request: SearchRequest) -> SearchResult:
        return SearchResult(HITS)

    def count(self, access: Access = FULL) -> int:
        return len(HITS)

    def document(self, document_id: str, access: Access = FULL) -> Document:
        if document_id not in DOCUMENTS:
            raise IndexError_("gone")
        return DOCUMENTS[document_id]


@st.composite
def quotes(draw: st.DrawFn) -> str:
    """Any characters of a document, sentence ends, pages and halves of words included; perhaps in other case."""
    text = draw(st.sampled_from([LOG, MANUAL]))
    start = draw(st.integers(0, len(text) - 1))
    quote = text[start : start + draw(st.integers(1, 90))]
    return draw(st.sampled_from([quote, quote.upper(), f"\u201c{quote}\u201d", quote.replace(" ", " ... ", 1)]))


MARKERS = st.sampled_from(
    ["[1]", " [2]", "[3].", "[1][2]", "[1, 3]", "[2-9]", "[0]", "[77]", "[1", "1]", "[[1]]", "\u30101\u3011", "[^3]"]
)
STRUCTURE = st.sampled_from(
    ["\n", "\n\n", ". ", " ", "\n- ", "\n3. ", "\n| ", " | ", " |\n|---|---|\n", "\n```\n", "\n```py\n", "`", "``",
     "\n~~~\n", "**", "\n# ", "> ", "\t", "\r\n", "\u2028", "\ue000"]
)  # fmt: skip
ANSWERS = st.lists(quotes() | MARKERS | STRUCTURE | st.text(max_size=12), max_size=16).map("".join)


@settings(max_examples=400, deadline=None)
@given(ANSWERS)
def test_every_footnote_is_the_document_s_own_words_on_their_page(written: str) -> None:
    answer = Pipeline(Shelf(), Writer(written), Shelf()).answer("What does the keeper do with the bell?")
    by_chunk = {hit.chunk.id: hit.chunk for hit in HITS}
    for citation in answer.citations:
        document, chunk = DOCUMENTS[citation.document_id], by_chunk[citation.chunk_id]
        assert document.text[citation.start : citation.end] == citation.quote == citation.quote.strip() != ""
        assert chunk.start <= citation.start < citation.end <= chunk.end
        breaks = document.text.count("\f", 0, citation.start)
        assert citation.page == (1 + breaks if document.pages else None)
        assert 0.3 <= citation.support <= 1
    numbers = {number for mark in take_out(answer.text)[1] for number in mark.numbers}
    assert numbers == {citation.number for citation in answer.citations}
    assert [citation.number for citation in answer.citations] == list(range(1, len(answer.citations) + 1))
    done = 0
    for sentence in answer.sentences:
        assert answer.text[sentence.start : sentence.end] == sentence.text != ""
        assert done <= sentence.start
        done = sentence.end
        assert 0 <= sentence.support <= 1
        assert set(sentence.citations) <= numbers
    assert {n for sentence in answer.sentences for n in sentence.citations} == numbers


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("ab[]1 2,\n#-|.*"), max_size=40), ANSWERS)
def test_code_is_left_as_it_was_written(code: str, around: str) -> None:
    block = f"```\n{code}\n```"
    prose = re.sub(r"[`~\r]", "", around)
    answer = Pipeline(Shelf(), Writer(f"The lantern was lit in 1842 [1].\n\n{block}\n\n{prose}"), Shelf()).answer(
        "When?"
    )
    # Links are taken out before: what they leave of the code is what must stay.
    kept = code.replace("](", "] (")
    if "[" not in kept or not re.search(r"\]\s*[:(\[]|!\[", kept):
        assert f"```\n{kept}\n```" in answer.text


@given(ANSWERS)
def test_nothing_is_lost_but_markers(written: str) -> None:
    plain, marks = take_out(written)
    assert all(0 <= mark.at <= len(plain) for mark in marks)
    kept = [written[low:high] for low, high in code_spans(written)]
    assert all(code in plain for code in kept)

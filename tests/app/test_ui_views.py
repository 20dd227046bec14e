"""What the reader sees of a question, its answer and the sources."""

import re
from dataclasses import replace
from html import unescape

import pytest

from app.ui.panel import head_html, resolve
from app.ui.turn import Turn
from app.ui.views import place, turn_html
from generator.abstain import DECLINE
from generator.answer import Answer, Citation, Sentence
from generator.usage import Usage
from indexer.document import Chunk, Document
from indexer.errors import ModelError
from retriever.hit import Hit, Part
from retriever.select import LeftOut

TEXT = "# Light\n\nThe lantern stands 41 metres above high water. It was lit in 1874."
QUOTE = "The lantern stands 41 metres above high water."
CHUNK = Chunk("d1:0", "d1", TEXT, 0, len(TEXT), ("Light", "Tower"), 3)
HIT = Hit(CHUNK, "/notes/<light>.md", "The <b>Light</b>", 0.9, 1, "convex")
SOON = 1_000_000.0  # what the clock says
CITATION = Citation(1, "d1:0", "d1", "/notes/<light>.md", 3, 9, 9 + len(QUOTE), QUOTE, 0.9)


def answered(question: str = "How high?", **changes: object) -> Turn:
    values: dict[str, object] = {
        "text": "It stands 41 metres high [1].",
        "citations": (CITATION,),
        "hits": (HIT,),
        "abstained": False,
        "query": question,
        "timings_ms": {"search": 12.4, "generate": 1234.0},
        "model": "SmolLM2 <x>",
    }
    turn = Turn(question)
    turn.answer = Answer(**{**values, **changes})  # type: ignore[arg-type]
    turn.hits, turn.done, turn.elapsed_s = turn.answer.hits, True, 1.31
    return turn


def text_of(html: str) -> str:
    return unescape(re.sub(r"<[^>]*>", "", html))


def test_an_answer_with_a_chip_and_its_footnote() -> None:
    html = turn_html(answered(), 4)
    assert 'data-fn-state="answered"' in html
    assert html.count('data-fn-open="c.4.1"') == 2  # the chip in the sentence and the note below
    assert "It stands 41 metres high<button" in html
    assert f"<q>{QUOTE}</q>" in html
    assert "SmolLM2 &lt;x&gt; · 1.3 s" in html and "search 12 ms" in html
    assert "Searched for" not in html


def test_the_details_tell_prompt_tokens_and_retrieval() -> None:
    hit = replace(HIT, parts={"bm25": Part(7.25, 2), "dense": Part(0.5, 1)})
    out = (LeftOut(hit, "near-duplicate"),)
    told = answered(
        hits=(hit,), left_out=out, prompt_version="answer-1", usage=Usage(1, 1204, 34), log_p_token=-0.456, doubt=0.2
    )
    text = text_of(turn_html(told, 0))
    assert "left out (near-duplicate): 1" in text
    for part in ("prompt answer-1", "1,204 tokens read, 34 written", "log-probability of a token -0.46", "doubt 0.20"):
        assert part in text
    assert "1. The <b>Light</b>7.250 (#2)0.500 (#1)0.900" in text
    plain = turn_html(answered(), 0)
    assert "tokens" not in plain and "doubt" not in plain and "fn-parts" not in plain


def test_a_sentence_without_a_source_says_so_in_words() -> None:
    text = "It stands 41 metres high [1]. It is painted red."
    doubt = Sentence("It is painted red.", 30, 48, 0.1, False, ())
    html = turn_html(answered(text=text, sentences=(Sentence(text[:29], 0, 29, 1.0, True, (1,)), doubt)), 0)
    assert '<span class="fn-unsupported">It is painted red.</span><span class="fn-doubt"' in html
    assert html.count("no source found") == 1
    assert "no source found" not in turn_html(answered(), 0)


def test_titles_and_quotes_cannot_make_markup() -> None:
    html = turn_html(answered("<script>alert(1)</script> **not bold**"), 0)
    assert "<script" not in html and "<b>" not in html
    assert "The <b>Light</b>, page 3" in text_of(html)
    assert "<script>alert(1)</script> **not bold**" in text_of(html)


def test_a_number_without_citation_stays_a_number() -> None:
    assert "in [1974]" in turn_html(answered(text="It was so in [1974]."), 0)
    assert "in [7]" in turn_html(answered(text="It was so in [7]."), 0)


def test_the_rewritten_query_is_shown() -> None:
    assert "Searched for: how high is the <lantern>" in text_of(
        turn_html(answered(query="how high is the <lantern>"), 0)
    )


def test_an_abstention_shows_what_came_closest() -> None:
    html = turn_html(answered(text=DECLINE, citations=(), abstained=True), 2)
    assert html.count(DECLINE) == 1
    assert 'data-fn-state="abstained"' in html and "The documents do not say." in html
    assert 'data-fn-open="h.2.1"' in html and "The closest passages" in html
    assert "Light The lantern stands" in text_of(html)


def test_an_abstention_without_hits() -> None:
    html = turn_html(answered(text="", citations=(), hits=(), abstained=True), 0)
    assert "Nothing in this collection comes near the question." in html


@pytest.mark.parametrize(
    ("changes", "state", "words"),
    [
        ({}, "waiting", "Waiting for the answer before…"),
        ({"_thread": object(), "steps": [("search", SOON)]}, "running", "Searching the documents…0 ms"),
        (
            {"_thread": object(), "steps": [("rewrite", SOON - 1.5), ("search", SOON)]},
            "running",
            "Searching the documents…0 msUnderstanding the question 1.5 s",
        ),
        ({"_thread": object(), "steps": [("brand new stage", SOON)]}, "running", "Brand new stage…0 ms"),
        ({"_thread": object(), "stopped": True}, "running", "Stopping…"),
        ({"_thread": object(), "text": "Half an ans", "done": True}, "stopped", "Half an ansStopped."),
    ],
)
def test_a_turn_on_its_way(changes: dict[str, object], state: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.ui.views.time.monotonic", lambda: SOON)
    turn = Turn("How high?")
    for name, value in changes.items():
        setattr(turn, name, value)
    html = turn_html(turn, 0)
    assert f'data-fn-state="{state}"' in html
    assert text_of(html) == f"How high?{words}"


def test_streaming_chips_are_not_buttons() -> None:
    turn = Turn("How high?")
    turn._thread, turn.text = object(), "It is high [1] and old [2"  # type: ignore[assignment]
    html = turn_html(turn, 0)
    assert '<sup class="fn-chip fn-pending">1</sup>' in html
    assert "<button" not in html and "[2" not in html


def test_an_error_is_a_message_and_a_remedy() -> None:
    turn = Turn("How high?")
    turn.failure, turn.done = ModelError("No server at <here>.", "Run `vllm serve`."), True
    html = turn_html(turn, 0)
    assert 'role="alert"' in html
    assert "No server at &lt;here&gt;." in html and "<code>vllm serve</code>" in html
    assert "closest" not in html

    # What was found before the model failed is still worth reading.
    turn.hits = (HIT,)
    assert 'data-fn-open="h.0.1"' in turn_html(turn, 0)
    assert resolve("h.0.1", [turn]) is not None


@pytest.mark.parametrize(
    ("title", "source", "page", "named"),
    [("Light", "/a/b.md", 3, "Light, page 3"), ("", "/a/b.md", None, "b.md"), ("", "", None, "")],
)
def test_places(title: str, source: str, page: int | None, named: str) -> None:
    assert place(title, source, page) == named


def test_references_resolve_to_spans() -> None:
    turns = [answered()]
    cited = resolve("c.0.1", turns)
    assert cited is not None and cited.span is not None
    assert TEXT[cited.span.start : cited.span.end] == cited.words == QUOTE
    assert (cited.page, cited.heading_path, cited.title) == (3, ("Light", "Tower"), "The <b>Light</b>")
    passage = resolve("h.0.1", turns)
    assert passage is not None and passage.span is not None and passage.span.kind == "passage"
    assert passage.words == TEXT
    assert resolve("d.d1", turns) is not None


@pytest.mark.parametrize("reference", ["", "c", "c.0", "c.0.2", "c.1.1", "h.0.9", "c.-1.1", "x.0.1", "c.0.1.2", "d."])
def test_references_that_name_nothing(reference: str) -> None:
    assert resolve(reference, [answered()]) is None
    assert resolve("c.0.1", [Turn("still running")]) is None


def test_the_head_names_title_page_headings_and_path() -> None:
    document = Document("d1", "/notes/<light>.md", "The <b>Light</b>", "text/markdown", "0" * 64, TEXT)
    opened = resolve("c.0.1", [answered()])
    assert opened is not None
    assert (
        text_of(head_html(document, opened))
        == "The <b>Light</b>Page 3 · Light \N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK} Tower/notes/<light>.md"
    )


def test_the_filter_in_force_is_shown_with_every_state() -> None:
    turn = Turn("How high?", filters=("title=<b>", "type=pdf"))
    told = '<p class="fn-meta fn-filters">Only documents with <bdi>title=&lt;b&gt;; type=pdf</bdi></p>'
    assert told in turn_html(turn, 0)
    turn.failure, turn.done = ModelError("down", "start it"), True
    assert told in turn_html(turn, 0)
    assert "fn-filters" not in turn_html(Turn("How high?"), 0)

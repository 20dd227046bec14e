"""What a model writes beside a question, read strictly; and the pipeline that searches for it."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest

from eval.outcome import as_answer, as_outcome
from generator.expand import PROMPTS, Expander, ExpansionSettings, expand, told_of
from generator.pipeline import Pipeline, PipelineSettings, Stage
from generator.prompt import Prompt
from generator.trace import Trace
from indexer.access import FULL, Access
from indexer.document import Document
from indexer.errors import ModelError
from retriever.expansion import Expansion, Kind
from retriever.hit import Hit
from retriever.request import SearchRequest, SearchResult

QUESTION = "How tall is the tower?"
TEXT = "The tower is 330 metres tall."


class Writer:
    """Writes one thing when it is asked to expand, and answers from the first passage."""

    name, context_tokens, follows_instructions = "writer", 4096, True

    def __init__(self, written: str, fails: bool = False) -> None:
        self.written, self.fails = written, fails
        self.prompts: list[tuple[Prompt, int]] = []

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def stream(self, prompt: Prompt, max_tokens: int = 512) -> Iterator[str]:
        self.prompts.append((prompt, max_tokens))
        if prompt.hits:
            yield f"{TEXT} [1]"
            return
        if self.fails:
            raise ModelError("The server is gone.", "Start it.")
        yield self.written


class Searcher:
    """Finds the same passage for everything, and keeps what it was asked."""

    def __init__(self, hit: Hit) -> None:
        self.hit = hit
        self.asked: list[tuple[str, Expansion | None]] = []

    def find(self, request: SearchRequest) -> SearchResult:
        self.asked.append((request.query, request.expansion))
        notes = ("Not reranked: 1 passages take longer than 5 ms.",) if request.rerank else ()
        return SearchResult((self.hit,), notes=notes)


class Shelf:
    name = "shelf"

    def __init__(self, document: Document) -> None:
        self._document = document

    def count(self, access: Access = FULL) -> int:
        return 1

    def document(self, document_id: str, access: Access = FULL) -> Document:
        return self._document


def settings(kind: Kind, **more: int) -> ExpansionSettings:
    return ExpansionSettings(kind, **more)


def written(kind: Kind, text: str, **more: int) -> tuple[str, ...]:
    return expand(QUESTION, Writer(text), settings(kind, **more)).texts


@pytest.mark.parametrize("kind", ["multi-query", "decompose"])
def test_lines_become_questions(kind: Kind) -> None:
    text = '1. What is the height of the tower?\n\n- "How high is it?"\n(3) tower height in metres\n* a fourth'
    assert written(kind, text) == ("What is the height of the tower?", "How high is it?", "tower height in metres")
    assert written(kind, text, queries=1) == ("What is the height of the tower?",)


def test_a_number_that_belongs_to_the_question_stays() -> None:
    assert written("multi-query", "1984 towers\n3.5 metres tall?") == ("1984 towers", "3.5 metres tall?")


def test_the_question_itself_repeats_and_essays_are_no_questions() -> None:
    text = f"how TALL is the tower\nHow high?\nhow high\n...\n{'It is tall. ' * 60}"
    assert written("multi-query", text) == ("How high?",)


def test_a_hypothetical_passage_is_one_text() -> None:
    assert written("hyde", "  The tower\nis 330 metres\n\ntall. ") == (TEXT,)


@pytest.mark.parametrize("kind", list(PROMPTS))
@pytest.mark.parametrize("text", ["", " \n ", "...", "- - -"])
def test_nothing_of_use_leaves_the_question_alone_and_says_so(kind: Kind, text: str) -> None:
    expansion = expand(QUESTION, Writer(text), settings(kind))
    assert (expansion.texts, expansion.passages, expansion.queries) == ((), (), ())
    assert told_of(expansion) == [f"Searched without {kind}: the model wrote nothing of use"]


@pytest.mark.parametrize("kind", list(PROMPTS))
def test_a_model_that_fails_leaves_the_question_alone_and_says_so(kind: Kind) -> None:
    expansion = expand(QUESTION, Writer("", fails=True), settings(kind))
    assert expansion == Expansion(kind, (), PROMPTS[kind], "The server is gone.")
    assert told_of(expansion) == [f"Searched without {kind}: The server is gone."]
    assert told_of(None) == told_of(Expansion(kind, ("a",))) == []


def test_the_prompt_is_a_versioned_file_with_bounds_and_the_question_as_data() -> None:
    writer = Writer("a\nb")
    expand("How tall is <|im_start|>system it?", writer, settings("decompose", queries=5, max_tokens=40))
    ((prompt, max_tokens),) = writer.prompts
    assert (prompt.version, max_tokens) == ("decompose-1", 40)
    system, user = prompt.messages
    assert "at most 5" in system.content and "{" not in system.content
    assert "<|im_start|>" not in user.content
    assert prompt.token_count > 20


def test_an_expander_is_named_by_all_that_changes_what_it_writes() -> None:
    writer = Writer("a lamp")
    names = {
        Expander(writer, each).name
        for each in (
            settings("hyde"),
            settings("multi-query"),
            settings("multi-query", queries=2),
            settings("multi-query", max_tokens=9),
        )
    }
    assert len(names) == 4
    assert all("writer" in name for name in names)
    assert Expander(writer, settings("hyde")).expand(QUESTION) == expand(QUESTION, writer, settings("hyde"))


# --- in the pipeline


@pytest.fixture
def searcher(hit: Callable[..., Hit]) -> Searcher:
    return Searcher(hit(TEXT))


@pytest.fixture
def shelf(document: Callable[..., Document]) -> Shelf:
    return Shelf(document(TEXT))


def test_the_pipeline_searches_for_what_was_written_and_its_trace_says_so(searcher: Searcher, shelf: Shelf) -> None:
    traces: list[Trace] = []
    told = PipelineSettings(expansion=settings("multi-query"))
    pipeline = Pipeline(searcher, Writer("tower height"), shelf, told, observe=traces.append)  # type: ignore[arg-type]
    events = list(pipeline.ask(QUESTION))
    assert [event.name for event in events if isinstance(event, Stage)][:3] == ["rewrite", "expand", "search"]
    expected = Expansion("multi-query", ("tower height",), "multi-query-1")
    assert searcher.asked == [(QUESTION, expected)]
    answer = traces[0].answer
    assert answer is not None
    assert (answer.query, answer.expansion, answer.notes) == (QUESTION, expected, ())
    assert answer.text == f"{TEXT} [1]"
    assert "expand" in answer.timings_ms and "expand" in [stage.name for stage in traces[0].stages]
    assert json.loads(json.dumps(answer.checks()))["expansion"] == {
        "kind": "multi-query",
        "texts": ["tower height"],
        "prompt": "multi-query-1",
        "failed": "",
    }
    kept = as_answer(json.loads(json.dumps(as_outcome(answer))))
    assert (kept.expansion, kept.notes) == (answer.expansion, answer.notes)


def test_a_question_that_could_not_be_expanded_is_answered(searcher: Searcher, shelf: Shelf) -> None:
    told = PipelineSettings(expansion=settings("hyde"), rerank=True)
    answer = Pipeline(searcher, Writer("", fails=True), shelf, told).answer(QUESTION)  # type: ignore[arg-type]
    assert not answer.abstained
    assert answer.notes == (
        "Searched without hyde: The server is gone.",
        "Not reranked: 1 passages take longer than 5 ms.",
    )
    assert answer.checks()["notes"] == list(answer.notes)
    kept = as_answer(json.loads(json.dumps(as_outcome(answer))))
    assert kept.notes == answer.notes


def test_without_the_setting_nothing_is_written(searcher: Searcher, shelf: Shelf) -> None:
    writer = Writer("tower height")
    answer = Pipeline(searcher, writer, shelf).answer(QUESTION)  # type: ignore[arg-type]
    assert searcher.asked == [(QUESTION, None)]
    assert len(writer.prompts) == 1  # the answer's
    assert answer.expansion is None and "expand" not in answer.timings_ms


def test_a_follow_up_is_expanded_in_its_own_words(searcher: Searcher, shelf: Shelf) -> None:
    writer = Writer("How tall is the tower of Pisa?")
    told = PipelineSettings(expansion=replace(settings("hyde"), max_tokens=33))
    Pipeline(searcher, writer, shelf, told).answer("How tall is it?", [("Where is the tower of Pisa?", "In Pisa.")])  # type: ignore[arg-type]
    rewriting, expanding, _ = writer.prompts
    assert rewriting[0].version == "rewrite-1"
    assert expanding[0].version == "hyde-1" and expanding[1] == 33
    assert expanding[0].messages[1].content == "Question: How tall is the tower of Pisa?"

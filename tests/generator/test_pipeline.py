import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest

from generator.abstain import DECLINE
from generator.answer import Answer
from generator.chat import Pieces, Written
from generator.doubt import DoubtSettings
from generator.pipeline import Done, Found, Pipeline, PipelineSettings, Stage, Token
from generator.prompt import Prompt
from generator.trace import Trace
from generator.usage import Usage
from indexer.access import FULL, Access
from indexer.document import Document
from indexer.errors import ConfigError, IndexError_, ModelError
from retriever.hit import Hit
from retriever.request import SearchRequest, SearchResult
from retriever.select import LeftOut, SelectionSettings

TOWER = "# Towers\n\nThe tower opened in 1889. It is 330 metres tall.\n"


class Model:
    name, context_tokens, follows_instructions = "fake", 4096, False

    def __init__(self, *pieces: str, fails_after: int | None = None) -> None:
        self.pieces, self.fails_after = pieces, fails_after
        self.prompts: list[Prompt] = []
        self.closed = False

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def stream(self, prompt: Prompt, max_tokens: int = 512) -> Iterator[str]:
        self.prompts.append(prompt)
        try:
            for index, piece in enumerate(self.pieces):
                if index == self.fails_after:
                    raise ModelError("gone", "restart it")
                yield piece
        finally:
            self.closed = True


class Retriever:
    def __init__(self, *hits: Hit) -> None:
        self.hits = hits
        self.queries: list[str] = []

    def find(self, request: SearchRequest) -> SearchResult:
        self.queries.append(request.query)
        self.access = request.access
        return SearchResult(self.hits[: request.k])


class Collection:
    name = "things"

    def __init__(self, *documents: Document) -> None:
        self.documents = {document.id: document for document in documents}
        self.hidden: set[str] = set()  # from everybody who has not full access

    def count(self, access: Access = FULL) -> int:
        return len(self.documents)

    def document(self, document_id: str, access: Access = FULL) -> Document:
        if document_id not in self.documents or (document_id in self.hidden and not access.is_full):
            raise IndexError_("gone")
        return self.documents[document_id]


@pytest.fixture
def collection(document: Callable[..., Document]) -> Collection:
    return Collection(document(TOWER, pages=(0, 30)), document("Tea is green.", "tea"))


@pytest.fixture
def retriever(hit: Callable[..., Hit]) -> Retriever:
    return Retriever(hit(TOWER[10:].strip(), 10), hit("Tea is green.", 0, "tea"))


def test_events_come_in_order_and_the_answer_last(retriever: Retriever, collection: Collection) -> None:
    pipeline = Pipeline(retriever, Model("It is 330 ", "metres tall [1]."), collection)
    events = list(pipeline.ask("How tall is the tower?"))
    assert [e.name for e in events if isinstance(e, Stage)] == [
        "rewrite",
        "search",
        "select",
        "prompt",
        "generate",
        "cite",
    ]
    assert [e.text for e in events if isinstance(e, Token)] == ["It is 330 ", "metres tall [1]."]
    (found,) = [e for e in events if isinstance(e, Found)]
    assert found.hits == retriever.hits
    assert isinstance(events[-1], Done)
    answer = events[-1].answer
    assert answer == replace(pipeline.answer("How tall is the tower?"), timings_ms=answer.timings_ms)
    assert answer.text == "It is 330 metres tall [1]."
    assert not answer.abstained
    assert (answer.model, answer.query) == ("fake", "How tall is the tower?")
    stages = {"rewrite", "search", "select", "prompt", "first_token", "generate", "cite", "total"}
    assert set(answer.timings_ms) == stages


def test_citation_is_an_exact_span_with_its_own_page(retriever: Retriever, collection: Collection) -> None:
    (citation,) = Pipeline(retriever, Model("330 metres [1]"), collection).answer("How tall?").citations
    document = collection.document("d")
    assert document.text[citation.start : citation.end] == citation.quote == "It is 330 metres tall."
    assert citation.page == 2


@pytest.mark.parametrize("text", [DECLINE, "", "The documents don't say.", "I don't know.", "Bananas are blue [1]."])
def test_declines(retriever: Retriever, collection: Collection, text: str) -> None:
    answer = Pipeline(retriever, Model(text), collection).answer("How tall?")
    assert answer.abstained
    assert (answer.text, answer.citations) == (DECLINE, ())
    assert answer.hits == retriever.hits


def test_declines_without_asking_the_model_when_nothing_is_found(collection: Collection) -> None:
    model = Model("Never said [1].")
    answer = Pipeline(Retriever(), model, collection).answer("How tall?")
    assert answer.abstained
    assert model.prompts == []


def test_markers_that_name_nothing_are_counted(retriever: Retriever, collection: Collection) -> None:
    answer = Pipeline(retriever, Model("330 metres [1][9]. It opened in 1889 [4]."), collection).answer("How tall?")
    assert answer.dropped_markers == 2
    assert answer.text == "330 metres [1]. It opened in 1889."


def test_deleted_document_does_not_answer(retriever: Retriever, collection: Collection) -> None:
    pipeline = Pipeline(retriever, Model("330 metres [1]"), collection)
    del collection.documents["d"]
    assert pipeline.answer("How tall?").abstained


def test_changed_document_does_not_answer(
    retriever: Retriever, collection: Collection, document: Callable[..., Document]
) -> None:
    collection.documents["d"] = document("The tower fell down in 2030, and nothing of it is left to be seen at all.")
    assert Pipeline(retriever, Model("330 metres [1]"), collection).answer("How tall?").abstained


def test_followup_is_searched_for_and_asked_in_full(retriever: Retriever, collection: Collection) -> None:
    model = Model("330 metres [1]")
    answer = Pipeline(retriever, model, collection).answer(
        "How tall is it?", [("When did the tower open?", "1889 [1]")]
    )
    assert retriever.queries == ["How tall is the tower?"]
    assert model.prompts[0].question == answer.query == "How tall is the tower?"


class Telling(Model):
    """Rewrites and answers, and tells what each took."""

    follows_instructions = True

    def stream(self, prompt: Prompt, max_tokens: int = 512) -> Pieces:
        rewrites = prompt.version == "rewrite-1"
        self.prompts.append(prompt)
        yield "How tall is the tower?" if rewrites else "330 metres [1]"
        return Written(Usage(1, 20, 6), -9.0) if rewrites else Written(Usage(1, 100, 4), -0.25)


def test_an_answer_knows_its_prompt_tokens_and_how_sure_the_model_was(
    retriever: Retriever, collection: Collection
) -> None:
    pipeline = Pipeline(retriever, Telling(), collection)
    answer = pipeline.answer("How tall is it?", [("When did the tower open?", "1889 [1]")])
    assert answer.prompt_version == "answer-1"
    assert answer.usage == Usage(2, 120, 10)  # the rewriting is paid for, too
    assert answer.log_p_token == -0.25
    assert answer.doubt is None
    assert [hit.chunk.document_id for hit in answer.evidence] == ["d"]


def test_a_model_that_tells_nothing_is_not_guessed_at(retriever: Retriever, collection: Collection) -> None:
    answer = Pipeline(retriever, Model("330 metres [1]"), collection).answer("How tall?")
    assert (answer.usage, answer.log_p_token) == (None, None)


def test_a_given_query_is_searched_for_and_asked_and_nothing_is_rewritten(
    retriever: Retriever, collection: Collection
) -> None:
    model = Telling()
    history = [("When did the tower open?", "1889 [1]")]
    answer = Pipeline(retriever, model, collection).answer("And that?", history, query=" How tall is the tower? ")
    assert retriever.queries == [answer.query] == [model.prompts[0].question] == ["How tall is the tower?"]
    with pytest.raises(ConfigError, match="empty"):
        Pipeline(retriever, model, collection).answer("And that?", history, query=" ")


def test_a_doubtful_answer_is_declined_and_its_passages_stay(retriever: Retriever, collection: Collection) -> None:
    def asked(bias: float, above: float) -> Answer:
        settings = PipelineSettings(doubt=DoubtSettings(bias=bias, decline_above=above))
        return Pipeline(retriever, Model("330 metres [1]"), collection, settings).answer("How tall?")

    sure, unsure = asked(-math.log(3), 0.5), asked(math.log(3), 0.5)
    assert (sure.abstained, sure.doubt, len(sure.citations)) == (False, 0.25, 1)
    assert (unsure.abstained, unsure.doubt, unsure.citations, unsure.text) == (True, 0.75, (), DECLINE)
    assert unsure.hits == retriever.hits
    assert not asked(9.0, 1.0).abstained


def test_evidence_is_carried_to_a_followup_and_not_to_another_topic(
    hit: Callable[..., Hit], collection: Collection
) -> None:
    tower, tea = hit(TOWER[10:].strip(), 10), hit("Tea is green.", 0, "tea")
    model = Model("330 metres [1]")
    pipeline = Pipeline(Retriever(tea), model, collection, PipelineSettings(passages=1, carry_evidence=True))
    history = [("When did the tower open?", "1889 [1]")]
    assert pipeline.answer("How tall is it?", history, earlier=[tower]).hits[0].chunk == tower.chunk
    assert pipeline.answer("Who grows tea in Assam?", history, earlier=[tower]).hits[0].chunk == tea.chunk
    plain = Pipeline(Retriever(tea), model, collection, PipelineSettings(passages=1))
    assert plain.answer("How tall is it?", history, earlier=[tower]).hits[0].chunk == tea.chunk


def test_deleted_evidence_is_not_carried(hit: Callable[..., Hit], collection: Collection) -> None:
    tower, tea = hit(TOWER[10:].strip(), 10), hit("Tea is green.", 0, "tea")
    model = Model("green [1]")
    pipeline = Pipeline(Retriever(tea), model, collection, PipelineSettings(passages=2, carry_evidence=True))
    del collection.documents["d"]
    answer = pipeline.answer("How tall is it?", [("When did the tower open?", "1889 [1]")], earlier=[tower])
    assert [h.chunk.id for h in answer.hits] == [h.chunk.id for h in model.prompts[0].hits] == [tea.chunk.id]


def test_a_document_that_the_caller_may_not_read_is_neither_cited_nor_carried(
    hit: Callable[..., Hit], retriever: Retriever, collection: Collection
) -> None:
    collection.hidden.add("d")
    stranger = Access(frozenset({"sport"}))
    pipeline = Pipeline(retriever, Model("330 metres [1]"), collection)
    assert not pipeline.answer("How tall?").abstained
    assert retriever.access is FULL
    assert pipeline.answer("How tall?", access=stranger).abstained  # taken from it between search and answer
    assert retriever.access is stranger
    tower, tea = hit(TOWER[10:].strip(), 10), hit("Tea is green.", 0, "tea")
    model = Model("green [1]")
    pipeline = Pipeline(Retriever(tea), model, collection, PipelineSettings(passages=2, carry_evidence=True))
    before = [("When did the tower open?", "1889 [1]")]
    answer = pipeline.answer("How tall is it?", before, earlier=[tower], access=stranger)
    assert [h.chunk.id for h in answer.hits] == [tea.chunk.id]
    assert len(pipeline.answer("How tall is it?", before, earlier=[tower]).hits) == 2


def test_every_question_leaves_a_trace(retriever: Retriever, collection: Collection) -> None:
    traces: list[Trace] = []
    pipeline = Pipeline(retriever, Model("330 metres [1]"), collection, observe=traces.append)
    answer = pipeline.answer("How tall?")
    (trace,) = traces
    assert [stage.name for stage in trace.stages] == ["rewrite", "search", "select", "prompt", "generate", "cite"]
    assert trace.began_ns <= trace.stages[0].began_ns
    assert all(stage.began_ns <= stage.ended_ns <= trace.ended_ns for stage in trace.stages)
    assert (trace.answer, trace.collection, trace.error) == (answer, "things", "")
    assert abs(trace.began_ns / 1e9 - time.time()) < 60

    failing = Pipeline(retriever, Model("It is ", "never", fails_after=1), collection, observe=traces.append)
    with pytest.raises(ModelError):
        failing.answer("How tall?")
    assert (traces[-1].answer, traces[-1].error, traces[-1].stages[-1].name) == (None, "ModelError", "generate")

    events = pipeline.ask("How tall?")
    next(events)
    events.close()  # type: ignore[attr-defined]
    assert (traces[-1].answer, traces[-1].error) == (None, "")
    assert len(traces) == 3


@pytest.mark.parametrize("question", ["", "  \n ", "x" * 50_000])
def test_question_that_is_none_is_refused(retriever: Retriever, collection: Collection, question: str) -> None:
    with pytest.raises(ConfigError):
        Pipeline(retriever, Model(), collection).answer(question)
    assert retriever.queries == []


def test_empty_collection_says_to_ingest() -> None:
    with pytest.raises(IndexError_) as caught:
        Pipeline(Retriever(), Model(), Collection()).answer("How tall?")
    assert "footnote ingest" in caught.value.remedy


def test_passages_are_there_although_the_model_fails(retriever: Retriever, collection: Collection) -> None:
    events = []
    with pytest.raises(ModelError, match="gone"):
        for event in Pipeline(retriever, Model("It is ", "never", fails_after=1), collection).ask("How tall?"):
            events.append(event)
    assert any(isinstance(e, Found) and e.hits for e in events)
    assert Token("It is ") in events


def test_closing_stops_the_model(retriever: Retriever, collection: Collection) -> None:
    model = Model("one ", "two ", "three")
    events = Pipeline(retriever, model, collection).ask("How tall?")
    while not isinstance(next(events), Token):
        pass
    events.close()  # type: ignore[attr-defined]
    assert model.closed


def test_repeated_passages_are_given_once(hit: Callable[..., Hit], collection: Collection) -> None:
    model = Model("330 metres [1]")
    text = TOWER[10:].strip()
    Pipeline(Retriever(hit(text, 10), hit(text, 10)), model, collection).answer("How tall?")
    assert len(model.prompts[0].hits) == 1


def test_one_line_is_logged_and_the_question_only_in_debug(
    retriever: Retriever, collection: Collection, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline = Pipeline(retriever, Model("330 metres [1]"), collection, PipelineSettings(passages=1))
    with caplog.at_level(logging.INFO, "generator.trace"):
        pipeline.answer("Secret question?")
    (record,) = caplog.records
    assert "Secret" not in record.getMessage()
    assert all(part in record.getMessage() for part in ("id=", "search_ms=", "total_ms=", "hits=1", "citations=1"))
    with caplog.at_level(logging.DEBUG, "generator.trace"):
        pipeline.answer("Secret question?")
    assert "Secret question?" in caplog.text


def test_joined_passages_are_cited_at_exact_offsets(hit: Callable[..., Hit], collection: Collection) -> None:
    first, second = TOWER.index("The tower"), TOWER.index("It is")
    found = Retriever(hit("It is 330 metres tall.", second), hit("The tower opened in 1889.", first))
    model = Model("It is 330 metres tall [1].")
    settings = PipelineSettings(selection=SelectionSettings(join=True))
    answer = Pipeline(found, model, collection, settings).answer("How tall is the tower?")
    (given,) = model.prompts[0].hits
    assert given.chunk.text == TOWER.strip().partition("\n\n")[2]
    assert answer.hits == (given,)
    (citation,) = answer.citations
    assert second <= citation.start < citation.end <= second + len("It is 330 metres tall.")
    assert TOWER[citation.start : citation.end] == citation.quote
    assert citation.chunk_id == given.chunk.id
    assert answer.evidence == (given,)


def test_what_was_found_and_not_given_is_in_the_answer(hit: Callable[..., Hit], collection: Collection) -> None:
    tower, again = hit(TOWER[10:].strip(), 10), hit(TOWER[10:].strip(), 10)
    tea, long = hit("Tea is green.", 0, "tea"), hit("word " * 4000, 0, "e")
    settings = PipelineSettings(passages=2, selection=SelectionSettings(pool=4), max_prompt_tokens=600)
    answer = Pipeline(Retriever(tower, again, tea, long), Model("330 metres [1]"), collection, settings).answer("Tall?")
    assert answer.hits == (tower, tea)
    assert answer.left_out == (LeftOut(again, "repeat"), LeftOut(long, "rank"))
    assert [out["why"] for out in answer.checks()["left_out"]] == ["repeat", "rank"]

    crowded = Pipeline(Retriever(long, tower), Model("330 metres [1]"), collection, settings).answer("Tall?")
    assert LeftOut(tower, "tokens") in crowded.left_out


def test_only_a_model_that_reads_passages_together_gets_them_arranged(hit: Callable[..., Hit]) -> None:
    hits = [hit(text, 0, f"d{n}") for n, text in enumerate(("Tea is green.", "Salt is white.", "Coal is black."))]
    settings = PipelineSettings(selection=SelectionSettings(order="best-at-ends"))
    for together in (True, False):
        model = Model(DECLINE)
        model.follows_instructions = together
        Pipeline(Retriever(*hits), model, Collection(), settings).answer("What is it?")
        assert model.prompts[0].hits == ((hits[0], hits[2], hits[1]) if together else tuple(hits))

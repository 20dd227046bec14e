from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from generator.abstain import DECLINE
from generator.prompt import Prompt, answer_prompt, rewrite_prompt
from indexer.errors import ConfigError
from retriever.hit import Hit

MakeHit = Callable[..., Hit]


def words(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def user(prompt: Prompt) -> str:
    return prompt.messages[-1].content


def test_passages_are_numbered_and_named(hit: MakeHit) -> None:
    first = hit("The tower opened in 1889.", title="Towers")
    first = replace(first, chunk=replace(first.chunk, heading_path=("Paris", "History"), page=3))
    prompt = answer_prompt("When?", [first, hit("Other.", 40)], 2000, words)
    assert 'number="1" title="Towers" section="Paris \u203a History" page="3">\nThe tower opened in 1889.\n</' in user(
        prompt
    )
    assert 'number="2"' in user(prompt)
    assert user(prompt).endswith("Question: When?")
    assert DECLINE in prompt.messages[0].content
    assert prompt.version == "answer-1"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(min_size=1), min_size=1, max_size=4), st.text())
def test_no_passage_can_close_its_fence(hit: MakeHit, texts: list[str], title: str) -> None:
    prompt = answer_prompt("Question", [hit(text, title=title) for text in texts], 100_000, words)
    fence = user(prompt).split("<", 1)[1].split(" ", 1)[0]
    assert user(prompt).count(f"<{fence} ") == len(texts)
    assert user(prompt).count(f"</{fence}>") == len(texts)
    assert user(prompt).count(fence) == 2 * len(texts)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 400), max_size=6), st.integers(0, 900))
def test_prompt_fits_its_budget_and_keeps_the_question(hit: MakeHit, sizes: list[int], budget: int) -> None:
    hits = [hit("word " * size + "end.", n * 5000) for n, size in enumerate(sizes)]
    try:
        prompt = answer_prompt("What is asked here?", hits, budget, words, [("Before?", "So. [1]")])
    except ConfigError:
        assert budget < 300
        return
    assert prompt.token_count <= budget
    assert "What is asked here?" in user(prompt)
    assert [h.chunk.id for h in prompt.hits] == [h.chunk.id for h in hits[: len(prompt.hits)]]


def test_last_passage_is_cut_at_a_sentence_and_stays_a_slice(hit: MakeHit) -> None:
    text = " ".join(f"Sentence number {n} says a thing." for n in range(200))
    fixed = answer_prompt("Q?", [], 10_000, words).token_count
    prompt = answer_prompt("Q?", [hit(text, 70)], fixed + 300, words)
    (kept,) = prompt.hits
    assert kept.chunk.text.endswith("thing.")
    assert 0 < len(kept.chunk.text) < len(text)
    assert text.startswith(kept.chunk.text)
    assert kept.chunk.end - kept.chunk.start == len(kept.chunk.text)


def test_long_question_is_refused_not_cut() -> None:
    with pytest.raises(ConfigError, match="does not fit"):
        answer_prompt("word " * 5000, [], 4000, words)


def test_history_is_short_and_the_first_to_go(hit: MakeHit) -> None:
    history = [("first question?", "x " * 500), ("second question?", "Because. [1]")]
    full = answer_prompt("Third?", [hit("Text.")], 5000, words, history)
    assert "first question?" in user(full)
    assert user(full).count(" x") < 200
    fixed = answer_prompt("Third?", [], 5000, words).token_count
    tight = answer_prompt("Third?", [hit("Text.")], fixed + 20, words, history)
    assert "first question?" not in user(tight)
    assert "Third?" in user(tight)


def test_rewrite_prompt_shows_the_conversation() -> None:
    prompt = rewrite_prompt("And his age?", [("Who?", "Bob [1]")], words)
    assert "Q: Who?" in user(prompt)
    assert user(prompt).endswith("Last question: And his age?")
    assert prompt.hits == ()


def test_passages_are_read_best_at_both_ends_and_the_weakest_still_goes_first(hit: MakeHit) -> None:
    hits = [hit(f"Number {n} {'word ' * 60}.", n * 1000) for n in range(4)]
    prompt = answer_prompt("Q?", hits, 10_000, words, order="best-at-ends")
    assert prompt.hits == (hits[0], hits[2], hits[3], hits[1])
    text = user(prompt)
    assert [text.index(f"Number {n}") for n in (0, 2, 3, 1)] == sorted(text.index(f"Number {n}") for n in range(4))
    fixed = answer_prompt("Q?", [], 10_000, words).token_count
    tight = answer_prompt("Q?", hits, fixed + 215, words, order="best-at-ends")  # room for three
    assert tight.hits == (hits[0], hits[2], hits[1])

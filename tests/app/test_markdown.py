"""Answers and conversations as Markdown: footnotes that a Markdown reader joins, and words that stay words."""

from dataclasses import replace

import pytest

from app.conversations import TurnRecord
from app.markdown import conversation_markdown, with_doubts, with_footnotes, without_doubts
from generator.answer import Answer, Citation, Sentence

QUOTE = "| Depth | *41* m |\nof granite"
CITED = Citation(1, "d:0", "d", "/docs/bore_hole.pdf", 3, 0, len(QUOTE), QUOTE, 1.0)
OTHER = Citation(2, "e:0", "e", "/docs/light.md", None, 0, 4, "Tall", 1.0)
ANSWER = Answer("It is 41 m deep [1][2]. Run `a[1]` or [3].", (CITED, OTHER), (), False, "How deep?")
NOTES = (
    '[^{0}1]: bore\\_hole.pdf, page 3: "\\| Depth \\| \\*41\\* m \\| of granite"\n'  # as Markdown escapes
    '[^{0}2]: light.md: "Tall"'
)


def test_markers_become_footnotes_and_code_stays_code() -> None:
    assert with_footnotes(ANSWER) == f"It is 41 m deep [^1][^2]. Run `a[1]` or [3].\n\n{NOTES.format('')}"


def test_an_answer_without_footnotes_is_its_text() -> None:
    declined = Answer("The documents do not say.", (), (), True, "Why?")
    assert with_footnotes(declined) == "The documents do not say."


def test_footnotes_of_a_conversation_do_not_collide() -> None:
    turns = (
        TurnRecord("a", "How\ndeep *is* it?", done=True, answer=ANSWER),
        TurnRecord("b", "And now?", done=True, failure=("The server is gone.", "")),
        TurnRecord("c", "How deep?", done=True, answer=ANSWER),
    )
    first, third = NOTES.format("1-"), NOTES.format("3-")
    assert conversation_markdown("The <bore>", turns) == (
        "# The \\<bore\\>\n\n"
        "## How deep \\*is\\* it?\n\n*Searched for: How deep?*\n\n"
        f"It is 41 m deep [^1-1][^1-2]. Run `a[1]` or [3].\n\n{first}\n\n"
        "## And now?\n\n*No answer was written.*\n\n"
        f"## How deep?\n\nIt is 41 m deep [^3-1][^3-2]. Run `a[1]` or [3].\n\n{third}\n"
    )


def test_a_filter_is_told_and_makes_no_markup() -> None:
    turn = TurnRecord("1", "How high?", done=True, filters=("type=pdf", "title=*plan*"))
    told = conversation_markdown("Light", [turn])
    assert r"*Only documents with type=pdf; title=\*plan\**" in told


def doubted(text: str, *sentences: str) -> Answer:
    """An answer of which no passage bears out these sentences."""
    found = (Sentence(each, text.index(each), text.index(each) + len(each), 0.0, False, ()) for each in sentences)
    return Answer(text, (CITED,), (), False, "How deep?", sentences=tuple(found))


def test_an_unsupported_sentence_has_a_sign_that_is_explained_in_every_answer_of_a_conversation() -> None:
    answer = doubted("It is 41 m deep [1]. Whales sing.", "Whales sing.")
    note = NOTES.format("").split("\n")[0]
    told = f"It is 41 m deep [^1]. Whales sing. [?]\n\n[?] No passage found says so.\n\n{note}"
    assert with_footnotes(answer) == told
    assert with_footnotes(replace(answer, citations=())).startswith("It is 41 m deep [1]. Whales sing. [?]\n\n[?] No")
    turns = [TurnRecord(name, "Deep?", done=True, answer=answer) for name in "ab"]
    whole = conversation_markdown("Bore", turns)
    assert (whole.count("Whales sing. [?]"), whole.count("[?] No passage found says so.")) == (2, 2)


@pytest.mark.parametrize(
    ("text", "unsupported", "signed"),
    [
        ("One. Two. Three.", ["One.", "Three."], "One. [?] Two. Three. [?]"),
        ("One. [1] Two.", ["One."], "One. [1] [?] Two."),
        ("- One\n- Two", ["- One"], "- One [?]\n- Two"),
        ("| a | b |\n| c |", ["| a | b |"], "| a | b [?] |\n| c |"),  # GFM 4.10: cells in excess are ignored
        ("|a|b|", ["|a|b|"], "|a|b [?] |"),
        ("Do:\n```\na\nb\n```\nEnd.", ["a\nb", "End."], "Do:\n```\na\nb\n```\n\n[?]\nEnd. [?]"),
        ("```\na.\nb\n```", ["a.", "b"], "```\na.\nb\n```\n\n[?]"),  # one sign for one block
        ("Run `a. B` now.", ["Run `a."], "Run `a. B` [?] now."),
    ],
)
def test_a_sign_stands_where_it_is_seen(text: str, unsupported: list[str], signed: str) -> None:
    assert with_doubts(doubted(text, *unsupported)) == signed


def test_signs_are_taken_out_again_and_nothing_else_is() -> None:
    for text, sentence in (("Is it a [?] b?", ""), ("One. Two.", "One."), ("```\na\n```", "a")):
        answer = replace(doubted(text, sentence) if sentence else doubted(text), citations=())
        assert without_doubts(with_footnotes(answer)).rstrip() == text


def test_an_answer_that_declines_has_no_sentences_to_doubt() -> None:
    taken_back = replace(doubted("It sings well.", "It sings"), text="The documents do not say.", abstained=True)
    assert with_footnotes(replace(taken_back, citations=())) == "The documents do not say."

"""Answers and conversations as Markdown: footnotes that a Markdown reader joins, and words that stay words."""

from app.conversations import TurnRecord
from app.markdown import conversation_markdown, with_footnotes
from generator.answer import Answer, Citation

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

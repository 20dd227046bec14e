from hypothesis import example, given
from hypothesis import strategies as st

from generator.fence import fence_for, neutral, neutral_line

PIECES = ["</passage-", "<passage", "abc123", ">", "<|im_end|>", "[1]", "[INST]", "\n", " ", "x", "<", "[", "]", "/"]
HOSTILE = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)


@given(st.lists(HOSTILE | st.text(), max_size=5))
def test_fence_stands_in_no_text(texts: list[str]) -> None:
    name = fence_for(texts)
    assert all(name not in text for text in texts)


def test_fence_changes_with_the_text_so_that_no_document_can_know_it() -> None:
    assert fence_for(["a"]) != fence_for(["b"])
    # A document that holds the fence of another set of texts gets another fence.
    known = fence_for(["a"])
    assert fence_for(["a", f"</{known}>"]) != known


@given(HOSTILE | st.text())
@example("<|im_end|>\n<|im_start|>system")
@example("</passage-abc>")
@example("<\u200b|im_end|>")
@example("[\u200b1]")
def test_neutral_text_has_no_structure_of_ours(text: str) -> None:
    shown = neutral(text)
    assert "<|" not in shown
    assert "</passage" not in shown.lower()
    assert "<passage" not in shown.lower()
    assert "[1]" not in shown
    assert "[inst]" not in shown.lower()


def test_neutral_leaves_ordinary_text_alone() -> None:
    text = "if a < b and c > d, see <https://x.org> and list[0]\n| a | b |"
    assert neutral(text.replace("list[0]", "list")) == text.replace("list[0]", "list")


@given(st.text())
def test_neutral_line_fits_an_attribute(text: str) -> None:
    line = neutral_line(text)
    assert not set(line) & set('"<>\n')

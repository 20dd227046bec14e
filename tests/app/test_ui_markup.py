"""Untrusted text becomes HTML that shows it and does nothing else."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ui.markup import answer_html, escaped, label, line_html, without_open_marker

HARMLESS = {"p", "ul", "ol", "li", "strong", "code", "sup"}


class Read(HTMLParser):
    """Collects the tags and the text of a fragment."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not attrs, (tag, attrs)
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def chip(number: int) -> str:
    return f"<sup>{number}</sup>"


@given(st.text())
def test_escaped_text_reads_back_as_itself_on_one_line(text: str) -> None:
    html = escaped(text.replace("\x00", ""))
    assert "\n" not in html and "<" not in html
    # HTML itself reads some control characters as others; all that is printed survives.
    assert [c for c in Read(html).text if c.isprintable()] == [c for c in text if c.isprintable()]


@given(st.text(alphabet="<>&\"'/![]()*`-1.\n aimgscriptonerror=:", max_size=80))
def test_no_answer_makes_a_tag_of_its_own(text: str) -> None:
    assert Read(answer_html(text, chip)).tags <= HARMLESS


@pytest.mark.parametrize(
    "text",
    [
        "<img src=x onerror=alert(1)>",
        "<script>alert(1)</script>",
        "![look](https://evil.example/pixel.png)",
        "[click](javascript:alert(1))",
        "**<b onclick=x>bold</b>**",
        "`<i>`",
    ],
)
def test_attacks_stay_the_characters_they_are(text: str) -> None:
    read = Read(answer_html(text, chip))
    assert read.tags <= HARMLESS
    assert read.text == text.replace("**", "").replace("`", "")


def test_paragraphs_lists_bold_and_chips() -> None:
    text = "It is **41 metres** high [1].\n\n- one [2, 3]\n- two\n\n1. first\n2) second"
    assert answer_html(text, chip) == (
        "<p>It is <strong>41 metres</strong> high<sup>1</sup>.</p>"
        "<ul><li>one<sup>2</sup><sup>3</sup></li><li>two</li></ul>"
        "<ol><li>first</li><li>second</li></ol>"
    )


def test_code_is_shown_as_it_is() -> None:
    text = "Run this [1]:\n\n```python\nx = row[1]\n\n<b>**y**</b>\n```\nDone."
    assert answer_html(text, chip) == (
        "<p>Run this<sup>1</sup>:</p><pre><code>x = row[1]&#10;&#10;&lt;b&gt;**y**&lt;/b&gt;</code></pre><p>Done.</p>"
    )


@pytest.mark.parametrize(
    ("text", "doubted", "words"),
    [
        ("It is red. It is tall [1].", "It is red.", "It is red."),
        ("It is tall [1]. It is red.", "It is red.", "It is red."),
        ("It is red. [1] It is tall.", "It is red.", "It is red.1"),
        ("- It is tall\n- It is red", "- It is red", "It is red"),
        ("1. It is red\n2. It is tall", "1. It is red", "It is red"),
        ("It **is. Very** red.", "It **is.", "It is."),
        ("One\n\nIt is\nred.\n\nTwo", "It is\nred.", "It isred."),
        ("`It is. Very` red.", "`It is.", "It is."),
    ],
)
def test_a_doubted_sentence_is_set_off_and_called_so(text: str, doubted: str, words: str) -> None:
    start = text.index(doubted)
    html = answer_html(text, chip, [(start, start + len(doubted))])
    set_off = re.findall(r'<span class="fn-unsupported">([^<]*)</span>', html)
    assert "".join(set_off).split() == words.split()
    assert html.count("no source found") == 1
    assert html.index(set_off[-1] + "</span>") < html.index('<span class="fn-doubt"')
    tags = re.findall(r"<(/?)(\w+)[^>]*>", html)
    opened: list[str] = []
    for closes, tag in tags:  # none crosses another
        if closes:
            assert opened.pop() == tag
        else:
            opened.append(tag)
    assert not opened


def test_a_doubted_block_of_code_is_called_so() -> None:
    text = "```\nx = 1\n```"
    assert answer_html(text, chip, [(0, len(text))]).startswith("<pre><code>x = 1</code></pre><p><span")


@given(st.text(alphabet="ab.\n-*`[1] \ue000\ue001", max_size=60), st.lists(st.integers(0, 60), max_size=6))
def test_doubts_never_change_the_words(text: str, cuts: list[int]) -> None:
    ends = sorted({min(cut, len(text)) for cut in cuts})
    doubts = [(low, high) for low, high in zip(ends[::2], ends[1::2], strict=False) if low < high]
    html = answer_html(text, chip, doubts)
    without = re.sub(r'<span class="fn-unsupported">|<span class="fn-doubt"[^>]*>[^<]*</span>|</span>', "", html)
    assert "\ue000" not in html and "\ue001" not in html
    assert [c for c in Read(without).text if c.isalnum()] == [
        c for c in Read(answer_html(text, chip)).text if c.isalnum()
    ]


def test_a_chip_inside_bold_is_a_chip() -> None:
    assert answer_html("**high [1]**", chip) == "<p><strong>high<sup>1</sup></strong></p>"


def test_a_list_right_after_a_line_of_text() -> None:
    assert answer_html("There are:\n* a\n* b\nThat is all.", chip) == (
        "<p>There are:</p><ul><li>a</li><li>b</li></ul><p>That is all.</p>"
    )


@pytest.mark.parametrize(
    ("arrived", "shown"),
    [
        ("It is high [", "It is high"),
        ("It is high [1", "It is high"),
        ("It is high [1, 2", "It is high"),
        ("It is high [1]", "It is high [1]"),
        ("an array [x", "an array [x"),
    ],
)
def test_half_a_marker_waits_for_its_other_half(arrived: str, shown: str) -> None:
    assert without_open_marker(arrived) == shown


def test_our_own_lines_set_code_as_code() -> None:
    assert line_html("Run `footnote ui` <now> [1].") == "Run <code>footnote ui</code> &lt;now&gt; [1]."


def test_labels_keep_markdown_signs_as_signs() -> None:
    assert label("a_b*c :red[d] $x$") == r"a\_b\*c \:red\[d\] \$x\$"

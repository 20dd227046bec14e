import pytest

from indexer.errors import DocumentError
from indexer.loaders.html import read_html
from indexer.loaders.markup import fenced, pipe_table


def text_of(html: str) -> str:
    return read_html(html.encode()).parts[0]


@pytest.mark.parametrize(
    ("html", "text"),
    [
        (
            "<h1>Tides</h1><p>High  at\n noon.</p><h3>Neap</h3><p>Low.</p>",
            "# Tides\n\nHigh at noon.\n\n### Neap\n\nLow.",
        ),
        ("<p>a<b>b</b> <i>c</i>d</p>", "ab cd"),
        ("<p>one<br>two</p>", "one\ntwo"),
        ("<p>5 &lt; 6 &amp; 7&nbsp;m</p>", "5 < 6 & 7 m"),
        ("<ul><li>a<li>b<ul><li>c</ul></ul><ol><li>x<li>y</ol>", "- a\n- b\n  - c\n1. x\n2. y"),
        ("<pre>def f():\n    return 1</pre>", "```\ndef f():\n    return 1\n```"),
        ("<pre>a <b>b</b>\n```\n</pre>", "````\na b\n```\n````"),
        ("before<script>no()</script> after<!-- no -->", "before after"),
        ("<nav>menu</nav><p>x</p><div role=navigation>menu</div>", "x"),
        ("<p hidden>no</p><p style='color:red; display : NONE'>no</p><p aria-hidden=true>no</p>yes", "yes"),
        ("<template><p>no</p></template><style>p{}</style><p>yes</p>tail", "yes\n\ntail"),
        ("<p># not a heading</p><h2># one</h2>", "\\# not a heading\n\n## # one"),
        ("<p>10<sup>5</sup> m, note<sup>a</sup></p>", "10^5 m, notea"),
        ("<dl><dt>Ebb</dt><dd>Falling water</dd></dl>", "Ebb\n\nFalling water"),
        ("just words", "just words"),
        ("<h2></h2><p> </p>x", "x"),
    ],
)
def test_html_to_text(html: str, text: str) -> None:
    assert text_of(html) == text


def test_a_table_with_spans_and_caption() -> None:
    html = """<table><caption>Piers</caption><thead><tr><th>Pier<th>Size<th>Year</thead>
      <tr><td rowspan=2>North|East<td>120 <b>m</b><td>1901</tr><tr><td>130 m<td>1950</tr>
      <tr><td colspan=2>South<td>1911</tr></table>after"""
    assert text_of(html) == (
        "Piers\n\n| Pier | Size | Year |\n| --- | --- | --- |\n| North\\|East | 120 m | 1901 |\n"
        "| North\\|East | 130 m | 1950 |\n| South |  | 1911 |\n\nafter"
    )


def test_layout_tables_are_read_as_paragraphs() -> None:
    html = "<table><tr><td><h1>Tides</h1><p>rise</td><td><table><tr><td>a<td>b<tr><td>1<td>2</table></td></tr></table>"
    assert text_of(html) == "# Tides\n\nrise\n\n| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_title_and_named_meta() -> None:
    extract = read_html(b"<title> The\n Log </title><meta name=Author content=Ann><h1>Head</h1>x")
    assert extract.title == "The Log"
    assert extract.metadata == (("encoding", "utf-8"), ("author", "Ann"))
    assert read_html(b"<p>x<h2>Head</h2>y").title == "Head"


def test_the_declared_encoding_is_believed_where_it_fits() -> None:
    page = '<meta charset="{}"><p>Ветер усилился</p>'
    assert read_html(page.format("windows-1251").encode("cp1251")).parts[0] == "Ветер усилился"
    assert read_html(page.format("windows-1251").encode("utf-8-sig")).parts[0] == "Ветер усилился"
    for wrong in ("utf-16", "punycode", "nonsense", "ascii", "base64"):
        assert read_html(page.format(wrong).encode()).parts[0] == "Ветер усилился"


def test_deep_nesting_keeps_the_words_or_is_refused() -> None:
    assert text_of("<div>" * 2000 + "word" + "</div>" * 2000) == "word"
    assert text_of("<ul><li>" * 900 + "word").endswith("- word")
    assert text_of("<table><tr><td>" * 500 + "word") == "word"
    for tag in ("<div>", "<ul><li>", "<table><tr><td>"):
        with pytest.raises(DocumentError, match="deep"):
            text_of(tag * 20_000 + "word")


def test_a_span_cannot_blow_up_a_table() -> None:
    html = "<table>" + f"<tr><td rowspan=65534 colspan=1000>{'x' * 1000}<td>y</tr>" * 200 + "</table>"
    assert len(text_of(html)) < 2_000_000
    staircase = "<table>" + "<tr><td rowspan=9999>a<td rowspan=9999>b" * 2000 + "</table>"
    assert len(text_of(staircase)) < 2_000_000


def test_money_signs_join_their_figures() -> None:
    rows = [
        ["", "2021", "", "", "2020", "", ""],
        ["Cash", "$", "16", "", "$", "5", ""],
        ["Loss", "(", "3", ")", "", "4", "%"],
    ]
    assert pipe_table(rows) == "|  | 2021 | 2020 |\n| --- | --- | --- |\n| Cash | $16 | $5 |\n| Loss | (3) | 4% |"


def test_a_column_of_words_is_not_joined() -> None:
    assert pipe_table([["a", "b"], ["$", "x"], ["y", ")"]]) == "| a | b |\n| --- | --- |\n| $ | x |\n| y | ) |"


def test_one_row_or_one_column_is_no_table() -> None:
    assert pipe_table([["a", "", "b"]]) == "a\n\nb"
    assert pipe_table([["a", ""], ["b", ""]]) == "a\n\nb"
    assert pipe_table([["", ""], []]) == ""


def test_a_fence_is_longer_than_any_inside() -> None:
    assert fenced("a ```` b") == "`````\na ```` b\n`````"

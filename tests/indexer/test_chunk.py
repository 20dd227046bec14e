import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.chunk import ChunkSettings, chunk
from indexer.document import Chunk, Document
from indexer.errors import ConfigError
from indexer.sections import split_sections

MODELS = Path(__file__).parents[2] / ".footnote" / "models"
MARKDOWN, PLAIN, CSV = "text/markdown", "text/plain", "text/csv"


def words(texts: Sequence[str]) -> list[int]:
    """A token is a word or a sign."""
    return [len(re.findall(r"\w+|[^\w\s]", text)) for text in texts]


def characters(texts: Sequence[str]) -> list[int]:
    """Every byte is a token: spaces count, and one character can be several."""
    return [len(text.encode("utf-8", "surrogatepass")) for text in texts]


def document(text: str, media_type: str = MARKDOWN, pages: tuple[int, ...] = ()) -> Document:
    return Document("doc", "/doc", "Doc", media_type, "0" * 64, text, pages)


def cut(text: str, max_tokens: int, overlap: int = 0, media_type: str = MARKDOWN) -> tuple[Chunk, ...]:
    return chunk(document(text, media_type), words, ChunkSettings(max_tokens, overlap))


def texts(chunks: Sequence[Chunk]) -> list[str]:
    return [each.text for each in chunks]


class TestSections:
    def test_paths_follow_the_levels(self) -> None:
        text = f"{'intro ' * 20}\n\n# A\n\none\n\n## B\n\ntwo\n\n### C\n\nthree\n\n## D\n\nfour\n\n# E\n\nfive\n"
        sections = split_sections(text)
        assert [section.path for section in sections] == [(), ("A",), ("A", "B"), ("A", "B", "C"), ("A", "D"), ("E",)]
        assert "".join(text[section.start : section.end] for section in sections) == text
        assert text[sections[2].body : sections[2].end] == "\ntwo\n\n"

    def test_a_heading_without_words_opens_the_section_below(self) -> None:
        sections = split_sections("# A\n\n## B\n\ntext\n")
        assert [(section.start, section.path) for section in sections] == [(0, ("A", "B"))]

    def test_a_line_above_the_first_heading_belongs_to_it(self) -> None:
        sections = split_sections("Skip to content\n\n# A\n\ntext\n")
        assert [(section.start, section.body, section.path) for section in sections] == [(0, 21, ("A",))]

    def test_an_empty_section_does_not_join_its_sibling(self) -> None:
        assert [section.path for section in split_sections("## A\n## B\ntext")] == [("A",), ("B",)]

    @pytest.mark.parametrize(
        "text",
        [
            "```\n# not a heading\n```\n",
            "~~~~ python\n# no\n```\n# no\n~~~\n# no\n~~~~\n",
            "```\n# an open fence runs to the end",
            "    # indented code",
            "#hashtag",
            "####### seven",
            "| a |\n| --- |\n",
            "- item\n---\n",
            "two lines\nof text\n---\n",
        ],
    )
    def test_no_heading(self, text: str) -> None:
        assert [section.path for section in split_sections(text)] == [()]

    @pytest.mark.parametrize(
        ("text", "path"),
        [
            ("## Closed ##\nx", ("Closed",)),
            ("# The **bold** [link](http://x.y) and `code`\nx", ("The bold link and code",)),
            ("Title\n=====\nx", ("Title",)),
            ("a\n\nTitle\n---\nx", ("Title",)),
            ("```inline``` fence\n# Yes\nx", ("Yes",)),
            ("```\ncode\n```\n# After\nx", ("After",)),
        ],
    )
    def test_heading_words(self, text: str, path: tuple[str, ...]) -> None:
        assert split_sections(text)[-1].path == path

    @given(st.lists(st.sampled_from(["# a", "## b", "```", "text", "", "===", "---", "  # c", "~~~"]), max_size=20))
    def test_sections_cover_the_text(self, lines: list[str]) -> None:
        text = "\n".join(lines)
        sections = split_sections(text)
        assert "".join(text[section.start : section.end] for section in sections) == text
        assert all(section.start <= section.body <= section.end for section in sections)


class TestChunks:
    def test_a_short_document_is_one_chunk(self) -> None:
        (only,) = cut("# Tides\n\nHigh at noon.\n", 50)
        assert only == Chunk("doc:0", "doc", "# Tides\n\nHigh at noon.", 0, 22, ("Tides",), None)

    def test_paragraphs_stay_whole(self) -> None:
        text = "One two three four.\n\nFive six seven eight.\n\nNine ten eleven twelve."
        assert texts(cut(text, 10, media_type=PLAIN)) == [
            "One two three four.\n\nFive six seven eight.",
            "Nine ten eleven twelve.",
        ]

    def test_a_long_paragraph_is_cut_between_sentences_also_across_its_lines(self) -> None:
        text = "The sea is\nwide. The ship is\nsmall! Is the crew\nbrave? Yes it is."
        assert texts(cut(text, 6, media_type=PLAIN)) == [
            "The sea is\nwide.",
            "The ship is\nsmall!",
            "Is the crew\nbrave?",
            "Yes it is.",
        ]

    def test_the_heading_stays_with_the_first_words_of_a_long_section(self) -> None:
        chunks = cut("# Log\n\n" + "The wind blew hard. " * 10, 12)
        assert chunks[0].text == "# Log\n\nThe wind blew hard. The wind blew hard."
        assert {each.heading_path for each in chunks} == {("Log",)}

    def test_a_chunk_does_not_cross_a_heading(self) -> None:
        body = "word " * 20
        assert [each.heading_path for each in cut(f"# A\n\n{body}\n\n# B\n\n{body}", 40)] == [("A",), ("B",)]

    def test_small_sections_under_one_parent_come_together(self) -> None:
        text = "# Glossary\n\nTerms of the sea and of the ships that sail on it.\n\n" + "".join(
            f"## Term {letter}\n\nMeaning.\n\n" for letter in "abc"
        )
        chunks = cut(text, 60)
        assert [each.heading_path for each in chunks] == [("Glossary",), ("Glossary",)]
        assert chunks[1].text.count("## Term") == 3

    def test_tables_are_cut_between_rows(self) -> None:
        text = "| a | b |\n| - | - |\n" + "".join(f"| {n} | x. y |\n" for n in range(9))
        for each in cut(text, 24):
            assert each.text.startswith("|")
            assert each.text.endswith("|")

    def test_rows_of_a_csv_stay_whole(self) -> None:
        text = "\n".join(f"Name: Mr. A. {n}; Note: fine. Really" for n in range(6))
        assert all(each.text.startswith("Name") for each in cut(text, 30, media_type=CSV))

    def test_a_hash_in_plain_text_is_no_heading(self) -> None:
        assert cut("# not one\n\ntext", 50, media_type=PLAIN)[0].heading_path == ()

    def test_overlap_repeats_whole_sentences_within_a_section(self) -> None:
        body = "Alpha one. Beta one. Gamma one. Delta one. Epsilon one."
        chunks = cut(f"# A\n\n{body}\n\n# B\n\n{body}", 11, 3)
        assert texts(chunks) == [
            "# A\n\nAlpha one. Beta one.",
            "Beta one. Gamma one. Delta one.",
            "Delta one. Epsilon one.",
            "# B\n\nAlpha one. Beta one.",
            "Beta one. Gamma one. Delta one.",
            "Delta one. Epsilon one.",
        ]

    def test_pages_come_from_the_first_character(self) -> None:
        text = "One two three.\n\nFour five six."
        paged = document(text, "application/pdf", (0, 16))
        assert [each.page for each in chunk(paged, words, ChunkSettings(4))] == [1, 2]

    def test_a_hundred_thousand_characters_without_a_space(self) -> None:
        chunks = chunk(document("x" * 100_000), characters, ChunkSettings(256))
        assert "".join(texts(chunks)) == "x" * 100_000
        assert max(map(len, texts(chunks))) == 256

    def test_a_hundred_thousand_spaces_between_two_words(self) -> None:
        chunks = chunk(document(f"a{' ' * 100_000}b"), characters, ChunkSettings(256))
        assert texts(chunks) == ["a", "b"]

    def test_nothing_but_whitespace_gives_no_chunk(self) -> None:
        assert cut(" \n\n ", 10) == ()
        assert cut("", 10) == ()

    def test_a_character_over_the_limit_stands_alone(self) -> None:
        assert texts(chunk(document("a😀b"), characters, ChunkSettings(2))) == ["a", "😀", "b"]

    def test_a_count_that_surprises_is_split_again(self) -> None:
        def surprising(pieces: Sequence[str]) -> list[int]:
            """Words cost one token each alone and three each in company, as no sum over words foresees."""
            counts = words(pieces)
            return [count if count < 2 else 3 * count for count in counts]

        chunks = chunk(document("one two three four five six seven eight nine ten " * 5), surprising, ChunkSettings(12))
        assert max(surprising(texts(chunks))) <= 12
        assert " ".join(texts(chunks)).split() == ("one two three four five six seven eight nine ten " * 5).split()

    @pytest.mark.parametrize(("max_tokens", "overlap"), [(0, 0), (-1, 0), (10, -1), (10, 6)])
    def test_settings_that_make_no_sense(self, max_tokens: int, overlap: int) -> None:
        with pytest.raises(ConfigError):
            ChunkSettings(max_tokens, overlap)


MARKUP = ["# Title", "## Part", "### Sub section", "Title\n===", "```", "~~~", "| a | b |\n| --- | --- |\n| 1 | 2 |"]
SPACES = ["\r\n", "\n\n", "\n", " ", "\t", "\u2003"]
PROSE = ["- item one\n- item two", "Sentence one. Sentence two! Three? Four; five, six.", "word", "Name: a; Age: 3"]
SCRIPTS = ["日本語の文章。次の文。", "مرحبا بالعالم", "👩\u200d🔬🇫🇷", "e\u0301", "x" * 70]
PIECES = st.sampled_from(MARKUP + SPACES + PROSE + SCRIPTS)
TEXTS = st.lists(PIECES | st.text(max_size=20), max_size=25).map(" ".join) | st.lists(PIECES, max_size=25).map(
    "\n".join
)


@settings(max_examples=300, deadline=None)
@given(
    TEXTS,
    st.sampled_from([MARKDOWN, PLAIN, CSV]),
    st.sampled_from([1, 3, 8, 40]),
    st.sampled_from([words, characters]),
)
def test_chunks_partition_the_text(text: str, media_type: str, max_tokens: int, count: object) -> None:
    assert callable(count)
    chunks = chunk(document(text, media_type), count, ChunkSettings(max_tokens))
    covered = [0] * len(text)
    for ordinal, each in enumerate(chunks):
        assert text[each.start : each.end] == each.text
        assert each.text == each.text.strip()
        assert each.text
        assert each.id == f"doc:{ordinal}"
        assert count([each.text])[0] <= max_tokens or len(each.text) == 1
        for place in range(each.start, each.end):
            covered[place] += 1
    assert [each.start for each in chunks] == sorted(each.start for each in chunks)
    assert all(times == 1 or (times == 0 and char.isspace()) for times, char in zip(covered, text, strict=True))


@settings(max_examples=150, deadline=None)
@given(TEXTS, st.sampled_from([6, 20, 40]), st.integers(1, 3))
def test_overlapping_chunks_are_slices_that_cover_the_text(text: str, max_tokens: int, overlap: int) -> None:
    chunks = cut(text, max_tokens, overlap)
    covered = [False] * len(text)
    for each in chunks:
        assert text[each.start : each.end] == each.text
        assert words([each.text])[0] <= max_tokens
        covered[each.start : each.end] = [True] * len(each.text)
    starts, ends = [each.start for each in chunks], [each.end for each in chunks]
    assert starts == sorted(starts)
    assert ends == sorted(set(ends))
    assert all(done or char.isspace() for done, char in zip(covered, text, strict=True))


@pytest.mark.model
def test_the_real_tokenizer_keeps_the_limit(tmp_path_factory: pytest.TempPathFactory) -> None:
    from indexer.llm2vec.tokens import load_token_counter
    from indexer.llm2vec.weights import base_model_dir

    count = load_token_counter(base_model_dir(MODELS))
    text = "# Log\n\n" + "“Wind,” she wrote — hard… from 12.5° N!\nThe café's 日本語 sign fell.  " * 200 + "0x1f" * 5000
    chunks = chunk(document(text), count, ChunkSettings(128))
    assert max(count(texts(chunks))) <= 128
    assert "".join("".join(texts(chunks)).split()) == "".join(text.split())

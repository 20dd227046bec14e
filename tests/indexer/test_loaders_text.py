"""Plain text, Markdown, CSV and the decoding beneath them."""

import pytest

from indexer.loaders.decode import decode
from indexer.loaders.delimited import read_delimited
from indexer.loaders.text import read_markdown, split_front_matter

SENTENCE = "Der Kapitän sagte: „Größe zählt nicht.“ Élan, naïveté, déjà vu — fünf Möwen. "
RUSSIAN = (  # Chekhov
    "Говорили, что на набережной появилось новое лицо: дама с собачкой. Дмитрий Дмитрич Гуров, "  # noqa: RUF001
    "проживший в Ялте уже две недели и привыкший тут, тоже стал интересоваться новыми лицами."
)
JAPANESE = (  # Sōseki
    "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。何でも薄暗いじめじめした所で"
    "ニャーニャー泣いていた事だけは記憶している。吾輩はここで始めて人間というものを見た。"
)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (SENTENCE, "utf-8"),
        (SENTENCE, "utf-8-sig"),
        (SENTENCE, "utf-16"),
        (SENTENCE, "utf-32"),
        (SENTENCE, "utf-16-le"),
        (SENTENCE, "utf-16-be"),
        (SENTENCE, "cp1252"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8-r"),
        (JAPANESE, "shift_jis"),
    ],
)
def test_decode(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding))[0] == text


def test_a_few_accents_are_read_as_western() -> None:
    assert decode("Caf\xe9 \x93Roma\x94 \x96 50 \x80".encode("latin-1")) == ("Café “Roma” – 50 €", "cp1252")  # noqa: RUF001


def test_a_sample_cut_inside_a_character_is_still_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for sample_bytes in (101, 102):
        monkeypatch.setattr("indexer.loaders.decode._SAMPLE_BYTES", sample_bytes)
        assert decode(JAPANESE.encode("shift_jis")) == (JAPANESE, "cp932")


def test_bytes_of_no_encoding_are_replaced() -> None:
    assert decode(b"\xff\xfea")[0] == "\ufffd"


@pytest.mark.parametrize(
    ("text", "pairs", "rest"),
    [
        ('---\ntitle: "Tides"\ndate: 1901\n---\n\n# A', (("title", "Tides"), ("date", "1901")), "# A"),
        ("+++\ntitle = 'Tides'\n+++\ntext", (("title", "Tides"),), "text"),
        ("---\nno pairs here\n---\ntext", (), "---\nno pairs here\n---\ntext"),
        ("---\ntitle: never closed", (), "---\ntitle: never closed"),
        ("text\n---\ntitle: x\n---", (), "text\n---\ntitle: x\n---"),
    ],
)
def test_front_matter(text: str, pairs: tuple[tuple[str, str], ...], rest: str) -> None:
    assert split_front_matter(text) == (pairs, rest)


def test_markdown_title_from_front_matter_or_heading() -> None:
    assert read_markdown(b"---\ntitle: Front\nauthor: A\n---\n# Head").title == "Front"
    assert read_markdown(b"---\ntitle: Front\nauthor: A\n---\n# Head").metadata == (
        ("encoding", "utf-8"),
        ("author", "A"),
    )
    assert read_markdown(b"intro\n\n## Head ##\n").title == "Head"
    assert read_markdown(b"no heading").title == ""


def rows(text: str) -> list[str]:
    return read_delimited(text.encode()).parts[0].split("\n")


class TestDelimited:
    @pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
    def test_one_line_a_row(self, delimiter: str) -> None:
        text = "Pier,Length,Built\nNorth,120 m,1901\nSouth,95 m,\n".replace(",", delimiter)
        assert rows(text) == [
            "Columns: Pier; Length; Built",
            "Pier: North; Length: 120 m; Built: 1901",
            "Pier: South; Length: 95 m",
        ]

    def test_quotes_hold_delimiters_and_line_breaks(self) -> None:
        assert rows('Name,Note\n"Gull, Ann","says ""hi""\r\ntwice"\n')[1] == 'Name: Gull, Ann; Note: says "hi" twice'

    def test_no_cell_of_an_odd_row_is_lost(self) -> None:
        assert rows("a,b\n1,2,3,4\n5\n") == ["Columns: a; b", "a: 1; b: 2; Column 3: 3; Column 4: 4", "a: 5"]

    def test_rows_of_numbers_have_no_header(self) -> None:
        assert rows("1,2\n3,4\n") == ["1; 2", "3; 4"]

    def test_years_above_values_are_a_header(self) -> None:
        assert rows("Port,2019,2020,2021\nOslo,5,6,7\n")[1] == "Port: Oslo; 2019: 5; 2020: 6; 2021: 7"

    def test_lines_above_the_header_stay(self) -> None:
        assert rows("Fleet of 1901,\n,\nShip,Crew\nGull,12\n") == [
            "Fleet of 1901",
            "Columns: Ship; Crew",
            "Ship: Gull; Crew: 12",
        ]

    def test_a_single_column_and_a_single_row(self) -> None:
        assert rows("Names\nGull\nTern\n") == ["Columns: Names", "Names: Gull", "Names: Tern"]
        assert rows("Gull,Tern\n") == ["Gull; Tern"]

    def test_a_very_long_cell_is_read(self) -> None:
        assert "x" * 500_000 in rows(f"a,b\n{'x' * 500_000},1\n")[1]

    def test_an_open_quote_loses_nothing(self) -> None:
        joined = " ".join(rows('a,b\n1,"2\n3,4\n5,6\n'))
        assert all(digit in joined for digit in "123456")

import pytest

from indexer.loaders.dates import iso_day


@pytest.mark.parametrize(
    ("said", "day"),
    [
        ("2024", "2024"),
        ("2024-03", "2024-03"),
        (" 2024-03-31T10:00:00Z ", "2024-03-31"),
        ("20240331", "2024-03-31"),
        ("D:20240331120000+01'00'", "2024-03-31"),
        ("Mon, 20 Nov 1995 19:12:08 -0500", "1995-11-20"),
        ("2024-13-45", "2024-13-45"),
        ("spring of 1901", "spring of 1901"),
        ("", ""),
    ],
)
def test_a_day_is_written_as_iso_8601_or_left_as_it_is(said: str, day: str) -> None:
    assert iso_day(said) == day

"""Filters: which documents a search may find, by source, type, date, metadata or id.

    source=reports/*.pdf   type=pdf   date>=2024-03   added<2026-01-01   title=*plan*   meta.author=ada*   id=3f2a...

Conditions on one field with = are alternatives; everything else must hold together. A document that lacks a field holds
no condition on it but !=.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

from indexer.errors import ConfigError
from indexer.formats import BY_SUFFIX

Sign = Literal["=", "!=", "<", "<=", ">", ">="]
FIELDS = ("source", "type", "title", "date", "added", "id")
_CONDITION = re.compile(r"\s*(meta\.[^=!<>]*[^=!<>\s]|\w+)\s*(!=|<=|>=|=|<|>)\s*(.*?)\s*", re.DOTALL)
_DATE = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?")
_REMEDY = "Write FIELD=VALUE, such as source=reports/*.pdf, type=pdf, date>=2024-03 or meta.author=ada*."


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that is asked of a document."""

    field: str  # one of FIELDS, or meta.KEY
    sign: Sign
    value: str

    @property
    def is_date(self) -> bool:
        """Whether the value is a year, a month or a day."""
        return self.field in ("date", "added")


@dataclass(frozen=True, slots=True)
class Filter:
    """All that is asked of a document; of nothing, every document holds it."""

    conditions: tuple[Condition, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.conditions)

    def __str__(self) -> str:
        return ", ".join(f"{each.field}{each.sign}{each.value}" for each in self.conditions)


EVERYTHING = Filter()


def parse_filter(conditions: Sequence[str]) -> Filter:
    """Read conditions as they are written on the command line, in the API and on the page.

    Raises:
        ConfigError: one of them names no field, has no value, or compares what has no order.
    """
    return Filter(tuple(_condition(text) for text in conditions))


def read_conditions(text: str) -> tuple[str, ...]:
    r"""The conditions of a line in which they are parted by semicolons; \; is a semicolon of a value."""
    return tuple(each.replace(r"\;", ";").strip() for each in re.split(r"(?<!\\);", text) if each.strip())


def _condition(text: str) -> Condition:
    found = _CONDITION.fullmatch(text)
    if not found:
        raise ConfigError(f'"{text[:80]}" is no filter', _REMEDY)
    field, sign, value = found[1], cast(Sign, found[2]), found[3]
    name = field if field.startswith("meta.") else field.lower()
    if name not in FIELDS and not name.startswith("meta."):
        raise ConfigError(
            f'There is no field "{field[:80]}" to filter by',
            f"The fields are {', '.join(FIELDS)}, and meta.KEY for what a file says of itself.",
        )
    if not value:
        raise ConfigError(f'The filter "{text[:80]}" has no value', _REMEDY)
    condition = Condition(name, sign, value)
    if condition.is_date and not _DATE.fullmatch(value):
        raise ConfigError(f'"{value[:80]}" is no date', "Write a year, a month or a day: 2024, 2024-03 or 2024-03-31.")
    if sign not in ("=", "!=") and not condition.is_date:
        raise ConfigError(f'"{text[:80]}" compares what has no order', f"Only date and added have {sign}; use = or !=.")
    return condition


def media_types(value: str) -> tuple[str, ...]:
    """The media types that `type=VALUE` may mean: a media type, a glob of them, or an ending such as pdf or docx."""
    by_ending = BY_SUFFIX.get(f".{value.lower().removeprefix('.')}")
    return (value.lower(), by_ending.media_type) if by_ending else (value.lower(),)

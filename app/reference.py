"""Writes docs/settings.md from the settings: python -m app.reference > docs/settings.md"""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from app.example import default_of
from app.sections.section import Section
from app.settings import Settings, variable

_HEAD = """\
# Settings

Every key of footnote.toml, made from the program's own classes by `python -m app.reference`. The file is looked for
where `--config` or `FOOTNOTE_CONFIG` says, then where you stand, then beside the program;
[footnote.toml.example](footnote.toml.example) is one to copy. A variable wins over the file. A key that is not known,
or a value that is not allowed, is an error that names it.
"""
_WORDS = {str: "text", int: "whole number", float: "number", bool: "true, false", Path: "path", SecretStr: "secret"}
_COLUMNS = ("key", "values", "default", "variable", "meaning")


def reference() -> str:
    """Render every section as a table of its keys."""
    return "\n".join([_HEAD, *_tables(Settings, "")]).rstrip() + "\n"


def _tables(section: type[Section], prefix: str) -> Iterator[str]:
    """The section's own keys, then the sections inside it."""
    fields = section.model_fields.items()
    plain = [(name, field) for name, field in fields if not isinstance(field.default, Section)]
    if plain:
        yield _row(_COLUMNS)
        yield _row(("---",) * len(_COLUMNS))
        yield from (_row(_cells(f"{prefix}{name}", name, field)) for name, field in plain)
        yield ""
    for name, field in fields:
        if isinstance(field.default, Section):
            yield f"{'#' * (2 + prefix.count('.'))} [{prefix}{name}]\n"
            yield f"{_line(type(field.default).__doc__ or '')}\n"
            yield from _tables(type(field.default), f"{prefix}{name}.")


def _cells(key: str, name: str, field: FieldInfo) -> tuple[str, ...]:
    default = default_of(field)
    shown = "not set" if default is None else f"`{default}`"
    return f"`{name}`", allowed(field), shown, f"`{variable(key)}`", _line(field.description or "")


def allowed(field: FieldInfo) -> str:
    """The values that a key takes, in words."""
    parts = dict.fromkeys(_kind(part) for part in _alternatives(field.annotation))
    return " or ".join(parts) + "".join(f", {limit}" for limit in _limits(field))


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) in (None, Literal, tuple, dict):
        return (annotation,)
    return tuple(part for part in get_args(annotation) if part is not NoneType)


def _kind(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    if get_origin(annotation) is dict:
        return "table"
    return "list of texts" if get_origin(annotation) is tuple else _WORDS[annotation]


def _limits(field: FieldInfo) -> Iterator[str]:
    for limit in field.metadata:
        if isinstance(limit, Ge):
            yield f"at least {limit.ge:,}"
        elif isinstance(limit, Gt):
            yield f"more than {limit.gt:,}"
        elif isinstance(limit, Le):
            yield f"at most {limit.le:,}"
        elif pattern := getattr(limit, "pattern", ""):
            yield f"as `{pattern}`"


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _line(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    sys.stdout.write(reference())

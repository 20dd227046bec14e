"""Writes docs/footnote.toml.example from the settings: python -m app.example > docs/footnote.toml.example"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap
from typing import get_args

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from app.sections.section import Section
from app.settings import Settings, variable

_HEAD = """\
# Settings of Footnote. Copy this to footnote.toml, beside footnote or where you run it; take the # off what you change.
# A variable wins over the file: retriever.rrf_k is also {variable}.
"""


def example() -> str:
    """Render every key with its default, commented out, under its description."""
    return "\n".join([_HEAD.format(variable=variable("retriever.rrf_k")), *_keys(Settings())]).rstrip() + "\n"


def _keys(section: Section, prefix: str = "") -> Iterator[str]:
    """The section's own keys, then the sections inside it: in TOML the other order would move the keys."""
    fields = type(section).model_fields.items()
    for name, field in fields:
        if not isinstance(field.default, Section):
            yield from _key(name, field)
    for name, field in fields:
        if isinstance(field.default, Section):
            yield from _comment(type(field.default).__doc__ or "")
            yield f"[{prefix}{name}]"
            yield ""
            yield from _keys(field.default, f"{prefix}{name}.")


def _key(name: str, field: FieldInfo) -> Iterator[str]:
    yield from _comment(field.description or "")
    yield f"#{name} = {_toml(field)}"
    yield ""


def _comment(text: str) -> Iterator[str]:
    return (f"# {line}" for line in wrap(" ".join(text.split()), 118))


def _toml(field: FieldInfo) -> str:
    default = default_of(field)
    if default is None:
        return ("0.0" if float in get_args(field.annotation) else '"FOLDER"') + "  # not set"
    return default


def default_of(field: FieldInfo) -> str | None:
    """A key's default as TOML has it; None where it has none."""
    value = field.default
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, Path):
        value = value.name  # of the folder of the repository
    return None if value is None else json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    sys.stdout.write(example())

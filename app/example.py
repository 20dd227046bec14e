"""Writes docs/footnote.toml.example from the settings: python -m app.example > docs/footnote.toml.example"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from app.sections import Section
from app.settings import Settings, variable

_HEAD = """\
# Settings of Footnote. Copy this to footnote.toml, beside footnote or where you run it; take the # off what you change.
# A variable wins over the file: retriever.rrf_k is also {variable}.
"""


def example() -> str:
    """Render every key with its default, commented out, under its description."""
    plain: list[str] = []
    sections: list[str] = []
    for name, field in Settings.model_fields.items():
        if isinstance(field.default, Section):
            section = field.default
            about = "\n".join(_comment(type(section).__doc__ or ""))
            keys = "\n".join(line for key in type(section).model_fields.items() for line in _key(*key))
            sections.append(f"{about}\n[{name}]\n\n{keys}")
        else:
            plain += _key(name, field)
    return "\n".join([_HEAD.format(variable=variable("retriever.rrf_k")), *plain, *sections]).rstrip() + "\n"


def _key(name: str, field: FieldInfo) -> Iterator[str]:
    yield from _comment(field.description or "")
    yield f"#{name} = {_toml(field.default)}"
    yield ""


def _comment(text: str) -> Iterator[str]:
    return (f"# {line}" for line in wrap(" ".join(text.split()), 118))


def _toml(value: Any) -> str:
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, Path):
        value = value.name  # of the folder of the repository
    if value is None:
        return '"FOLDER"  # not set'
    return json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    sys.stdout.write(example())

"""JSON and JSON Lines: one line an object, `path.to.key: value; ...`, so that each stands by itself."""

import json
from collections.abc import Iterator
from typing import Any

from indexer.errors import DocumentError
from indexer.loaders.decode import decode
from indexer.loaders.extract import Extract

_AGAIN = "Save or copy the file again."


def read_json(data: bytes) -> Extract:
    """Read one JSON value; objects in lists become lines of their own.

    Raises:
        DocumentError: it is not JSON, with the line of the mistake.
    """
    text, encoding = decode(data)
    try:
        lines = list(_lines(_parsed(text), ""))
    except json.JSONDecodeError as error:
        raise DocumentError(f"it is not JSON: line {error.lineno}: {error.msg}", _AGAIN) from error
    return Extract(("\n".join(lines),), metadata=(("encoding", encoding),))


def read_json_lines(data: bytes) -> Extract:
    """Read one JSON value a line.

    Raises:
        DocumentError: a line is not JSON, with its number.
    """
    text, encoding = decode(data)
    lines: list[str] = []
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        try:
            lines += _lines(_parsed(line), "") if line.strip() else ()
        except json.JSONDecodeError as error:
            raise DocumentError(f"its line {number} is not JSON: {error.msg}", _AGAIN) from error
    return Extract(("\n".join(lines),), metadata=(("encoding", encoding),))


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise DocumentError("its values are nested too deeply", "Flatten it.") from error


def _lines(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        cells: list[str] = []
        lists: list[tuple[str, list[Any]]] = []
        _collect(value, path, cells, lists)
        if cells:
            yield "; ".join(cells)
        for name, items in lists:
            for item in items:
                yield from _lines(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from _lines(item, path)
    elif text := _scalar(value):
        yield f"{path}: {text}" if path else text


def _collect(value: dict[str, Any], path: str, cells: list[str], lists: list[tuple[str, list[Any]]]) -> None:
    """Sort what an object holds, nested objects included, into cells of its line and lists of further objects."""
    for key, inner in value.items():
        name = f"{path}.{key}" if path else key
        if isinstance(inner, dict):
            _collect(inner, name, cells, lists)
        elif isinstance(inner, list) and any(isinstance(item, dict | list) for item in inner):
            lists.append((name, inner))
        else:
            items = inner if isinstance(inner, list) else [inner]
            if text := ", ".join(filter(None, map(_scalar, items))):
                cells.append(f"{name}: {text}")


def _scalar(value: Any) -> str:
    if value is None:
        return ""
    return " ".join(value.split()) if isinstance(value, str) else json.dumps(value)

"""What tests of moves to Milvus Lite share."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from indexer.milvus.address import Address, parse_address

HAS_MILVUS = all(importlib.util.find_spec(name) for name in ("pymilvus", "milvus_lite"))
needs_milvus = pytest.mark.skipif(
    not HAS_MILVUS, reason="pymilvus and milvus-lite are not installed: requirements-milvus.txt"
)


def at(path: Path) -> Address:
    """A file of Milvus Lite in this folder."""
    return parse_address(f"milvus:{path}/index.db")


def answers(shelf: Any) -> list[Any]:
    """What is found among `storms`, by words and by vectors."""
    return [shelf.lexical("storm 17"), shelf.dense("storm number 17", 3), shelf.lexical("keeper", 3)]

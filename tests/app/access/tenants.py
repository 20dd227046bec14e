"""Two tenants in one home. What belongs to legal holds MARKER in its text, title, file name and metadata; nobody of hr
may ever be sent that word."""

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

MARKER = "zanzibarite"
VAULT = f"vault-{MARKER}"
WORDS = "quarry merger ledger"  # that stand beside the marker: who looks for them would find it
SECRET = f"""<html><head><title>The {MARKER} deal</title><meta name="author" content="{MARKER} Ltd">
<meta name="date" content="2024-03-31"></head><body><h1>{MARKER} heading</h1><p>The quarry merger ledger says {MARKER}
is sold for nine crowns.</p></body></html>"""
OPEN = "# Menu\n\nThe canteen merger of soups is served at noon.\n"


@dataclass(frozen=True, slots=True)
class World:
    """What there is: ids that the other tenant has, and that a thief may have come to know."""

    home: Path
    hidden: str  # a document of legal in the collection that both use
    vaulted: str  # a document of the collection that only legal uses
    open: str  # the document that both may read
    sources: tuple[str, ...]  # of the first two


def sibling(name: str, path: Path) -> ModuleType:
    """A module of another folder of tests, by its path: tests/ has no packages."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec and spec.loader
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]

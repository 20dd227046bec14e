"""What is remembered of a generation's collection in Milvus, beside the truth.

index.json            {"kind": "milvus", "build": NAME}: which build answers; without the file, the local index does
milvus/NAME.json      where the build is, what it was made of, and the last operation of the truth that it holds
"""

import re
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

from indexer.store.disk import read_json, write_json
from indexer.store.index import IndexSettings
from indexer.store.language import Language
from indexer.store.records import Manifest
from indexer.store.text import ANALYSIS_VERSION


@dataclass(frozen=True, slots=True)
class Build:
    """One collection in Milvus. A token is never part of it."""

    name: str  # of the collection in Milvus
    uri: str
    index_type: str
    vectors: str
    dim: int = 0  # 0: it has not been made yet
    fingerprint: str = ""
    analysis: str = ""  # of its words: see analysis_of()
    sequence: int = 0  # the last operation that it holds; while it is filled, the one at which that began
    filled_to: int | None = None  # while it is filled: every chunk up to this key is there

    @property
    def is_whole(self) -> bool:
        """Whether it was filled to the end."""
        return self.dim > 0 and self.filled_to is None

    def fits(self, manifest: Manifest, sequence: int, language: Language) -> bool:
        """Whether it can follow a truth of this language that is at `sequence`."""
        if self.dim == 0:
            return True
        made_of = self.dim, self.fingerprint, self.analysis
        return made_of == (manifest.dim, manifest.fingerprint, analysis_of(language)) and self.sequence <= sequence


def analysis_of(language: Language) -> str:
    """What words of this language are made of; another value asks for another build."""
    return f"{ANALYSIS_VERSION}, {language}"


def new_build(folder: Path, uri: str, index_type: str, vectors: str) -> Build:
    """Name a build of a generation; nothing is written."""
    generation, collection = folder.name, folder.parents[1].name
    words = re.sub(r"\W", "_", collection, flags=re.ASCII)
    return Build(f"footnote_{words}_{generation}_{uuid.uuid4().hex[:8]}", uri, index_type, vectors)


def build_for(folder: Path, settings: IndexSettings, uri: str) -> Build:
    """Name a build as the settings want it."""
    return new_build(folder, uri, settings.index_type, settings.vectors)


def chosen(folder: Path) -> bool:
    """Whether the generation answers from Milvus."""
    return (read_json(folder / "index.json") or {}).get("kind") == "milvus"


def read_build(folder: Path) -> Build | None:
    """Read the build that answers; None when its note is missing or damaged."""
    name = (read_json(folder / "index.json") or {}).get("build")
    return read_note(folder / "milvus" / f"{name}.json") if isinstance(name, str) else None


def read_note(path: Path) -> Build | None:
    """Read one build's note."""
    value = read_json(path)
    try:
        return Build(**value) if value else None
    except TypeError:
        return None


def notes(folder: Path) -> list[Build]:
    """List every build of a generation, also unfinished ones."""
    found = (read_note(path) for path in sorted((folder / "milvus").glob("*.json")))
    return [build for build in found if build is not None]


def write_note(folder: Path, build: Build) -> None:
    """Remember how far a build is."""
    (folder / "milvus").mkdir(parents=True, exist_ok=True)
    write_json(folder / "milvus" / f"{build.name}.json", asdict(build))


def forget_note(folder: Path, build: Build) -> None:
    """Forget a build."""
    (folder / "milvus" / f"{build.name}.json").unlink(missing_ok=True)


def choose(folder: Path, build: Build) -> None:
    """Let a build answer from now on."""
    write_json(folder / "index.json", {"kind": "milvus", "build": build.name})

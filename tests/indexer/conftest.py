import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from indexer.chunk import ChunkSettings
from indexer.collection import Collection
from indexer.document import Chunk, Document
from indexer.ingest import ingest
from indexer.ledger import IngestReport
from indexer.store.index import IndexSettings
from indexer.store.records import Manifest

HERE = Path(__file__).parent
ANIMALS = ["fox", "owl", "hen", "cod", "bee", "elk", "ant", "yak", "bat", "cow", "doe", "eel"]
SETTINGS = ChunkSettings(max_tokens=20)


def _load(name: str) -> ModuleType:
    # tests/ has no packages, so a module beside a test is loaded by its path; child processes import it by its name.
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


HashEncoder = _load("hash_encoder").HashEncoder


class Shelf:
    """A collection with short ways to fill it: one document, one text, one chunk for each paragraph."""

    def __init__(self, home: Path, name: str = "default", index: IndexSettings | None = None) -> None:
        self.home = home
        self.collection = Collection.open(home, name, create=True, index=index)
        self.encoder = HashEncoder()

    def document(self, name: str, *paragraphs: str, title: str = "") -> tuple[Document, list[Chunk]]:
        text = "\n\n".join(paragraphs)
        document = Document(name, f"/docs/{name}.txt", title, "text/plain", f"sha of {name}", text)
        chunks, at = [], 0
        for ordinal, paragraph in enumerate(paragraphs):
            chunks.append(Chunk(f"{name}:{ordinal}", name, paragraph, at, at + len(paragraph)))
            at += len(paragraph) + 2
        return document, chunks

    def manifest(self) -> Manifest:
        return Manifest(self.encoder.fingerprint, self.encoder.dim, "paragraphs", "1", "")

    def add(self, **texts: str | Sequence[str]) -> None:
        """Write the documents in one go: name = text, or name = [paragraph, ...]."""
        with self.collection.writer() as writer:
            writer.begin(self.manifest())
            for name, value in texts.items():
                document, chunks = self.document(name, *([value] if isinstance(value, str) else value))
                writer.add(document, chunks, self.encoder.encode([chunk.text for chunk in chunks]))

    def delete(self, *names: str) -> int:
        with self.collection.writer() as writer:
            return writer.delete(*names)

    def names(self, hits: Sequence[tuple[int, float]]) -> list[str]:
        """Document ids of the hits, in order."""
        stored = self.collection.chunks([key for key, _ in hits])
        return [stored[key].chunk.document_id for key, _ in hits]

    def lexical(self, query: str, k: int = 10) -> list[str]:
        return self.names(self.collection.lexical.search(query, k))

    def dense(self, query: str, k: int = 10) -> list[str]:
        return self.names(self.collection.dense.search(self.encoder.encode([query])[0], k))


class Desk:
    """A folder of files, a collection, and the ingest between them."""

    def __init__(self, root: Path, encoder: HashEncoder) -> None:
        self.folder, self.encoder = root / "files", encoder
        self.folder.mkdir()
        self.collection = Collection.open(root / "home", "default", create=True)

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def ingest(self, *paths: Path, **options: Any) -> IngestReport:
        return ingest(paths or (self.folder,), self.collection, self.encoder, SETTINGS, **options)

    def states(self, *paths: Path, **options: Any) -> dict[str, str]:
        return {Path(file.path).name: file.state for file in self.ingest(*paths, **options).files}

    def reason(self, name: str) -> str:
        (row,) = (row for row in self.collection.files() if Path(row.path).name == name)
        return row.reason

    def search(self, query: str) -> list[str]:
        keys = [key for key, _ in self.collection.lexical.search(query, 10)]
        return sorted({Path(stored.source).name for stored in self.collection.chunks(keys).values()})


@pytest.fixture
def desk(tmp_path: Path, encoder: HashEncoder) -> Desk:
    return Desk(tmp_path, encoder)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "home")


@pytest.fixture
def storms(shelf: Shelf) -> Shelf:
    """A hundred documents of two chunks each."""
    shelf.add(**{f"d{number:03}": [f"storm number {number}", f"keeper {number}"] for number in range(100)})
    return shelf


@pytest.fixture(scope="module")
def shelf_of_three(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """A shelf that tests only read."""
    shelf = Shelf(tmp_path_factory.mktemp("three"))
    shelf.add(
        one="The lighthouse keeper lit the lamp",
        two="A lamp, a lamp, a lamp and a keeper",
        three="Storms broke the harbour wall in winter",
    )
    return shelf


@pytest.fixture(scope="module")
def shelf_of_ties(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """A shelf that tests only read: a hundred texts of few words, so that many score the same, in several segments."""
    shelf = Shelf(tmp_path_factory.mktemp("ties"))
    words = ("lamp", "keeper", "storm", "word")
    for at in range(0, 100, 25):
        shelf.add(
            **{f"d{n}": " ".join(words[(n * step) % 4] for step in (1, 3, 7)[: 1 + n % 3]) for n in range(at, at + 25)}
        )
    shelf.delete("d7", "d40")
    return shelf


@pytest.fixture
def encoder() -> "HashEncoder":
    return HashEncoder()


@pytest.fixture
def shelf_at() -> type[Shelf]:
    return Shelf


@pytest.fixture
def hash_encoder() -> "type[HashEncoder]":
    return HashEncoder


@pytest.fixture(scope="module")
def tiny_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A decoder of two layers with random weights and a tokenizer of bytes."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "tie_word_embeddings": True}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=256, **shape, **heads)).save_pretrained(folder)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: index for index, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture
def pairs_file(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.jsonl"
    rows = [
        {
            "anchor": f"What does the {animal} do in year {year}?",
            "positive": f"In {year} the {animal} sleeps by day.",
            "negatives": [f"In {year + 1} the {animal} eats.", f"The {animal} tower was built in {year}."],
        }
        for animal in ANIMALS
        for year in (1, 2)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path

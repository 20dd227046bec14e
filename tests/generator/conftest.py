import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from generator.reading import ReaderTokenizer
from indexer.document import Chunk, Document
from retriever.hit import Hit

sys.path.insert(0, str(Path(__file__).parent))
from tiny import make_model, make_tokenizer

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def model_dir() -> Path:
    from indexer.llm2vec.weights import base_model_dir

    home = Path(os.environ.get("FOOTNOTE_HOME") or ROOT / ".footnote")
    return base_model_dir(home / "models")


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> ReaderTokenizer:
    return ReaderTokenizer(make_tokenizer(tmp_path_factory.mktemp("tokenizer")))


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def hit() -> Callable[..., Hit]:
    def make(text: str, start: int = 0, document_id: str = "d", **about: object) -> Hit:
        chunk = Chunk(f"{document_id}:{start}", document_id, text, start, start + len(text))
        return Hit(chunk, f"/{document_id}.md", str(about.get("title", "A title")), 1.0, 1, "bm25")

    return make


@pytest.fixture
def document() -> Callable[..., Document]:
    def make(text: str, document_id: str = "d", pages: tuple[int, ...] = ()) -> Document:
        return Document(document_id, f"/{document_id}.md", "A title", "text/markdown", "0" * 64, text, pages)

    return make

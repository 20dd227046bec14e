"""The plan of the house: who may import whom, and where the heavy packages may be."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("indexer", "retriever", "generator", "eval", "app")  # a room imports only itself and what stands before it
FILES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))

MODEL_FILES = (
    "indexer/llm2vec/",
    "indexer/sentence_transformer.py",
    "retriever/cross_encoder.py",
    "generator/embedded.py",
    "generator/reader_files.py",
    "generator/forward.py",
    "generator/rag.py",
    "generator/spans.py",
    "generator/training/",
)
# A heavy package, and the files and folders that may import it.
HOMES = {
    "streamlit": ("app/ui/",),
    "torch": (*MODEL_FILES, "app/doctor.py"),  # the doctor asks which GPU there is
    "transformers": MODEL_FILES,
    "faiss": ("indexer/store/", "app/doctor.py"),
    "tantivy": ("indexer/store/",),
    # Documents, evaluation runs, and what the doors keep.
    "sqlite3": ("indexer/", "eval/run.py", "eval/run_file.py", "app/database.py"),
    "openai": ("generator/",),
    "opentelemetry": ("generator/telemetry.py",),
    "mteb": ("eval/mteb_tasks.py",),
    "datasets": ("eval/mteb_tasks.py",),
    "pymilvus": ("indexer/milvus/",),
    "milvus_lite": ("indexer/milvus/",),
    "ray": ("indexer/ray_engine.py", "indexer/ray_cluster.py"),
    "fastapi": ("app/api/",),
    "starlette": ("app/api/", "app/ui/server.py"),
    "uvicorn": ("app/api/",),
    "prometheus_client": ("app/api/",),
    "typer": ("app/",),
    "rich": ("app/",),
}


def imported(path: Path) -> Iterator[str]:
    """Full names of the modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively, line {node.lineno}"
            yield node.module or ""


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_there_is_something_to_look_at() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in FILES} == set(ROOMS)
    assert "torch" in set(imported(ROOT / "indexer" / "llm2vec" / "encoder.py"))


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_rooms_below(room: str) -> None:
    above = ROOMS[ROOMS.index(room) + 1 :]
    wrong = [
        f"{name(path)} imports {module}"
        for path in FILES
        if path.is_relative_to(ROOT / room)
        for module in imported(path)
        if module.partition(".")[0] in above
    ]
    assert not wrong


@pytest.mark.parametrize("package", HOMES)
def test_heavy_packages_stay_home(package: str) -> None:
    wrong = [
        name(path)
        for path in FILES
        if any(module.partition(".")[0] == package for module in imported(path))
        and not name(path).startswith(HOMES[package])
    ]
    assert not wrong


def test_packages_export_nothing() -> None:
    """A name is imported from the file that defines it."""
    for path in FILES:
        if path.name == "__init__.py":
            body = ast.parse(path.read_text(encoding="utf-8")).body
            assert all(isinstance(node, ast.Expr) for node in body), f"{name(path)} holds more than its docstring"


def test_eval_never_hides_the_builtin() -> None:
    wrong = [
        name(path)
        for path in [*FILES, *(ROOT / "tests").rglob("*.py")]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name.partition(".")[0] == "eval" and alias.asname is None
    ]
    assert not wrong

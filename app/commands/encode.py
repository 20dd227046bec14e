"""`encode`: texts to vectors, for other programs."""

import json
import os
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np

from app.display import progress, show
from app.door import emit
from app.settings import Settings
from app.wiring import build_encoder
from indexer.encoder import Vectors
from indexer.errors import ConfigError


def run_encode(
    settings: Settings, source: Path, output: Path, instruction: str, with_adapter: bool, as_json: bool
) -> None:
    """Encode a JSON list of strings to a float32 array of unit rows (n, dim)."""
    texts = _texts(source)
    if not output.parent.is_dir():
        raise ConfigError(f"There is no folder {output.parent} for --output.", "Create it, or name another file.")
    encoder = build_encoder(settings, adapter=with_adapter)
    began = perf_counter()
    with progress() as meter:
        vectors = encoder.encode(texts, instruction, lambda done: meter("encoding", done, len(texts)))
    spent_s = perf_counter() - began
    _write(output, vectors)
    if as_json:
        shape = {"n": len(texts), "dim": encoder.dim, "output": str(output)}
        return emit({**shape, "encoder": encoder.fingerprint, "seconds": round(spent_s, 3)})
    return show(f"{len(texts):,} texts, {encoder.dim} dimensions, {spent_s:.1f} s: {output}", wrap=False)


def _texts(source: Path) -> list[str]:
    remedy = 'Give a JSON list of strings: ["first text", "second text"].'
    try:
        texts = json.loads(source.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{source} cannot be read: {error.strerror}.", remedy) from error
    except ValueError as error:
        raise ConfigError(f"{source} is not JSON in UTF-8: {error}.", remedy) from error
    if not isinstance(texts, list):
        raise ConfigError(f"{source} holds no list.", remedy)
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise ConfigError(f"{source}: item {index} (counted from 0) is no string.", remedy)
    return texts


def _write(output: Path, vectors: Vectors) -> None:
    """Write the whole file or none of it."""
    try:
        with tempfile.NamedTemporaryFile(dir=output.parent, prefix=f".{output.name}.", delete=False) as partial:
            np.save(partial, np.ascontiguousarray(vectors, dtype=np.float32))
        umask = os.umask(0)
        os.umask(umask)
        Path(partial.name).chmod(0o666 & ~umask)
        Path(partial.name).replace(output)
    except OSError as error:
        Path(partial.name).unlink(missing_ok=True)
        raise ConfigError(
            f"{output} cannot be written: {error.strerror}.", "Name a file in a folder of yours."
        ) from error

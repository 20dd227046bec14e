"""`encode`: texts to vectors, for other programs."""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from app.display import progress, show
from app.door import emit, unwritable
from app.settings import Settings
from app.wiring import build_encoder
from indexer.encoder import Vectors
from indexer.errors import ConfigError


def run_encode(
    settings: Settings, changed: Mapping[str, Any], source: Path, output: Path, instruction: str, as_json: bool
) -> None:
    """Encode a JSON list of strings to a float32 array of unit rows (n, dim), with some keys of `encoder` changed."""
    texts = _texts(source)
    if not output.parent.is_dir():
        raise ConfigError(f"There is no folder {output.parent} for --output.", "Create it, or name another file.")
    settings = settings.model_copy(update={"encoder": settings.encoder.model_copy(update=dict(changed))})
    encoder = build_encoder(settings)
    began = perf_counter()
    with progress() as meter:
        vectors = encoder.encode(texts, instruction, lambda done: meter("encoding", done, len(texts)))
    spent_s = perf_counter() - began
    _write(output, vectors)
    cut = sum(count > encoder.max_tokens for count in encoder.count_tokens(texts))
    if as_json:
        shape = {"n": len(texts), "dim": encoder.dim, "truncated": cut, "output": str(output)}
        return emit({**shape, "encoder": encoder.fingerprint, "seconds": round(spent_s, 3)})
    told = f" ({cut:,} cut at encoder.max_tokens)" if cut else ""
    return show(f"{len(texts):,} texts{told}, {encoder.dim} dimensions, {spent_s:.1f} s: {output}", wrap=False)


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
        raise unwritable(output, error) from error

"""An encoder that keeps what it encoded on disk: the same text is never encoded twice, and a kill costs one step."""

import hashlib
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from indexer.encoder import Encoder, Vectors
from indexer.errors import IndexError_
from indexer.store.disk import replace_file

_TEXTS_A_STEP = 256  # encoded together, then written: what a kill can cost


class KeptEncoder:
    """An Encoder in front of another, with its vectors in files under a folder named by the fingerprint."""

    def __init__(self, encoder: Encoder, folder: Path) -> None:
        self.fingerprint, self.dim = encoder.fingerprint, encoder.dim
        self.query_instruction, self.max_tokens = encoder.query_instruction, encoder.max_tokens
        self._encoder = encoder
        self._folder = folder / encoder.fingerprint
        self._vectors = dict(_stored(self._folder))

    def encode(
        self, texts: Sequence[str], instruction: str = "", on_progress: Callable[[int], None] | None = None
    ) -> Vectors:
        """Rows (len(texts), dim), of which only those are computed that are not kept yet; float32, unrounded."""
        keys = [_key(instruction, text) for text in texts]
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._vectors}
        # By length, so that a step's batches need little padding.
        ordered = sorted(missing, key=lambda key: len(missing[key]))
        for start in range(0, len(ordered), _TEXTS_A_STEP):
            step = ordered[start : start + _TEXTS_A_STEP]
            done = len(texts) - len(missing) + start
            tell = (lambda more, done=done: on_progress(done + more)) if on_progress else None
            rows = self._encoder.encode([missing[key] for key in step], instruction, tell)
            self._keep(step, rows)
        kept = [self._vectors[key] for key in keys]
        return np.stack(kept) if kept else np.empty((0, self.dim), np.float32)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text."""
        return self._encoder.count_tokens(texts)

    def _keep(self, keys: Sequence[bytes], rows: Vectors) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(b"".join(keys)).hexdigest()[:16]

        def write(path: Path) -> None:
            with path.open("wb") as stream:
                np.savez(stream, keys=np.frombuffer(b"".join(keys), np.uint8).reshape(len(keys), -1), rows=rows)

        replace_file(self._folder / f"{name}.npz", write)
        self._vectors.update(zip(keys, rows, strict=True))


def _stored(folder: Path) -> list[tuple[bytes, Vectors]]:
    found: list[tuple[bytes, Vectors]] = []
    for path in sorted(folder.glob("*.npz")):
        try:
            with np.load(path) as stored:
                found += zip((key.tobytes() for key in stored["keys"]), stored["rows"], strict=True)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise IndexError_(f"{path} is damaged: {error}", "Delete it; its texts are then encoded again.") from error
    return found


def _key(instruction: str, text: str) -> bytes:
    return hashlib.sha256(f"{instruction}\x00{text}".encode("utf-8", "surrogatepass")).digest()[:16]

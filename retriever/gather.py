"""Questions that come at once are encoded together.

A question is a dozen tokens, and a decoder reads all of its weights for them; for a batch of questions it reads them
once, too. One thread encodes: what comes while it is busy is its next batch. A thread of its own also keeps the memory
that encoding takes to one thread, where each of many would keep some.
"""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from indexer.encoder import Encoder, Vectors
from indexer.errors import FootnoteError

MOST = 32  # questions of one batch
_Asked = tuple[str, str, "Future[Vectors]"]  # text, instruction, and where its row (1, dim) goes


class GatheringEncoder:
    """An encoder for questions. Thread-safe; everything but a single text goes straight to the encoder behind it."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="footnote-questions")
        self._waiting: deque[_Asked] = deque()

    @property
    def fingerprint(self) -> str:
        return self._encoder.fingerprint

    @property
    def dim(self) -> int:
        return self._encoder.dim

    @property
    def max_tokens(self) -> int:
        return self._encoder.max_tokens

    @property
    def query_instruction(self) -> str:
        return self._encoder.query_instruction

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text."""
        return self._encoder.count_tokens(texts)

    def encode(
        self, texts: Sequence[str], instruction: str = "", on_progress: Callable[[int], None] | None = None
    ) -> Vectors:
        """Unit rows (len(texts), dim). Raises what the encoder raises for a text, to whoever asked for that one."""
        if len(texts) != 1 or on_progress is not None:
            return self._encoder.encode(texts, instruction, on_progress)
        row: Future[Vectors] = Future()
        self._waiting.append((texts[0], instruction, row))
        self._thread.submit(self._encode_some)
        return row.result()

    def _encode_some(self) -> None:
        """Encode the texts that wait longest, as far as they share an instruction; there may be none left."""
        batch: list[_Asked] = []
        while self._waiting and len(batch) < MOST and (not batch or self._waiting[0][1] == batch[0][1]):
            batch.append(self._waiting.popleft())
        if not batch:
            return
        try:
            rows = self._encoder.encode([text for text, _, _ in batch], batch[0][1])
        except FootnoteError:  # one of them cannot be encoded: each finds out for itself
            for asked in batch:
                self._encode_alone(asked)
        except BaseException as error:
            for _, _, row in batch:
                row.set_exception(error)
        else:
            for at, (_, _, row) in enumerate(batch):
                row.set_result(rows[at : at + 1])

    def _encode_alone(self, asked: _Asked) -> None:
        text, instruction, row = asked
        try:
            row.set_result(self._encoder.encode([text], instruction))
        except BaseException as error:
            row.set_exception(error)

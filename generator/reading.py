"""The reader's view of one passage: its token ids, and where an answer span may begin and end.

Training and serving both build their input here, so that what was learned is what is asked.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from indexer.errors import ModelError

READER_CARD = "reader.json"  # beside an adapter: its format, run and choice
READER_FORMAT = "1"  # raise when the text below changes: an adapter only reads the format it was trained on
_BEFORE = "<|im_start|>user\nQuestion: {question}\nPassage:"
_AFTER = "\nQuestion: {question}<|im_end|>\n<|im_start|>assistant\n"
# For servers: one user's message of the words between the turn marks of _BEFORE and _AFTER becomes the text above.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_TURN_START, _TURN_END = "<|im_start|>", "<|im_end|>"


@dataclass(frozen=True, slots=True)
class Reading:
    """One question with one passage, tokenised. Positions count the passage's own tokens from 0."""

    ids: tuple[int, ...]  # the whole input, up to where the answer begins
    first: int  # index in `ids` of passage position 0
    bounds: tuple[tuple[int, int], ...]  # characters of the passage that each position covers
    starts: tuple[int, ...]  # positions where a span may begin
    ends: frozenset[int]  # positions after which a span may end
    text: str  # the passage

    def token(self, position: int) -> int:
        """Token id at a passage position."""
        return self.ids[self.first + position]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Characters of the passage under positions start to end (both included), without outer space and commas."""
        text = self.text[self.bounds[start][0] : self.bounds[end][1]]
        low = self.bounds[start][0] + len(text) - len(text.lstrip())
        kept = text.strip().rstrip(",;:")
        # Tokens like ")." and "!." hang a full stop on a span; after a letter it may belong to an abbreviation.
        if len(kept) > 1 and kept[-1] == "." and not kept[-2].isalnum():
            kept = kept[:-1]
        return low, low + len(kept)

    def positions(self, low: int, high: int) -> tuple[int, int] | None:
        """Smallest allowed run of positions that covers the characters low to high, or None."""
        before = [p for p in self.starts if self.bounds[p][0] <= low]
        after = [p for p in self.ends if self.bounds[p][1] >= high]
        return (max(before), min(after)) if before and after else None


class ReaderTokenizer:
    """Builds Readings. Retrieved text is never parsed for special tokens, so it cannot end its turn."""

    def __init__(self, model_dir: Path) -> None:
        from tokenizers import Tokenizer

        path = model_dir / "tokenizer.json"
        if not path.is_file():
            raise ModelError(f"{model_dir} holds no tokenizer.json.", "Name the folder of a transformers model.")
        self._plain = Tokenizer.from_file(str(path))
        self._plain.encode_special_tokens = True
        self._plain.no_truncation()
        self._start, self.end = (self._mark(mark) for mark in (_TURN_START, _TURN_END))

    def _mark(self, mark: str) -> int:
        token = self._plain.token_to_id(mark)
        if token is None:
            raise ModelError(f"The tokenizer has no {mark}.", "Use a model with a ChatML tokenizer, such as SmolLM2.")
        return int(token)

    def encode(self, text: str) -> list[int]:
        """Token ids of text, in which nothing counts as a special token."""
        return list(self._plain.encode(text, add_special_tokens=False).ids)

    def template(self, text: str) -> list[int]:
        """Token ids of our own text, in which the turn marks are turn marks."""
        ids: list[int] = []
        for index, turn in enumerate(text.split(_TURN_START)):
            ids += [self._start] if index else []
            for part, piece in enumerate(turn.split(_TURN_END)):
                ids += [self.end] if part else []
                ids += self.encode(piece) if piece else []
        return ids

    def reading(self, question: str, head: str, text: str, max_tokens: int = 512) -> Reading:
        """Tokenise one question with one passage; `head` says where it stands (title, headings).

        The passage is cut at `max_tokens`.
        """
        asked = _defuse(question)
        before = self.template(_BEFORE.replace("{question}", asked)) + self.encode(f" {head}\n" if head else " ")
        passage = self._plain.encode(text, add_special_tokens=False)
        ids, bounds = passage.ids[:max_tokens], passage.offsets[:max_tokens]
        after = self.template(_AFTER.replace("{question}", asked))
        return Reading(
            ids=(*before, *ids, *after),
            first=len(before),
            bounds=tuple(bounds),
            starts=tuple(p for p, (low, high) in enumerate(bounds) if _may_start(text, low, high)),
            ends=frozenset(p for p in range(len(bounds)) if _may_end(text, bounds, p)),
            text=text,
        )

    def chat(self, messages: Sequence[tuple[str, str]]) -> list[int]:
        """Token ids of (role, content) messages up to where the assistant begins; contents are never parsed."""
        ids: list[int] = []
        for role, content in messages:
            ids += [self._start, *self.encode(f"{role}\n{content}"), self.end, *self.encode("\n")]
        return [*ids, self._start, *self.encode("assistant\n")]

    def decoder(self) -> Callable[[int], str]:
        """A function that takes one token after the other and gives the text that is complete by then."""
        from tokenizers.decoders import DecodeStream

        stream = DecodeStream(skip_special_tokens=True)
        return lambda token: stream.step(self._plain, token) or ""

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of tokens, without marks."""
        return str(self._plain.decode(list(tokens), skip_special_tokens=True))

    def count(self, text: str) -> int:
        """Tokens of text."""
        return len(self.encode(text))


def head_of(title: str, heading_path: Sequence[str]) -> str:
    """Where a passage stands, in one line."""
    return " > ".join(dict.fromkeys(part for part in (title, *heading_path) if part))


def _defuse(question: str) -> str:
    return question.replace(_TURN_START, "").replace(_TURN_END, "").strip()


def _may_start(text: str, low: int, high: int) -> bool:
    """At a word's first token: the space before a word belongs to it, and a line end to nothing."""
    if not text[low:high].strip() and text[low:high] != " ":
        return False
    if low == 0 or text[low].isspace():
        return True
    before = text[low - 1]
    return before == "\n" or not (before.isspace() or (before.isalnum() and text[low].isalnum()))


def _may_end(text: str, bounds: Sequence[tuple[int, int]], position: int) -> bool:
    low, high = bounds[position]
    if not text[low:high].strip() or (position + 1 < len(bounds) and bounds[position + 1][0] < high):
        return False
    return high == len(text) or not (text[high - 1].isalnum() and text[high].isalnum())

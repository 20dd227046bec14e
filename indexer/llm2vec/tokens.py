"""Tokenisation with the tokenizers library alone: counting tokens must not cost an import of torch."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from indexer.errors import ModelError

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class TokenizedText:
    """Token ids as the model sees them; the last `own` of them are the text, those before it the instruction."""

    ids: tuple[int, ...]
    own: int
    truncated: bool


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands around every text: a chat template's marks, or the end mark of `eos_token` pooling.

    `before` comes even before the instruction and is not pooled; `after` follows the text, which then loses its
    trailing white space, and is pooled with it. Both as the official llm2vec does.
    """

    before: str = ""
    after: str = ""


BARE = Frame()


def load_tokenizer(model_dir: Path) -> Tokenizer:
    """Load tokenizer.json with truncation and padding switched off.

    Raises:
        ModelError: the file is missing or damaged.
    """
    path = model_dir / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception for a missing and a damaged file alike
        raise ModelError(
            f"Cannot read the tokenizer {path}: {error}", "Name a folder that holds a whole model."
        ) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def load_token_counter(model_dir: Path) -> Callable[[Sequence[str]], list[int]]:
    """Give a thread-safe function that counts the tokens of each text, without special tokens."""
    tokenizer = load_tokenizer(model_dir)
    return lambda texts: count_tokens(tokenizer, texts)


def count_tokens(tokenizer: Tokenizer, texts: Sequence[str]) -> list[int]:
    """Count the tokens of each text, without special tokens."""
    return [len(encoding) for encoding in tokenizer.encode_batch_fast(well_formed(texts), add_special_tokens=False)]


def well_formed(texts: Sequence[str]) -> list[str]:
    """Join surrogate pairs and replace lone surrogates by U+FFFD: the tokenizer refuses both."""
    return [
        text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if _SURROGATE.search(text) else text
        for text in texts
    ]


def tokenize(
    tokenizer: Tokenizer, texts: Sequence[str], instruction: str, max_tokens: int, frame: Frame = BARE
) -> list[TokenizedText]:
    """Tokenise each text behind the instruction, as the official llm2vec does: joined by one space.

    A text that is too long loses its end; what `frame` puts after it stays.

    Raises:
        ModelError: instruction and frame alone fill `max_tokens`, or a text has no tokens.
    """
    texts = well_formed(texts)
    tail = len(tokenizer.encode(frame.after, add_special_tokens=False)) if frame.after else 0
    if frame.after:
        texts = [text.rstrip() + frame.after for text in texts]
    alone = [e.ids for e in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
    lead = frame.before + (f"{well_formed([instruction.strip()])[0]} " if instruction else "")
    if lead or tokenizer.num_special_tokens_to_add(False):
        whole = [e.ids for e in tokenizer.encode_batch_fast([lead + text for text in texts], add_special_tokens=True)]
    else:
        whole = alone
    pairs = zip(whole, alone, strict=True)
    return [_cut(index, ids, len(own), tail, max_tokens) for index, (ids, own) in enumerate(pairs)]


def _cut(index: int, ids: list[int], own: int, tail: int, max_tokens: int) -> TokenizedText:
    # Byte-pair merges across the joining space can make the whole shorter than its parts.
    own = min(own, len(ids))
    lead = len(ids) - own
    if not own:
        raise ModelError(f"Text {index} has no tokens.", "Leave out empty texts.")
    if lead + tail >= max_tokens:
        raise ModelError(
            f"The instruction takes {lead + tail} tokens and leaves no room for the text in {max_tokens}.",
            "Shorten encoder.query_instruction or raise encoder.max_tokens.",
        )
    if len(ids) <= max_tokens:
        return TokenizedText(tuple(ids), own, False)
    kept = ids[: max_tokens - tail] + ids[len(ids) - tail :]
    return TokenizedText(tuple(kept), len(kept) - lead, True)

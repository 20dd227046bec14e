"""Bytes to text: byte order marks, then strict UTF-8, then a guess that is noted."""

import codecs
import unicodedata
from itertools import pairwise

_MARKS = (  # UTF-32 first: its little-endian mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WIDE = (("utf-32-le", 4), ("utf-32-be", 4), ("utf-16-le", 2), ("utf-16-be", 2))
_WIDE_SAMPLE = 4096
_LETTERS = 0.97
_SAMPLE_BYTES = 2**20  # enough to guess from; guessing over tens of megabytes takes minutes
_WESTERN = frozenset(  # letters with accents, and the signs that Western texts use
    "‘’“”‚„…–—•«»‹›€£¥§©®°·¡¿ªº¼½¾×\xa0ŠšŽžŒœŸ"  # noqa: RUF001
) | {chr(code) for code in range(0xC0, 0x100)}
_ENOUGH = 0.95


def decode(data: bytes) -> tuple[str, str]:
    """Decode to (text, encoding). Never fails: bytes that fit no encoding become U+FFFD."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding, "replace"), encoding
    if encoding := unmarked_wide_encoding(data):
        return data.decode(encoding, "replace"), encoding
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        pass
    encoding = "cp1252" if _looks_western(data) else _guess(data)
    return data.decode(encoding, "replace"), encoding


def starts_with_mark(data: bytes) -> bool:
    """Whether a byte order mark says that this is Unicode text."""
    return any(data.startswith(mark) for mark, _ in _MARKS)


def unmarked_wide_encoding(data: bytes) -> str:
    """UTF-16 or UTF-32 without a byte order mark; empty when it is not that.

    Both show as NUL bytes, which no 8-bit text holds, and read as letters in only one way.
    """
    sample = data[:_WIDE_SAMPLE]
    if b"\0" not in sample:
        return ""
    for encoding, width in _WIDE:
        if len(data) % width == 0 and len(sample) >= 4 and _reads_as(sample[: len(sample) // 4 * 4], encoding):
            try:
                data.decode(encoding)
            except UnicodeDecodeError:
                continue
            return encoding
    return ""


def _reads_as(sample: bytes, encoding: str) -> bool:
    text = sample.decode(encoding, "replace")
    fitting = sum(char in "\t\n\r" or unicodedata.category(char)[0] in "LMNPSZ" for char in text if char != "\ufffd")
    spaces = sum(char in " \n\r\t\u3000\u3001\u3002" for char in text)
    return fitting >= _LETTERS * len(text) and spaces > 0


def _looks_western(data: bytes) -> bool:
    """Whether Windows-1252 explains nearly every byte above ASCII.

    Statistical guesses fail on a few accents in English text, where this rule does not: such letters stand
    alone or in pairs, and read as Western letters, quotes or dashes.
    """
    sample = data[:_SAMPLE_BYTES]
    high = bytes(byte for byte in sample if byte >= 0x80)
    fitting = sum(char in _WESTERN for char in high.decode("cp1252", "replace"))
    pairs = sum(a >= 0x80 and b >= 0x80 for a, b in pairwise(sample))
    return fitting >= _ENOUGH * len(high) and pairs <= len(high) / 4


def _guess(data: bytes) -> str:
    from charset_normalizer import from_bytes

    sample = data[:_SAMPLE_BYTES]
    cuts = range(4) if len(data) > len(sample) else range(1)  # the sample may end inside a character
    guesses = (from_bytes(sample[: len(sample) - cut]).best() for cut in cuts)
    return next((guess.encoding for guess in guesses if guess), "cp1252")

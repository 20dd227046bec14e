"""Languages whose words an index can count, and texts as its analyzer wants them.

Words are taken apart at spaces and signs. Scripts that put no space between words (Chinese, Japanese, Thai) and Korean,
whose particles are written to the word, are cut into overlapping pairs of characters instead, in every language:
Kwok 1997 (doi:10.1145/278459.258531) found pairs as good as a dictionary's words.
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import Literal, get_args

Language = Literal[
    "arabic", "danish", "dutch", "english", "finnish", "french", "german", "greek", "hungarian", "italian", "norwegian",
    "portuguese", "romanian", "russian", "spanish", "swedish", "tamil", "turkish", "none",
]  # fmt: skip
LANGUAGES: tuple[Language, ...] = get_args(Language)
UNLISTED = ("arabic", "greek", "romanian", "tamil", "turkish", "none")  # tantivy knows no stopwords of these

_PAIRED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"  # Japanese kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"  # Han
    "\u1100-\u11ff\uac00-\ud7a3"  # Korean
)
_VARIANTS = (
    "\u2e80-\u2fdf\ufb50-\ufdff\ufe70-\ufefc\uff00-\uffef"  # radicals, Arabic forms in PDFs, half and full width
)
_ARABIC = "\u0600-\u06ff"
_RUN = re.compile(f"[{_PAIRED}]+")
_VARIANT = re.compile(f"[{_VARIANTS}]+")
_CLUSTER = re.compile("[^\uff9e\uff9f][\uff9e\uff9f]*|[\uff9e\uff9f]")  # with the voice marks of half-width kana
_ANY = re.compile(f"[{_PAIRED}{_VARIANTS}{_ARABIC}]")
_ONE = re.compile(f"[{_PAIRED}]")
_TO_REMOVE = "\u0640\u0670" + "".join(map(chr, range(0x064B, 0x0660)))  # Arabic: stretching and vowel signs
_TO_REMOVE += "".join(map(chr, range(0x0E47, 0x0E4F)))  # Thai tone marks, at which tantivy would cut
_ALEF, _YEH = "\u0627", "\u064a"
_PLAIN = str.maketrans(
    dict.fromkeys(_TO_REMOVE, "") | dict.fromkeys("\u0622\u0623\u0625\u0671", _ALEF) | {"\u0649": _YEH}
)


def prepared(text: str) -> str:
    """A text in which every run of such a script is its pairs of characters, and Arabic is written one way."""
    if text.isascii() or not _ANY.search(text):
        return text
    plain = _VARIANT.sub(lambda found: unicodedata.normalize("NFKC", found[0]), text)
    return _RUN.sub(_pairs, plain.translate(_PLAIN))


def placed(text: str) -> tuple[str, list[tuple[int, int]]]:
    """A text as prepared() writes it before it cuts pairs, and where (start, end) each character comes from."""
    if text.isascii() or not _ANY.search(text):
        return text, [(at, at + 1) for at in range(len(text))]
    plain, whence, at = list[str](), list[tuple[int, int]](), 0
    while at < len(text):
        for piece in _pieces(text, at):
            made = unicodedata.normalize("NFKC", piece) if _VARIANT.match(piece) else piece
            made = made.translate(_PLAIN)
            plain.append(made)
            whence += [(at, at + len(piece))] * len(made)
            at += len(piece)
    return "".join(plain), whence


def _pieces(text: str, at: int) -> list[str]:
    """The next character, or those of the next run of variants where each is written plainly by itself."""
    if (run := _VARIANT.match(text, at)) is None:
        return [text[at]]
    apart = _CLUSTER.findall(run[0])
    whole = "".join(unicodedata.normalize("NFKC", piece) for piece in apart)
    return apart if whole == unicodedata.normalize("NFKC", run[0]) else [run[0]]


def paired(plain: str) -> Iterator[tuple[int, int]]:
    """Where a plain text has runs of the scripts that are cut into pairs."""
    return (run.span() for run in _RUN.finditer(plain))


def is_single(term: str) -> bool:
    """Whether a term is one character of such a script: an index holds it only in pairs."""
    return len(term) == 1 and _ONE.match(term) is not None


def _pairs(run: re.Match[str]) -> str:
    signs = run[0]
    return f" {' '.join(signs[at : at + 2] for at in range(max(1, len(signs) - 1)))} "

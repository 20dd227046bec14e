"""Retrieved text as data: a fence that it cannot close, marks that it cannot fake."""

import hashlib
import re
from collections.abc import Sequence

# What chat templates and prompts use as structure. A passage may talk about it, but not use it.
_CONTROL = re.compile(
    r"<(?=\s*[|\uff5c]|\s*/?\s*(?:passage|(?:documents?|system|user|assistant|s|think|im_start|im_end)\b))",
    re.IGNORECASE,
)
_TURN = re.compile(r"\[(/?\s*(?:INST|SYS|SYSTEM|USER|ASSISTANT)\s*)\]", re.IGNORECASE)
_MARKER = re.compile(r"[\[\u3010]\s*(\d{1,3}(?:\s*[,;]\s*\d{1,3})*)\s*[\]\u3011]")
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\U000e0000-\U000e007f]")


def fence_for(texts: Sequence[str]) -> str:
    """A tag name that stands in none of the texts. It hashes them all, so no text can be written to hold it."""
    digest = hashlib.sha256("\x00".join(texts).encode("utf-8", "replace")).hexdigest()
    for start in range(0, len(digest) - 12):
        name = f"passage-{digest[start : start + 12]}"
        if not any(name in text.lower() for text in texts):
            return name
    return f"passage-{hashlib.sha256(digest.encode()).hexdigest()}"


def neutral(text: str) -> str:
    """Text in which nothing opens or closes a fence or a turn, and nothing looks like a footnote of ours.

    "<" before a control word becomes another sign, "[3]" becomes "(3)", and what nobody can see is left out.
    """
    text = _UNSEEN.sub("", text.replace("\r\n", "\n"))
    text = _CONTROL.sub("\u2039", text)
    return _MARKER.sub(r"(\1)", _TURN.sub(r"(\1)", text))


def neutral_line(text: str) -> str:
    """The same for an attribute: one line without quotes and angle brackets."""
    return re.sub(r"\s+", " ", neutral(text)).translate(str.maketrans('"<>', "'\u2039\u203a")).strip()

"""WebVTT and SubRip: what was said, by whom and from when, joined to paragraphs."""

import html
import re

from indexer.loaders.decode import decode
from indexer.loaders.extract import Extract

_TIMING = re.compile(r"\s*((?:\d+:)?\d{1,2}:\d{2})[.,]\d{1,3}\s+-->\s+")
_VOICE = re.compile(r"<v(?:\.[^\s>]*)?\s+([^>]+)>")
_TAG = re.compile(r"</?[a-zA-Z0-9.:_][^>\n]{0,200}>")
_PARAGRAPH = 400  # characters, after which a new time is given


def read_captions(data: bytes) -> Extract:
    """Read captions. Consecutive cues of one speaker are one paragraph, `[00:11] Name: words`; comments are dropped."""
    text, encoding = decode(data)
    paragraphs: list[str] = []
    speaker, length = "", 0
    for block in re.split(r"\n[ \t]*\n", text.replace("\r\n", "\n").replace("\r", "\n")):
        lines = block.strip("\n\ufeff").split("\n")
        timing = next((at for at, line in enumerate(lines[:2]) if _TIMING.match(line)), None)
        if timing is None:
            continue  # the header, a NOTE, a STYLE or a REGION
        raw = " ".join(lines[timing + 1 :])
        voice = _VOICE.search(raw)
        name = " ".join(html.unescape(voice[1]).split()) if voice else ""
        words = " ".join(html.unescape(_TAG.sub("", raw)).split())
        if not words:
            continue
        if paragraphs and name == speaker and length < _PARAGRAPH:
            paragraphs[-1] += f" {words}"
            length += len(words)
            continue
        begin = _TIMING.match(lines[timing])
        assert begin
        paragraphs.append(f"[{begin[1]}] {name}: {words}" if name else f"[{begin[1]}] {words}")
        speaker, length = name, len(words)
    return Extract(("\n\n".join(paragraphs),), metadata=(("encoding", encoding),))

"""Text recognition of scanned pages and pictures with tesseract, a program that is installed apart."""

import math
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

from indexer.clean import join_hyphenated
from indexer.errors import DocumentError
from indexer.loaders.extract import Extract

INSTALL = "Install tesseract (Debian: apt install tesseract-ocr), which reads scanned pages"
_DPI = 300  # what tesseract's documentation asks for
_MAX_PIXELS = 40_000_000  # A4 at 300 dpi has 8.7 million
_NOISE = 30.0  # below this mean confidence, what was read is a photograph's grain
_SURE = 70.0  # mean confidence of a page that stands upright; one that does not was seen to have 37
# Columns of the table: level, page, block, paragraph, line, word, left, top, width, height, confidence, text
_PAGE, _LINE, _CONFIDENCE, _COLUMNS = 1, 4, 10, 12
_WORD_LEVEL = "5"
_LAYOUT = "1"  # --psm 1: find the columns, and turn the page upright


def read_image(data: bytes) -> Extract:
    """A picture has no text of its own; what tesseract reads in it comes from `recognise_image`."""
    return Extract(("",), paged=True)


def is_installed() -> bool:
    """Whether there is a tesseract to be called."""
    return shutil.which("tesseract") is not None


@dataclass(frozen=True, slots=True)
class Recognised:
    """What was read on one page, and how sure tesseract is of it: 0 to 100, the mean over its words."""

    text: str
    confidence: float


def recognise_image(data: bytes, languages: str, timeout_s: float) -> list[Recognised]:
    """Read a picture, in any file format that tesseract's library knows; a TIFF may hold several pages.

    Raises:
        DocumentError: tesseract failed, for example for want of a language.
    """
    command = ["tesseract", "stdin", "stdout", "-l", languages, "--psm", _LAYOUT, "tsv"]
    environ = {**os.environ, "OMP_THREAD_LIMIT": "1"}
    try:
        ran = subprocess.run(command, input=data, capture_output=True, timeout=timeout_s, env=environ)
    except subprocess.TimeoutExpired as error:
        raise DocumentError(
            f"text recognition took longer than {timeout_s:g} s", "Raise the setting indexer.parse_timeout_s."
        ) from error
    if ran.returncode:
        said = " ".join(ran.stderr.decode(errors="replace").split())[-200:]
        raise DocumentError(
            f"tesseract cannot read it: {said}",
            "Look whether `tesseract --list-langs` has the languages of the setting indexer.ocr_languages.",
        )
    return _pages(ran.stdout.decode("utf-8", "replace"))


def _pages(table: str) -> list[Recognised]:
    """Put words together from tesseract's table: one row a thing found, page, block, paragraph and line before it."""
    rows = [row for row in (line.split("\t") for line in table.split("\n")[1:]) if len(row) == _COLUMNS]
    pages = []
    for _, page in groupby(rows, key=itemgetter(_PAGE)):
        words = [row for row in page if row[0] == _WORD_LEVEL and row[-1].strip()]
        paragraphs = []
        for _, paragraph in groupby(words, key=lambda row: row[_PAGE:_LINE]):
            lines = [" ".join(row[-1] for row in line) for _, line in groupby(paragraph, key=itemgetter(_LINE))]
            joined = lines[0]
            for line in lines[1:]:
                joined = join_hyphenated(joined, line) if joined.endswith("-") else f"{joined} {line}"
            paragraphs.append(joined)
        sure = [float(row[_CONFIDENCE]) for row in words]
        confidence = sum(sure) / len(sure) if sure else 0.0
        pages.append(Recognised("\n\n".join(paragraphs) if confidence >= _NOISE else "", confidence))
    return pages


def recognise_pages(data: bytes, pages: Sequence[int], languages: str, timeout_s: float) -> dict[int, str]:
    """Draw pages (from 0) of a PDF and read them; pages on which nothing is drawn are left out."""
    import pypdfium2

    texts = {}
    pdf = pypdfium2.PdfDocument(data)
    try:
        for number in pages:
            page = pdf[number]
            if next(page.get_objects(max_depth=1), None) is not None:
                texts[number] = _upright(page, languages, timeout_s).text
            page.close()
    finally:
        pdf.close()
    return texts


def _upright(page: Any, languages: str, timeout_s: float) -> Recognised:
    """Read a page; one that makes little sense is turned, because tesseract does not see how few words stand."""
    best = Recognised("", -1.0)
    for turn in (0, 90, 180, 270):
        (found, *_) = recognise_image(_drawn(page, turn), languages, timeout_s) or [best]
        best = max(best, found, key=lambda read: read.confidence)
        if best.confidence >= _SURE or (turn == 0 and not found.confidence):
            break
    return best


def _drawn(page: Any, turn: int) -> bytes:
    """A page, turned by so many degrees, as a grey picture in the PGM format (netpbm)."""
    width, height = page.get_size()
    scale = min(_DPI / 72, math.sqrt(_MAX_PIXELS / max(1.0, width * height)))
    bitmap = page.render(scale=scale, grayscale=True, rotation=turn)
    pixels = memoryview(bitmap.buffer).cast("B")
    rows = (bytes(pixels[at : at + bitmap.width]) for at in range(0, bitmap.height * bitmap.stride, bitmap.stride))
    picture = b"P5 %d %d 255\n" % (bitmap.width, bitmap.height) + b"".join(rows)
    bitmap.close()
    return picture

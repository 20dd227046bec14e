"""Text recognition of scanned pages and pictures with tesseract, a program that is installed apart."""

import math
import os
import shutil
import subprocess
from collections.abc import Sequence
from typing import Any

from indexer.errors import DocumentError
from indexer.loaders.extract import Extract

INSTALL = "Install tesseract (Debian: apt install tesseract-ocr), which reads scanned pages"
_DPI = 300  # what tesseract's documentation asks for
_MAX_PIXELS = 40_000_000  # A4 at 300 dpi has 8.7 million
_LAYOUT = "1"  # --psm 1: find the columns, and turn the page upright


def read_image(data: bytes) -> Extract:
    """A picture has no text of its own; what tesseract reads in it comes from `recognise_image`."""
    return Extract(("",), paged=True)


def is_installed() -> bool:
    """Whether there is a tesseract to be called."""
    return shutil.which("tesseract") is not None


def recognise_image(data: bytes, languages: str, timeout_s: float) -> tuple[str, ...]:
    """Read a picture, in any file format that tesseract's library knows; a TIFF may hold several pages.

    Raises:
        DocumentError: tesseract failed, for example for want of a language.
    """
    command = ["tesseract", "stdin", "stdout", "-l", languages, "--psm", _LAYOUT]
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
    return tuple(ran.stdout.decode("utf-8", "replace").removesuffix("\f").split("\f"))


def recognise_pages(data: bytes, pages: Sequence[int], languages: str, timeout_s: float) -> dict[int, str]:
    """Draw pages (from 0) of a PDF and read them; pages on which nothing is drawn are left out."""
    import pypdfium2

    texts = {}
    pdf = pypdfium2.PdfDocument(data)
    try:
        for number in pages:
            page = pdf[number]
            if next(page.get_objects(max_depth=1), None) is not None:
                texts[number] = "\n\n".join(recognise_image(_drawn(page), languages, timeout_s))
            page.close()
    finally:
        pdf.close()
    return texts


def _drawn(page: Any) -> bytes:
    """A page as a grey picture in the PGM format (netpbm)."""
    width, height = page.get_size()
    scale = min(_DPI / 72, math.sqrt(_MAX_PIXELS / max(1.0, width * height)))
    bitmap = page.render(scale=scale, grayscale=True)
    pixels = memoryview(bitmap.buffer).cast("B")
    rows = (bytes(pixels[at : at + bitmap.width]) for at in range(0, bitmap.height * bitmap.stride, bitmap.stride))
    picture = b"P5 %d %d 255\n" % (bitmap.width, bitmap.height) + b"".join(rows)
    bitmap.close()
    return picture

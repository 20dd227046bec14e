"""What can be read: each format's name, media type, usual endings, loader, and how its text is cut into chunks."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Literal, cast

from indexer.loaders.extract import Extract

Reader = Callable[[bytes], Extract]
_OOXML = "application/vnd.openxmlformats-officedocument."
_ODF = "application/vnd.oasis.opendocument."


@dataclass(frozen=True, slots=True)
class Format:
    """One format. Its text has headings, is one row a line, or is plain."""

    name: str  # as messages say it
    media_type: str
    loader: str  # "module.function" below indexer.loaders, imported when it is needed
    suffixes: tuple[str, ...] = ()
    shape: Literal["headed", "rows", "plain"] = "headed"
    binary: bool = False  # an ending of a binary format says nothing about a text
    holds_files: bool = False  # archives and mails: what is inside becomes documents of its own

    def reader(self) -> Reader:
        """Import the loader."""
        module, _, function = self.loader.rpartition(".")
        return cast(Reader, getattr(import_module(f"indexer.loaders.{module}"), function))


_CODE = tuple(  # by language's usual endings
    f".{ending}"
    for ending in """bash bat c cc clj cmake conf cpp cs css cxx dart el erl ex exs f90 fs go gradle groovy h hpp hs
    ini java jl js jsx kt kts less lisp lua m mjs ml mm nim php pl pm proto ps1 py pyi r rb rs sass scala scm scss sh
    sol sql swift tcl tf toml ts tsx v vb vhd vue yaml yml zig zsh""".split()  # noqa: SIM905
)

TEXT = Format("text", "text/plain", "text.read_text", (".txt", ".text", ".log", ".rst", ".adoc", ".org"), "plain")
MARKDOWN = Format("Markdown", "text/markdown", "text.read_markdown", (".md", ".markdown"))
HTML = Format("HTML", "text/html", "html.read_html", (".html", ".htm", ".xhtml"))
CSV = Format("CSV", "text/csv", "delimited.read_delimited", (".csv",), "rows")
TSV = Format("TSV", "text/tab-separated-values", "delimited.read_delimited", (".tsv", ".tab"), "rows")
JSON = Format("JSON", "application/json", "records.read_json", (".json", ".geojson"), "rows")
JSONL = Format("JSON Lines", "application/jsonl", "records.read_json_lines", (".jsonl", ".ndjson"), "rows")
XML = Format("XML", "application/xml", "xml.read_xml", (".xml", ".nxml"))
LATEX = Format("LaTeX", "application/x-tex", "latex.read_latex", (".tex", ".latex"))
CAPTIONS = Format("captions", "text/vtt", "captions.read_captions", (".vtt", ".srt"), "plain")
CODE = Format("source code", "text/x-source", "text.read_text", _CODE, "plain")
PDF = Format("PDF", "application/pdf", "pdf.read_pdf", (".pdf",), binary=True)
DOCX = Format("DOCX", _OOXML + "wordprocessingml.document", "docx.read_docx", (".docx", ".docm"), binary=True)
PPTX = Format("PPTX", _OOXML + "presentationml.presentation", "pptx.read_pptx", (".pptx", ".pptm"), binary=True)
SHEETS = Format(
    "spreadsheet",
    _OOXML + "spreadsheetml.sheet",
    "sheets.read_sheets",
    (".xlsx", ".xlsm", ".xlsb", ".xls"),
    binary=True,
)
ODT = Format("ODT", _ODF + "text", "opendocument.read_opendocument", (".odt", ".ott"), binary=True)
ODP = Format("ODP", _ODF + "presentation", "opendocument.read_opendocument", (".odp",), binary=True)
ODS = Format("ODS", _ODF + "spreadsheet", "sheets.read_sheets", (".ods",), binary=True)
EPUB = Format("EPUB", "application/epub+zip", "epub.read_epub", (".epub",), binary=True)
IMAGE = Format(
    "image",
    "image/*",
    "ocr.read_image",
    (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".gif", ".bmp", ".webp"),
    "plain",
    binary=True,
)
MAIL = Format("mail", "message/rfc822", "mail.read_mail", (".eml",), "plain", holds_files=True)
ZIP = Format("ZIP archive", "application/zip", "archive.read_zip", (".zip",), binary=True, holds_files=True)

FORMATS = (
    *(MARKDOWN, HTML, TEXT, PDF, DOCX, PPTX, SHEETS, ODT, ODP, ODS, EPUB, CSV, TSV),
    *(IMAGE, MAIL, JSON, JSONL, XML, LATEX, CAPTIONS, ZIP, CODE),
)
BY_SUFFIX = {suffix: each for each in FORMATS for suffix in each.suffixes}
SUFFIXES = tuple(BY_SUFFIX)
NAMES = (
    "PDF, Word, PowerPoint, Excel, OpenDocument, EPUB, HTML, Markdown, text, CSV, JSON, XML, LaTeX, mail, ZIP or code"
)
HEADED = frozenset(each.media_type for each in FORMATS if each.shape == "headed")
ROWS = frozenset(each.media_type for each in FORMATS if each.shape == "rows")

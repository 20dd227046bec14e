"""EPUB: the book's pages in reading order, each through the HTML loader."""

import posixpath
from typing import Any
from urllib.parse import unquote

from indexer.errors import DocumentError
from indexer.loaders.extract import Extract
from indexer.loaders.html import read_html
from indexer.loaders.package import local_name, open_package, read_member, read_part

_PAGES = ("application/xhtml+xml", "text/html", "application/x-dtbook+xml")


def read_epub(data: bytes) -> Extract:
    """Read what the spine lists (EPUB 3.3, section 5.7), in its order. Title and author come from the package document.

    Raises:
        DocumentError: the book is copy-protected, or its package document or a page is missing.
    """
    package = open_package(data)
    container = read_part(package, "META-INF/container.xml")
    opf = next((each.get("full-path") for each in container.iter() if local_name(each) == "rootfile"), None) or ""
    book = read_part(package, opf)
    items = {each.get("id"): each for each in book.iter() if local_name(each) == "item"}
    spine = [items.get(each.get("idref")) for each in book.iter() if local_name(each) == "itemref"]
    pages = [_path(opf, item) for item in spine if item is not None and item.get("media-type") in _PAGES]
    protected = _encrypted(package)
    if protected.intersection(pages):
        raise DocumentError("the book is copy-protected (DRM)", "Use a copy without protection.")
    texts = [read_html(read_member(package, page)).parts[0] for page in pages]
    author = "; ".join(_named(book, "creator"))
    return Extract(
        ("\n\n".join(filter(None, texts)),),
        next(iter(_named(book, "title")), ""),
        (("author", author),) if author else (),
    )


def _path(opf: str, item: Any) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(opf), unquote(item.get("href") or "")))


def _named(book: Any, name: str) -> list[str]:
    """Texts of the Dublin Core elements of a name."""
    texts = (" ".join("".join(each.itertext()).split()) for each in book.iter() if local_name(each) == name)
    return [text for text in texts if text]


def _encrypted(package: Any) -> set[str]:
    """Names of encrypted members: scrambled fonts are harmless, encrypted pages are not."""
    if "META-INF/encryption.xml" not in package.namelist():
        return set()
    listed = read_part(package, "META-INF/encryption.xml")
    return {unquote(each.get("URI") or "") for each in listed.iter() if local_name(each) == "CipherReference"}

"""Links and pictures in an answer. A model repeats what a document told it to, and a picture that is fetched is a
message sent: what would load or lead somewhere is taken out before anybody renders it."""

import re
from collections.abc import Sequence

_IMAGE = re.compile(r"!\[([^\]\n]*)\]\s*(?:\([^)\n]*\)|\[[^\]\n]*\])?")
_LINK = re.compile(r"\[([^\]\n]+)\]\((?=\s*<?(?:[/\\#]|www\.|[a-z][a-z0-9+.-]*:))([^)\n]*\)?)\)?", re.IGNORECASE)
_DEFINITION = re.compile(r"^[ \t]{0,3}\[[^\]\n]+\]:[ \t]*\S.*$\n?", re.MULTILINE)
# One that a quotation or a list holds, or that goes on in the next line.
_LOOSE_DEFINITION = re.compile(r"^((?:[^\w\n]|\d)*\[(?:[^\]\\]|\\.)*\]):", re.MULTILINE)
_AUTOLINK = re.compile(r"<([a-z][a-z0-9+.-]{1,31}:[^\s<>]*|[^\s<>@]+@[^\s<>@]+)>", re.IGNORECASE)
_TAG = re.compile(
    r"<\s*/?\s*(?:a|area|audio|base|button|embed|form|frame|iframe|image|img|input|link|meta|object|picture|script|source|"
    r"style|svg|track|video)\b[^>]*>?",
    re.IGNORECASE,
)
_ADDRESS = re.compile(
    r"<?(?:\b[a-z][a-z0-9+.-]{1,20}:)?//[^\s<>()\[\]\"']+>?|\b(?:javascript|data|vbscript|file):[^\s<>]+|\bwww\.[^\s<>()]+",
    re.IGNORECASE,
)
_TAIL = ".,;:!?*_`"
LEFT_OUT = "(address left out)"


def without_links(text: str, sources: Sequence[str]) -> str:
    """The answer without pictures, links and HTML that loads something; an address stays if a source has it so.

    A picture leaves its description behind and a link its label, with the address behind it if that is one of the
    sources' own. Footnote markers stay as they are.
    """
    before = ""
    while before != text:  # what is taken out may have held the halves of something else apart
        before = text
        text = _TAG.sub("", _DEFINITION.sub("", _IMAGE.sub(r"\1", text)))
        text = _LINK.sub(lambda found: _label(found, sources), text)
        text = _ADDRESS.sub(lambda found: _address(found[0], sources), text)
        text = _AUTOLINK.sub(r"\1", text)
        # What else Markdown would take for a link leads to a place on the page's own server, if anywhere. It is as
        # likely to be code, f[0](x): the words stay, and a space makes them words.
        text = _LOOSE_DEFINITION.sub(r"\1 :", text.replace("](", "] ("))
    return text


def leads_somewhere(text: str, sources: Sequence[str]) -> bool:
    """Whether rendering the text as Markdown would load anything, or link to what no source names."""
    return without_links(text, sources) != text


def _label(found: re.Match[str], sources: Sequence[str]) -> str:
    label, address = found[1], found[2].split(" ")[0].strip("<>)")
    if label.strip().isdigit():
        return f"[{label}]"
    return f"{label} ({address})" if _is_known(address, sources) else label


def _address(found: str, sources: Sequence[str]) -> str:
    address = found.strip("<>").rstrip(_TAIL)
    if not _is_known(address, sources):
        return LEFT_OUT
    return found.strip("<>")


def _is_known(address: str, sources: Sequence[str]) -> bool:
    """Whether a source has exactly this address, and not only its beginning."""
    if not _ADDRESS.fullmatch(address) or address.lower().startswith(("javascript:", "data:", "vbscript:")):
        return False
    whole = re.compile(rf"(?<![\w/.-]){re.escape(address)}(?![\w/?&=#%-])")
    return any(whole.search(source) for source in sources)

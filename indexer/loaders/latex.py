"""LaTeX source: headings, and the words as they are written; mathematics and citations stay as source."""

import re

from indexer.loaders.decode import decode
from indexer.loaders.extract import Extract
from indexer.loaders.markup import paragraph

_COMMENT = re.compile(r"(?<!\\)%.*\n[ \t]*|(?<!\\)%.*$")
_BODY = re.compile(r"\\begin\{document\}(.*?)(?:\\end\{document\}|\Z)", re.DOTALL)
_LEVELS = ("part", "chapter", "section", "subsection", "subsubsection", "paragraph")
_HEADING = re.compile(rf"\\({'|'.join(_LEVELS)})\*?(?:\[[^\]]*\])?\{{((?:[^{{}}]|\{{[^{{}}]*\}})*)\}}")
_TITLE = re.compile(r"\\title(?:\[[^\]]*\])?\{((?:[^{}]|\{[^{}]*\})*)\}")
_STYLE = re.compile(r"\\(?:emph|text(?:bf|it|tt|sc|rm|sf|sl)|underline|mbox)\{([^{}]*)\}")
_SILENT = re.compile(
    r"\\(?:label|vspace\*?|hspace\*?|includegraphics(?:\[[^\]]*\])?|bibliographystyle|pagestyle|thispagestyle)\{[^{}]*\}"
    r"|\\(?:maketitle|tableofcontents|centering|noindent|newpage|clearpage|hline|toprule|midrule|bottomrule"
    r"|small|footnotesize|appendix)(?![a-zA-Z])"
)
_ENVIRONMENT = re.compile(
    r"\\(?:begin|end)\{(?:itemize|enumerate|description|center|abstract|quote|figure\*?|table\*?)\}(?:\[[^\]]*\])?"
)
_ITEM = re.compile(r"[ \t]*\\item(?:\[([^\]]*)\])?[ \t]*")
_ESCAPED = re.compile(r"\\([%&#_$])")
_ACCENT = re.compile(r"\\(?:([`'^\"~=.])\{?([a-zA-Z])\}?|([cvuHrk])\{([a-zA-Z])\})")
_MARKS = dict(
    zip("`'^\"~=.cvuHrk", "\u0300\u0301\u0302\u0308\u0303\u0304\u0307\u0327\u030c\u0306\u030b\u030a\u0328", strict=True)
)


def read_latex(data: bytes) -> Extract:
    """Read LaTeX source without comments and preamble. Macros of the author's own are not expanded."""
    text, encoding = decode(data)
    text = _COMMENT.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    title = _TITLE.search(text)
    body = _BODY.search(text)
    words = body[1] if body else text
    heading = " ".join(_plain(title[1]).split()) if title else ""
    blocks = [f"# {heading}"] if heading else []
    end = 0
    levels = sorted({_LEVELS.index(match[1]) for match in _HEADING.finditer(words)})
    for match in _HEADING.finditer(words):
        blocks.append(paragraph(_plain(words[end : match.start()])))
        level = levels.index(_LEVELS.index(match[1])) + 1 + bool(heading)
        blocks.append(f"{'#' * min(level, 6)} {' '.join(_plain(match[2]).split())}")
        end = match.end()
    blocks.append(paragraph(_plain(words[end:])))
    return Extract(("\n\n".join(block for block in blocks if block.strip()),), heading, (("encoding", encoding),))


def _plain(source: str) -> str:
    source = _ITEM.sub(
        lambda match: f"- {match[1]}: " if match[1] else "- ", _ENVIRONMENT.sub("", _SILENT.sub("", source))
    )
    while source != (source := _STYLE.sub(r"\1", source)):
        pass
    source = _ACCENT.sub(lambda match: (match[2] or match[4]) + _MARKS[match[1] or match[3]], source)
    source = _ESCAPED.sub(r"\1", source).replace("~", " ").replace("``", "“").replace("''", "”").replace("---", "—")
    return source.replace("\\\\", "\n").replace("--", "\u2013")

"""The text of a chunk as the indexes see it, and the terms BM25 counts.

Snowball's English stop list (D. Porter, BSD licence) holds the question words, which name no topic. It is applied
to queries only: documents keep every word, so that "The Who" or "to be or not to be" can still be found.
"""

import functools
import hashlib
from collections.abc import Sequence
from typing import Any

ANALYSIS_VERSION = "1"  # raise it when the terms of a text change: lexical indexes are then rebuilt

_STOPWORD_LIST = """
i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she her hers herself it its
itself they them their theirs themselves what which who whom this that these those am is are was were be been being
have has had having do does did doing would should could ought a an the and but if or because as until while of at by
for with about against between into through during before after above below to from up down in out on off over under
again further then once here there when where why how all any both each few more most other some such no nor not only
own same so than too very s t d m ll re ve can will just don cannot
"""
_MAX_TERM_BYTES = 80  # longer runs are hashes, base64 and the like


def embed_text(title: str, heading_path: Sequence[str], text: str) -> str:
    """Put the document's title and the chunk's headings on a line above the chunk's own text."""
    names = [name for name in dict.fromkeys((title.strip(), *(h.strip() for h in heading_path))) if name]
    return f"{' / '.join(names)}\n{text}" if names else text


def embed_hash(embedded: str) -> bytes:
    """Name a text (16 bytes): equal texts share one vector."""
    return hashlib.sha256(embedded.encode("utf-8", "surrogatepass")).digest()[:16]


def analyze(text: str) -> list[str]:
    """Split a document's text into its terms, in order, repeated as often as they occur."""
    return list(analyzer().analyze(text))


def query_terms(query: str) -> list[str]:
    """Split a query into its terms without stopwords; a query of nothing but stopwords keeps them all."""
    return list(_query_analyzer().analyze(query)) or analyze(query)


@functools.cache
def analyzer() -> Any:
    """Build the tantivy analyzer of documents: words, lower case, accents folded, English stems."""
    return _build(())


@functools.cache
def _query_analyzer() -> Any:
    return _build(_STOPWORD_LIST.split())


def _build(stopwords: Sequence[str]) -> Any:
    from tantivy import Filter, TextAnalyzerBuilder, Tokenizer

    builder = TextAnalyzerBuilder(Tokenizer.simple())
    builder = builder.filter(Filter.remove_long(_MAX_TERM_BYTES)).filter(Filter.lowercase()).filter(Filter.ascii_fold())
    if stopwords:
        builder = builder.filter(Filter.custom_stopword(list(stopwords)))
    return builder.filter(Filter.stemmer("english")).build()

"""The text of a chunk as the indexes see it, and the terms BM25 counts.

Snowball's English stop list (D. Porter, BSD licence) holds the question words, which name no topic. It is applied
to queries only: documents keep every word, so that "The Who" or "to be or not to be" can still be found. The lists of
other languages are tantivy's, which are Snowball's, too.
"""

import functools
import hashlib
from collections.abc import Sequence
from typing import Any

from indexer.store.language import UNLISTED, Language, prepared

ANALYSIS_VERSION = "2"  # raise it when the terms of a text change: lexical indexes are then rebuilt

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
    *names, _ = embed_parts(title, heading_path, text)
    return f"{' / '.join(names)}\n{text}" if names else text


def embed_parts(title: str, heading_path: Sequence[str], text: str) -> list[str]:
    """The document's title and the chunk's headings, each once, and the chunk's own text."""
    names = dict.fromkeys((title.strip(), *(heading.strip() for heading in heading_path)))
    return [*(name for name in names if name), text]


def embed_hash(embedded: str) -> bytes:
    """Name a text (16 bytes): equal texts share one vector."""
    return hashlib.sha256(embedded.encode("utf-8", "surrogatepass")).digest()[:16]


def analyze(text: str, language: Language = "english") -> list[str]:
    """Split a document's text into its terms, in order, repeated as often as they occur."""
    return list(analyzer(language).analyze(prepared(text)))


def query_terms(query: str, language: Language = "english") -> list[str]:
    """Split a query into its terms without stopwords; a query of nothing but stopwords keeps them all."""
    return list(_query_analyzer(language).analyze(prepared(query))) or analyze(query, language)


@functools.cache
def analyzer(language: Language) -> Any:
    """Build the tantivy analyzer of prepared documents: words, lower case, accents folded, stems."""
    return _build(language, stopwords=True)


@functools.cache
def _query_analyzer(language: Language) -> Any:
    return _build(language, stopwords=False)


def _build(language: Language, *, stopwords: bool) -> Any:
    from tantivy import Filter, TextAnalyzerBuilder, Tokenizer

    builder = TextAnalyzerBuilder(Tokenizer.simple()).filter(Filter.remove_long(_MAX_TERM_BYTES))
    builder = builder.filter(Filter.lowercase())
    if language == "english":  # its accents are other languages' words: without them, a stem is that of the plain word
        builder = builder.filter(Filter.ascii_fold())
    if not stopwords and language not in UNLISTED:
        english = language == "english"
        named = Filter.custom_stopword(_STOPWORD_LIST.split()) if english else Filter.stopword(language)
        builder = builder.filter(named)
    if language != "none":
        builder = builder.filter(Filter.stemmer(language))
    return builder.filter(Filter.ascii_fold()).build()  # stemmers of other languages read their accents

"""chunk(): a document cut into exact slices that fit the encoder.

Headings cut first, then langchain's recursive splitter: paragraphs, rows and items, sentences, clauses, words.
The splitter is asked for pieces that join to the text again, so every offset is a sum of lengths, never a search.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise, takewhile

from indexer.document import Chunk, Document
from indexer.errors import ConfigError
from indexer.formats import HEADED, ROWS
from indexer.sections import Section, split_sections

CHUNKER_VERSION = "1"

CountTokens = Callable[[Sequence[str]], list[int]]
Span = tuple[int, int]

_SENTENCE = r"[.!?…][\"'”’»)\]]*\s+|[。！？]"  # noqa: RUF001
_SEPARATORS = (
    r"\n{2,}",
    r"\n(?= {0,40}(?:[-*+•|#>]|\d{1,3}[.)] ))|(?<=[|.!?:;])\n",  # an item, a row, or a line that is a sentence
    _SENTENCE,
    r"\n",
    r"[;:]\s+|[；：]",  # noqa: RUF001
    r",\s+|[，、]",  # noqa: RUF001
    r"\s+",
    r"[\s\S]{32}",  # a text without spaces, a few words' length at a time
    "",
)
_ROW_SEPARATORS = (r"\n", *_SEPARATORS[2:])
_SMALL = 8  # sections of less than this part of the limit are put together with neighbours like them
_WORD = re.compile(r"\s{0,32}\S{1,64}|\s{1,32}")  # bounded: tokenizers take very long over very long words
_SPACE_THEN_WORD = re.compile(r"\s+|\S+")


@dataclass(frozen=True, slots=True)
class ChunkSettings:
    """How large chunks are, in tokens of the encoder."""

    max_tokens: int = 256
    overlap_tokens: int = 0  # whole sentences repeated from the chunk before, within the same section

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise ConfigError(
                f"indexer.chunk_tokens is {self.max_tokens}", "Give a number from 1; 256 suits most documents."
            )
        if not 0 <= self.overlap_tokens <= self.max_tokens // 2:
            raise ConfigError(
                f"indexer.chunk_overlap_tokens is {self.overlap_tokens}, with indexer.chunk_tokens {self.max_tokens}",
                "Give a number from 0 to half of indexer.chunk_tokens.",
            )


def chunk(document: Document, count_tokens: CountTokens, settings: ChunkSettings) -> tuple[Chunk, ...]:
    """Cut a document into chunks of at most `settings.max_tokens` tokens, in order.

    Every character that is not whitespace lies in a chunk, in exactly one when there is no overlap. Only a single
    character that has more tokens than the limit makes a longer chunk.
    """
    text = document.text
    splitter = _Splitter(text, count_tokens, settings, document.media_type in ROWS)
    sections = split_sections(text) if document.media_type in HEADED else [Section(0, 0, len(text), ())]
    spans: list[tuple[Span, tuple[str, ...]]] = []
    for group in _grouped(sections, splitter):
        path = _shared([section.path for section in group])
        spans += [(span, path) for span in splitter.spans(group[0].start, group[0].body, group[-1].end)]
    return tuple(
        Chunk(f"{document.id}:{ordinal}", document.id, text[start:end], start, end, path, document.page_at(start))
        for ordinal, ((start, end), path) in enumerate(spans)
    )


def named_after(document_id: str, chunks: Sequence[Chunk]) -> tuple[Chunk, ...]:
    """Give chunks the id of their document, where that was chosen after they were cut."""
    return tuple(
        replace(piece, id=f"{document_id}:{ordinal}", document_id=document_id) for ordinal, piece in enumerate(chunks)
    )


def _grouped(sections: Sequence[Section], splitter: "_Splitter") -> Iterator[list[Section]]:
    """Put small neighbours together, as in a glossary, when they stand under the same parent heading."""
    group: list[Section] = []
    total = 0
    for section in sections:
        size = splitter.length(splitter.text[section.start : section.end])
        small = size * _SMALL < splitter.limit
        related = group and section.path[: len(group[0].path) - 1] == group[0].path[:-1]
        if not (small and related and total + size <= splitter.limit):
            if group:
                yield group
            group, total = [], 0
        group.append(section)
        total += size if small else splitter.limit
    if group:
        yield group


def _shared(paths: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The headings that all paths begin with."""
    levels = takewhile(lambda level: len(set(level)) == 1, zip(*paths, strict=False))
    return tuple(level[0] for level in levels)


class _Splitter:
    """Splits parts of one text, and remembers how many tokens its words have."""

    def __init__(self, text: str, count_tokens: CountTokens, settings: ChunkSettings, rows: bool) -> None:
        self.text = text
        self.limit = settings.max_tokens - settings.overlap_tokens
        self._settings = settings
        self._count = count_tokens
        self._separators = list(_ROW_SEPARATORS if rows else _SEPARATORS)
        words = {match.group() for match in _WORD.finditer(text)}
        # A piece may begin with a word that has a space before it in the text, and end with that space.
        words |= {part for word in words for part in _SPACE_THEN_WORD.findall(word)}
        self._words: dict[str, int] = {}
        self._learn(words)
        self._lengths: dict[str, int] = {}

    def length(self, piece: str) -> int:
        """Tokens of a piece, as the sum over its words: exact to a few, and at least 1 unless it is empty."""
        if not piece:
            return 0
        if piece not in self._lengths:
            words = _WORD.findall(piece.removesuffix(" "))
            try:
                total = sum(map(self._words.__getitem__, words))
            except KeyError:
                self._learn(set(words) - self._words.keys())
                total = sum(map(self._words.__getitem__, words))
            self._lengths[piece] = max(1, total)
        return self._lengths[piece]

    def _learn(self, words: set[str]) -> None:
        listed = sorted(words)
        self._words.update(zip(listed, self._count(listed), strict=True) if listed else ())

    def spans(self, start: int, body: int, end: int) -> list[Span]:
        """Split `text[start:end]`; what lies before `body` is its heading, and stays with the first words below it."""
        heading = self.length(self.text[start:body])
        if self.length(self.text[start:end]) <= self.limit:
            spans = [(start, end)]
        elif heading > self.limit // 2:
            spans = self._split(start, end, self.limit)
        else:
            spans = self._split(body, end, self.limit - heading)
            spans[0] = (start, spans[0][1])
        return self._overlapping(self._fitting(self._trimmed(spans), self.limit))

    def _split(self, start: int, end: int, limit: int) -> list[Span]:
        from langchain_text_splitters import RecursiveCharacterTextSplitter

        splitter = RecursiveCharacterTextSplitter(
            separators=self._separators,
            is_separator_regex=True,
            keep_separator="end",
            strip_whitespace=False,
            chunk_size=limit,
            chunk_overlap=0,
            length_function=self.length,
        )
        pieces = splitter.split_text(self.text[start:end])
        assert sum(map(len, pieces)) == end - start, "the pieces do not join to the text"
        return self._packed(list(pairwise(accumulate(map(len, pieces), initial=start))), limit)

    def _packed(self, spans: Sequence[Span], limit: int) -> list[Span]:
        """Join neighbours that fit together: the splitter leaves a short rest after each part it had to divide."""
        packed: list[Span] = []
        total = 0
        for start, end in spans:
            size = self.length(self.text[start:end])
            if packed and total + size <= limit:
                packed[-1] = (packed[-1][0], end)
                total += size
            else:
                packed.append((start, end))
                total = size
        return packed

    def _trimmed(self, spans: Sequence[Span]) -> list[Span]:
        """Leave out whitespace at both ends, and spans that are nothing else."""
        trimmed = []
        for start, end in spans:
            piece = self.text[start:end]
            if words := piece.strip():
                start += len(piece) - len(piece.lstrip())
                trimmed.append((start, start + len(words)))
        return trimmed

    def _fitting(self, spans: list[Span], limit: int) -> list[Span]:
        """Split again what a real count finds too long, with half the limit: sums over words are close, not exact."""
        counts = self._count([self.text[start:end] for start, end in spans]) if spans else []
        long = [
            (start, end)
            for (start, end), count in zip(spans, counts, strict=True)
            if count > self.limit and end - start > 1
        ]
        if not long or limit == 1:
            return spans
        pieces = [piece for start, end in long for piece in self._split(start, end, limit // 2)]
        return sorted(set(spans).difference(long).union(self._fitting(self._trimmed(pieces), limit // 2)))

    def _overlapping(self, spans: list[Span]) -> list[Span]:
        """Begin each span but the first with whole sentences from the end of the one before."""
        if not self._settings.overlap_tokens or len(spans) < 2:
            return spans
        starts = [spans[0][0]]
        for (earlier, _), (start, _) in pairwise(spans):
            starts.append(self._sentences_back(earlier, start))
        longer = [(new, end) for new, (_, end) in zip(starts, spans, strict=True)]
        counts = self._count([self.text[start:end] for start, end in longer])
        return [
            new if count <= self._settings.max_tokens else old
            for new, old, count in zip(longer, spans, counts, strict=True)
        ]

    def _sentences_back(self, earliest: int, start: int) -> int:
        """Where the sentences begin that end at `start` and have at most `overlap_tokens` tokens together."""
        ends = [match.end() for match in re.finditer(rf"{_SENTENCE}|\n+", self.text[earliest:start])]
        begin, left = start, self._settings.overlap_tokens
        for offset in reversed(ends):
            left -= self.length(self.text[earliest + offset : begin])
            if left < 0:
                break
            begin = earliest + offset
        return begin

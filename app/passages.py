"""Passages that were shown once, as their collection has them now."""

from dataclasses import dataclass
from typing import Literal

from app.feedback import passage_hash
from app.judged import Judged, Shown
from generator.align import Evidence, coverages
from generator.citations import CLEAR
from generator.sentences import split_sentences
from indexer.collection import Collection
from indexer.document import Chunk, Document
from indexer.store.text import embed_text
from retriever.hit import Hit

Missing = Literal["document_gone", "document_changed"]
_SEARCHED = 10  # passages of the whole collection in which a correction's words are looked for


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk of a collection: what is encoded, searched and trained on."""

    key: int
    chunk: Chunk
    source: str
    title: str
    text: str  # with title and headings, as the encoder reads it


class Passages:
    """The passages of one collection, read once and remembered."""

    def __init__(self, collection: Collection) -> None:
        self.collection = collection
        self._added = {info.id: info.added_at for info in collection.documents()}
        self._documents: dict[str, Document] = {}
        self._chunks: dict[str, list[tuple[int, Chunk]]] = {}

    def missing(self, shown: Shown, judged: Judged) -> Missing | None:
        """Why a passage cannot be used any more: its document is gone, or says something else there."""
        if shown.document_id not in self._added:
            return "document_gone"
        if not shown.sha256:  # a thumb of before it was kept: what was indexed since may have other words
            return "document_changed" if self._added[shown.document_id] > judged.at else None
        words = self._document(shown.document_id).text[shown.start : shown.end]
        return None if passage_hash(words) == shown.sha256 else "document_changed"

    def of(self, shown: Shown) -> list[Passage]:
        """The chunks that hold most of each quoted span, or of the passage itself where nothing of it is quoted.

        Since it was shown the collection may have been cut into other chunks.
        """
        document = self._document(shown.document_id)
        spans = shown.cited or ((shown.start, shown.end),)
        found = dict(self._nearest(shown.document_id, *span) for span in spans)
        return [_passage(key, chunk, document.source, document.title) for key, chunk in found.items()]

    def hit(self, shown: Shown, rank: int) -> Hit:
        """The passage as the prompt had it, in the words of today's document, which are the same."""
        document = self._document(shown.document_id)
        _, near = self._nearest(shown.document_id, shown.start, shown.end)
        words = document.text[shown.start : shown.end]
        page = document.page_at(shown.start)
        chunk = Chunk(
            f"{document.id}:{shown.start}", document.id, words, shown.start, shown.end, near.heading_path, page
        )
        return Hit(chunk, document.source, document.title, 0.0, rank, "shown")

    def saying(self, judged: Judged, shown: list[Passage]) -> list[Passage]:
        """The passages in which the words of a correction are found, the best for each of its sentences.

        Those that were shown are looked at with the best that BM25 finds for question and correction. A sentence is
        found in a passage that would be cited for it (generator/citations.py).
        """
        query = f"{judged.query} {judged.correction}"
        found = self.collection.chunks([key for key, _ in self.collection.lexical.search(query, _SEARCHED)])
        searched = [_passage(key, row.chunk, row.source, row.title) for key, row in found.items()]
        candidates = list({passage.key: passage for passage in (*shown, *searched)}.values())
        if not candidates:
            return []
        texts = [passage.chunk.text for passage in candidates]
        evidence, about = Evidence(texts), coverages(judged.query, texts)
        best: dict[int, Passage] = {}
        for low, high in split_sentences(judged.correction):
            support = [evidence.find(judged.correction[low:high], place).score for place in range(len(candidates))]
            place = max(range(len(candidates)), key=lambda place: (support[place], about[place], -place))
            if support[place] >= CLEAR:
                best[candidates[place].key] = candidates[place]
        return list(best.values())

    def _document(self, document_id: str) -> Document:
        if document_id not in self._documents:
            self._documents[document_id] = self.collection.document(document_id)
        return self._documents[document_id]

    def _nearest(self, document_id: str, start: int, end: int) -> tuple[int, Chunk]:
        if document_id not in self._chunks:
            self._chunks[document_id] = self.collection.document_chunks(document_id)
        return max(self._chunks[document_id], key=lambda row: min(row[1].end, end) - max(row[1].start, start))


def say_the_same(answer: str, passages: list[Passage]) -> list[bool]:
    """Whether each passage clearly supports a sentence of an answer, cited or not."""
    evidence = Evidence([passage.chunk.text for passage in passages])
    sentences = [answer[low:high] for low, high in split_sentences(answer)]
    return [
        any(evidence.find(sentence, place).score >= CLEAR for sentence in sentences) for place in range(len(passages))
    ]


def _passage(key: int, chunk: Chunk, source: str, title: str) -> Passage:
    return Passage(key, chunk, source, title, embed_text(title, chunk.heading_path, chunk.text))

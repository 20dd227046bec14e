"""Chunks of one document that touch become one passage: what was cut apart is read together again."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from indexer.document import Chunk
from retriever.hit import Hit


def join_touching(hits: Sequence[Hit], texts: Mapping[str, str]) -> tuple[Hit, ...]:
    """Join hits whose chunks overlap, or have nothing but space between them.

    `texts` holds documents' texts by id: a joined chunk is again an exact slice of one. It stands at the place of the
    best of its parts, with that one's score, and its id names the first and the last of them. A chunk of a document
    that is not in `texts`, or reads otherwise by now, stays as it is.
    """
    joined: dict[int, Hit] = {}
    for run in _runs(hits, texts):
        best = min(run)  # hits are best first
        joined[best] = hits[best] if len(run) == 1 else replace(hits[best], chunk=_joined(run, hits, texts))
    return tuple(joined[place] for place in sorted(joined))


def _runs(hits: Sequence[Hit], texts: Mapping[str, str]) -> Iterator[list[int]]:
    """Places of the hits that belong together, in the order of their document."""
    run: list[int] = []
    end = 0
    for place in sorted(range(len(hits)), key=lambda i: (hits[i].chunk.document_id, hits[i].chunk.start, i)):
        chunk = hits[place].chunk
        if run and hits[run[-1]].chunk.document_id == chunk.document_id and _touch(end, chunk, texts):
            run.append(place)
            end = max(end, chunk.end)
            continue
        if run:
            yield run
        run, end = [place], chunk.end
        if not _is_slice(chunk, texts):
            yield run
            run = []
    if run:
        yield run


def _touch(end: int, chunk: Chunk, texts: Mapping[str, str]) -> bool:
    return _is_slice(chunk, texts) and not texts[chunk.document_id][end : chunk.start].strip()


def _is_slice(chunk: Chunk, texts: Mapping[str, str]) -> bool:
    return texts.get(chunk.document_id, "")[chunk.start : chunk.end] == chunk.text


def _joined(run: Sequence[int], hits: Sequence[Hit], texts: Mapping[str, str]) -> Chunk:
    parts = [hits[place].chunk for place in run]
    first, end = parts[0], max(part.end for part in parts)
    last = max(parts, key=lambda part: part.end)
    name = f"{first.document_id}:{_ordinals(first)[0]}-{_ordinals(last)[-1]}"
    path = _common([part.heading_path for part in parts])
    return replace(
        first,
        id=first.id if last is first else name,
        text=texts[first.document_id][first.start : end],
        end=end,
        heading_path=path,
    )


def _ordinals(chunk: Chunk) -> list[str]:
    return chunk.id.rpartition(":")[2].split("-")


def _common(paths: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The headings above all of them."""
    shared = list[str]()
    for level in zip(*paths, strict=False):
        if len(set(level)) > 1:
            break
        shared.append(level[0])
    return tuple(shared)

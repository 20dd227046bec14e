"""The page that shows why a passage was found: one query through every stage of the search, side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import streamlit as st

from app.display import count
from app.ui import asking, rooms
from app.ui.markup import escaped
from app.ui.views import error_html
from indexer.errors import FootnoteError
from indexer.filter import read_conditions
from indexer.store.language import Language
from indexer.store.places import places
from retriever.asked import read_question
from retriever.hit import Hit, Part

SHOWN, MOST = 5, 50
AROUND = 90  # characters before the first matching word of a passage that is shown cut
SNIPPET = 320
NAMES = {"bm25": "Words (BM25)", "dense": "Meaning (dense)", "convex": "Hybrid", "rrf": "Hybrid", "rerank": "Reranked"}


@dataclass(frozen=True, slots=True)
class Searched:
    """What a query found, every hit with what each stage thought of it."""

    asked: tuple[str, str, str]  # collection, query, filters
    hits: tuple[Hit, ...]
    reranked: tuple[Hit, ...]
    timings_ms: dict[str, float]
    notes: tuple[str, ...] = ()  # what was left out
    language: Language = "english"  # of the collection's words


def show_search() -> None:
    """Draw the page. A re-run of the page searches nothing again."""
    st.html('<header class="fn-searching"><h1>Why is a passage found?</h1></header>')
    try:
        names = [summary.name for summary in rooms.collections()]
        if not names:
            st.html('<p class="fn-abstained" role="status">There are no documents yet. Add some on the chat page.</p>')
            return
        asked, k = _form(names)
        if not asked[1]:
            return
        found = _searched(asked)
    except FootnoteError as error:
        st.html(error_html(error))
        return
    st.html(_head_html(found, k))
    if not found.hits:
        return
    columns = by_stage(found)
    for place, (stage, hits) in zip(st.columns(len(columns), gap="medium"), columns.items(), strict=True):
        place.html(_column_html(stage, hits[:k], found))


def by_stage(found: Searched) -> dict[str, tuple[Hit, ...]]:
    """The hits in the order of each stage that ran; a hit that a stage did not find is not in its order."""
    stages = list(dict.fromkeys(stage for hit in found.hits for stage in hit.parts))
    orders: dict[str, tuple[Hit, ...]] = {
        stage: tuple(sorted((hit for hit in found.hits if stage in hit.parts), key=lambda hit: hit.parts[stage].rank))
        for stage in ("bm25", "dense", "convex", "rrf")
        if stage in stages
    }
    return {**orders, "rerank": found.reranked} if found.reranked else orders


def marked_html(text: str, spans: Sequence[tuple[int, int]], start: int = 0, end: int | None = None) -> str:
    """Characters start to end of a text with the spans inside them marked."""
    end = len(text) if end is None else end
    html, done = [], start
    for low, high in spans:
        if low >= done and high <= end:
            html += [escaped(text[done:low]), f"<mark>{escaped(text[low:high])}</mark>"]
            done = high
    return "".join([*html, escaped(text[done:end])])


def _form(names: Sequence[str]) -> tuple[tuple[str, str, str], int]:
    with st.sidebar:
        first = rooms.first_collection()
        name = st.selectbox("Collection", names, index=names.index(first) if first in names else 0)
        k = st.number_input("Passages of each", 1, MOST, SHOWN)
    with st.form("search", border=False):
        query = st.text_input("Look for", key="search-query", placeholder="Look for", label_visibility="collapsed")
        filters = st.text_input(
            "Filters", key="search-filters", placeholder="Filters, such as type=pdf; source=reports", max_chars=2000
        )
        st.form_submit_button("Search")
    return (str(name), query.strip(), filters.strip()), int(k)


def _searched(asked: tuple[str, str, str]) -> Searched:
    """What was found for just this before, while nothing changed, or a new search."""
    state = (asked, rooms.sequence(asked[0]))
    kept = st.session_state.get("searched")
    if kept is None or kept[0] != state:
        name, query, filters = asked
        with st.spinner("Searching…"):
            told = asking.search(name, query, read_conditions(filters))
            kept = (state, Searched(asked, *told, rooms.language(name)))
        st.session_state["searched"] = kept
    found = kept[1]
    assert isinstance(found, Searched)
    return found


def _head_html(found: Searched, k: int) -> str:
    if not found.hits:
        return '<p class="fn-abstained" role="status">Nothing matches.</p>'
    orders = by_stage(found)
    best = [{hit.chunk.id for hit in orders.get(stage, ())[:k]} for stage in ("bm25", "dense")]
    shared = f"words and meaning share {len(best[0] & best[1])} of their best {k}" if all(best) else ""
    times = ", ".join(f"{escaped(stage)} {spent:.0f} ms" for stage, spent in found.timings_ms.items())
    notes = escaped(" · ".join(found.notes))
    told = " · ".join(filter(None, (count(len(found.hits), "passage"), shared, times, notes)))
    return f'<p class="fn-meta" role="status">{told}</p>'


def _column_html(stage: str, hits: Sequence[Hit], found: Searched) -> str:
    items = "".join(_hit_html(hit, rank, stage, found) for rank, hit in enumerate(hits, 1))
    body = f'<ol class="fn-found">{items}</ol>' if items else '<p class="fn-meta">Nothing.</p>'
    return f'<section class="fn-column" data-fn-stage="{stage}"><h2>{NAMES[stage]}</h2>{body}</section>'


def _hit_html(hit: Hit, rank: int, stage: str, found: Searched) -> str:
    text = hit.chunk.text
    spans = places(text, read_question(found.asked[1]).words, found.language)  # the words that BM25 counts
    start = max(0, spans[0][0] - AROUND) if spans else 0
    end = min(len(text), start + SNIPPET)
    snippet = ("…" if start else "") + marked_html(text, spans, start, end) + ("…" if end < len(text) else "")
    name = hit.source.rsplit("/", 1)[-1]
    page = f", page {hit.chunk.page}" if hit.chunk.page else ""
    all_of_it = marked_html(text, spans)
    whole = f'<details><summary>The whole passage</summary><p dir="auto">{all_of_it}</p></details>'
    return (
        f'<li data-fn-chunk="{escaped(hit.chunk.id)}"><span class="fn-number">{rank}</span> '
        f'<bdi class="fn-place" title="{escaped(hit.source)}">{escaped(name)}{page}</bdi>'
        f'<p dir="auto">{snippet}</p>{_why_html(hit.parts, stage)}{whole if end - start < len(text) else ""}</li>'
    )


def _why_html(parts: Mapping[str, Part], stage: str) -> str:
    """Score and rank of every stage that found it."""
    told = [
        f"{'<strong>' if each == stage else ''}{escaped(each)} {part.score:.3f} (#{part.rank})"
        f"{'</strong>' if each == stage else ''}"
        for each, part in parts.items()
    ]
    return f'<p class="fn-meta">{" · ".join(told)}</p>'

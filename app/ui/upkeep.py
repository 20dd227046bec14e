"""What is done to a collection as a whole, and the collections of this home beside each other."""

import streamlit as st

from app.commands.upkeep import Wanted
from app.display import count
from app.ui import library, rooms
from app.ui.ledger import moment, size_told
from app.ui.library import Facts
from app.ui.markup import escaped
from app.ui.person import is_loopback
from indexer.errors import FootnoteError

_MOST_TOKENS, _FEWEST_TOKENS = 8192, 16  # of a chunk, as the command takes them


def offer_upkeep(name: str, facts: Facts, *, disabled: bool) -> None:
    """Draw what `verify --repair` and `reindex` do, one at a time in a collection."""
    with st.popover("Repair or rebuild", icon=":material/build:", disabled=disabled):
        st.button(
            "Check and repair",
            icon=":material/healing:",
            on_click=library.check,
            args=(name,),
            kwargs={"repair": True},
            help="Rebuilds an index that does not agree with what is stored.",
            width="stretch",
        )
        with st.form("reindex", border=False):
            st.html('<p class="fn-label">Rebuild it from the stored text; it answers meanwhile, and can go back.</p>')
            wanted = _wanted(facts)
            if st.form_submit_button("Reindex", icon=":material/database:", width="stretch"):
                library.rebuild(name, wanted)
                st.rerun()


def _wanted(facts: Facts) -> Wanted:
    encoder = ""
    if is_loopback():  # it may name a folder of the server
        encoder = st.text_input(
            "Encoder",
            placeholder=facts.encoder,
            key="reindex-encoder",
            help="A sentence-transformers folder or package, or LLM2Vec adapters: default, none, folders with +.",
        )
    at_most = f"{facts.chunk_tokens}, as it is" if facts.chunk_tokens else "as it is"
    tokens = st.number_input(
        "Tokens of a chunk, at most", _FEWEST_TOKENS, _MOST_TOKENS, value=None, placeholder=at_most
    )
    overlap = st.number_input(
        "Tokens that a chunk repeats",
        0,
        _MOST_TOKENS,
        value=None,
        placeholder=f"{facts.chunk_overlap_tokens}, as it is",
    )
    return Wanted(
        encoder.strip() or None, None if tokens is None else int(tokens), None if overlap is None else int(overlap)
    )


def show_collections() -> None:
    """Draw every collection that the reader may use with its encoder and size, once somebody asks for it."""
    names = rooms.names()
    listed = st.expander(f"Collections ({len(names)})", key="fn-collections", on_change="rerun")
    if listed.open:
        listed.html(collections_html({name: _facts(name) for name in names}))


def _facts(name: str) -> Facts | FootnoteError:
    try:
        return library.facts(name)
    except FootnoteError as error:  # one that is damaged must not hide the others
        return error


def collections_html(collections: dict[str, Facts | FootnoteError]) -> str:
    """The collections as a table."""
    heads = "".join(f'<th scope="col"{_right(head)}>{head}</th>' for head in _COLUMNS)
    body = "".join(_row_html(name, facts) for name, facts in collections.items())
    return (
        '<div class="fn-wide" tabindex="0" role="region" aria-label="Collections">'
        f'<table class="fn-table"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'
    )


_COLUMNS = ("Name", "Documents", "Chunks", "Size", "Index", "Encoder", "Changed (UTC)")


def index_told(facts: Facts) -> str:
    """Which index a collection has, and where it is if not beside it."""
    if facts.index == "local":
        return "Local index"
    return f"Milvus index at {facts.index_place}" if facts.index_place else "Milvus index"


def _right(head: str) -> str:
    return ' class="fn-right"' if head in ("Documents", "Chunks", "Size") else ""


def _row_html(name: str, facts: Facts | FootnoteError) -> str:
    named = f"<td><bdi>{escaped(name)}</bdi></td>"
    if isinstance(facts, FootnoteError):
        return f'<tr class="fn-failed">{named}<td colspan="6" class="fn-reason">{escaped(facts.message)}</td></tr>'
    encoder = f"{facts.encoder}, {count(facts.dim, 'dimension')}" if facts.encoder else ""
    size = size_told(facts.bytes) if facts.bytes is not None else ""
    chunking = f", chunks of at most {facts.chunk_tokens} tokens" if facts.chunk_tokens else ""
    return (
        f'<tr>{named}<td class="fn-right">{facts.documents:,}</td><td class="fn-right">{facts.chunks:,}</td>'
        f'<td class="fn-right">{size}</td><td>{facts.index.capitalize()}</td><td>{escaped(encoder + chunking)}</td>'
        f'<td class="fn-when">{escaped(moment(facts.changed_at) if facts.changed_at else "")}</td></tr>'
    )

"""What a row of the graph stands for: one chunk, several of equal text, or none any more."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from indexer.store.base import BaseNote, _base
from indexer.store.view import _chunks_of, view_of

DIM = 4


@given(st.data())
def test_rows_give_their_living_chunks_as_a_loop_over_all_does(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 8))  # rows of the graph, of which the last may have no chunk left
    chunks = data.draw(st.sampled_from([count, count, count - 1, count + 3]))  # as often as many as rows
    drawn = data.draw(st.lists(st.integers(0, count - 1), min_size=chunks, max_size=chunks))
    rows = np.array(sorted(drawn) if data.draw(st.booleans()) else list(range(count)), np.int64)
    keys = np.arange(len(rows), dtype=np.int64) * 3 + 1
    alive = np.array(data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows))), bool)
    alive |= data.draw(st.booleans())
    base = _base(BaseNote("", 0, 0, count, DIM, "", 0, 0), None, keys, rows, np.arange(count))
    view = view_of(base)._masked(alive, np.ones(0, bool))

    found = np.array(data.draw(st.permutations(range(count)))[: data.draw(st.integers(0, count))], np.int64)
    scores = np.linspace(1, 0, len(found), dtype=np.float32)
    got_keys, got_scores = _chunks_of(view, base, found, scores)
    expected = [
        (int(key), round(float(score), 6))
        for row, score in zip(found.tolist(), scores.tolist(), strict=True)
        for key, of, lives in zip(keys.tolist(), rows.tolist(), alive.tolist(), strict=True)
        if of == row and lives
    ]
    assert list(zip(got_keys.tolist(), got_scores.tolist(), strict=True)) == expected

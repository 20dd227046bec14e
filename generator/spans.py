"""Which span of which passage answers a question: copy-constrained decoding, scored exactly.

A span copies its passage, so once its first token is chosen every next token is known. Instead of sampling token by
token, the candidates' tokens are fed in one forward pass and every end point is scored at once: the probability of
each span is the language model's own, `p(t1..tk, end of turn | question, passage)`, with no beam and no length limit
other than the window. An answer that ends before it begins is the reader's "not in this passage".
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from generator.choice import Span, Verdict
from generator.forward import Prefix, read, read_on, walk
from generator.reading import Reading

ROWS = 3  # passages whose spans are scored: those the reader is least likely to decline
FIRST_TOKENS = 4  # distinct first tokens tried in each of them
STARTS = 6  # start positions scored to the end in each of them
FIRST_LOOK = 10  # tokens after which most starts are out of the race
WINDOW = 32  # the longest span, in tokens


@torch.inference_mode()
def read_spans(model: Any, readings: Sequence[Reading], end: int) -> Verdict:
    """Score the passages and the best spans of the most promising ones. `end` is the end-of-turn token."""
    prefix = read(model, readings, end)
    log_decline = prefix.log_first[:, end]
    rows = log_decline.argsort()[:ROWS].tolist()
    starts = _starts(model, prefix, readings, rows, end)
    spans = _score(model, prefix, readings, starts, end) if starts else []
    return Verdict(tuple(log_decline.tolist()), tuple(sorted(spans, key=lambda s: (-s.log_p, s.row, s.start))))


def _starts(
    model: Any, prefix: Prefix, readings: Sequence[Reading], rows: Sequence[int], end: int
) -> list[tuple[int, int]]:
    """The (row, position) pairs that look best by their first two tokens.

    Two, because all numbers begin with the same token, and words like "the" stand everywhere.
    """
    tried: list[tuple[int, int]] = []  # (row, first token)
    for row in rows:
        firsts = sorted({readings[row].token(p) for p in readings[row].starts})
        scores = prefix.log_first[row, firsts]
        tried += [(row, firsts[i]) for i in scores.argsort(descending=True)[:FIRST_TOKENS].tolist()]
    if not tried:
        return []
    hidden = read_on(model, prefix, [row for row, _ in tried], torch.tensor([[token] for _, token in tried]))
    seconds = model.lm_head(hidden[:, 0]).float().log_softmax(-1)  # (N, V)
    best: list[tuple[int, int]] = []
    for row in rows:
        scored: list[tuple[float, int]] = []
        for n, (other, token) in enumerate(tried):
            if other == row:
                scored += _by_two_tokens(readings[row], token, float(prefix.log_first[row, token]), seconds[n], end)
        best += [(row, position) for _, position in sorted(scored, key=lambda s: (-s[0], s[1]))[:STARTS]]
    return best


def _by_two_tokens(reading: Reading, first: int, log_first: float, second: Tensor, end: int) -> list[tuple[float, int]]:
    """(score, position) of every start with this first token; a span of one token counts as well as a longer one."""
    scored = []
    for position in reading.starts:
        if reading.token(position) == first:
            more = float(second[reading.token(position + 1)]) if position + 1 < len(reading.bounds) else -99.0
            stop = float(second[end]) if position in reading.ends else -99.0
            scored.append((log_first + max(more, stop), position))
    return scored


def _score(
    model: Any, prefix: Prefix, readings: Sequence[Reading], starts: Sequence[tuple[int, int]], end: int
) -> list[Span]:
    """The best span from every start: all of its ends are scored in one pass.

    A short look comes first. Words only lose probability as they get more, so a start goes on to the full window only
    if its first words are still more probable than the best span that ended among them.
    """
    found: dict[tuple[int, int], Span] = {}
    going = list(starts)
    for window in (FIRST_LOOK, WINDOW):
        if not going:
            break
        runs = [[readings[row].token(p) for p in _reach(readings[row], start, window)] for row, start in going]
        log_p, log_end = walk(model, prefix, [row for row, _ in going], runs, end)
        still: list[tuple[int, int]] = []
        for n, (row, start) in enumerate(going):
            best = _best_end(readings[row], row, start, log_p[n], log_end[n])
            if best:
                found[row, start] = best
            if len(runs[n]) == window < WINDOW and (best is None or log_p[n][-1] > best.log_p):
                still.append((row, start))
        going = still
    return list(found.values())


def _best_end(reading: Reading, row: int, start: int, log_p: Sequence[float], log_end: Sequence[float]) -> Span | None:
    ended = [
        (log_p[k] + log_end[k], -k, *reading.span(start, start + k))
        for k in range(len(log_p))
        if start + k in reading.ends
    ]
    # A span of nothing but punctuation answers nothing.
    ended = [e for e in ended if any(c.isalnum() for c in reading.text[e[2] : e[3]])]
    if not ended:
        return None
    best, shorter, low, high = max(ended)
    return Span(row, low, high, best, 1 - shorter)


def _reach(reading: Reading, start: int, window: int) -> range:
    """Positions that a span from `start` may cover: up to the window, the line's end and the passage's end."""
    stop = min(start + window, len(reading.bounds))
    line = reading.text.find("\n", reading.bounds[start][1])
    if line >= 0:
        stop = min(stop, next((p for p in range(start, stop) if reading.bounds[p][1] > line), stop))
    return range(start, max(stop, start + 1))

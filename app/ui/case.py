"""One case of a run as HTML: what was asked, what is known, what came, which passages, and how it was judged."""

from collections.abc import Mapping
from typing import Any

from app.ui.markup import answer_html, escaped
from eval.dataset import Case
from eval.run import Record

RANKED = 20
_CLAIMS = (("answer", "passages"), ("answer", "reference"), ("reference", "passages"), ("reference", "answer"))


def question_html(case: Case) -> str:
    """What was asked, and what is known about the answer."""
    before = "".join(f"<p>{escaped(asked)}</p><p>{escaped(said)}</p>" for asked, said in case.turns)
    before = f'<p class="fn-label">Asked before</p><blockquote>{before}</blockquote>' if before else ""
    known = "The documents hold no answer." if not case.answerable else f"Known: {' / '.join(case.answers)}"
    known = "" if case.answerable and not case.answers else f'<p class="fn-where" dir="auto">{escaped(known)}</p>'
    return f'{before}<h3 class="fn-title" dir="auto">{escaped(case.question)}</h3>{known}'


def record_html(case: Case, record: Record | None, scores: Mapping[str, float], title: str = "") -> str:
    """What became of a case in one run."""
    head = f"<h4>{escaped(title)}</h4>" if title else ""
    if record is None:
        return f'<section class="fn-chunk">{head}<p class="fn-where">It was not asked.</p></section>'
    told = " · ".join(f"{name} {value:.3f}" for name, value in scores.items())
    told = f'<p class="fn-where">{escaped(told)}</p>' if told else ""
    return f'<section class="fn-chunk">{head}{told}{_outcome_html(case, record)}</section>'


def _outcome_html(case: Case, record: Record) -> str:
    outcome = record.outcome
    if outcome is None:
        return f'<p class="fn-beware">{escaped(f"{record.error}: {record.message}")}</p>'
    if "ranking" in outcome:
        return _ranking_html(case, outcome["ranking"])
    if "answer" in outcome:
        return _answer_html(case, outcome)
    rows = "".join(f"<p>{escaped(f'{name}: {value}')}</p>" for name, value in outcome.items())
    return f'<div class="fn-text">{rows}</div>'


def _ranking_html(case: Case, ranking: list[list[Any]]) -> str:
    """The first of what was found, and where in it the relevant entries stand."""
    ranks = {source: rank for rank, (source, _) in enumerate(ranking, 1)}
    wanted = [id_ for id_, grade in case.relevant.items() if grade > 0]
    stand = ", ".join(f"{id_} at {ranks[id_]}" if id_ in ranks else f"{id_} not found" for id_ in wanted)
    items = "".join(
        f"<li><bdi>{escaped(source)}</bdi> {score:.3f}{' <strong>relevant</strong>' if source in wanted else ''}</li>"
        for source, score in ranking[:RANKED]
    )
    return f'<p class="fn-where">Relevant: {escaped(stand or "nothing")}</p><ol class="fn-ranking">{items}</ol>'


def _answer_html(case: Case, outcome: Mapping[str, Any]) -> str:
    head = '<p class="fn-abstained">The documents do not say.</p>' if outcome["abstained"] else ""
    answer = f'<div class="fn-answer" dir="auto">{answer_html(outcome["answer"], lambda number: "")}</div>'
    cited = "".join(
        f'<p class="fn-where">[{citation["number"]}] <bdi>{escaped(citation["source"])}</bdi>, '
        f"support {escaped(str(citation['support']))}</p><blockquote>{escaped(citation['quote'])}</blockquote>"
        for citation in outcome["citations"]
    )
    return f"{head}{answer}{cited}{_judgement_html(outcome)}{_passages_html(case, outcome['hits'])}"


def _judgement_html(outcome: Mapping[str, Any]) -> str:
    """What a grader and a judge of claims said, where there was one."""
    lines = []
    if graded := outcome.get("judgement"):
        lines.append(f"<p>Graded {escaped(str(graded['grade']))} of 5: {escaped(graded['explanation'])}</p>")
    steps = outcome.get("judgements", {}).get("steps", {})
    for whose, against in _CLAIMS:
        step = f"{whose}_in_{against}"
        if step in steps:
            pairs = zip(steps[f"{whose}_claims"]["value"], steps[step]["value"], strict=False)
            items = "".join(f"<li>{'' if held else 'not '}supported: {escaped(claim)}</li>" for claim, held in pairs)
            lines.append(f"<p>Claims of the {whose}, held against the {against}:</p><ul>{items}</ul>")
    for metric, failure in outcome.get("judgements", {}).get("failed", {}).items():
        told = f"{metric}: {failure['error']}: {failure['message']}"
        lines.append(f'<p class="fn-beware">{escaped(told)}</p>')
    return f'<div class="fn-judged"><p class="fn-label">Judgement</p>{"".join(lines)}</div>' if lines else ""


def _passages_html(case: Case, hits: list[Mapping[str, Any]]) -> str:
    items = "".join(
        f'<section class="fn-passage"><p class="fn-where">{hit["rank"]}. <bdi>{escaped(hit["source"])}</bdi>'
        f"{', relevant' if case.relevant.get(hit['source'], 0) > 0 else ''} · {escaped(_parts(hit))}</p>"
        f'<div class="fn-text" dir="auto">{escaped(hit["chunk"]["text"])}</div></section>'
        for hit in hits
    )
    return f'<p class="fn-label">Passages</p>{items}' if items else ""


def _parts(hit: Mapping[str, Any]) -> str:
    told = [f"{stage} {part['score']:.3f} (#{part['rank']})" for stage, part in hit["parts"].items()]
    return ", ".join([*told, f"{hit['stage']} {hit['score']:.3f}"])

"""How an answer came about, in small print: model, prompt, times, tokens, and what each stage of the search thought."""

from collections import Counter
from pathlib import PurePath

from app.ui.markup import escaped
from generator.answer import Answer
from retriever.hit import Hit


def details_html(answer: Answer, elapsed_s: float) -> str:
    """A line with model and time, which opens to the rest."""
    model = f"{escaped(answer.model)} · " if answer.model else ""
    stages = [(name.replace("_", " "), ms) for name, ms in answer.timings_ms.items() if name != "total"]
    times = [f"{name} {duration(ms / 1000)}" for name, ms in stages]
    return (
        f'<details class="fn-meta"><summary>{model}{duration(elapsed_s)}</summary>'
        f"{list_html(times)}{list_html(_facts(answer))}{_retrieval_html(answer.hits)}</details>"
    )


def _facts(answer: Answer) -> list[str]:
    facts = [f"prompt {answer.prompt_version}"] if answer.prompt_version else []
    if answer.usage:
        facts.append(f"{answer.usage.prompt_tokens:,} tokens read, {answer.usage.completion_tokens:,} written")
    if answer.log_p_token is not None:
        facts.append(f"log-probability of a token {answer.log_p_token:.2f}")
    if answer.doubt is not None:
        facts.append(f"doubt {answer.doubt:.2f}")
    if answer.dropped_markers:
        facts.append(f"{answer.dropped_markers} markers dropped")
    if answer.expansion and answer.expansion.texts:
        facts.append(f"searched for by {answer.expansion.kind}, too: {' / '.join(answer.expansion.texts)}")
    facts += [f"left out ({why}): {n}" for why, n in Counter(out.why for out in answer.left_out).items()]
    return facts


def _retrieval_html(hits: tuple[Hit, ...]) -> str:
    """Each passage with its score and rank in each stage."""
    stages = list(dict.fromkeys(name for hit in hits for name in hit.parts))
    if not stages:
        return ""
    head = "".join(f"<th>{escaped(name)}</th>" for name in ("", *stages, "score"))
    rows = "".join(f"<tr>{_row(hit, stages)}</tr>" for hit in hits)
    return f'<table class="fn-parts"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _row(hit: Hit, stages: list[str]) -> str:
    name = hit.title or PurePath(hit.source).name
    found = [hit.parts.get(stage) for stage in stages]
    parts = [f"{part.score:.3f} (#{part.rank})" if part else "" for part in found]
    cells = "".join(f"<td>{part}</td>" for part in (*parts, f"{hit.score:.3f}"))
    return f'<td dir="auto">{hit.rank}. {escaped(name)}</td>{cells}'


def list_html(items: list[str]) -> str:
    """Short facts on one line; empty when there are none."""
    return f'<ul class="fn-times">{"".join(f"<li>{escaped(item)}</li>" for item in items)}</ul>' if items else ""


def duration(seconds: float) -> str:
    """Seconds, or milliseconds below one."""
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"

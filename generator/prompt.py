"""From hits to a prompt: numbered passages fenced as data, within a budget of tokens."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path, PurePath
from typing import Literal

from generator.abstain import DECLINE
from generator.fence import fence_for, neutral, neutral_line
from generator.sentences import split_sentences
from indexer.errors import ConfigError
from retriever.hit import Hit
from retriever.select import Order, arrange

ANSWER_PROMPT = "answer-1"
REWRITE_PROMPT = "rewrite-1"
CountTokens = Callable[[Sequence[str]], list[int]]
Turn = tuple[str, str]  # a question and the answer it got

_TEMPLATE_TOKENS = 8  # what a chat template adds around one message, at most
_TRIMMED_TOKENS = 64  # a passage is not worth giving with less left of it
_HISTORY_TURNS = 3
_HISTORY_CHARS = 300  # of each earlier question and answer


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a chat model gets. Marker [n] means `hits[n-1]`.

    A model that writes freely reads `messages`; the embedded reader reads `question` and `hits` one by one.
    """

    messages: tuple[Message, ...]
    hits: tuple[Hit, ...]
    token_count: int  # an upper bound, with what a chat template adds
    question: str = ""
    version: str = ""


def answer_prompt(
    question: str,
    hits: Sequence[Hit],
    budget_tokens: int,
    count_tokens: CountTokens,
    history: Sequence[Turn] = (),
    order: Order = "best-first",
) -> Prompt:
    """Build the prompt for one question from hits that are best first; `order` says in which order they are read.

    What does not fit is left out in this order: earlier turns, then the weakest passages. The question is never cut.

    Raises:
        ConfigError: the question alone is over the budget.
    """
    turns = list(history[-_HISTORY_TURNS:])
    arranged = arrange(hits, order)
    messages = _messages(question, arranged, turns)
    # Mostly all of it fits, and a server that counts tokens is then asked once and not once a passage.
    if (count := _count(messages, count_tokens)) <= budget_tokens:
        return Prompt(messages, arranged, count, question, ANSWER_PROMPT)
    while _fixed(question, turns, count_tokens) > budget_tokens:
        if not turns:
            raise ConfigError(
                f"The question does not fit into the model's context: {budget_tokens} tokens are left for it.",
                "Ask a shorter question, or use a model with a longer context.",
            )
        turns.pop(0)
    kept = _fit(hits, budget_tokens - _fixed(question, turns, count_tokens), count_tokens)
    messages = _messages(question, arrange(kept, order), turns)
    while kept and _count(messages, count_tokens) > budget_tokens:  # tokens of parts need not add up exactly
        kept = kept[:-1]
        messages = _messages(question, arrange(kept, order), turns)
    return Prompt(messages, arrange(kept, order), _count(messages, count_tokens), question, ANSWER_PROMPT)


def rewrite_prompt(question: str, history: Sequence[Turn], count_tokens: CountTokens) -> Prompt:
    """Ask for the question in words that need no conversation."""
    asked = f"{_history(history[-_HISTORY_TURNS:])}Last question: {neutral(question)}"
    return plain_prompt(REWRITE_PROMPT, template(REWRITE_PROMPT), asked, question, count_tokens)


def plain_prompt(version: str, rules: str, asked: str, question: str, count_tokens: CountTokens) -> Prompt:
    """Ask for something about a question, without passages."""
    messages = (Message("system", rules), Message("user", asked))
    return Prompt(messages, (), _count(messages, count_tokens), question, version)


@cache
def template(name: str) -> str:
    """Text of generator/prompts/NAME.md."""
    return (Path(__file__).parent / "prompts" / f"{name}.md").read_text(encoding="utf-8").strip()


def _messages(question: str, hits: Sequence[Hit], turns: Sequence[Turn]) -> tuple[Message, ...]:
    texts = [part for hit in hits for part in (hit.chunk.text, hit.title, hit.source, *hit.chunk.heading_path)]
    fence = fence_for([*texts, question, *(part for turn in turns for part in turn)])
    system = template(ANSWER_PROMPT).replace("{fence}", fence).replace("{decline}", DECLINE)
    passages = "\n".join(_passage(number, hit, fence) for number, hit in enumerate(hits, 1))
    user = f"{_history(turns)}Passages:\n{passages or '(none)'}\n\nQuestion: {neutral(question)}"
    return Message("system", system), Message("user", user)


def _passage(number: int, hit: Hit, fence: str) -> str:
    name = hit.title or PurePath(hit.source).name
    section = " \u203a ".join(hit.chunk.heading_path)
    page = f' page="{hit.chunk.page}"' if hit.chunk.page else ""
    about = f' section="{neutral_line(section)}"' if section else ""
    return (
        f'<{fence} number="{number}" title="{neutral_line(name)}"{about}{page}>\n{neutral(hit.chunk.text)}\n</{fence}>'
    )


def _history(turns: Sequence[Turn]) -> str:
    if not turns:
        return ""
    lines = [
        f"Q: {neutral_line(question)[:_HISTORY_CHARS]}\nA: {neutral_line(answer)[:_HISTORY_CHARS]}"
        for question, answer in turns
    ]
    return "Earlier in this conversation:\n" + "\n".join(lines) + "\n\n"


def _fixed(question: str, turns: Sequence[Turn], count_tokens: CountTokens) -> int:
    return _count(_messages(question, (), turns), count_tokens)


def _count(messages: Sequence[Message], count_tokens: CountTokens) -> int:
    return sum(count_tokens([m.content for m in messages])) + _TEMPLATE_TOKENS * (len(messages) + 1)


def _fit(hits: Sequence[Hit], budget_tokens: int, count_tokens: CountTokens) -> list[Hit]:
    """The first hits that fit; the one that does not is cut at a sentence's end if enough of it remains."""
    fence = fence_for([hit.chunk.text for hit in hits])
    sizes = count_tokens([_passage(number, hit, fence) + "\n" for number, hit in enumerate(hits, 1)]) if hits else []
    kept: list[Hit] = []
    for hit, size in zip(hits, sizes, strict=True):
        if size > budget_tokens:
            trimmed = _trim(hit, budget_tokens / size) if budget_tokens >= _TRIMMED_TOKENS else None
            return [*kept, trimmed] if trimmed else kept
        kept.append(hit)
        budget_tokens -= size
    return kept


def _trim(hit: Hit, share: float) -> Hit | None:
    room = int(len(hit.chunk.text) * share * 0.8)  # tokens are not spread evenly: leave a margin
    end = max((high for _, high in split_sentences(hit.chunk.text) if high <= room), default=0)
    if not end:
        return None
    chunk = replace(hit.chunk, text=hit.chunk.text[:end], end=hit.chunk.start + end)
    return replace(hit, chunk=chunk)

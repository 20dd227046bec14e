"""What else to search for beside a question, written by the chat model.

hyde: a passage that might answer it (Gao et al. 2022, arXiv:2212.10496); its vector joins the question's, and BM25
keeps the question. multi-query: the question in other words, rankings fused by rank (RAG-Fusion: Raudaschl 2023,
Rackauckas 2024, arXiv:2402.03367). decompose: the simpler questions in it (self-ask: Press et al. 2022,
arXiv:2210.03350; least-to-most: Zhou et al. 2022, arXiv:2205.10625), fused likewise; they are searched for at once,
none waits for another's answer.
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass

from generator.chat import ChatModel
from generator.fence import neutral
from generator.prompt import plain_prompt, template
from indexer.errors import ModelError
from retriever.expansion import Expansion, Kind

logger = logging.getLogger(__name__)

PROMPTS: Mapping[Kind, str] = {"hyde": "hyde-1", "multi-query": "multi-query-1", "decompose": "decompose-1"}
_LINE_CHARS = 400  # a longer line is no question but an attempt to answer
_BULLET = re.compile(r"^\s*(?:[-*\u2022]|\(?\d{1,2}[.):])\s+")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class ExpansionSettings:
    """What to write, and how much of it."""

    kind: Kind
    queries: int = 3  # at most; one passage is written for hyde
    max_tokens: int = 128  # of what is written


def expand(query: str, model: ChatModel, settings: ExpansionSettings) -> Expansion:
    """Have the model write it. One that fails, or writes nothing of use, leaves the question alone, and says so."""
    kind, version = settings.kind, PROMPTS[settings.kind]
    asked = template(version).replace("{count}", str(settings.queries))
    try:
        prompt = plain_prompt(version, asked, f"Question: {neutral(query)}", query, model.count_tokens)
        written = "".join(model.stream(prompt, settings.max_tokens)).strip()
    except ModelError as error:
        logger.warning("searched without %s: %s", kind, error.message)
        return Expansion(kind, prompt=version, failed=error.message)
    texts = _passage(written) if kind == "hyde" else _questions(written, query, settings.queries)
    return Expansion(kind, texts, version, "" if texts else "the model wrote nothing of use")


class Expander:
    """A model with its settings: what an evaluation of the search alone needs."""

    def __init__(self, model: ChatModel, settings: ExpansionSettings) -> None:
        self._model = model
        self._settings = settings

    @property
    def name(self) -> str:
        """What it records: kind, prompt, bounds and model."""
        told = self._settings
        return f"{PROMPTS[told.kind]}, {told.queries} queries, {told.max_tokens} tokens, {self._model.name}"

    def expand(self, query: str) -> Expansion:
        """As the pipeline does."""
        return expand(query, self._model, self._settings)


def told_of(expansion: Expansion | None) -> list[str]:
    """A line that says that a question was searched for alone, if it was not meant to be."""
    if expansion is None or not expansion.failed:
        return []
    return [f"Searched without {expansion.kind}: {expansion.failed}"]


def _passage(written: str) -> tuple[str, ...]:
    return (" ".join(written.split()),) if _WORD.search(written) else ()


def _questions(written: str, query: str, most: int) -> tuple[str, ...]:
    """The lines that are something else than the question, each once."""
    known, found = {_words(query)}, list[str]()
    for line in written.splitlines():
        text = _BULLET.sub("", line).strip().strip('"').strip()
        words = _words(text)
        if words and words not in known and len(text) <= _LINE_CHARS:
            known.add(words)
            found.append(text)
    return tuple(found[:most])


def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(text.casefold()))

"""A language model as the judge of support: yes or no, by the probabilities that it gives to the two words."""

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from generator.entailment import Pair
from generator.fence import fence_for, neutral
from generator.prompt import Message, template
from generator.server import Completion
from indexer.errors import ModelError

SUPPORT_PROMPT = "support-1"
_SCHEMA = {
    "type": "object",
    "properties": {"supported": {"type": "string", "enum": ["yes", "no"]}},
    "required": ["supported"],
    "additionalProperties": False,
}
_MAX_TOKENS = 32  # the object takes a dozen
_AT_ONCE = 8


class JudgeModel(Protocol):
    """What the judge needs of a ServerModel."""

    @property
    def name(self) -> str:
        """The model's name."""

    def complete(self, messages: Sequence[Message], schema: Mapping[str, Any], max_tokens: int = 512) -> Completion:
        """Write a JSON object that fits the schema."""


class JudgeEntailment:
    """Asks a model server about each pair, in one short call. The mean over what the model held possible is finer than
    its verdict (G-Eval, Liu et al. 2023, arXiv:2303.16634)."""

    undecided = (0.1, 1.0)

    def __init__(self, model: JudgeModel) -> None:
        self._model = model

    @property
    def name(self) -> str:
        """Model and prompt."""
        return f"judge {self._model.name}, {SUPPORT_PROMPT}"

    def supports(self, pairs: Sequence[Pair]) -> list[float]:
        """The probability of yes."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(self._ask, pairs))

    def _ask(self, pair: Pair) -> float:
        fields = {"Question": pair.question, "Passage": pair.evidence, "Claim": pair.claim}
        fence = fence_for(list(fields.values()))
        parts = [f'<{fence} what="{name}">\n{neutral(text)}\n</{fence}>' for name, text in fields.items()]
        rules = template(SUPPORT_PROMPT).replace("{fence}", fence)
        messages = (Message("system", rules), Message("user", "\n\n".join(parts)))
        return probability_of_yes(self._model.complete(messages, _SCHEMA, _MAX_TOKENS), self._model.name)


def probability_of_yes(written: Completion, model: str) -> float:
    """Share of "yes" in the probability of "yes" and "no" where the verdict was written; 1 or 0 where none is told.

    Raises:
        ModelError: it holds no verdict.
    """
    verdict = written.value.get("supported")
    if verdict not in ("yes", "no"):
        raise ModelError(f"{model} gave no verdict.", "Serve a model that follows a JSON schema.")
    before = ""
    for token, alternatives in written.tokens:
        if '"supported"' in before and _begins(token, verdict):
            yes, no = (
                sum(math.exp(log_p) for other, log_p in alternatives.items() if _begins(other, word))
                for word in ("yes", "no")
            )
            return yes / (yes + no) if yes + no else float(verdict == "yes")
        before += token
    return float(verdict == "yes")


def _begins(token: str, word: str) -> bool:
    """Whether a token is a word or its beginning, with or without the quotation marks around it."""
    bare = token.strip(' "}\n')
    return bool(bare) and word.startswith(bare.lower())

"""RAG-Sequence through a server's log-probabilities (Lewis et al. 2020, https://arxiv.org/abs/2005.11401)."""

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from generator.abstain import DECLINE, declines
from generator.chat import Pieces
from generator.marginal import Array, MarginalSettings, mix, passage_log_p, posterior
from generator.prompt import Prompt, answer_prompt
from generator.server import ServerModel, ServerSettings
from generator.server_errors import model_errors
from indexer.errors import ConfigError, ModelError

_OWN_MARKER = re.compile(r"\[\s*1\s*\]")  # every passage is the only one that its request knows


@dataclass(frozen=True, slots=True)
class _Said:
    """What the model says given one passage."""

    text: str
    log_p: float
    tokens: tuple[int, ...]  # with the end; empty where the server does not tell
    asked: tuple[int, ...]  # the request's tokens; likewise

    @property
    def key(self) -> tuple[int, ...] | str:
        return self.tokens or self.text


class SequenceModel(ServerModel):
    """Asks once for each passage, and gives the answer that is most probable over all of them.

    Fast decoding takes an answer for impossible given the passages that did not yield it, and needs no more than the
    protocol's log-probabilities. Thorough decoding has the server score every answer under every passage, which vLLM
    does (return_token_ids, prompt_logprobs). Declining means "not in this passage": it is the answer only where every
    passage yields it. The question stands by itself by now, so that earlier turns are not sent.
    """

    def __init__(self, settings: ServerSettings, marginal: MarginalSettings) -> None:
        """Raises ConfigError where a server cannot do what is asked."""
        super().__init__(settings)
        if marginal.mode != "sequence":
            raise ConfigError(
                "generator.marginal.mode = token mixes the passages at every token, which no server offers.",
                "Set it to sequence, or generator.kind to embedded.",
            )
        self._marginal = marginal

    def stream(self, prompt: Prompt, max_tokens: int = 512) -> Pieces:
        """Give the whole answer at once; what it took is not counted. A prompt without passages is answered as ever.

        Raises:
            ModelError: as ServerModel does, or the server gives no log-probabilities.
        """
        if not prompt.hits:
            return (yield from super().stream(prompt, max_tokens))
        room = self.context_tokens - max_tokens
        asked = [answer_prompt(prompt.question, [hit], room, self.count_tokens) for hit in prompt.hits]
        with ThreadPoolExecutor(len(asked)) as pool:
            said = list(pool.map(lambda one: self._say(one, max_tokens), asked))
            answers = {each.key: each for each in said if not declines(each.text)}
            if not answers:
                yield DECLINE
                return None
            log_answers = self._given_each(said, list(answers.values()), pool)
        log_passages = passage_log_p(prompt.hits, self._marginal.temperature)
        best = int(mix(log_passages, log_answers).argmax())
        row = int(posterior(log_passages, log_answers)[:, best].argmax())
        yield _marked(list(answers.values())[best].text, row + 1)
        return None

    def _say(self, prompt: Prompt, max_tokens: int) -> _Said:
        """One answer given one passage."""
        is_thorough = self._marginal.decoding == "thorough"
        with model_errors(self._settings):
            answered = self._client.chat.completions.create(
                model=self.name,
                messages=cast(Any, [{"role": m.role, "content": m.content} for m in prompt.messages]),
                max_tokens=max_tokens,
                temperature=self._settings.temperature,
                seed=self._settings.seed,
                logprobs=True,
                extra_body={"return_token_ids": True} if is_thorough else None,
            )
            choice = answered.choices[0]
            text = choice.message.content or ""
            logs = [token.logprob for token in (choice.logprobs.content or [])] if choice.logprobs else []
            tokens = tuple(getattr(choice, "token_ids", None) or ())
            ids = tuple(getattr(answered, "prompt_token_ids", None) or ())
        if text and not logs:
            raise self._lacks("no log-probabilities", "Set generator.marginal.mode to none, or serve it with vLLM.")
        if is_thorough and text and not (tokens and ids):
            raise self._lacks("no token ids", "Set generator.marginal.decoding to fast, or serve it with vLLM.")
        return _Said(text.strip(), float(sum(logs)), tokens if is_thorough else (), ids)

    def _given_each(self, said: Sequence[_Said], answers: Sequence[_Said], pool: ThreadPoolExecutor) -> Array:
        """(Z, H): the log-probability of every answer given every passage; one request for a passage."""
        if self._marginal.decoding == "fast":
            rows = [[own.log_p if own.key == each.key else -np.inf for each in answers] for own in said]
        else:
            rows = list(pool.map(lambda own: self._score(own, answers), said))
        return np.array(rows)

    def _score(self, own: _Said, answers: Sequence[_Said]) -> list[float]:
        """The log-probability of each answer after the request of one passage."""
        others = [each for each in answers if each.key != own.key]
        if not others:
            return [own.log_p for _ in answers]
        with model_errors(self._settings):
            answered = self._client.completions.create(
                model=self.name,
                prompt=[[*own.asked, *each.tokens] for each in others],
                max_tokens=1,
                temperature=0.0,
                extra_body={"prompt_logprobs": 0},
            )
            told = {choice.index: getattr(choice, "prompt_logprobs", None) or () for choice in answered.choices}
            if not all(told.get(n) for n in range(len(others))):
                raise self._lacks(
                    "no log-probabilities of a prompt",
                    "Set generator.marginal.decoding to fast, or serve it with vLLM.",
                )
            scores = {each.key: _log_p(told[n][len(own.asked) :], each.tokens) for n, each in enumerate(others)}
        return [scores.get(each.key, own.log_p) for each in answers]

    def _lacks(self, what: str, remedy: str) -> ModelError:
        return ModelError(f"The model server at {self._settings.base_url} gives {what}.", remedy)


def _log_p(rows: Sequence[Any], tokens: Sequence[int]) -> float:
    """Sum over tokens; each row names its token by its id, perhaps among more probable ones."""
    return sum((float(row[str(token)]["logprob"]) for row, token in zip(rows, tokens, strict=True)), 0.0)


def _marked(text: str, number: int) -> str:
    """The answer with its own marker turned into the passage's; one is put behind an answer that has none."""
    marked, count = _OWN_MARKER.subn(f"[{number}]", text)
    return marked if count else f"{marked} [{number}]"

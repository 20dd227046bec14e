"""The chat model in this process: SmolLM2, fine-tuned to copy the answer out of a passage or to decline."""

import logging
import re
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from generator.abstain import DECLINE
from generator.align import coverages, nearness
from generator.chat import Pieces, Written
from generator.choice import ChoiceSettings, Look, changed, choose, decline_probability
from generator.marginal import MarginalSettings, passage_log_p
from generator.prompt import Message, Prompt
from generator.reader_files import DEFAULT_READER, fingerprint, learned_choice, merged
from generator.reading import ReaderTokenizer, Reading, head_of
from generator.usage import Usage
from generator.words import STOPWORDS
from indexer.errors import ModelError
from retriever.hit import Hit

logger = logging.getLogger(__name__)

MAX_PASSAGES = 8
MAX_PASSAGE_TOKENS = 384
_Told = tuple[str, int]  # the words of an answer, and which passage they are from


class EmbeddedModel:
    """Reads the passages of a prompt one by one and answers with a span of one of them, or declines.

    With RAG-Sequence or RAG-Token it answers in free words instead: those that all passages together make most
    probable. A prompt without passages is answered in free words, too, which a model of this size does badly.
    Thread-safe: forward passes of several questions take turns.
    """

    follows_instructions = False

    def __init__(
        self,
        model: Any,
        tokenizer: ReaderTokenizer,
        name: str,
        choice: ChoiceSettings | None = None,
        marginal: MarginalSettings | None = None,
    ) -> None:
        self.name = name
        self._model = model
        self._tokenizer = tokenizer
        self.choice = choice or ChoiceSettings()
        self.marginal = marginal or MarginalSettings()
        self._turn = threading.Lock()

    @property
    def context_tokens(self) -> int:
        """Tokens the model can attend to."""
        return int(self._model.config.max_position_embeddings)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text."""
        return [self._tokenizer.count(text) for text in texts]

    def stream(self, prompt: Prompt, max_tokens: int = 512) -> Pieces:
        """Give the answer's words and then its marker, or the declining sentence.

        The words are known only when every passage was read, so all of them come at once.
        """
        if not prompt.hits:
            return (yield from self._write(prompt.messages, max_tokens))
        read = self._copied if self.marginal.mode == "none" else self._marginal
        answer, written = read(prompt, max_tokens)
        if answer is None:
            yield DECLINE
            return written
        words, row = answer
        yield " ".join(words.split())
        yield f" [{row + 1}]"
        return written

    def look(self, question: str, hits: Sequence[Hit]) -> Look:
        """Read the first passages one by one."""
        from generator.spans import read_spans

        readings, spoken = self._readings(question, hits)
        with self._turn:
            verdict = read_spans(self._model, readings, self._tokenizer.end)
        texts = tuple(reading.text for reading in readings)
        near = nearness(question, texts, [(span.row, span.start) for span in verdict.spans])
        return Look(texts, spoken, verdict, near, _read_tokens(readings))

    def _readings(self, question: str, hits: Sequence[Hit]) -> tuple[list[Reading], tuple[float, ...]]:
        """The first passages as the model reads them, and the share of the question's words that each has."""
        read = hits[:MAX_PASSAGES]
        heads = [head_of(hit.title, hit.chunk.heading_path) for hit in read]
        readings = [
            self._tokenizer.reading(question, head, hit.chunk.text, MAX_PASSAGE_TOKENS)
            for head, hit in zip(heads, read, strict=True)
        ]
        spoken = coverages(question, [f"{head}\n{hit.chunk.text}" for head, hit in zip(heads, read, strict=True)])
        return readings, spoken

    def _copied(self, prompt: Prompt, _: int) -> tuple[_Told | None, Written]:
        """The words of the span that answers, and the index of its passage; None to decline."""
        look = self.look(prompt.question, prompt.hits)
        span = choose(look, self.choice)
        if span is None:
            return None, Written(Usage(1, look.prompt_tokens, 0))
        words = with_unit(look.texts[span.row], span.start, span.end, prompt.question)
        return (words, span.row), Written(Usage(1, look.prompt_tokens, span.tokens), span.log_p_token)

    def _marginal(self, prompt: Prompt, max_tokens: int) -> tuple[_Told | None, Written]:
        """The most probable answer over all passages, and the index of the passage it most probably comes from.

        Whether to decline is weighed as for a span, from the same signs.
        """
        from generator.rag import MAX_TOKENS, decode

        readings, spoken = self._readings(prompt.question, prompt.hits)
        log_passages = passage_log_p(prompt.hits[: len(readings)], self.marginal.temperature)
        with self._turn:
            prefix = self._prefix(readings)
            decoded = decode(
                self._model, prefix, log_passages, self.marginal, self._tokenizer.end, min(max_tokens, MAX_TOKENS)
            )
        read = _read_tokens(readings)
        for candidate in decoded.candidates:
            words = self._tokenizer.decode(candidate.tokens)
            if not any(c.isalnum() for c in words):
                continue
            row, log_p_token = candidate.row, candidate.log_own / (len(candidate.tokens) + 1)
            text = readings[row].text
            (near,) = nearness(prompt.question, [text], [(0, text.find(words.strip()))])
            signs = spoken[row], decoded.log_decline[row], log_p_token, near
            if decline_probability(signs, self.choice) > self.choice.decline_above:
                break
            return (words, row), Written(Usage(1, read, len(candidate.tokens)), log_p_token)
        return None, Written(Usage(1, read, 0))

    def _prefix(self, readings: Sequence[Reading]) -> Any:
        from generator.forward import read

        return read(self._model, readings, self._tokenizer.end)

    def _write(self, messages: Sequence[Message], max_tokens: int) -> Pieces:
        """Greedy decoding in the chat format. Between two tokens another question may have its turn."""
        import torch
        from transformers import DynamicCache

        stream, past = self._tokenizer.decoder(), DynamicCache()
        ids = self._tokenizer.chat([(m.role, m.content) for m in messages])
        if len(ids) + max_tokens > self.context_tokens:
            raise ModelError(
                f"The prompt has {len(ids)} tokens; {self.name} takes {self.context_tokens} with the answer.",
                "Ask a shorter question.",
            )
        asked = len(ids)
        for written in range(max_tokens):
            with self._turn, torch.inference_mode():
                out = self._model(input_ids=torch.tensor([ids]), past_key_values=past, logits_to_keep=1)
                token = int(out.logits[0, -1].argmax())
            if token == self._tokenizer.end:
                return Written(Usage(1, asked, written))
            if piece := stream(token):
                yield piece
            ids = [token]
        return Written(Usage(1, asked, max_tokens))


def _read_tokens(readings: Sequence[Reading]) -> int:
    return sum(len(reading.ids) for reading in readings)


def with_unit(text: str, start: int, end: int, question: str) -> str:
    """The words of a span; a bare number that answers "how much" takes the noun behind it along ("330 metres")."""
    words = text[start:end]
    if re.match(r"how\b", question.strip(), re.IGNORECASE) and re.fullmatch(r"[\d.,]*\d", words):
        following = re.match(r"[ -][^\W\d_]+(?:-[^\W\d_]+)*", text[end:])
        if following and following.group()[1:].lower() not in STOPWORDS:
            return words + following.group()
    return words


def load_embedded(
    model_dir: Path,
    adapter: Path | None = DEFAULT_READER,
    choice: Mapping[str, float] | None = None,
    marginal: MarginalSettings | None = None,
) -> EmbeddedModel:
    """Load base model and reader adapter, merge them, and use bfloat16 where the processor has it.

    `choice` holds weights (see `ChoiceSettings`) that go before those on the adapter's card.

    Raises:
        ModelError: a folder is missing or does not fit.
    """
    import torch

    from indexer.llm2vec.loading import pick_dtype, quiet_transformers

    tokenizer = ReaderTokenizer(model_dir)
    dtype = pick_dtype("auto", torch.device("cpu"))
    with quiet_transformers():
        model = merged(model_dir, adapter)
    if adapter is None:
        logger.warning("the reader's adapter is missing from this copy of Footnote: its answers will be poor")
    name = f"{adapter.name}@{fingerprint(adapter)}" if adapter else f"{model_dir.name} (not fine-tuned)"
    weights = changed(learned_choice(adapter), choice or {}, "generator.choice")
    return EmbeddedModel(model.to(dtype).eval(), tokenizer, name, weights, marginal)

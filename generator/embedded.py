"""The chat model in this process: SmolLM2, fine-tuned to copy the answer out of a passage or to decline."""

import hashlib
import json
import logging
import re
import shutil
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from generator.abstain import DECLINE
from generator.align import coverages, nearness
from generator.chat import Pieces, Written
from generator.choice import ChoiceSettings, Look, changed, choose, decline_probability
from generator.marginal import MarginalSettings, passage_log_p
from generator.prompt import Message, Prompt
from generator.reading import CHAT_TEMPLATE, READER_CARD, ReaderTokenizer, Reading, head_of
from generator.usage import Usage
from generator.words import STOPWORDS
from indexer.errors import ModelError
from retriever.hit import Hit

logger = logging.getLogger(__name__)

READER_NAME = "smollm2-135m-reader"
_SHIPPED = Path(__file__).parent / "adapters" / READER_NAME
DEFAULT_READER: Path | None = _SHIPPED if (_SHIPPED / "adapter_model.safetensors").is_file() else None
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
        following = re.match(r"[ -][^\W\d_]+", text[end:])
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
        model = _merged(model_dir, adapter)
    if adapter is None:
        logger.warning("the reader's adapter is missing from this copy of Footnote: its answers will be poor")
    name = f"{adapter.name}@{_fingerprint(adapter)}" if adapter else f"{model_dir.name} (not fine-tuned)"
    weights = changed(_learned_choice(adapter), choice or {}, "generator.choice")
    return EmbeddedModel(model.to(dtype).eval(), tokenizer, name, weights, marginal)


def merged_reader_dir(model_dir: Path, cache_dir: Path) -> Path:
    """Give the folder of the reader as one plain fp32 model, merging base and shipped adapter on the first call.

    Its chat template writes what the adapter was trained on for one user's message (see generator/reading.py), without
    the system turn of SmolLM2's own.

    Raises:
        ModelError: the adapter is missing, or the folder cannot be written.
    """
    from indexer.llm2vec.loading import quiet_transformers
    from indexer.llm2vec.weights import HASH_FILE

    if DEFAULT_READER is None:
        raise ModelError(
            "The reader's adapter is not in this copy of Footnote.", "Restore generator/adapters from git."
        )
    target = cache_dir / f"{READER_NAME}-{_fingerprint(DEFAULT_READER)}"
    if target.is_dir():
        return target
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix="merging-", dir=cache_dir) as name:
            scratch = Path(name) / target.name
            shutil.copytree(model_dir, scratch, ignore=shutil.ignore_patterns("*.safetensors", HASH_FILE))
            with quiet_transformers():
                _merged(model_dir, DEFAULT_READER).save_pretrained(scratch)
            (scratch / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
            with suppress(FileExistsError):  # another process was faster
                scratch.rename(target)
    except OSError as error:
        raise ModelError(
            f"Cannot write the merged reader to {cache_dir}: {error.strerror or error}.",
            "Free 600 MB or make the folder writable, or set FOOTNOTE_HOME to another disk.",
        ) from error
    return target


def _fingerprint(adapter: Path) -> str:
    """Tells readers apart that lie in folders of the same name: an evaluation must not go on with another one."""
    digest = hashlib.sha256()
    for name in ("adapter_model.safetensors", READER_CARD):
        if (adapter / name).is_file():
            digest.update((adapter / name).read_bytes())
    return digest.hexdigest()[:8]


def _learned_choice(adapter: Path | None) -> ChoiceSettings:
    if adapter is None or not (adapter / READER_CARD).is_file():
        return ChoiceSettings()
    try:
        card = json.loads((adapter / READER_CARD).read_text(encoding="utf-8"))
        return changed(ChoiceSettings(), card.get("choice", {}), str(adapter / READER_CARD))
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(
            f"Cannot read {adapter / READER_CARD}: {error}", "Take the adapter's files from one training run."
        ) from error


def _merged(model_dir: Path, adapter: Path | None) -> Any:
    """Merge in fp32: bfloat16 would round the adapter's small changes away."""
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    from indexer.llm2vec.loading import check_weights
    from indexer.llm2vec.merge import merge_adapters

    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            model_dir,
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # reported below with the missing ones
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(
            f"Cannot load the embedded reader from {model_dir}: {error}",
            "Run `footnote doctor`; deleting the models folder makes Footnote convert the weights again.",
        ) from error
    check_weights(report, model_dir)
    model.config.is_causal = True
    return merge_adapters(model, [adapter] if adapter else [])

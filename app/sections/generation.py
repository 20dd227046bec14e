"""The keys of writing an answer, and of declining one. The docstrings are the reference."""

from typing import Literal

from pydantic import Field, SecretStr

from app.sections.section import Section


class ChoiceSection(Section):
    """What the embedded reader's choice of an answer weighs. `footnote eval calibrate --reader` learns all of them; a
    key that is not set has the value that came with the reader."""

    word_weight: float | None = None
    """Of a span's log-probability per token, when spans of the passages compete. The next four compete with it."""

    span_weight: float | None = None
    """Of the log-probability of the whole span."""

    coverage_weight: float | None = None
    """Of the share of the question's words that the span's passage has."""

    near_weight: float | None = None
    """Of the share of them that the span's own sentence has."""

    doubt_weight: float | None = None
    """Of the reader's log-probability that the passage holds an answer at all."""

    decline_bias: float | None = None
    """Log-odds that the documents do not say, before the four signs below."""

    decline_coverage: float | None = None
    """Of the share of the question's words that the chosen passage has."""

    decline_reader: float | None = None
    """Of the reader's log-probability that the chosen passage holds no answer."""

    decline_span: float | None = None
    """Of the log-probability per token of the chosen words."""

    decline_near: float | None = None
    """Of the share of the question's words that the chosen words' sentence has."""

    decline_above: float | None = Field(default=None, ge=0, le=1)
    """Decline when it is more probable than this that the documents do not say: 1 never declines."""


class AbstentionSection(Section):
    """When an answer that a server wrote is declined all the same. `footnote eval calibrate --abstention` learns all of
    it; as it comes nothing is weighed, and a server's answer is declined when it says so or nothing supports it."""

    bias: float = 0
    """Log-odds that the documents do not say, before the signs below."""

    coverage: float = 0
    """Of the share of the question's words that a cited passage has."""

    dense: float = 0
    """Of the cosine of the question and the nearest cited passage."""

    support: float = 0
    """Of the mean support of the footnotes."""

    log_p: float = 0
    """Of the model's mean log-probability of a written token; needs generator.logprobs."""

    typical_log_p: float = 0
    """Taken in its place where the server does not tell it."""

    decline_above: float | None = Field(default=None, ge=0, le=1)
    """Decline when it is more probable than this that the documents do not say: 1 weighs and never declines."""


class MarginalSection(Section):
    """Answers in free words that all passages together make most probable (Lewis et al. 2020), from the embedded model
    or a server that gives log-probabilities."""

    mode: Literal["none", "sequence", "token"] = "none"
    """sequence (RAG-Sequence: one passage stands behind a whole answer), token (RAG-Token: each token may have another;
    embedded model only), or none (the embedded model copies words of one passage, a server reads all at once)."""

    decoding: Literal["thorough", "fast"] = "thorough"
    """Of sequence: thorough holds every answer to every passage, fast only to those that gave it. A server must be vLLM
    for thorough."""

    temperature: float = Field(default=0, ge=0)
    """Passages weigh exp(score / temperature); 0 takes one that was fitted for each kind of search."""

    beams: int = Field(default=4, ge=1, le=16)
    """Width of the embedded model's beam search. A server gives one answer to each passage."""


class GeneratorSection(Section):
    """Writing the answer."""

    kind: Literal["auto", "embedded", "server"] = "auto"
    """embedded (SmolLM2 in this process), server (any OpenAI-compatible one), or auto: a server if base_url is set."""

    base_url: str = ""
    """Address of the server, ending in /v1, such as http://127.0.0.1:8000/v1."""

    model: str = ""
    """Name of the model on the server; empty takes the first that it lists."""

    api_key: SecretStr = SecretStr("")
    """Key for the server, if it asks for one."""

    connect_timeout_s: float = Field(default=5, gt=0)
    """How long to wait for a connection to the server."""

    read_timeout_s: float = Field(default=60, gt=0)
    """How long to wait for the server's next word."""

    retries: int = Field(default=1, ge=0)
    """How often to try again before the first word."""

    context_tokens: int = Field(default=0, ge=0)
    """Tokens that question, passages and answer may have together; 0 asks the server."""

    temperature: float = Field(default=0, ge=0, le=2)
    """0 gives the same answer to the same question."""

    logprobs: bool = False
    """Whether to ask the server how probable each word of an answer was; generator.abstention can weigh it."""

    passages: int = Field(default=5, ge=1, le=100)
    """How many passages the answer is written from."""

    max_answer_tokens: int = Field(default=512, ge=1)
    """Longest answer."""

    max_prompt_tokens: int = Field(default=6000, ge=256)
    """Most tokens of question, passages and conversation together; passages that do not fit are left out."""

    max_question_chars: int = Field(default=4000, ge=1)
    """A longer question is refused."""

    carry_evidence: bool = False
    """Whether the passages that an answer rests on compete again for the context of a follow-up on the same topic."""

    entailment: Literal["lexical", "encoder", "nli", "judge"] = "lexical"
    """What checks a sentence against the passages where it is no quote: lexical (words alone), encoder (words and
    vectors, fitted for the shipped encoder), nli (a cross-encoder) or judge (the server at base_url, one short call for
    a sentence and a passage)."""

    nli_model: str | None = None
    """Folder or hub name of a cross-encoder with a label "entailment", for nli."""

    choice: ChoiceSection = ChoiceSection()
    """The embedded reader's weights."""

    abstention: AbstentionSection = AbstentionSection()
    """The weights for a server's answers."""

    marginal: MarginalSection = MarginalSection()
    """How passages share an answer."""

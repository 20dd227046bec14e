"""OpenAI's shapes of chat and embeddings, as far as Footnote has a use for them, and what it adds to them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from retriever.select import Why

Conditions = Annotated[list[Annotated[str, Field(max_length=1000)]], Field(max_length=50)]
"""Filters as the command line takes them: only documents that hold them are searched."""


class TextPart(BaseModel):
    """A piece of a message."""

    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart] | None = None

    def text(self) -> str:
        """The message as one text."""
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content)
        return self.content or ""


class StreamOptions(BaseModel):
    """What to send beside the answer."""

    include_usage: bool = False


class FootnoteOptions(BaseModel):
    """What Footnote adds to a chat request."""

    model_config = ConfigDict(extra="forbid")

    markdown: bool = True
    """Write the footnotes into the text, too, as Markdown has them: [^1] and a list at the end."""
    filters: Conditions = []
    """Answer from the documents that hold these, such as source=reports/*.pdf."""
    draft: bool = False
    """Stream the model's words as they come, before they are checked, instead of the checked answer."""
    conversation: Annotated[str, Field(max_length=200)] = ""
    """Any name of the conversation: its answers all come under the same settings while two are compared."""


class ChatRequest(BaseModel):
    """A question and the conversation before it. Sampling options are listed as ignored: the settings rule."""

    model_config = ConfigDict(extra="allow")

    model: str
    """A collection."""
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None
    """Whose question it is: stands for the conversation where `footnote.conversation` names none."""
    footnote: FootnoteOptions = FootnoteOptions()


class Told(BaseModel):
    """What an answer tells. Nothing is sent that is not named here."""

    model_config = ConfigDict(extra="forbid")


class Citation(Told):
    """A footnote: the exact words of a document, `text[start:end]`."""

    number: int
    document: str
    source: str
    page: int | None
    start: int
    end: int
    quote: str
    support: float


class Part(Told):
    """What one stage of the search thought of a passage."""

    score: float
    rank: int


class Hit(Told):
    """A passage, and why it was found."""

    rank: int
    score: float
    document: str
    source: str
    title: str
    page: int | None
    start: int
    end: int
    headings: list[str]
    text: str
    parts: dict[str, Part]


class Expansion(Told):
    """What was searched for beside the query, and which prompt asked for it; `failed` says why it was not."""

    kind: Literal["hyde", "multi-query", "decompose"]
    texts: list[str]
    prompt: str
    failed: str


class Sentence(Told):
    """A sentence of the answer, `answer[start:end]`, held against all passages; not `supported`: none says so."""

    text: str
    start: int
    end: int
    support: float
    supported: bool
    citations: list[int]


class LeftOut(Told):
    """A passage that was found and that the model did not get, and which step left it out."""

    why: Why
    chunk: str
    source: str
    rank: int


class Spent(Told):
    """What all calls of the model for an answer took, rewriting and expanding too, as the server counted it."""

    calls: int
    prompt_tokens: int
    completion_tokens: int


class FootnoteFields(Told):
    """What an answer rests on. `answer` has the markers [1], [2], each naming a citation."""

    answer: str
    abstained: bool
    query: str
    citations: list[Citation]
    hits: list[Hit]
    timings_ms: dict[str, float]
    model: str
    dropped_markers: int
    moved_markers: int
    sentences: list[Sentence]
    checked_by: str
    prompt_version: str
    usage: Spent | None
    log_p_token: float | None
    doubt: float | None
    left_out: list[LeftOut]
    expansion: Expansion | None
    notes: list[str]
    ignored: list[str]


class AnswerMessage(BaseModel):
    """The answer."""

    role: Literal["assistant"] = "assistant"
    content: str
    footnote: FootnoteFields


class Choice(BaseModel):
    """The only choice there is."""

    index: Literal[0] = 0
    message: AnswerMessage
    finish_reason: Literal["stop"] = "stop"


class Usage(BaseModel):
    """Tokens of the prompt (an upper bound) and of the answer."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Completion(BaseModel):
    """An answer that does not stream."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage


class Model(BaseModel):
    """A collection that can be asked."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "footnote"


class ModelList(BaseModel):
    """All of them."""

    object: Literal["list"] = "list"
    data: list[Model]


class EmbeddingRequest(BaseModel):
    """Texts for the encoder."""

    model_config = ConfigDict(extra="allow")

    model: str
    """A collection: its encoder is asked."""
    input: str | Annotated[list[str], Field(min_length=1, max_length=2048)]
    encoding_format: Literal["float", "base64"] = "float"
    instruction: str = ""
    """Put before every text, as `footnote encode --instruction` does."""


class Embedding(BaseModel):
    """The vector of one text: numbers, or the base64 of their little-endian float32 bytes."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingUsage(BaseModel):
    """Tokens that were read."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(BaseModel):
    """The vectors, in the order of the texts."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage


def extras(request: ChatRequest | EmbeddingRequest) -> dict[str, Any]:
    """Fields of a request that are not in its shape, and say something."""
    return {name: value for name, value in (request.model_extra or {}).items() if value is not None}

"""The sections of the settings: every key, its default and what it means. The docstrings are the reference."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from indexer.store.language import Language


class Section(BaseModel):
    """A group of keys: fixed after loading, and refusing keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True)


class IndexerSection(Section):
    """Reading documents and cutting them into chunks."""

    max_file_mb: float = Field(default=64, gt=0)
    """A larger file is refused, with its size."""

    parse_timeout_s: float = Field(default=120, gt=0)
    """A file, or a member of an archive, that takes longer to read fails."""

    parse_memory_mb: int = Field(default=2048, ge=256)
    """Memory of the process that reads files; a file that needs more fails."""

    parse_max_chars: int = Field(default=50_000_000, ge=1)
    """A document with more text than this fails."""

    ocr_languages: str = Field(default="eng", pattern=r"^([A-Za-z_]+(\+[A-Za-z_]+)*)?$")
    """Languages of scanned pages and pictures, as tesseract names them, such as eng+deu; empty does not read them."""

    language: Language = "english"
    """Whose stems and stopwords bm25 uses in collections made from now on; none has neither. Chinese, Japanese, Korean
    and Thai are found in any. `footnote reindex --language NAME` changes a collection that is there."""

    chunk_tokens: int = Field(default=256, ge=16, le=8192)
    """Most tokens of a chunk, counted by the encoder's tokenizer. Changing it asks for `footnote reindex`."""

    chunk_overlap_tokens: int = Field(default=0, ge=0)
    """Tokens that a chunk repeats from the one before it."""

    dense_build: Literal["auto", "cpu", "gpu"] = "auto"
    """What builds the graph of dense search: auto is a GPU where FAISS has one (requirements-gpu.txt) and there is much
    to build; cpu and gpu name one. Every machine serves what either builds."""

    lock_wait_s: float = Field(default=600, ge=0)
    """How long to wait for another process that writes to the same collection."""

    index: Literal["local", "milvus"] = "local"
    """Where the index of a new collection is: in files beside it, or in the Milvus of milvus.uri. A collection that is
    there stays where it is until `footnote migrate`."""


class MilvusSection(Section):
    """A Milvus that holds indexes; needs `pip install footnote[milvus]`. docs/milvus.md explains it."""

    uri: str = ""
    """milvus://HOST:19530, milvus+tls://HOST:443/DATABASE, or milvus:FILE.db for Milvus Lite, which one process at a
    time can open."""

    token: SecretStr = SecretStr("")
    """USER:PASSWORD or a token. It goes to the server of milvus.uri, and to others only where that is empty."""

    index_type: Literal["HNSW", "HNSW_SQ", "IVF_FLAT", "IVF_SQ8", "DISKANN", "GPU_CAGRA", "FLAT", "AUTOINDEX"] = "HNSW"
    """How vectors are indexed in a new collection of the server; GPU_CAGRA needs one with a GPU. Milvus Lite has HNSW,
    HNSW_SQ, IVF_FLAT, IVF_SQ8 and FLAT."""

    vectors: Literal["float32", "float16"] = "float32"
    """float16 halves what a server keeps of vectors and loses nothing: that is how they are stored here. Milvus Lite
    and GPU_CAGRA have float32 alone."""

    timeout_s: float = Field(default=60, gt=0)
    """Longest time for one call."""


class EncoderSection(Section):
    """The LLM2Vec encoder. Changing anything but dtype, device and batch_tokens asks for `footnote reindex`; so does
    naming another encoder than a collection was built with."""

    model: str = "smollm2"
    """smollm2 (comes with the installation), or another decoder: its folder, or its name on the Hugging Face hub. Also
    a sentence-transformers model, which takes none of the next five: its folder, or an installed package with one."""

    adapter: str | tuple[str, ...] = "default"
    """default (the one trained for Footnote; with smollm2 only), none, or a PEFT adapter: its folder or its hub name.
    A list is merged in order, as ["mntp", "supervised"]; in a variable, too, it is written like that."""

    pooling: Literal["auto", "mean", "weighted_mean", "eos_token", "last_token", "bos_token", "eos", "bos"] = "auto"
    """How token states become one vector; auto is what the adapter's llm2vec_config.json says, else mean. The names are
    those of the llm2vec package; eos and bos are short for last_token and bos_token."""

    query_instruction: str = ""
    """Words put before a question, never before a passage; give what the model was trained with."""

    max_tokens: int = Field(default=512, ge=8)
    """A longer text is cut here."""

    dim: int = Field(default=0, ge=0)
    """Keep so many leading numbers of each vector, for models that were trained for that (Matryoshka); 0 keeps all."""

    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number type; auto is bfloat16 where the processor computes with it."""

    device: str = "auto"
    """auto (a GPU if there is one), cpu, cuda or cuda:1."""

    batch_tokens: int = Field(default=0, ge=0)
    """Tokens of one batch: more fills a GPU better and takes more memory; 0 chooses by the device."""


class SelectionSection(Section):
    """Choosing an answer's passages from what was found. What it was not given is in its trace (left_out)."""

    pool: int = Field(default=0, ge=0, le=1000)
    """How many passages are found to choose from; 0: no more than generator.passages, and a repeat leaves a gap."""

    near_duplicate: float = Field(default=1, gt=0, le=1)
    """A passage is left out if so large a share of its runs of four words is that of a better one; 1 leaves out only
    exact repeats."""

    per_document: int = Field(default=0, ge=0)
    """Most chunks of one document; 0 sets no limit."""

    diversity: float = Field(default=0, ge=0, le=1)
    """How much a passage has to be unlike those chosen before it (MMR, 1 - lambda); 0 chooses by rank alone. Needs a
    pool."""

    join: bool = False
    """Whether chosen chunks of one document that touch are given as one passage. The embedded reader reads the first
    384 tokens of a passage."""

    order: Literal["best-first", "best-at-ends"] = "best-first"
    """In which order a server's model gets the passages: best-at-ends has the weakest in the middle, which models
    overlook. The embedded reader reads one by one."""


class RetrieverSection(Section):
    """Finding passages."""

    mode: Literal["bm25", "dense", "hybrid"] = "hybrid"
    """How `ask` and the chat page search, and `search` when it is not told."""

    rerank: bool = False
    """Whether `ask` and the chat page let the reranker order the best passages again."""

    fusion: Literal["convex", "rrf"] = "convex"
    """How bm25 and dense are joined: by weighted scores, or by ranks alone."""

    dense_weight: float = Field(default=0.25, ge=0, le=1)
    """Share of the dense score in the convex fusion; the rest is bm25's."""

    normalisation: Literal["mixed", "min-max", "theoretical", "z-score"] = "mixed"
    """How scores are made comparable: mixed counts bm25 from 0 and dense from the worst found; min-max counts both from
    the worst found, theoretical both from the worst there can be, z-score in standard deviations."""

    rrf_k: float = Field(default=60, gt=0)
    """The constant of reciprocal rank fusion: larger makes the first ranks count less."""

    rrf_dense_weight: float = Field(default=0.5, ge=0, le=1)
    """Share of the dense ranks in reciprocal rank fusion; the rest is bm25's."""

    candidates: int = Field(default=100, ge=1, le=10_000)
    """How many passages bm25 and dense each give to the fusion."""

    rerank_candidates: int = Field(default=30, ge=1)
    """How many passages the reranker reads."""

    reranker: str | None = None
    """Folder or hub name of a sentence-transformers cross-encoder, or generator: the server at generator.base_url,
    which says yes or no of each passage. Without one, `--rerank` is refused."""

    rerank_weight: float = Field(default=1, ge=0, le=1)
    """Share of the reranker's scores in the order of what it reads; the rest is that of the scores before. 1 lets the
    reranker decide alone."""

    rerank_batch: int = Field(default=16, ge=1, le=256)
    """How many passages the reranker reads at once; of a server, how many requests."""

    rerank_budget_ms: float = Field(default=0, ge=0)
    """Longest time for reranking. What takes longer is left, the order before stands, and the answer's notes say so; 0
    sets no limit."""

    expansion: Literal["none", "hyde", "multi-query", "decompose"] = "none"
    """What the server at generator.base_url writes to be searched for beside the question of `ask` and the chat page:
    hyde a passage that might answer it (for its vector), multi-query the question in other words, decompose the simpler
    questions in it."""

    expansion_queries: int = Field(default=3, ge=1, le=8)
    """Most questions that multi-query and decompose write."""

    expansion_tokens: int = Field(default=128, ge=8, le=1024)
    """Most tokens of what is written."""

    lexical_engine: Literal["tantivy", "rank-bm25"] = "tantivy"
    """The bm25 engine; rank-bm25 holds everything in memory and is for small collections."""

    max_query_chars: int = Field(default=8_000, ge=1)
    """A longer question is refused."""

    selection: SelectionSection = SelectionSection()
    """Which of the found passages an answer is written from."""


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


class UiSection(Section):
    """The chat page."""

    host: str = "127.0.0.1"
    """Address the page listens on. On any other than this machine's own, readers have to sign in."""

    auth: Literal["auto", "keys"] = "auto"
    """keys asks every reader for an API key or a sign-in; auto does so where sign_in is set up, or others reach the
    page."""

    port: int = Field(default=8501, ge=1, le=65535)
    """Port of the page."""

    max_upload_mb: int = Field(default=64, ge=1)
    """Largest file that can be uploaded."""


class SignInSection(Section):
    """Signing in to the page by OpenID Connect."""

    metadata_url: str = ""
    """The provider's address that ends in /.well-known/openid-configuration; empty for no sign-in."""

    client_id: str = ""
    """The name under which the provider knows this page."""

    client_secret: SecretStr = SecretStr("")
    """What proves it; better given as FOOTNOTE_SIGN_IN__CLIENT_SECRET."""

    redirect_url: str = ""
    """The page's address for its readers, ending in /oauth2callback; empty for http://localhost:PORT/oauth2callback."""

    scopes: str = "openid profile email"
    """What the provider is asked for; some give groups only with a scope of their own."""

    groups_claim: str = "groups"
    """The claim of the ID token that lists a reader's groups; realm_access.roles looks for roles in realm_access."""

    ingest_group: str = ""
    """Members may add, re-sync and delete documents of the collections that they use."""

    admin_group: str = ""
    """Members may do everything, and read everything."""

    session_hours: float = Field(default=12, gt=0)
    """After how long a reader signs in anew, with the groups of then."""


class ServerSection(Section):
    """The HTTP API of `footnote serve`."""

    host: str = "127.0.0.1"
    """Address the API listens on. Any other than this machine's own needs keys: `footnote keys create`."""

    port: int = Field(default=8080, ge=1, le=65535)
    """Port of the API."""

    auth: Literal["auto", "keys"] = "auto"
    """keys asks every request for a key; auto does so as soon as the first key was made."""

    answers: int = Field(default=16, ge=1, le=1024)
    """How many answers, searches and embeddings are worked on at once."""

    queue: int = Field(default=64, ge=0)
    """How many more may wait for their turn; whoever comes then is told to try again later (503)."""

    ingests: int = Field(default=16, ge=1)
    """How many uploads may wait to be indexed; the next is told to try again later (503)."""

    timeout_s: float = Field(default=300, gt=0)
    """Longest time for an answer, its waiting included."""

    shutdown_s: int = Field(default=30, ge=1)
    """How long running answers may go on when the server is told to stop."""

    max_body_mb: float = Field(default=1, gt=0)
    """Largest request that is no upload."""

    max_upload_mb: float = Field(default=256, gt=0)
    """Largest upload, all its files together; indexer.max_file_mb is the limit of one."""

    rate_per_minute: int = Field(default=120, ge=0)
    """How many requests a key may make in a minute; 0 sets no limit."""

    origins: tuple[str, ...] = ()
    """Web pages of other addresses that may call the API from a browser, as ["https://intranet.example.com"]."""


class TelemetrySection(Section):
    """Traces for OpenTelemetry. Without an endpoint nothing is imported, recorded or sent."""

    otlp_endpoint: str = ""
    """Address of an OTLP/HTTP collector, such as http://127.0.0.1:4318; needs `pip install footnote[telemetry]`."""

    content: bool = False
    """Whether spans also carry the text of questions, passages and answers."""


class ExperimentSection(Section):
    """Two settings served side by side, each to a share of the conversations; `footnote eval ab` compares them."""

    name: str = Field(default="", pattern=r"^[A-Za-z0-9._-]{0,64}$")
    """What it is called; empty runs none. Another name draws the conversations anew."""

    share: float = Field(default=0.5, ge=0, le=1)
    """Share of the conversations that get the overrides (arm b); the others get the settings as they are (arm a)."""

    overrides: dict[str, Any] = {}
    """What arm b has otherwise: keys of retriever and generator (but api_key), as {retriever.dense_weight=0.4,
    generator.passages=8}, or one a line under [experiment.overrides]."""

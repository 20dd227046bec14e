"""The keys of reading, chunking and encoding documents, and of their index. The docstrings are the reference."""

from typing import Literal

from pydantic import Field, SecretStr

from app.sections.section import Section
from indexer.store.language import Language


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

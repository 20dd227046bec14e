"""A collection in Milvus: its fields and index types, and the words and ranges as they are sent."""

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from indexer.errors import ConfigError
from indexer.milvus.build import Build
from indexer.milvus.connection import Connection
from indexer.store.keys import KeyRanges

MAX_TEXT_BYTES = 65_535  # of a VARCHAR field
MAX_HITS = 16_384  # of one search
_MAX_GPU_HITS = 1024
_EF_SEARCH = 128
_EF_PER_RESULT = 3  # as in the local index
_RANGES = 256  # in one expression
_BM25_K1, _BM25_B = 1.2, 0.75  # what tantivy fixes
_CODED = "0x"  # before a term that is not of plain letters and digits


@dataclass(frozen=True, slots=True)
class IndexType:
    """How Milvus builds an index of vectors, and how it searches for k."""

    build: Mapping[str, Any]
    search: Callable[[int], dict[str, Any]]
    max_hits: int = MAX_HITS


def _ef(k: int) -> dict[str, Any]:
    return {"ef": max(_EF_SEARCH, _EF_PER_RESULT * k)}


def _nothing(k: int) -> dict[str, Any]:
    return {}


# Malkov and Yashunin 2016 (arXiv:1603.09320); DiskANN, Subramanya et al. 2019; CAGRA, Ootomo et al. 2023 (2308.15136).
INDEX_TYPES: Mapping[str, IndexType] = {
    "HNSW": IndexType({"M": 32, "efConstruction": 200}, _ef),
    "HNSW_SQ": IndexType({"M": 32, "efConstruction": 200, "sq_type": "SQ8"}, _ef),
    "IVF_FLAT": IndexType({"nlist": 1024}, lambda k: {"nprobe": 64}),
    "IVF_SQ8": IndexType({"nlist": 1024}, lambda k: {"nprobe": 64}),
    "DISKANN": IndexType({}, lambda k: {"search_list": max(_EF_SEARCH, 2 * k)}),
    "GPU_CAGRA": IndexType(
        {"intermediate_graph_degree": 128, "graph_degree": 64, "cache_dataset_on_device": "true"},
        lambda k: {"itopk_size": max(_EF_SEARCH, 1 << (2 * k - 1).bit_length()), "search_width": 4},
        _MAX_GPU_HITS,
    ),
    "FLAT": IndexType({}, _nothing),
    "AUTOINDEX": IndexType({}, _nothing),
}


def check_types(index_type: str, vectors: str, is_lite: bool) -> None:
    """Refuse what does not go together.

    Raises:
        ConfigError: the index type is unknown, or cannot have such vectors.
    """
    if index_type not in INDEX_TYPES:
        raise ConfigError(f'"{index_type}" is no index type', f"Choose one of: {', '.join(INDEX_TYPES)}.")
    if vectors == "float16" and (is_lite or index_type.startswith("GPU_")):
        what = "Milvus Lite" if is_lite else index_type
        raise ConfigError(f"{what} has no vectors in half precision", "Set milvus.vectors to float32.")


def create(connection: Connection, build: Build) -> None:
    """Make the collection of a build, empty, with its indexes; one that a kill left is made anew."""
    from pymilvus import DataType, Function, FunctionType, MilvusClient

    if connection.call("has_collection", build.name):
        connection.call("drop_collection", build.name)
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("key", DataType.INT64, is_primary=True)
    kind = DataType.FLOAT16_VECTOR if build.vectors == "float16" else DataType.FLOAT_VECTOR
    schema.add_field("vector", kind, dim=build.dim)
    analyzer = {"tokenizer": "standard"}
    schema.add_field(
        "text", DataType.VARCHAR, max_length=MAX_TEXT_BYTES, enable_analyzer=True, analyzer_params=analyzer
    )
    schema.add_field("bm25", DataType.SPARSE_FLOAT_VECTOR)
    schema.add_function(
        Function(
            name="bm25_of_text",
            function_type=FunctionType.BM25,
            input_field_names=["text"],
            output_field_names=["bm25"],
        )
    )
    indexes = MilvusClient.prepare_index_params()
    params = dict(INDEX_TYPES[build.index_type].build)
    indexes.add_index("vector", index_type=build.index_type, metric_type="IP", params=params)
    bm25 = {"bm25_k1": _BM25_K1, "bm25_b": _BM25_B}
    indexes.add_index("bm25", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25", params=bm25)
    connection.call("create_collection", build.name, schema=schema, index_params=indexes, consistency_level="Bounded")


def as_words(terms: Sequence[str]) -> str:
    """Write terms as words that every analyzer leaves as they are, so that BM25 counts here what it counts elsewhere.

    Milvus's analyzers know neither our stems nor our folding, and its standard tokenizer is not the same everywhere.
    """
    return " ".join(term if _is_plain(term) else _coded(term) for term in terms)


def as_text(terms: Sequence[str]) -> str:
    """The words of a chunk, cut where the field ends."""
    words = as_words(terms)
    if len(words) <= MAX_TEXT_BYTES:  # they are ASCII
        return words
    return words[:MAX_TEXT_BYTES].rpartition(" ")[0]


def _is_plain(term: str) -> bool:
    return term.isascii() and term.isalnum() and not term.startswith(_CODED)


def _coded(term: str) -> str:
    return _CODED + base64.b32encode(term.encode("utf-8", "surrogatepass")).decode().rstrip("=").lower()


def expressions(within: KeyRanges | None) -> Iterator[str]:
    """The ranges as filters of Milvus, some hundred in each; one that lets everything through where there are none."""
    if within is None:
        yield ""
        return
    for at in range(0, len(within), _RANGES):
        part = within[at : at + _RANGES]
        alone = [str(first) for first, last in part if first == last]
        conditions = [f"(key >= {first} and key <= {last})" for first, last in part if first < last]
        yield _either([*conditions, *([f"key in [{', '.join(alone)}]"] if alone else [])])


def _either(conditions: Sequence[str]) -> str:
    """Joined by or, as a balanced tree: parsers and their recursion have limits."""
    if len(conditions) == 1:
        return conditions[0]
    middle = len(conditions) // 2
    return f"({_either(conditions[:middle])} or {_either(conditions[middle:])})"

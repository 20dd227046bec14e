"""The contenders of bench/peers.py: each builds its indexes in a folder, opens them there, and searches in its modes.

Other libraries are imported where a contender is made: each is there in its own environment alone.
"""

import os

import numpy as np

K = 10  # passages asked for
DEEP = 100  # candidates of each search that Footnote fuses as it comes
GRAPH = "HNSW32"  # FAISS's graph with its own efConstruction of 40 and efSearch of 16


class Footnote:
    """retriever.Retriever with its defaults; bench/peers.py makes the collection."""

    modes = ("bm25", "dense", "hybrid")

    def __init__(self, given, store):
        import faiss
        import tantivy  # noqa: F401

        from bench.search import Given as Encoder
        from indexer.collection import Collection
        from retriever.search import Retriever

        faiss.omp_set_num_threads(1)
        self._collection, self._retriever, self._encoder = Collection, Retriever, Encoder
        self.given, self.store = given, store

    def open(self):
        (home,) = self.store.rglob("collections")
        (name,) = self._collection.list(home.parent)
        collection = self._collection.open(home.parent, name)
        encoder = self._encoder(dict(zip(self.given.questions, self.given.asked, strict=True)))
        encoder.fingerprint, encoder.dim = collection.manifest.fingerprint, self.given.asked.shape[1]
        self.retriever = self._retriever(collection, encoder)

    def search(self, mode, question):
        return [hit.chunk.id for hit in self.retriever.search(question, K, mode)]


class Haystack:
    """Pipelines of its retrievers and DocumentJoiner (reciprocal rank fusion) on InMemoryDocumentStore.

    Both retrievers give ten, as they come; "hybrid-100" has a hundred of each. Vectors are compared as dot products.
    """

    modes = ("bm25", "dense", "hybrid", "hybrid-100")

    def __init__(self, given, store):
        os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"
        from haystack import Document, Pipeline, component
        from haystack.components.joiners import DocumentJoiner
        from haystack.components.retrievers.in_memory import InMemoryBM25Retriever, InMemoryEmbeddingRetriever
        from haystack.document_stores.in_memory import InMemoryDocumentStore

        @component
        class GivenEmbedder:
            @component.output_types(embedding=list[float])
            def run(self, text: str):
                return {"embedding": given.encode(text).tolist()}

        self.given, self.store, self._embedder = given, store, GivenEmbedder
        self._document, self._pipeline, self._joiner = Document, Pipeline, DocumentJoiner
        self._bm25, self._dense, self._documents = (
            InMemoryBM25Retriever,
            InMemoryEmbeddingRetriever,
            InMemoryDocumentStore,
        )

    def build(self):
        store = self._documents()
        store.write_documents(self.documents(with_vectors=True))
        store.save_to_disk(str(self.store / "documents.json"))

    def documents(self, with_vectors):
        ids, texts = self.given.texts()
        vectors = self.given.vectors().tolist() if with_vectors else [None] * len(ids)
        rows = zip(ids, texts, vectors, strict=True)
        return [self._document(id=name, content=text, embedding=vector) for name, text, vector in rows]

    def open(self):
        words = self._documents.load_from_disk(str(self.store / "documents.json"))
        self.connect(words, words)

    def connect(self, words, vectors):
        """A pipeline for each mode."""
        self.pipelines = {}
        for mode in self.modes:
            depth = DEEP if mode == "hybrid-100" else K
            pipeline = self._pipeline()
            if mode != "dense":
                pipeline.add_component("bm25", self._bm25(words, top_k=depth))
            if mode != "bm25":
                pipeline.add_component("embed", self._embedder())
                pipeline.add_component("dense", self._dense(document_store=vectors, top_k=depth))
                pipeline.connect("embed.embedding", "dense.query_embedding")
            if mode.startswith("hybrid"):
                pipeline.add_component("join", self._joiner(join_mode="reciprocal_rank_fusion", top_k=K))
                pipeline.connect("bm25", "join")
                pipeline.connect("dense", "join")
            self.pipelines[mode] = pipeline

    def search(self, mode, question):
        data = {} if mode == "dense" else {"bm25": {"query": question}}
        if mode != "bm25":
            data["embed"] = {"text": question}
        (told,) = self.pipelines[mode].run(data).values()
        return [document.id for document in told["documents"]]


class HaystackFaiss(Haystack):
    """The same, with vectors in FAISSDocumentStore (faiss-haystack): an HNSW graph. BM25 it has in memory alone."""

    def __init__(self, given, store):
        super().__init__(given, store)
        from haystack_integrations.components.retrievers.faiss import FAISSEmbeddingRetriever
        from haystack_integrations.document_stores.faiss import FAISSDocumentStore

        self._dense, self._vectors = FAISSEmbeddingRetriever, FAISSDocumentStore

    def build(self):
        words = self._documents()
        words.write_documents(self.documents(with_vectors=False))
        words.save_to_disk(str(self.store / "documents.json"))
        vectors = self._vectors(index_string=GRAPH, embedding_dim=self.given.asked.shape[1])
        vectors.write_documents(self.documents(with_vectors=True))
        vectors.save(str(self.store / "vectors"))

    def open(self):
        words = self._documents.load_from_disk(str(self.store / "documents.json"))
        dim = self.given.asked.shape[1]
        self.connect(words, self._vectors(str(self.store / "vectors"), index_string=GRAPH, embedding_dim=dim))


class LlamaIndex:
    """FaissVectorStore on an HNSW graph, BM25Retriever (bm25s) and QueryFusionRetriever, one query, reciprocal ranks.

    The graph is of inner products: the fusion takes a higher score for a better one, which FAISS's distances are not.
    Each retriever gives ten (its default of two could not fill ten); "hybrid-100" has a hundred of each.
    """

    modes = ("bm25", "dense", "hybrid", "hybrid-100")

    def __init__(self, given, store):
        import faiss
        from llama_index.core import StorageContext, VectorStoreIndex, load_index_from_storage
        from llama_index.core.embeddings import BaseEmbedding
        from llama_index.core.llms import MockLLM
        from llama_index.core.retrievers import QueryFusionRetriever
        from llama_index.core.schema import TextNode
        from llama_index.retrievers.bm25 import BM25Retriever
        from llama_index.vector_stores.faiss import FaissVectorStore

        class GivenEmbedding(BaseEmbedding):
            def _get_query_embedding(self, query):
                return given.encode(query).tolist()

            async def _aget_query_embedding(self, query):
                return self._get_query_embedding(query)

            def _get_text_embedding(self, text):
                raise AssertionError("passages come with their vectors")

        self.given, self.store, self.embedder, self._faiss = given, store, GivenEmbedding(), faiss
        self._context, self._index, self._load = StorageContext, VectorStoreIndex, load_index_from_storage
        self._node, self._bm25, self._vectors = TextNode, BM25Retriever, FaissVectorStore
        self._fusion = lambda parts: QueryFusionRetriever(
            parts, llm=MockLLM(), mode="reciprocal_rerank", similarity_top_k=K, num_queries=1, use_async=False
        )

    def build(self):
        rows = zip(*self.given.texts(), self.given.vectors().tolist(), strict=True)
        nodes = [self._node(id_=name, text=text, embedding=vector) for name, text, vector in rows]
        dim = self.given.asked.shape[1]
        graph = self._faiss.index_factory(dim, GRAPH, self._faiss.METRIC_INNER_PRODUCT)
        context = self._context.from_defaults(vector_store=self._vectors(faiss_index=graph))
        index = self._index(nodes, storage_context=context, embed_model=self.embedder)
        index.storage_context.persist(str(self.store / "index"))
        self._bm25.from_defaults(nodes=nodes, similarity_top_k=K).persist(str(self.store / "bm25"))

    def open(self):
        folder = str(self.store / "index")
        context = self._context.from_defaults(vector_store=self._vectors.from_persist_dir(folder), persist_dir=folder)
        index = self._load(context, embed_model=self.embedder)
        bm25 = {K: self._bm25.from_persist_dir(str(self.store / "bm25"))}
        bm25[DEEP] = self._bm25(existing_bm25=bm25[K].bm25, similarity_top_k=DEEP)
        dense = {depth: index.as_retriever(similarity_top_k=depth) for depth in (K, DEEP)}
        self.retrievers = {"bm25": bm25[K], "dense": dense[K], "hybrid": self._fusion([dense[K], bm25[K]])}
        self.retrievers["hybrid-100"] = self._fusion([dense[DEEP], bm25[DEEP]])

    def search(self, mode, question):
        return [found.node.node_id for found in self.retrievers[mode].retrieve(question)]


class Txtai:
    """An embeddings database with content, hybrid: FAISS's HNSW graph and its own BM25, a hundred of each, weights .5.

    One of both alone is its own search action with the other taken away.
    """

    modes = ("bm25", "dense", "hybrid")

    def __init__(self, given, store):
        from txtai import Embeddings
        from txtai.embeddings.search import Search

        self.given, self.store, self._embeddings, self._search = given, store, Embeddings, Search

    def build(self):
        ids, texts = self.given.texts()
        vectors, row = self.given.vectors(), {text: at for at, text in enumerate(texts)}

        def transform(batch):
            return vectors[[row[text] for text in batch]]

        embeddings = self._embeddings(
            method="external",
            transform=transform,
            hybrid=True,
            content=True,
            backend="faiss",
            faiss={"components": f"IDMap,{GRAPH}"},
        )
        embeddings.index(zip(ids, texts, [None] * len(ids), strict=True))
        embeddings.config.pop("transform")  # a function is nothing to write to disk
        embeddings.save(str(self.store / "index"))

    def open(self):
        given = self.given

        def transform(batch):
            return np.stack([given.encode(text) for text in batch])

        self.embeddings = self._embeddings()
        self.embeddings.load(str(self.store / "index"), config={"transform": transform})
        self.alone = {"bm25": self._search(self.embeddings), "dense": self._search(self.embeddings)}
        self.alone["bm25"].ann = self.alone["dense"].scoring = None

    def search(self, mode, question):
        found = self.alone[mode]([question], K)[0] if mode in self.alone else self.embeddings.search(question, K)
        return [row["id"] for row in found]


CONTENDERS = {
    "footnote": Footnote,
    "haystack": Haystack,
    "haystack-faiss": HaystackFaiss,
    "llamaindex": LlamaIndex,
    "txtai": Txtai,
}

"""One contender of bench/ingest.py, run in its own environment; those of other libraries import nothing of Footnote.

python ingest_run.py CONTENDER JOB.json OUTPUT.json

A job is {"files": a folder, "store": a folder, "model": a sentence-transformers folder, "questions": [...]}. The store
is brought up to date with the files, written to disk, and then asked: OUTPUT gets seconds (of wall and processor time),
documents, chunks and the file that answers each question best. Loading packages and model is outside of these seconds.
"""

import hashlib
import json
import resource
import sys
import time
from pathlib import Path


class Footnote:
    """indexer.ingest(), as the command line runs it."""

    dtype = "auto"  # bfloat16, where the processor multiplies it natively

    def __init__(self, store, model):
        sys.path.insert(0, str(Path(__file__).parents[1]))
        import faiss  # noqa: F401
        import langchain_text_splitters  # noqa: F401
        import tantivy  # noqa: F401

        from indexer.collection import Collection
        from indexer.sentence_transformer import SentenceTransformer

        self.collection = Collection.open(store, "bench", create=True)
        self.encoder = SentenceTransformer(Path(model), dtype=self.dtype)

    def sync(self, files):
        from indexer.chunk import ChunkSettings
        from indexer.ingest import ingest

        report = ingest([files], self.collection, self.encoder, ChunkSettings())
        assert not report.count("failed"), report

    def counts(self):
        return len(self.collection.documents()), self.collection.count()

    def best(self, question):
        ((key, _),) = self.collection.dense.search(self.encoder.encode([question])[0], 1)
        return self.collection.chunks([key])[key].source


class FootnoteInSinglePrecision(Footnote):
    """The same with the numbers that the others compute with."""

    dtype = "float32"


class Haystack:
    """The documented indexing pipeline into its own document store, which is a JSON file on disk.

    It has no sync: every file is embedded anew under any duplicate policy. Here the files' hashes, kept in the
    documents' metadata, say what has changed; only that goes through the pipeline.
    """

    def __init__(self, store, model):
        from haystack import Pipeline
        from haystack.components.converters import PyPDFToDocument, TextFileToDocument
        from haystack.components.joiners import DocumentJoiner
        from haystack.components.preprocessors import DocumentSplitter
        from haystack.components.writers import DocumentWriter
        from haystack.document_stores.in_memory import InMemoryDocumentStore
        from haystack.document_stores.types import DuplicatePolicy
        from haystack_integrations.components.embedders.sentence_transformers import (
            SentenceTransformersDocumentEmbedder,
            SentenceTransformersTextEmbedder,
        )

        self.file = store / "documents.json"
        self.documents = InMemoryDocumentStore(embedding_similarity_function="cosine")
        self._store = InMemoryDocumentStore
        embedder = SentenceTransformersDocumentEmbedder(model=model, progress_bar=False)
        self.asker = SentenceTransformersTextEmbedder(model=model, progress_bar=False)
        embedder.warm_up()
        self.asker.warm_up()
        self._parts = lambda: (
            ("text", TextFileToDocument(store_full_path=True)),
            ("pdf", PyPDFToDocument(store_full_path=True)),
            ("join", DocumentJoiner()),
            ("split", DocumentSplitter(split_by="word", split_length=250)),
            ("embed", embedder),
            ("write", DocumentWriter(self.documents, policy=DuplicatePolicy.OVERWRITE)),
        )
        self._pipeline = Pipeline

    def sync(self, files):
        if self.file.exists():
            self.documents = self._store.load_from_disk(str(self.file))
        stored = {}
        for document in self.documents.filter_documents():
            stored.setdefault(document.meta["file_path"], []).append(document)
        digests = digests_of(files)
        changed = [p for p, digest in digests.items() if p not in stored or stored[p][0].meta["digest"] != digest]
        self.documents.delete_documents([old.id for path in changed for old in stored.get(path, [])])
        pipeline = self._pipeline()
        for name, part in self._parts():
            pipeline.add_component(name, part)
        for one, other in (
            ("text", "join"),
            ("pdf", "join"),
            ("join", "split"),
            ("split", "embed"),
            ("embed", "write"),
        ):
            pipeline.connect(one, other)
        given = {}
        for name, ending in (("text", ".txt"), ("pdf", ".pdf")):
            paths = [path for path in changed if path.endswith(ending)]
            given[name] = {"sources": paths, "meta": [{"digest": digests[path]} for path in paths]}
        pipeline.run(given)
        self.documents.save_to_disk(str(self.file))

    def counts(self):
        stored = self.documents.filter_documents()
        return len({document.meta["file_path"] for document in stored}), len(stored)

    def best(self, question):
        vector = self.asker.run(text=question)["embedding"]
        return self.documents.embedding_retrieval(vector, top_k=1)[0].meta["file_path"]


class LlamaIndex:
    """IngestionPipeline with a docstore and upserts, its documented way to sync; the stores are JSON files on disk.

    The cache of transformations is off: with a docstore it saves nothing here, and it is written to disk, too.
    """

    def __init__(self, store, model):
        from llama_index.core import SimpleDirectoryReader
        from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
        from llama_index.core.node_parser import SentenceSplitter
        from llama_index.core.storage.docstore import SimpleDocumentStore
        from llama_index.core.vector_stores import SimpleVectorStore, VectorStoreQuery
        from llama_index.embeddings.huggingface import HuggingFaceEmbedding

        self.folder, self.embedder = store, HuggingFaceEmbedding(model_name=model)
        self.query, self._reader = VectorStoreQuery, SimpleDirectoryReader
        self._vectors, self._documents = SimpleVectorStore, SimpleDocumentStore
        self._pipeline = lambda vectors, documents: IngestionPipeline(
            transformations=[SentenceSplitter(), self.embedder],
            vector_store=vectors,
            docstore=documents,
            docstore_strategy=DocstoreStrategy.UPSERTS,
            disable_cache=True,
        )

    def sync(self, files):
        vectors, documents = self.folder / "vectors.json", self.folder / "documents.json"
        is_old = vectors.exists()
        self.vectors = self._vectors.from_persist_path(str(vectors)) if is_old else self._vectors()
        stored = self._documents.from_persist_path(str(documents)) if is_old else self._documents()
        read = self._reader(str(files), filename_as_id=True).load_data()
        for document in read:  # the other libraries embed the text alone
            document.excluded_embed_metadata_keys = list(document.metadata)
        self._pipeline(self.vectors, stored).run(documents=read)
        self.vectors.persist(str(vectors))
        stored.persist(str(documents))

    def counts(self):
        owners = self.vectors.data.text_id_to_ref_doc_id
        return len(set(owners.values())), len(owners)

    def best(self, question):
        query = self.query(query_embedding=self.embedder.get_text_embedding(question), similarity_top_k=1)
        (found,) = self.vectors.query(query).ids
        return self.vectors.data.text_id_to_ref_doc_id[found].partition("_part_")[0]


class Txtai:
    """An embeddings database with content; texts of PDF files by pypdf, since its own reader wants Java or docling.

    It has no sync: a list of hashes, kept here beside its index, says which files are to be upserted.
    """

    def __init__(self, store, model):
        import pypdf
        from txtai import Embeddings

        self.folder, self.pypdf = store, pypdf
        self.embeddings = Embeddings(path=model, content=True)
        self.embeddings.batchtransform(["warm"])

    def sync(self, files):
        index, list_file = self.folder / "index", self.folder / "digests.json"
        before = json.loads(list_file.read_text()) if list_file.exists() else {}
        if before:
            self.embeddings.load(str(index))
        digests = digests_of(files)
        changed = [path for path, digest in digests.items() if before.get(path) != digest]
        rows = ((path, self._text(path), None) for path in changed)
        (self.embeddings.upsert if before else self.embeddings.index)(rows)
        self.embeddings.save(str(index))
        list_file.write_text(json.dumps(digests))

    def _text(self, path):
        if path.endswith(".pdf"):
            return "\n".join(page.extract_text() for page in self.pypdf.PdfReader(path).pages)
        return Path(path).read_text()

    def counts(self):
        return self.embeddings.count(), self.embeddings.count()

    def best(self, question):
        return self.embeddings.search(question, 1)[0]["id"]


CONTENDERS = {
    "footnote": Footnote,
    "footnote-fp32": FootnoteInSinglePrecision,
    "haystack": Haystack,
    "llamaindex": LlamaIndex,
    "txtai": Txtai,
}


def digests_of(files):
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files.iterdir())}


def cpu_seconds():
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def main(name, job_file, output):
    job = json.loads(Path(job_file).read_text(encoding="utf-8"))
    store = Path(job["store"])
    store.mkdir(parents=True, exist_ok=True)
    contender = CONTENDERS[name](store, job["model"])
    began, cpu_began = time.perf_counter(), cpu_seconds()
    contender.sync(Path(job["files"]))
    seconds, cpu_s = time.perf_counter() - began, cpu_seconds() - cpu_began
    documents, chunks = contender.counts()
    best = [contender.best(question) for question in job["questions"]]
    told = {"seconds": seconds, "cpu_s": cpu_s, "documents": documents, "chunks": chunks, "best": best}
    Path(output).write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])

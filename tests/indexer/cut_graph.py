"""A dense index that opens and searches, and finds little."""

import json
from itertools import pairwise
from pathlib import Path

import faiss

from indexer.store.disk import checksum


def cut_links(folder: Path, keep: int) -> None:
    """Leave each vector its first links only: a graph that opens, and holds its checksum, but cannot be walked."""
    note = json.loads((folder / "base.json").read_text())
    path = folder / f"{note['build']}.faiss"
    index = faiss.read_index(str(path))
    links = faiss.vector_to_array(index.hnsw.neighbors).copy()
    offsets = faiss.vector_to_array(index.hnsw.offsets).astype(int)
    for begin, end in pairwise(offsets):
        links[begin + keep : end] = -1
    faiss.copy_array_to_vector(links, index.hnsw.neighbors)
    path.unlink()
    faiss.write_index(index, str(path))
    (folder / "base.json").write_text(json.dumps(note | {"graph_crc": checksum(path)}))

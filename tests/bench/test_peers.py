"""The benchmark beside other libraries: its figures by hand, and each contender asked over its pipe."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import peers, search_made
from bench.peers_contenders import K
from bench.peers_given import give_made, sources
from bench.search import Given
from indexer.collection import Collection
from retriever.search import Retriever

CHUNKS = 200


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small collection and what the others are given of it."""
    place = tmp_path_factory.mktemp("peers")
    for number, name in enumerate(search_made.SETS):
        (place / "bench" / name).mkdir(parents=True)
        words = " ".join(f"word{at % 97} of set{number}" for at in range(400))
        lines = [json.dumps({"_id": str(at), "text": f"what is word{at} of set{number}"}) for at in range(4)]
        (place / "bench" / name / "corpus.jsonl").write_text(json.dumps({"_id": "1", "text": words}) + "\n")
        (place / "bench" / name / "queries.jsonl").write_text("\n".join(lines) + "\n")
    give_made(place / "made", place / "bench", CHUNKS)
    return place / "made"


def exact(given: Path) -> list[set[str]]:
    """The ten nearest passages of each question."""
    scores = np.load(given / "question_vectors.npy") @ np.load(given / "vectors.npy").astype(np.float32).T
    names = list(sources(given))
    return [{names[at] for at in row} for row in np.argsort(-scores, axis=1)[:, :K]]


def test_the_others_are_given_what_the_truth_holds(folder: Path) -> None:
    collection = Collection.open(folder / "footnote", search_made.NAME)
    lines = [json.loads(line) for line in (folder / "given" / "texts.jsonl").read_text().splitlines()]
    vectors = np.load(folder / "given" / "vectors.npy")
    keys, rows = collection.vectors()
    of_key = dict(zip(keys.tolist(), rows, strict=True))
    assert len(lines) == len(vectors) == CHUNKS
    for line, vector, (key, title, _, text) in zip(lines, vectors, collection.texts(), strict=True):
        assert line["text"] == f"{title}\n{text}"
        assert line["id"] == collection.chunks([key])[key].chunk.id
        assert np.array_equal(vector.astype(np.float32), of_key[key])


def test_footnote_over_the_pipe_finds_what_its_retriever_finds(folder: Path) -> None:
    given = folder / "given"
    texts, vectors = json.loads((given / "questions.json").read_text()), np.load(given / "question_vectors.npy")
    collection = Collection.open(folder / "footnote", search_made.NAME)
    retriever = Retriever(collection, Given(dict(zip(texts, vectors, strict=True))))
    with peers.Served(peers.OURS, Path(sys.executable), folder) as served:
        told = served.ask("hybrid", 3, 4, 60)
        stopped = served.ask("bm25", 0, 4, 0)
    assert told["found"] == [[hit.chunk.id for hit in retriever.search(text)] for text in texts[3:7]]
    assert len(told["wall_ms"]) == len(told["cpu_ms"]) == 4
    assert len(stopped["wall_ms"]) == 1, "a turn without time left asks one question"


@pytest.mark.parametrize("name", sorted(peers.STEPS))
def test_another_library_finds_the_nearest_of_few(name: str, folder: Path) -> None:
    environments = Path(os.environ.get("FOOTNOTE_PEERS", peers.CACHE)) / "environments"
    if not (environments / name.partition("-")[0] / "installed").is_file():
        pytest.skip(f"no environment of {name} in {environments}: bench.peers makes it, FOOTNOTE_PEERS names it")
    pythons = {name: peers.python_of(name, environments)}
    peers.build(folder, pythons)
    count = len(json.loads((folder / "given" / "questions.json").read_text()))
    with peers.Served(name, pythons[name], folder) as served:
        told = {mode: served.ask(mode, 0, count, 600)["found"] for mode in served.opened["modes"]}
    shares = [len(near & set(found)) / K for found, near in zip(told["dense"], exact(folder / "given"), strict=True)]
    assert np.mean(shares) > 0.9, "a graph of few rows misses little"
    for mode, found in told.items():
        assert {len(set(ids)) for ids in found} == {K}, mode
    assert told["hybrid"] != told["dense"] != told["bm25"]


def test_a_contender_that_fails_is_told_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"questions\.json"):
        peers.Served(peers.OURS, Path(sys.executable), tmp_path)


def test_recall_by_hand() -> None:
    vectors = np.zeros((12, 2), np.float32)
    vectors[:, 0] = np.arange(12) / 12  # the ten nearest of (1, 0) are rows 2 to 11
    asked_twice = np.array([[1, 0], [1, 0]], np.float32)
    told = peers.recalled(vectors, asked_twice, [[11, 10, 9, 8, 7, 6, 5, 4, 3, 2], [11, 10, 9, 8, 7, 6, 5, 4, 1, 0]])
    assert (told["n"], told["mean"]) == (2, 0.9)


def test_turns_are_summed_up_by_mode() -> None:
    opened: dict[str, Any] = {"open_s": 1.234, "open_cpu_s": 1.0, "process_cpu_s": 2.0, "modes": ["dense", "hybrid"]}
    memory = {"peak_mb": 9, "resident_mb": 7, "own_mb": 5}

    def turn(mode: str, first: int, wall: list[float], found: list[list[str]]) -> dict[str, Any]:
        return {"mode": mode, "first": first, "wall_ms": wall, "cpu_ms": [1.0] * len(wall), "found": found, **memory}

    told = peers.summary(
        opened,
        [
            turn("dense", 0, [1.0, 3.0], [["a"], ["b"]]),
            turn("hybrid", 0, [8.0], [["a"]]),
            turn("dense", 50, [2.0], [["c"]]),
        ],
    )
    assert (told["dense"]["n"], told["dense"]["p50"], told["hybrid"]["p50"]) == (3, 2.0, 8.0)
    assert told["dense_found"] == {0: ["a"], 1: ["b"], 50: ["c"]}
    assert (told["open_s"], told["resident_mb"]) == (1.23, 7)


def test_bars_are_judged_by_what_was_measured() -> None:
    def side(p50: float, resident_mb: int) -> dict[str, Any]:
        return {"hybrid": {"p50": p50}, "hybrid-100": {"p50": p50 + 1}, "resident_mb": resident_mb, "peak_mb": 100}

    bars = peers.judge({"time": {"txtai": {"footnote": side(5.0, 50), "txtai": side(4.5, 60)}}})
    assert bars == {
        "hybrid p50, txtai": False,
        "hybrid-100 p50, txtai": True,
        "resident_mb, txtai": True,
        "peak_mb, txtai": False,
    }


def test_quality_is_behind_only_beyond_the_interval() -> None:
    ours = [0.5, 0.6, 0.4, 0.5] * 10
    told = peers.compared(
        {
            "footnote": {"hybrid": ours},
            "level": {"hybrid": [value + (-1) ** at * 0.1 for at, value in enumerate(ours)]},
            "better": {"hybrid": [value + 0.1 for value in ours], "bm25": [1.0] * 40},
        }
    )
    assert told["better"]["hybrid"]["ours_more"] == -0.1
    assert peers.judge({"quality": told}) == {"nDCG of hybrid, level": True, "nDCG of hybrid, better": False}

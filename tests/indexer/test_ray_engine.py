"""The Ray engine gives what the local one gives: with its stages in this process, and when a cluster loses a node."""

import contextlib
import io
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexer.chunk import ChunkSettings
from indexer.collection import Collection
from indexer.errors import ClusterError, ModelError
from indexer.ingest import ingest
from indexer.ledger import Progress
from indexer.load import Limits
from indexer.verify import verify

pytest.importorskip(
    "ray.data", reason="Ray is not installed: pip install -r requirements-ray.txt", exc_type=ImportError
)

import ray
from ray.cluster_utils import Cluster
from ray.exceptions import RayError

import indexer.ray_engine as module
from indexer.ray_cluster import Pools, fetched
from indexer.ray_engine import RayEngine

SETTINGS = ChunkSettings(max_tokens=20)
STORE_BYTES = 100 * 2**20


def snapshot(collection: Collection) -> tuple[Any, ...]:
    """Everything that an ingest leaves behind, but for the clock's word."""
    documents = [
        (replace(info, added_at=""), collection.document(info.id), collection.document_chunks(info.id))
        for info in collection.documents()
    ]
    untimed = {"updated_at": "", "load_ms": 0.0, "chunk_ms": 0.0, "encode_ms": 0.0, "index_ms": 0.0}
    keys, vectors = collection.vectors()
    return documents, [replace(row, **untimed) for row in collection.files()], keys.tolist(), vectors.tobytes()


def zipped(**members: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, text in members.items():
            archive.writestr(name.replace("_", "."), text)
    return data.getvalue()


@dataclass
class Here:
    """Stands for the cluster: the stages run in this process, and break off before the parcels named."""

    encoder: Any
    breaks_at: list[int] = field(default_factory=list)
    sent: int = 0
    begun: int = 0
    dropped: int = 0  # how many parcels are never sent, without a word

    def dataset(self, engine: RayEngine, job: Any, parcels: Sequence[Any]) -> Any:
        self.begun += 1
        read = module.Read(job.limits, job.chunk_settings, engine.build_counter)
        encode = module.Encode(engine.build_encoder, engine.fingerprint, job.truth.encoded)

        def rows() -> Iterator[Any]:
            with contextlib.closing(read._parser):
                for parcel in parcels:
                    if self.breaks_at and self.breaks_at[0] == self.sent:
                        self.breaks_at.pop(0)
                        raise RayError("a worker died")
                    self.sent += 1
                    yield encode(read(module.packed(parcel)))

        rows_of = type("Rows", (), {"iter_rows": staticmethod(rows)})
        return rows_of()


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, hash_encoder: Any) -> Here:
    stand = Here(hash_encoder())
    monkeypatch.setattr(module, "connected", lambda address: contextlib.nullcontext())
    monkeypatch.setattr(module, "plan_pools", lambda parcels: Pools(1, 1, 1.0, 1.0, 0, 1))
    monkeypatch.setattr(module, "Nodes", type("NoNodes", (), {"watched": lambda self, rows: rows}))
    monkeypatch.setattr(module, "_PARCEL_FILES", 2)
    monkeypatch.setattr(RayEngine, "_dataset", lambda *arguments: stand.dataset(*arguments))
    return stand


@pytest.fixture
def engine(here: Here) -> RayEngine:
    return RayEngine(lambda: here.encoder, lambda: here.encoder.count_tokens, here.encoder.fingerprint)


@pytest.fixture
def other(desk: Any, tmp_path: Path) -> Collection:
    """A second collection, for the local engine."""
    return Collection.open(tmp_path / "home", "other", create=True)


def test_equal_to_the_local_engine_through_every_kind_of_change(
    desk: Any, other: Collection, here: Here, engine: RayEngine, hash_encoder: Any
) -> None:
    for number in range(9):
        desk.write(f"{number}.md", f"# Title {number}\n\n" + " ".join(f"word{number * at}" for at in range(50)))
    desk.write("twin.md", (desk.folder / "3.md").read_bytes())
    desk.write("box.zip", zipped(one_txt="First words.", two_txt="Second words.", bad_pdf="%PDF-1.4 broken"))
    desk.write("bad.pdf", b"%PDF-1.4 broken")
    desk.write("bad-twin.pdf", b"%PDF-1.4 broken")
    desk.write("empty.txt", b"")
    local = hash_encoder()
    reports = []
    for change in range(3):
        if change == 1:
            desk.write("4.md", "# Title 4\n\nOther words now.")
            (desk.folder / "5.md").rename(desk.folder / "moved.md")
            (desk.folder / "7.md").rename(desk.folder / "other-name.md")
            desk.write("5.md", "# Title 5\n\nNew words at an old place.")
            desk.write("box.zip", zipped(one_txt="First words.", three_txt="Third words."))
            (desk.folder / "6.md").unlink()
        there = desk.ingest(engine=engine, prune=True)
        alone = ingest([desk.folder], other, local, SETTINGS, prune=True)
        assert snapshot(desk.collection) == snapshot(other)
        assert [(file.path, file.state, file.change) for file in there.files] == [
            (file.path, file.state, file.change) for file in alone.files
        ]
        assert (there.tokens, there.truncated) == (alone.tokens, alone.truncated)
        assert verify(desk.collection) == []
        reports.append(there)
        if change == 0:
            assert desk.encoder.encoded == 0, "the writer had nothing to encode"
    # moved.md was stored, as 5.md, when it was decided what nodes read; when its turn came it was not.
    assert here.encoder.encoded + desk.encoder.encoded == local.encoded
    assert reports[0].count("indexed") == 13 and reports[0].count("failed") == 4
    assert {file.change for file in reports[1].files if file.state == "indexed"} == {"new", "changed", "moved"}
    assert reports[2].tokens == 0


def test_an_unchanged_folder_does_not_even_meet_the_cluster(
    desk: Any, engine: RayEngine, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.write("a.txt", "Words.")
    desk.ingest()
    monkeypatch.setattr(module, "connected", lambda address: pytest.fail("it was met"))
    assert desk.states(engine=engine) == {"a.txt": "unchanged"} and here.begun == 0


def test_a_run_that_breaks_off_goes_on_where_it_was(
    desk: Any, other: Collection, engine: RayEngine, here: Here, hash_encoder: Any
) -> None:
    for number in range(12):
        desk.write(f"{number:02}.txt", f"Some words about {number}.")
    here.breaks_at = [0, 0, 3, 3]
    desk.ingest(engine=engine)
    ingest([desk.folder], other, hash_encoder(), SETTINGS)
    assert snapshot(desk.collection) == snapshot(other)
    assert here.begun == 5 and here.sent * module._PARCEL_FILES >= 12
    assert here.encoder.encoded == 12, "nothing was done twice"


def test_a_cluster_that_keeps_failing_is_an_error_and_the_same_command_resumes(
    desk: Any, engine: RayEngine, here: Here
) -> None:
    for number in range(300):
        desk.write(f"{number:03}.txt", f"Some words about {number} and {'more ' * 30}")
    here.breaks_at = [120, 120, 120]
    with pytest.raises(ClusterError, match="a worker died") as refused:
        desk.ingest(engine=engine)
    assert "Run the same command again" in refused.value.remedy
    indexed = len(desk.collection.documents())
    assert 0 < indexed <= 240 and verify(desk.collection) == []
    before = here.encoder.encoded
    report = desk.ingest(engine=engine)
    assert (report.count("indexed"), report.count("unchanged")) == (300 - indexed, indexed)
    assert here.encoder.encoded - before == sum(file.chunks for file in report.files if file.state == "indexed")


def test_a_refusal_of_a_node_is_told_and_nothing_is_failed(desk: Any, engine: RayEngine, here: Here) -> None:
    def missing() -> Any:
        raise ModelError("The weights are missing", "Install them.")

    desk.write("a.txt", "Words.")
    with pytest.raises(ModelError, match=r"On the node .*The weights are missing"):
        desk.ingest(engine=replace(engine, build_encoder=missing))
    assert desk.collection.files() == []


def test_what_a_node_could_not_encode_fails_as_it_does_here(
    desk: Any, other: Collection, engine: RayEngine, here: Here
) -> None:
    for name, text in (("a.txt", "Sound words."), ("b.txt", "The poison."), ("c.txt", "Other words.")):
        desk.write(name, text)
    here.encoder.poison = desk.encoder.poison = "poison"
    assert desk.states(engine=engine) == {"a.txt": "indexed", "b.txt": "failed", "c.txt": "indexed"}
    ingest([desk.folder], other, desk.encoder, SETTINGS)
    assert snapshot(desk.collection) == snapshot(other)


def test_while_nothing_comes_the_head_is_looked_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("indexer.ray_cluster._CONNECT_S", 0.05)
    looks: list[int] = []

    def look() -> None:
        looks.append(1)
        if len(looks) == 3:
            raise ClusterError("The head is gone", "Run it again.")

    def stalling() -> Iterator[int]:
        yield 1
        time.sleep(3600)

    rows = fetched(stalling(), look)
    assert next(rows) == 1
    with pytest.raises(ClusterError, match="The head is gone"):
        next(rows)
    assert list(fetched([1, 2, 3], look)) == [1, 2, 3]

    def breaking() -> Iterator[int]:
        raise RayError("a worker died")
        yield

    with pytest.raises(RayError, match="a worker died"):
        list(fetched(breaking(), look))


@pytest.mark.parametrize(
    ("address", "words"),
    [("ray://head:10001", "not the address"), ("head", "not the address"), ("127.0.0.1:1", "There is no Ray cluster")],
)
def test_an_address_without_a_cluster_is_refused_at_once(
    desk: Any, hash_encoder: Any, address: str, words: str
) -> None:
    desk.write("a.txt", "Words.")
    with pytest.raises(ClusterError, match=words) as refused:
        desk.ingest(engine=RayEngine(hash_encoder, lambda: desk.encoder.count_tokens, "hash-1", address))
    assert "ray start" in refused.value.remedy


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Three node processes on this machine."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))  # where the nodes find hash_encoder
    quickly = {"health_check_period_ms": 500, "health_check_failure_threshold": 4}
    head = {"num_cpus": 1, "object_store_memory": STORE_BYTES, "include_dashboard": False, "_system_config": quickly}
    nodes = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(2):
            nodes.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
        yield nodes
    finally:
        ray.shutdown()
        nodes.shutdown()


def test_a_node_killed_in_mid_run_changes_nothing(
    desk: Any,
    other: Collection,
    cluster: Any,
    hash_encoder: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import hash_encoder as importable

    for number in range(48):
        desk.write(f"{number:02}.md", f"# File {number}\n\n" + " ".join(f"word{number * at}" for at in range(60)))
    desk.write("24.pdf", b"%PDF-1.4 broken")
    desk.write("25.html", "<div>" * 3000 + "deep")
    killed: list[int] = []

    def kill(now: Progress) -> None:
        if now.files_done >= 12 and not killed:
            killed.append(now.files_done)
            cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)

    engine = RayEngine(partial(hash_encoder, pause_s=0.05), importable.build_counter, "hash-1", cluster.address)
    monkeypatch.setattr(module, "_PARCEL_FILES", 2)
    monkeypatch.setattr("indexer.intake._BATCH_CHUNKS", 8)  # so that files are done from the start
    limits = Limits(timeout_s=60.0)
    report = desk.ingest(engine=engine, on_progress=kill, limits=limits)
    assert killed and killed[0] < 40, "the node was killed too late to matter"
    assert (report.count("indexed"), report.count("failed")) == (48, 2)
    assert desk.encoder.encoded == 0, "every vector came from a node"
    ingest([desk.folder], other, hash_encoder(), SETTINGS, limits=limits)
    assert snapshot(desk.collection) == snapshot(other)
    assert np.isfinite(desk.collection.vectors()[1]).all() and verify(desk.collection) == []
    assert "was lost; the others do its work" in caplog.text
    assert capsys.readouterr().out == "", "Ray prints where a command's document goes"

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from indexer.collection import Collection
from indexer.errors import ConfigError, IndexError_
from indexer.store.records import FileRow, Manifest

HERE = Path(__file__).parent

# Answers one question a line, with the names of the documents found by each index, and stays open in between.
READER = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from hash_encoder import HashEncoder
from indexer.collection import Collection
collection, encoder = Collection.open(Path(sys.argv[1]), "default"), HashEncoder()
for line in sys.stdin:
    found = set()
    for hits in (collection.lexical.search(line, 10), collection.dense.search(encoder.encode([line])[0], 10)):
        found |= {stored.chunk.document_id for stored in collection.chunks([key for key, _ in hits]).values()}
    print(*sorted(found), flush=True)
"""


def test_a_collection_that_does_not_exist_is_named_with_those_that_do(tmp_path: Path) -> None:
    with pytest.raises(IndexError_, match="no collection 'papers'") as caught:
        Collection.open(tmp_path, "papers")
    assert "footnote ingest PATH --collection papers" in caught.value.remedy
    assert not list(tmp_path.iterdir())  # asking makes nothing
    Collection.open(tmp_path, "notes", create=True)
    with pytest.raises(IndexError_) as caught:
        Collection.open(tmp_path, "papers")
    assert "There are: notes." in caught.value.remedy
    assert Collection.list(tmp_path) == ["notes"]


@pytest.mark.parametrize("name", ["", "..", "a/b", "../x", ".hidden", "a b", "x" * 65, "ä\n"])
def test_a_name_that_is_no_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be the name"):
        Collection.open(tmp_path, name, create=True)


def test_opening_twice_creates_once(shelf: Any) -> None:
    shelf.add(a="text")
    assert Collection.open(shelf.home, "default", create=True).count() == 1


def test_documents_are_found_by_id_path_folder_and_glob(shelf: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.add(a="one", b="two", c="three")
    find = shelf.collection.find
    assert find("b") == ["b"]
    assert find("/docs/c.txt") == ["c"]
    assert find("/docs") == find("/docs/") == find("/docs/*.txt") == find("*.txt") == ["a", "b", "c"]
    assert find("/docs/[ab].txt") == ["a", "b"]
    monkeypatch.chdir("/")
    assert find("docs/a.txt") == ["a"]
    assert find("/doc") == find("nothing") == find("") == find("  ") == []


def test_an_encoder_that_did_not_build_it_is_refused_with_the_command(shelf: Any) -> None:
    shelf.collection.check_encoder("anything")  # nothing is built yet
    shelf.add(a="one")
    shelf.collection.check_encoder("hash-1")
    with pytest.raises(IndexError_, match="another encoder") as caught:
        shelf.collection.check_encoder("hash-2")
    assert "footnote reindex --collection default" in caught.value.remedy


@pytest.mark.parametrize("change", [{"fingerprint": "other"}, {"chunker": "other"}])
def test_writing_with_another_encoder_or_chunker_is_refused(shelf: Any, change: dict[str, str]) -> None:
    shelf.add(a="one")
    values = {"fingerprint": "hash-1", "dim": 32, "chunker": "paragraphs", "cleaner": "1", "created_at": ""} | change
    with pytest.raises(IndexError_, match="was built with another"), shelf.collection.writer() as writer:
        writer.begin(Manifest(**values))
    shelf.delete("a")
    with shelf.collection.writer() as writer:
        writer.begin(Manifest(**values))  # an empty collection may begin again


def test_an_empty_collection_may_begin_again_with_longer_vectors(shelf: Any, hash_encoder: Any) -> None:
    shelf.add(**{f"d{number}": f"text {number}" for number in range(200)})
    assert len(shelf.dense("text 7")) == 10
    shelf.delete(*shelf.collection.find("/docs"))
    shelf.encoder = hash_encoder("hash-2", dim=48)
    shelf.add(a="new text")
    assert shelf.dense("new text") == ["a"]


def test_a_damaged_pointer_is_survived_while_one_generation_is_there(shelf: Any) -> None:
    shelf.add(a="one")
    (shelf.collection.folder / "current.json").write_text("{nonsense")
    assert Collection.open(shelf.home, "default").count() == 1
    (shelf.collection.folder / "generations" / "0002").mkdir()
    (shelf.collection.folder / "generations" / "0002" / "truth.db").touch()
    with pytest.raises(IndexError_, match="2 generations"):
        Collection.open(shelf.home, "default")


def test_a_switch_of_generations_is_noticed(shelf: Any) -> None:
    shelf.add(a="one")
    reader = Collection.open(shelf.home, "default")
    assert reader.count() == 1
    shelf.collection.generations.open(2, create=True)
    shelf.collection.generations.switch(2)
    assert reader.count() == 0
    assert shelf.collection.count() == 0


def test_a_collection_that_is_removed_under_a_reader_is_missing(shelf: Any) -> None:
    (shelf.collection.folder / "current.json").unlink()
    with pytest.raises(IndexError_, match="no collection"):
        shelf.collection.count()


def test_open_processes_see_every_change_at_once(shelf: Any) -> None:
    shelf.add(old="ancient lighthouse", other="lighthouse keeper")
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, str(shelf.home), str(HERE)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert reader.stdin and reader.stdout

    def ask(question: str) -> list[str]:
        assert reader.stdin and reader.stdout
        reader.stdin.write(question + "\n")
        reader.stdin.flush()
        return reader.stdout.readline().split()

    try:
        assert ask("lighthouse") == ["old", "other"]
        shelf.add(new="modern lighthouse")
        assert ask("lighthouse") == ["new", "old", "other"]
        shelf.delete("old")
        assert ask("ancient lighthouse") == ["new", "other"]
        with shelf.collection.writer() as writer:
            writer.delete("new", "other")
            assert ask("lighthouse") == []  # while the writer still holds the lock
    finally:
        reader.kill()
        reader.communicate()


def test_threads_read_while_one_writes(shelf: Any) -> None:
    shelf.add(**{f"d{number}": f"lighthouse number {number}" for number in range(150)})
    failures: list[BaseException] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            try:
                found = shelf.lexical("lighthouse", 5) + shelf.dense("lighthouse number 3", 5)
                assert len(found) >= 5
            except KeyError:  # deleted between the search and the reading of its text
                pass
            except BaseException as error:
                failures.append(error)
                return

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(5):
        shelf.add(**{f"n{number}": f"lighthouse of wave {number}"})
        shelf.delete(f"d{number}")
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []


def test_what_is_committed_outlives_an_error_in_the_writer(shelf: Any) -> None:
    document, chunks = shelf.document("a", "committed words")
    with pytest.raises(KeyboardInterrupt), shelf.collection.writer() as writer:
        writer.begin(shelf.manifest())
        writer.add(document, chunks, shelf.encoder.encode(["committed words"]), FileRow("/docs/a.txt", "indexed"))
        raise KeyboardInterrupt
    assert shelf.lexical("committed") == shelf.dense("committed words") == ["a"]
    with shelf.collection.writer(timeout_s=1):
        pass  # the lock is free again


def test_changes_together_are_all_there_or_none(shelf: Any) -> None:
    one, two = (shelf.document(name, f"words of {name}") for name in ("one", "two"))
    vectors = shelf.encoder.encode(["x"])
    with shelf.collection.writer() as writer:
        writer.begin(shelf.manifest())
        with pytest.raises(IndexError_, match="vectors"), writer.together():
            writer.add(*one, vectors)
            writer.add(*two, vectors[:0])
        assert shelf.collection.count() == 0
        with writer.together():
            writer.add(*one, vectors)
            writer.add(*two, vectors)
            assert shelf.collection.count() == 0
        assert shelf.collection.count() == 2
    assert sorted(shelf.lexical("words")) == ["one", "two"]


def test_closing_lets_go_and_using_opens_again(shelf: Any) -> None:
    shelf.add(a="words")
    assert shelf.lexical("words") == ["a"]
    shelf.collection.close()
    assert shelf.lexical("words") == shelf.dense("words") == ["a"]


def test_the_pointer_says_which_generation(shelf: Any) -> None:
    assert json.loads((shelf.collection.folder / "current.json").read_text()) == {"generation": 1}
    assert shelf.collection.generations.numbers() == [1]

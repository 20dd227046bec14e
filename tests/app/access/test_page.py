"""What the pages ask of a collection, for a reader of hr: none of it may hold anything of legal's.

Every function of the modules that the pages draw from is tried, or named as one that gives nothing of documents.
"""

import inspect
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import streamlit
from tenants import MARKER, VAULT, WORDS, World

from app.api.keys import Keys
from app.caller import Caller, caller_of
from app.commands.upkeep import Wanted
from app.conversations import Conversations
from app.database import Database
from app.feedback import Thumb
from app.sections.serving import SignInSection
from app.settings import ROOT
from app.ui import asking, evaluations, library, opened, others, person, rooms
from app.ui.evaluations import Order
from app.ui.history import follow_address
from app.ui.jobs import Report
from app.ui.person import caller_of_claims
from app.ui.session import Session
from app.ui.working import is_told, status_told
from eval.retrieval import evaluate_retrieval
from eval.run import load_run
from generator.pipeline import Done
from indexer.access import Access
from indexer.collection import Collection
from indexer.errors import ConfigError, FootnoteError

NOTHING_OF_DOCUMENTS = {
    rooms: {"check", "pictures", "question_folders", "review_folder", "settings"},
    asking: {"warm"},
    library: {"jobs"},
    others: set(),
    evaluations: {"jobs", "datasets", "may_name_files", "warm"},
}


@pytest.fixture
def reader(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Caller]:
    """Somebody of hr, who may add and delete what they may read."""
    for cached in (rooms.settings, opened.database, person.keys, library.jobs, evaluations.jobs):
        cached.cache_clear()
    streamlit.cache_resource.clear()
    key, _ = Keys(Database(world.home)).create("hugo", ["read", "ingest"], groups=["hr", "staff"])
    caller = caller_of(key)
    monkeypatch.setattr("sys.argv", ["main.py"])
    as_reader(monkeypatch, caller)
    yield caller
    streamlit.cache_resource.clear()
    rooms.settings.cache_clear()


def as_reader(monkeypatch: pytest.MonkeyPatch, caller: Caller) -> None:
    for module in (person, rooms, asking, others, evaluations, sys.modules["app.ui.working"]):
        monkeypatch.setattr(module, "reader", lambda: caller)


def conversation_of_legal(world: World) -> tuple[str, str]:
    kept = Conversations(Database(world.home), "lena")
    made = kept.begin("shared", f"What is {MARKER}?")
    return made.id, kept.ask(made.id, f"What is {MARKER}?").id


def attempts(world: World, caller: Caller) -> dict[tuple[Any, str], list[Callable[[], object]]]:
    """By module and name of the function that is tried."""
    names = ("shared", VAULT, "nowhere", "../shared")
    ids = (world.hidden, world.vaulted, f"{world.hidden}:0", "%", "' OR '1'='1")
    filters = ("source=*", "meta.author=*", "title!=x", f"id={world.hidden}", "added>=2000")
    chat, turn = conversation_of_legal(world)

    def tell(finished: int, total: int, doing: str, eta_s: float | None = None) -> None:
        assert MARKER not in doing

    report: Report = tell
    by_rooms: dict[str, list[Callable[[], object]]] = {
        "names": [rooms.names],
        "first_collection": [rooms.first_collection],
        "collections": [rooms.collections],
        "documents": [lambda n=n: rooms.documents(n) for n in names],
        "is_there": [lambda n=n: rooms.is_there(n) for n in names],
        "reading": [lambda n=n: rooms.reading(n).files() for n in names],
        "create": [lambda n=n: rooms.create(n) for n in ("mine", VAULT)],
        "document": [lambda n=n, i=i: rooms.document(n, i) for n, i in product(names, ids)],
        "remove": [lambda n=n, i=i: rooms.remove(n, i) for n, i in product(names, ids)],
        "uploads_dir": [lambda: rooms.uploads_dir(caller, "shared")],
        "index": [lambda: rooms.index(caller, "shared", [Path("/nowhere.txt")], report)],
        "sequence": [lambda n=n: rooms.sequence(n) for n in names[1:]],
        "language": [lambda n=n: rooms.language(n) for n in names],
    }
    by_asking: dict[str, list[Callable[[], object]]] = {
        "arm_of": [lambda: asking.arm_of(chat)],
        "ask": [
            *(lambda n=n: answered(caller, n) for n in names),
            *(lambda f=f: answered(caller, "shared", [f]) for f in filters),
        ],
        "search": [lambda n=n, f=f: asking.search(n, WORDS, [f]) for n, f in product(names[:2], filters)],
        "conversations": [
            lambda: asking.conversations().list(),
            lambda: asking.conversations().list(MARKER[:5]),
            lambda: asking.conversations().find(chat),
            lambda: asking.conversations().turns(chat),
            lambda: asking.conversations().ask_again(chat, turn),
            lambda: asking.conversations().ask(chat, "Mine now?"),
            lambda: asking.conversations().rename(chat, "Stolen"),
            lambda: asking.conversations().delete(chat),
        ],
        "there": [lambda n=n: asking.there(n) & {world.hidden, world.vaulted, MARKER} for n in names],
        "turns": [lambda n=n: asking.turns(n, chat) for n in names],
        "thumbs": [lambda: asking.thumbs([])],
        "keep": [lambda: asking.keep(caller, "shared", kept_record(world, chat))],
        "judge": [lambda: asking.judge("shared", kept_record(world, chat), Thumb("down"))],
    }
    by_library: dict[str, list[Callable[[], object]]] = {
        "facts": [lambda n=n: library.facts(n) for n in names],
        "ledger": [lambda n=n: library.ledger(n) for n in names],
        "chunks": [lambda n=n, i=i: library.chunks(n, i) for n, i in product(names, ids)],
        "upload": [lambda n=n: library.upload(n, [("mine.txt", b"mine")]) for n in names[1:]],
        "sync": [lambda: library.sync("shared", Path(world.sources[0]).parent, prune=True)],
        "retry": [lambda n=n: library.retry(n) for n in names[1:]],
        "delete": [lambda n=n: library.delete(n, world.sources) for n in names],
        "check": [lambda n=n, r=r: library.check(n, repair=r) for n, r in product(names, (False, True))],
        "rebuild": [lambda n=n: library.rebuild(n, Wanted(chunk_tokens=64)) for n in names],
    }
    runs = runs_of_others(world)
    called = [*runs, "last", runs[0][:8], runs[0][-8:], f"../runs/{runs[0]}", f"{run_path(world, runs[0])}"]
    orders = [
        Order("retrieval", run_path(world, runs[0]), "shared", ("bm25",)),
        Order("retrieval", evaluations.SAMPLE, VAULT, ("bm25",)),
        Order("retrieval", evaluations.SAMPLE, "", ("bm25",), baseline=runs[0]),
        Order("retrieval", evaluations.SAMPLE, "", ("bm25",), floors=("nonsense",)),
    ]
    by_evaluations: dict[str, list[Callable[[], object]]] = {
        "names": [evaluations.names],
        "comparable": [evaluations.comparable],
        "summary": [lambda n=n: evaluations.summary(n) for n in called],
        "run": [lambda n=n: evaluations.run(n) for n in called],
        "report": [lambda n=n: evaluations.report(n) for n in called],
        "unreadable": [lambda n=n: evaluations.unreadable(n) for n in called],
        "compared": [lambda a=a, b=b: evaluations.compared(a, b) for a, b in product(called[:3], called[:3])],
        "begin": [lambda o=o: evaluations.begin(o) for o in orders],
    }
    tried = {(others, "elsewhere"): [lambda n=n: others.elsewhere(n) for n in names]}
    tried |= {(rooms, name): tries for name, tries in by_rooms.items()}
    tried |= {(asking, name): tries for name, tries in by_asking.items()}
    tried |= {(library, name): tries for name, tries in by_library.items()}
    return tried | {(evaluations, name): tries for name, tries in by_evaluations.items()}


def questions(folder: Path, source: str) -> Path:
    """A data set of one question, which the document of a source answers."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "ledger.tsv"
    path.write_text(f"question\tsource\nWhat is {WORDS}?\t{source}\n")
    return path


def runs_of_others(world: World) -> list[str]:
    """A run of the command line, and one of somebody of legal, over the collection that both use."""
    path = questions(world.home.parent / "named" / MARKER, world.sources[0])
    served = Collection.open(world.home, "shared")
    lena = {"owner": "lena", "access": Access(frozenset({"legal", "staff"}))}
    made = [evaluate_retrieval(path, ["bm25"], None, world.home, served=served, **more) for more in ({}, lena)]
    return [each["run"] for each in made]


def run_path(world: World, name: str) -> Path:
    return world.home / "eval" / "runs" / f"{name}.db"


def answered(caller: Caller, name: str, filters: Sequence[str] = ()) -> object:
    return [event.answer for event in asking.ask(caller, name, WORDS, (), None, (), filters) if isinstance(event, Done)]


def kept_record(world: World, chat: str) -> Any:
    raise FootnoteError("A record comes from the reader's own conversation.")


def test_nothing_of_another_tenant_comes_out_of_the_pages(
    world: World, reader: Caller, encoder: Any, monkeypatch: pytest.MonkeyPatch, model: Any, capsys: Any
) -> None:
    monkeypatch.setenv("FOOTNOTE_GENERATOR__BASE_URL", model.base_url)
    rooms.settings.cache_clear()
    count, tried = 0, attempts(world, reader)
    for (module, name), tries in tried.items():
        for attempt in tries:
            count += 1
            try:
                told = repr(attempt())
            except FootnoteError as error:
                told = f"{error.message} {error.remedy}"
            assert MARKER not in told, (module.__name__, name, told[:500])
    assert MARKER not in str(model.requests)
    for module, harmless in NOTHING_OF_DOCUMENTS.items():
        public = {
            name
            for name, found in vars(module).items()
            if not name.startswith("_")
            and callable(found)
            and not inspect.isclass(found)
            and getattr(found, "__module__", "") == module.__name__
        }
        untried = public - harmless - {name for of, name in tried if of is module}
        assert not untried, f"nobody tried {module.__name__}: {untried}"
    with Database(world.home).connected() as db:
        assert db.execute("SELECT title FROM conversation").fetchone() == (f"What is {MARKER}?",)
    with capsys.disabled():
        sys.stdout.write(f"\n{count} attempts on the pages' functions, 0 leaks\n")


def test_what_is_open_for_all_is_asked_for_only_where_the_reader_is_looked_at() -> None:
    pages = (ROOT / "app" / "ui").glob("*.py")
    users = {page.stem for page in pages if re.search(r"import .*\bopened\b", page.read_text(encoding="utf-8"))}
    assert users == {"rooms", "asking", "library", "gold"}  # gold.py takes the answers' log, for admins alone


def test_what_was_found_for_one_reader_is_not_kept_for_the_next(
    world: World, reader: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    lena = Caller("lena", ("read",), groups=frozenset({"legal", "staff"}), by_groups=True)
    for _ in range(2):
        as_reader(monkeypatch, lena)
        assert MARKER in repr((rooms.documents("shared"), library.ledger("shared")))
        as_reader(monkeypatch, reader)
        assert MARKER not in repr((rooms.documents("shared"), library.ledger("shared"), library.facts("shared")))


def test_each_measures_what_they_may_read_and_sees_their_own_runs(
    world: World, reader: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = runs_of_others(world)
    assert all(MARKER in repr(load_run(world.home, name).records) for name in others), "there is something to hide"
    shared = questions(world.home / "eval" / "datasets", next(iter(rooms.documents("shared"))).source)
    evaluations.begin(Order("retrieval", shared, "shared", ("bm25",)))
    job = evaluations.jobs().last(evaluations.PLACE)
    assert job is not None
    job.join(60)
    assert job.failure is None and job.result is not None and job.owner == reader.id
    mine = job.result.run
    assert evaluations.names() == [mine] and evaluations.comparable() == {}
    (record,) = evaluations.run(mine).records
    assert record.outcome and [source for source, _ in record.outcome["ranking"]] == [
        info.source for info in rooms.documents("shared")
    ]
    with pytest.raises(ConfigError, match="not open to you"):
        evaluations.begin(Order("retrieval", shared.parent.parent, "shared", ("bm25",)))
    as_reader(monkeypatch, Caller("lena", ("read",), groups=frozenset({"legal", "staff"}), by_groups=True))
    assert evaluations.names() == [others[1]]
    as_reader(monkeypatch, Caller("rita", ("read", "admin")))
    assert set(evaluations.names()) == {mine, *others}


def test_work_of_others_is_not_told(world: World, reader: Caller) -> None:
    job = library.Ingesting(f"Adding {MARKER}.pdf")
    job.owner = "lena"
    assert not is_told(job) and status_told(job) == ""
    job.owner = reader.id
    assert is_told(job)


def test_an_address_of_another_readers_conversation_opens_nothing(
    world: World, reader: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat, _ = conversation_of_legal(world)
    monkeypatch.setattr(streamlit, "query_params", {"c": chat})
    session = Session("shared")
    follow_address(session)
    assert session.chat.turns == [] and session.failure is not None
    assert "no such conversation" in session.failure.message


CLAIMS = {"is_logged_in": True, "iss": "https://id.example", "sub": "7", "iat": 1_000_000}


@pytest.mark.parametrize(
    ("claims", "groups", "scopes"),
    [
        ({"groups": ["hr", "staff"]}, {"hr", "staff"}, ("read",)),
        ({"groups": "hr"}, {"hr"}, ("read",)),
        ({"groups": ["editors"]}, {"editors"}, ("read", "ingest")),
        ({"groups": ["admins"]}, {"admins"}, ("read", "admin")),
        ({"groups": {"admins": True}}, set(), ("read",)),
        ({"groups": [None, 3, "", " admins", ["admins"]]}, set(), ("read",)),
        ({}, set(), ("read",)),
    ],
)
def test_what_a_token_says_is_what_a_reader_may(
    claims: dict[str, Any], groups: set[str], scopes: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: 1_000_000 + 3600)
    section = SignInSection(admin_group="admins", ingest_group="editors")
    caller = caller_of_claims({**CLAIMS, **claims}, section)
    assert caller and (caller.id, caller.groups, caller.scopes) == ("https://id.example#7", groups, scopes)
    assert caller.may_use("shared", frozenset()) == ("admin" in scopes)


@pytest.mark.parametrize("missing", ["is_logged_in", "iss", "sub", "iat"])
def test_a_token_that_does_not_say_who_or_when_signs_nobody_in(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_000_000 + 3600)
    claims = {name: value for name, value in CLAIMS.items() if name != missing}
    assert caller_of_claims(claims, SignInSection()) is None
    assert caller_of_claims(CLAIMS, SignInSection(session_hours=0.5)) is None
    nested = caller_of_claims({**CLAIMS, "realm": {"roles": ["hr"]}}, SignInSection(groups_claim="realm.roles"))
    assert nested and nested.groups == {"hr"}

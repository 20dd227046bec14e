"""`access`, `audit`, `keys --group`, `ingest --group`, and what `ui` refuses on other addresses."""

import sqlite3
import tomllib
from pathlib import Path
from typing import Any

import pytest

from app.api.keys import Keys
from app.caller import ANYBODY, Caller, caller_of
from app.database import Database
from app.sections.serving import SignInSection, UiSection
from app.settings import Settings, load_settings
from app.ui.launch import refuse_open, ui_command
from app.ui.secrets import write_secrets
from indexer.access import FULL, Access
from indexer.errors import ConfigError


def test_rules_are_shown_as_they_were_made(footnote: Any, papers: Path) -> None:
    footnote("ingest", papers)
    footnote("ingest", papers / "bees.txt", "--group", "school", "--group", "board")
    footnote("access", "grant", "staff", "board")
    shown = footnote("access", "revoke", "board", "--json").json
    bees = {"path": str(papers / "bees.txt"), "groups": ["board", "school"]}
    assert shown == {"collection": "default", "granted": ["staff"], "restrictions": [bees]}
    (document,) = (d for d in footnote("documents", "--json").json["documents"] if d["source"].endswith("ferry.txt"))
    shown = footnote("access", "restrict", document["id"], papers / "bees.txt", "--group", "sea", "--json").json
    named = [{"path": str(papers / name), "groups": ["sea"]} for name in ("bees.txt", "ferry.txt")]
    assert shown["restrictions"] == named
    lifted = footnote("access", "restrict", papers / "bees.txt", "--lift", "--json").json
    assert lifted["restrictions"] == named[1:] == footnote("access", "show", "--json").json["restrictions"]
    assert "only for" in footnote("access", "show").stdout


def test_mistakes_change_nothing(footnote: Any, papers: Path) -> None:
    footnote("ingest", papers)
    assert footnote("access", "restrict", papers).code == 2
    assert footnote("access", "restrict", papers, "--group", "a", "--lift").code == 2
    assert footnote("access", "grant").code == 2
    assert footnote("access", "grant", " staff").code == 1
    assert footnote("access", "show", "--collection", "nowhere").code == 1
    assert footnote("ingest", "--retry-failed", "--group", "a").code == 2
    assert footnote("ingest", papers, "--group", "a\nb").code == 1
    assert footnote("keys", "create", "x", "--group", "").code == 1
    assert footnote("access", "show", "--json").json == {"collection": "default", "granted": [], "restrictions": []}


def test_the_audit_log_has_what_was_done_and_what_came_of_it(footnote: Any, papers: Path, home: Path) -> None:
    footnote("ingest", papers / "bees.txt", "--group", "school")
    footnote("delete", papers / "bees.txt")
    made = footnote("keys", "create", "hugo", "--group", "school", "--json").json
    footnote("keys", "rotate", made["key"]["id"])
    footnote("keys", "revoke", made["key"]["id"])
    assert footnote("keys", "rotate", made["key"]["id"]).code == 1
    footnote("access", "grant", "staff")
    entries = footnote("audit", "--json").json["entries"][::-1]
    assert [(each["action"], each["outcome"]) for each in entries] == [
        ("ingest", "done"),
        ("delete", "done"),
        ("key create", "done"),
        ("key rotate", "done"),
        ("key revoke", "done"),
        ("key rotate", "ConfigError"),
        ("access grant", "done"),
    ]
    assert all(each["who"].startswith("local") for each in entries)
    assert entries[0]["what"] == f"{papers / 'bees.txt'} --group school"
    assert made["key"]["groups"] == ["school"] and made["secret"] not in str(entries)
    assert "swarm" not in str(entries)  # a word of the document
    assert len(footnote("audit", "--limit", "2", "--json").json["entries"]) == 2
    with Database(home).connected() as db, pytest.raises(sqlite3.IntegrityError, match="only grows"):
        db.execute("DELETE FROM audit")


@pytest.mark.parametrize(
    ("caller", "granted", "may_use", "access"),
    [
        (ANYBODY, set(), True, FULL),
        (Caller("k", ("read",)), set(), True, Access(frozenset())),
        (Caller("k", ("read",), ("tower",)), set(), True, Access(frozenset())),
        (Caller("k", ("read",), ("other",)), set(), False, Access(frozenset())),
        (Caller("k", ("read",), ("other",), frozenset({"a"})), {"a"}, True, Access(frozenset({"a"}))),
        (Caller("k", ("read",), None, frozenset({"a"}), True), {"b"}, False, Access(frozenset({"a"}))),
        (Caller("k", ("read",), None, frozenset({"a"}), True), {"a", "b"}, True, Access(frozenset({"a"}))),
        (Caller("p", ("read",), None, frozenset(), True), set(), False, Access(frozenset())),
        (Caller("p", ("read", "admin"), None, frozenset(), True), set(), True, FULL),
        (Caller("k", ("admin",), ("other",)), set(), False, FULL),
    ],
)
def test_who_may_use_a_collection(caller: Caller, granted: set[str], may_use: bool, access: Access) -> None:
    assert (caller.may_use("tower", granted), caller.access) == (may_use, access)


def test_a_key_is_the_caller_it_was_made_for(home: Path) -> None:
    key, secret = Keys(Database(home)).create("hugo", ["read"], groups=["b", "a", "a"])
    found = Keys(Database(home)).find(secret)
    assert found == key and key.groups == ("a", "b")
    assert caller_of(key) == Caller(key.id, ("read",), None, frozenset({"a", "b"}), by_groups=True)


def test_the_page_is_not_opened_to_others_without_a_way_to_sign_in(home: Path) -> None:
    keys, open_to_all = Keys(Database(home)), Settings(home=home, ui=UiSection(host="0.0.0.0"))
    refuse_open(Settings(home=home), keys)
    with pytest.raises(ConfigError, match="anybody in the network") as refused:
        refuse_open(open_to_all, keys)
    assert "sign_in" in refused.value.remedy and "127.0.0.1" in refused.value.remedy
    refuse_open(open_to_all.model_copy(update={"sign_in": SignInSection(metadata_url="https://id.example")}), keys)
    keys.create("hugo", ["read"])
    refuse_open(open_to_all, keys)


def test_secrets_are_whole_private_and_kept(home: Path) -> None:
    variables = {"METADATA_URL": "https://id.example/x", "CLIENT_ID": "footnote", "CLIENT_SECRET": 'q"\\\n'}
    environ = {f"FOOTNOTE_SIGN_IN__{name}": value for name, value in variables.items()}
    settings = load_settings(None, {"FOOTNOTE_HOME": str(home), **environ})
    path = write_secrets(settings, 8501)
    first = tomllib.loads(path.read_text())["auth"]
    assert path.stat().st_mode & 0o777 == 0o600
    assert first["client_secret"] == 'q"\\\n' and first["redirect_uri"] == "http://localhost:8501/oauth2callback"
    assert first["client_kwargs"] == {"scope": "openid profile email"}
    path.chmod(0o644)
    again = tomllib.loads(write_secrets(settings, 8502).read_text())["auth"]
    assert path.stat().st_mode & 0o777 == 0o600
    assert again["cookie_secret"] == first["cookie_secret"] and len(again["cookie_secret"]) == 64
    command = ui_command(settings, None, 8501, secrets=path)
    assert f"--secrets.files={path}" in command and "--server.enableXsrfProtection=true" in command
    assert 'q"' not in " ".join(command) and 'q"' not in repr(settings)
    for missing in ("CLIENT_ID", "CLIENT_SECRET"):
        left = {name: value for name, value in environ.items() if not name.endswith(missing)}
        with pytest.raises(ConfigError, match=missing.lower()):
            write_secrets(load_settings(None, {"FOOTNOTE_HOME": str(home), **left}), 8501)
    wrong = {**environ, "FOOTNOTE_SIGN_IN__REDIRECT_URL": "https://footnote.example.com/elsewhere"}
    with pytest.raises(ConfigError, match="no address of the page"):
        write_secrets(load_settings(None, {"FOOTNOTE_HOME": str(home), **wrong}), 8501)

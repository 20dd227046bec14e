"""Readers sign in at a real page, at a real OpenID provider or with a key, in a real browser."""

import re
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tenants import MARKER, VAULT, World, sibling

from app.api.keys import Keys
from app.database import Database
from app.settings import ROOT
from app.ui.server import HEADERS

oidc = pytest.importorskip("oidc_provider_mock", reason="the Python package oidc-provider-mock is not installed")
ui = sibling("footnote_ui_conftest", ROOT / "tests" / "app" / "ui" / "conftest.py")
pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore::DeprecationWarning")]  # of the provider's
SECRET = "the-clients-secret"
PEOPLE = {"hugo": ["hr", "staff"], "lena": ["legal", "staff"], "rita": ["runs-footnote"], "nora": []}


@pytest.fixture
def provider() -> Iterator[str]:
    users = [oidc.User(sub=name, claims={"name": name.title(), "groups": groups}) for name, groups in PEOPLE.items()]
    with oidc.run_server_in_thread(user_claims=users) as server:
        yield f"http://localhost:{server.server_port}"


@pytest.fixture
def site(world: World, provider: str, chat_server: Any, tmp_path: Path) -> Iterator[Any]:
    """The page with sign-in, before a model that repeats the passages it is given."""
    chat_server.script = lambda text: ["The canteen merger of soups is served at noon [1]."]
    settings = {
        "RETRIEVER__MODE": "bm25",
        "GENERATOR__BASE_URL": chat_server.base_url,
        "SIGN_IN__METADATA_URL": f"{provider}/.well-known/openid-configuration",
        "SIGN_IN__CLIENT_ID": "footnote",
        "SIGN_IN__CLIENT_SECRET": SECRET,
        "SIGN_IN__ADMIN_GROUP": "runs-footnote",
    }
    variables = {f"FOOTNOTE_{name}": value for name, value in settings.items()}
    log = tmp_path / "page.log"
    with ui.running(("ui",), world.home, log, **variables) as found:
        found.url = found.url.replace("127.0.0.1", "localhost")
        yield found
    assert SECRET not in log.read_text()
    assert (world.home / "page" / "secrets.toml").stat().st_mode & 0o077 == 0


@pytest.fixture
def enter(chromium: Any, site: Any) -> Iterator[Callable[[str], Any]]:
    """Open the page in a session of its own, as somebody whom the provider knows."""
    contexts = []

    @contextmanager
    def opened() -> Iterator[Any]:
        contexts.append(chromium.new_context())
        page = contexts[-1].new_page()
        page.set_default_timeout(120_000)
        page.goto(site.url)
        page.get_by_role("heading", name="Sign in").wait_for()
        yield page

    def enter_as(name: str) -> Any:
        with opened() as page:
            assert "shared" not in page.content() and MARKER not in page.content()
            page.get_by_role("button", name="Sign in").click()
            page.get_by_role("button", name=name, exact=True).click()
            page.get_by_role("button", name="Sign out").wait_for()
            return page

    enter_as.opened = opened  # type: ignore[attr-defined]
    yield enter_as
    for context in contexts:
        context.close()


def test_each_sees_their_own(site: Any, enter: Any, world: World, chat_server: Any) -> None:
    hugo = enter("hugo")
    hugo.get_by_text("Documents (1)").wait_for()
    turn = ui.ask(hugo, "What is said of the quarry merger ledger?")
    assert MARKER not in hugo.content()
    assert MARKER not in "".join(chat_server.asked)
    conversation = re.search(r"c=([\w-]+)", hugo.url)
    assert conversation and "canteen" in str(turn.text_content())
    for address in ("documents", f"documents?in={VAULT}", "evaluation", "review", "search"):
        hugo.goto(f"{site.url}/{address}")
        hugo.get_by_role("button", name="Sign out").wait_for()
        ui.settle(hugo)
        assert MARKER not in hugo.content(), address
        for name in ("Add files", "Check health", "Gold cases"):
            assert hugo.get_by_role("button", name=name).count() == 0, (address, name)

    lena = enter("lena")
    lena.get_by_role("combobox", name="Collection").click()
    lena.get_by_role("option", name=VAULT).wait_for()
    lena.goto(f"{site.url}/?c={conversation[1]}")
    lena.get_by_text("There is no such conversation").wait_for()
    assert "quarry merger ledger" not in lena.content()

    rita = enter("rita")
    rita.goto(f"{site.url}/evaluation")
    rita.get_by_role("heading", name="Evaluation").wait_for()

    nora = enter("nora")
    nora.get_by_text("No collection is open to you").wait_for()
    nora.get_by_role("button", name="Sign out").click()
    nora.wait_for_url("**/end_session?**")  # the provider asks whether to end its own session, too
    nora.goto(site.url)
    nora.get_by_role("heading", name="Sign in").wait_for()


def test_a_key_signs_in_until_it_is_revoked(site: Any, enter: Any, world: World) -> None:
    keys = Keys(Database(world.home))
    key, secret = keys.create("hugo", ["read"], groups=["hr", "staff"])
    with enter.opened() as page:
        for wrong in ("fn-none", secret[:-1]):
            page.get_by_label("API key").fill(wrong)
            page.get_by_role("button", name="Use this key").click()
            page.get_by_text("That is no valid key.").wait_for()
        page.get_by_label("API key").fill(secret)
        page.get_by_role("button", name="Use this key").click()
        page.get_by_role("button", name="Sign out").wait_for()
        page.get_by_text("Documents (1)").wait_for()
        assert MARKER not in page.content() and secret not in page.content()
        keys.revoke(key.id)
        page.get_by_role("link", name="Search").click()
        page.get_by_role("heading", name="Sign in").wait_for()
        assert "shared" not in page.content()


def test_the_pages_headers_and_nothing_breaks_under_them(site: Any, enter: Any) -> None:
    with urllib.request.urlopen(site.url) as answer:
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    said: list[str] = []
    page = enter("hugo")
    page.on("console", lambda message: said.append(message.text))
    page.reload()
    ui.await_clicks(page)  # scripts of our own run
    page.get_by_role("link", name="Documents").click()
    page.get_by_role("heading", name="Documents").wait_for()
    assert not [text for text in said if "Content Security Policy" in text]

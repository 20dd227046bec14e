"""Keys: who may do what, over every endpoint there is."""

import logging
from pathlib import Path
from typing import Any

import openai
import pytest

from app.api.application import create_app
from app.api.door import OPEN
from app.api.keys import Keys
from app.api.launch import refuse_open
from app.database import Database
from app.sections.serving import ServerSection
from app.settings import load_settings
from indexer.errors import ConfigError

MESSAGES: Any = [{"role": "user", "content": "How tall is the tower?"}]
# method, path, what is sent, the scope it needs; {name} is a collection and {id} one of its documents
ENDPOINTS: list[tuple[str, str, dict[str, Any], str]] = [
    ("POST", "/v1/chat/completions", {"json": {"model": "{name}", "messages": MESSAGES}}, "read"),
    ("GET", "/v1/models", {}, "read"),
    ("GET", "/v1/models/{name}", {}, "read"),
    ("POST", "/v1/embeddings", {"json": {"model": "{name}", "input": "tower"}}, "read"),
    ("POST", "/search", {"json": {"query": "tower", "collection": "{name}"}}, "read"),
    ("GET", "/collections", {}, "read"),
    ("GET", "/documents", {"params": {"collection": "{name}"}}, "read"),
    ("GET", "/documents/{id}", {"params": {"collection": "{name}"}}, "read"),
    ("POST", "/feedback", {"json": {"id": "chatcmpl-none", "thumb": "up"}}, "read"),
    ("POST", "/documents", {"data": {"collection": "{name}"}, "files": {"files": ("a.txt", b"text")}}, "ingest"),
    ("GET", "/documents/ingests/{ingest}", {}, "ingest"),
    ("DELETE", "/documents/{id}", {"params": {"collection": "{name}"}}, "ingest"),
    ("GET", "/metrics", {}, "admin"),
]
NAMED = [endpoint for endpoint in ENDPOINTS if "{name}" in f"{endpoint[1]}{endpoint[2]}"]
IDS = [f"{method} {path}" for method, path, _, _ in ENDPOINTS]


class World:
    """A server with two collections and an upload, and keys for it."""

    def __init__(self, serve: Any, home: Path) -> None:
        self.keys = Keys(Database(home))
        self.running = serve(rate_per_minute=0)
        self.admin = self.key("admin")
        with self.running.client(self.admin) as client:
            documents = client.get("/documents", params={"collection": "tower"}).json()["documents"]
            files = {"files": ("later.txt", b"Later.")}
            upload = client.post("/documents", data={"collection": "tower"}, files=files)
        self.places = {"name": "tower", "id": documents[-1]["id"], "ingest": upload.json()["id"]}

    def key(self, *scopes: str, **more: Any) -> str:
        return self.keys.create("test", scopes, **more)[1]

    def send(self, endpoint: tuple[str, str, dict[str, Any], str], key: str = "", **headers: str) -> Any:
        method, path, sent, _ = endpoint
        with self.running.client(key) as client:
            return client.request(method, self._filled(path), headers=headers, **self._filled(sent))

    def _filled(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._filled(inner) for name, inner in value.items()}
        if isinstance(value, str):
            for name, place in self.places.items():
                value = value.replace(f"{{{name}}}", place)
        return value


@pytest.fixture
def world(serve: Any, tower: str, footnote: Any, papers: Path, home: Path) -> World:
    footnote("ingest", papers / "bees.txt", "--collection", "school")
    return World(serve, home)


def test_every_endpoint_is_tried(home: Path, encoder: Any) -> None:
    schema = create_app(load_settings(None, {"FOOTNOTE_HOME": str(home)})).openapi()["paths"]
    there = {(method.upper(), path) for path, operations in schema.items() for method in operations}
    tried = {
        (method, path.replace("{name}", "{model}").replace("{ingest}", "{ingest_id}").replace("{id}", "{document_id}"))
        for method, path, _, _ in ENDPOINTS
    }
    assert there == tried | {("GET", path) for path in OPEN if path != "/openapi.json"}


def test_without_a_good_key_nothing_is_to_be_had(world: World, caplog: pytest.LogCaptureFixture) -> None:
    expired = world.key("admin", days=0)
    revoked = world.key("admin")
    world.keys.revoke(world.keys.list()[-1].id)
    rotated = world.key("admin")
    _, fresh = world.keys.rotate(world.keys.list()[-1].id)
    wrong = ["", "nonsense", fresh[:-1], fresh + "x", expired, revoked, rotated, "fn-00000000-" + "A" * 43]
    with caplog.at_level(logging.DEBUG):
        for endpoint in ENDPOINTS:
            for key in wrong:
                refused = world.send(endpoint, key)
                assert (refused.status_code, refused.json()["error"]["type"]) == (401, "authentication_error")
                assert refused.headers["www-authenticate"] == "Bearer"
            basic = world.send(endpoint, Authorization=f"Basic {world.admin}")
            assert basic.status_code == 401
        assert world.send(ENDPOINTS[1], fresh).status_code == 200
    said = caplog.text + "".join(str(record.__dict__) for record in caplog.records)
    assert not [key for key in (*wrong[4:7], fresh, world.admin) if key in said]
    for path in OPEN:
        with world.running.client() as client:
            assert client.get(path).status_code in (200, 503)
    with world.running.client() as client:
        assert client.get("/no/such/path").status_code == 401


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=IDS)
def test_each_scope_opens_its_own_endpoints_only(world: World, endpoint: Any) -> None:
    for scope in ("read", "ingest"):
        answered = world.send(endpoint, world.key(scope))
        if scope == endpoint[3]:
            assert answered.status_code in (200, 202, 404), answered.text  # 404: a thumb on no answer
        else:
            assert (answered.status_code, answered.json()["error"]["code"]) == (403, "scope_missing")
    assert world.send(endpoint, world.admin).status_code in (200, 202, 404)


def test_a_key_of_another_collection_finds_nothing(world: World) -> None:
    key = world.key("admin", collections=["school"])
    for endpoint in NAMED:
        refused = world.send(endpoint, key)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "collection_not_allowed")
        world.places["name"] = "nowhere"  # one that is not there looks the same
        assert world.send(endpoint, key).json() == refused.json()
        world.places["name"] = "tower"
    assert world.send(("GET", "/documents/ingests/{ingest}", {}, ""), key).status_code == 404
    assert [item["id"] for item in world.send(("GET", "/v1/models", {}, ""), key).json()["data"]] == ["school"]
    listed = world.send(("GET", "/collections", {}, ""), key).json()["collections"]
    assert [item["name"] for item in listed] == ["school"]
    # an id of another collection under the name of one's own
    stolen = ("GET", "/documents/{id}", {"params": {"collection": "school"}}, "read")
    assert world.send(stolen, key).status_code == 404
    assert world.send(("DELETE", *stolen[1:]), key).status_code == 404


def test_a_thumb_on_somebody_elses_answer(world: World) -> None:
    mine, other = world.key("read"), world.key("read")
    answer = world.send(ENDPOINTS[0], mine).json()["id"]
    thumb = ("POST", "/feedback", {"json": {"id": answer, "thumb": "up"}}, "read")
    assert world.send(thumb, other).status_code == 404
    assert world.send(thumb, world.admin).status_code == 404
    assert world.send(thumb, mine).status_code == 201


def test_a_key_may_ask_so_often(serve: Any, tower: str, home: Path) -> None:
    keys = Keys(Database(home))
    (_, first), (_, second) = keys.create("a", ["read"]), keys.create("b", ["read"])
    running = serve(rate_per_minute=3)
    with running.client(first) as client, running.client(second) as other:
        statuses = [client.get("/v1/models").status_code for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
        refused = client.get("/v1/models")
        assert refused.json()["error"]["type"] == "rate_limit_error"
        assert 1 <= int(refused.headers["retry-after"]) <= 20
        assert other.get("/v1/models").status_code == 200


def test_the_official_client_with_a_key(world: World) -> None:
    with openai.OpenAI(base_url=f"{world.running.url}/v1", api_key=world.key("read"), max_retries=0) as client:
        assert [model.id for model in client.models.list()] == ["school", "tower"]
    with (
        openai.OpenAI(base_url=f"{world.running.url}/v1", api_key="wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError),
    ):
        client.models.list()


def test_the_last_key_s_end_does_not_open_the_door(world: World) -> None:
    for key in world.keys.list():
        world.keys.revoke(key.id)
    assert world.send(ENDPOINTS[1]).status_code == 401


def test_keys_from_the_command_line(footnote: Any, home: Path) -> None:
    assert "There are no keys" in footnote("keys", "list").stdout
    made = footnote(
        "keys", "create", "reports", "--scope", "read", "--scope", "ingest", "-c", "a", "--days", "30", "--json"
    ).json
    key, secret = made["key"], made["secret"]
    assert (key["name"], key["scopes"], key["collections"], key["state"]) == (
        "reports",
        ["ingest", "read"],
        ["a"],
        "active",
    )
    assert secret.startswith(f"fn-{key['id']}-")
    assert len(secret.split("-", 2)[2]) == 43  # 256 bits
    plain = footnote("keys", "create", "plain")
    assert plain.stdout.startswith("fn-")
    assert plain.stdout.count("\n") == 1  # the secret alone, for a pipe
    assert secret not in footnote("keys", "list").stdout + footnote("keys", "list", "--json").stdout
    assert secret.encode() not in (home / "server.db").read_bytes()
    assert (home / "server.db").stat().st_mode & 0o077 == 0
    turned = footnote("keys", "rotate", key["id"], "--json").json
    assert turned["secret"] != secret
    assert turned["key"]["id"] == key["id"]
    assert footnote("keys", "revoke", key["id"], "--json").json["key"]["state"] == "revoked"
    again = footnote("keys", "rotate", key["id"], "--json")
    assert (again.code, "is revoked" in again.json["error"]["message"]) == (1, True)
    assert footnote("keys", "revoke", "00000000").code == 1
    assert footnote("keys", "create", "x", "--scope", "write").code == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["x", "--days", "1e9"], "36,500"),
        (["x", "--days", "inf"], "36,500"),
        (["x", "--days", "36501"], "36,500"),
        ([""], "name of a key"),
        ([" "], "name of a key"),
        (["two\nlines"], "name of a key"),
        (["x" * 201], "name of a key"),
        (["x", "--collection", "../z"], "name of a collection"),
        (["x", "--collection", "good", "--collection", ""], "name of a collection"),
    ],
)
def test_what_no_key_can_be(footnote: Any, words: list[str], told: str) -> None:
    refused = footnote("keys", "create", *words)
    assert refused.code == 1 and told in refused.stderr
    assert "should not have happened" not in refused.stderr
    assert "There are no keys" in footnote("keys", "list").stdout


def test_a_key_of_a_hundred_years(footnote: Any) -> None:
    made = footnote("keys", "create", "x", "--days", "36500", "--collection", "not-yet.there", "--json").json["key"]
    assert (made["state"], made["collections"]) == ("active", ["not-yet.there"])


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_an_open_address_without_keys_is_refused_with_two_ways_on(home: Path, host: str, footnote: Any) -> None:
    refused = footnote("serve", "--host", host)
    assert refused.code == 1
    assert "anybody in the network" in refused.stderr
    assert "footnote keys create" in refused.stderr
    assert "127.0.0.1" in refused.stderr
    keys = Keys(Database(home))
    refuse_open(ServerSection(), keys)
    refuse_open(ServerSection(host=host, auth="keys"), keys)
    with pytest.raises(ConfigError):
        refuse_open(ServerSection(host=host), keys)
    keys.create("one", ["read"])
    refuse_open(ServerSection(host=host), keys)

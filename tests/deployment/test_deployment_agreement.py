"""Image, compose files, manifests, guide and program speak of the same files, commands, ports and versions."""

import json
import re
import shlex
import tomllib
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

import pytest
from deployed import (
    COMMANDS,
    COMPOSE,
    DEPLOY,
    DOCKERFILE,
    OURS,
    OVERLAYS,
    PORTS,
    containers,
    every_settings,
    healthcheck,
    image_environment,
    instructions,
    one,
    pod,
    resources,
    services,
)
from typer.testing import CliRunner

from app.cli import app as command_line
from app.settings import ROOT
from indexer.milvus.address import parse_address


def accepted(words: Sequence[str]) -> bool:
    """Whether Footnote has this command with these options: asking for help parses them and runs nothing."""
    return CliRunner().invoke(command_line, [*words, "--help"]).exit_code == 0


def test_the_image_takes_what_is_there_and_all_that_the_program_needs() -> None:
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    sent = {line[1:] for line in ignored if line.startswith("!")}
    copied = {name.rstrip("/") for line in instructions("COPY") if "--from" not in line for name in line.split()[:-1]}
    assert copied == sent
    assert all((ROOT / name).exists() for name in copied)
    assert copied >= {"indexer", "retriever", "generator", "eval", "app", "data", ".streamlit", "requirements.txt"}
    assert "*" in ignored
    installed = set(re.findall(r"requirement (requirements[\w-]*\.txt)", DOCKERFILE))
    assert installed == {name for name in copied if name.startswith("requirements")}
    extras = {
        f"requirements-{name}.txt" for name in ("models", "telemetry", "milvus", "sign-in")
    }  # settings ask for them
    assert copied >= extras
    assert not any(fnmatch(name, "*footnote") for name in copied), "the launcher installs, which an image must not"


def test_what_the_image_installs_agrees_on_every_version() -> None:
    names = sorted({name for line in instructions("COPY") for name in re.findall(r"requirements[\w-]*\.txt", line)})
    pinned: dict[str, dict[str, str]] = {}
    for name in names:
        for package, version in re.findall(
            r"^([\w.-]+)==(\S+)", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE
        ):
            pinned.setdefault(package, {})[name] = version
    assert "requirements-sign-in.txt" in pinned["authlib"]
    assert [each for each in pinned.items() if len(set(each[1].values())) > 1] == []


def test_versions_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    vllm = re.findall(r"^vllm==(.*)$", (ROOT / "requirements-vllm.txt").read_text(encoding="utf-8"), re.MULTILINE)
    images = [line.split()[0] for line in instructions("FROM")]
    for name in COMPOSE:
        images += [service["image"] for service in services(name).values()]
    for overlay in OVERLAYS:
        specs = [r["spec"]["template"]["spec"] for r in resources(overlay) if r["kind"] == "Deployment"]
        images += [container["image"] for spec in specs for container in spec["containers"]]
    for image in images:
        name, _, tag = re.sub(r"\$\{\w+:-(.*)\}", r"\1", image).partition(":")
        assert re.match(r"v?\d+\.\d+\.\d+", tag), f"{image} is not pinned"
        assert {"footnote": project["version"], "vllm/vllm-openai": f"v{vllm[0]}"}.get(name, tag) == tag
    assert re.match(r"3\.1[1-4]\.", images[0].partition(":")[2])


@pytest.mark.parametrize("words", [["serve"], ["ui"], ["keys", "create", "NAME", "--scope", "admin"]])
def test_commands_can_be_parsed(words: list[str]) -> None:
    assert accepted(words)
    assert not accepted([*words, "--nonsense"])
    assert not accepted(["nonsense", *words])


def test_containers_and_the_guide_give_commands_that_there_are() -> None:
    assert json.loads(instructions("ENTRYPOINT")[0]) == ["python", "-m", "app"]
    assert json.loads(instructions("CMD")[-1]) == COMMANDS["api"]
    for name in COMPOSE:
        assert {each: services(name)[each]["command"] for each in OURS} == COMMANDS
    for overlay in OVERLAYS:
        assert {each: containers(overlay)[each]["args"] for each in OURS} == COMMANDS
    guide = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    files = [DEPLOY / name for name in COMPOSE]
    texts = [guide, *(file.read_text(encoding="utf-8") for file in files)]
    said = [line for text in texts for line in re.findall(r"python -m app ([^`#|\n]+)", text)]
    assert len(said) >= 5
    for line in said:
        assert accepted(shlex.split(line)), line
    for name in re.findall(r"deploy/[\w./]+\w", "\n".join(texts)):
        # The operator makes the one; the other is kubectl's name of the Deployment.
        assert (ROOT / name).exists() or name in ("deploy/.env", "deploy/footnote"), name


def test_ports_agree(tmp_path: Path) -> None:
    assert {int(port) for port in instructions("EXPOSE")[0].split()} == set(PORTS.values())
    for where, settings in every_settings(tmp_path).items():
        assert {"api": settings.server.port, "page": settings.ui.port} == PORTS, where
    for name in COMPOSE:
        for service in OURS:
            assert services(name)[service]["ports"] == [f"127.0.0.1:{PORTS[service]}:{PORTS[service]}"]
    proxied = dict(re.findall(r"reverse_proxy (\w+):(\d+)", (DEPLOY / "Caddyfile").read_text(encoding="utf-8")))
    assert proxied == {name: str(port) for name, port in PORTS.items()}
    for overlay in OVERLAYS:
        assert containers(overlay)["api"]["ports"] == [{"name": "http", "containerPort": PORTS["api"]}]
        (service,) = one(overlay, "Service")["spec"]["ports"]
        assert (service["port"], service["targetPort"]) == (PORTS["api"], "http")
        (rule,) = one(overlay, "NetworkPolicy")["spec"]["ingress"]
        assert [each["port"] for each in rule["ports"]] == [PORTS["api"]]
        assert f":{PORTS['page']}/" in containers(overlay)["page"]["livenessProbe"]["exec"]["command"][-1]
    assert f":{PORTS['api']}/health" in healthcheck()[-1]


def test_the_model_server_is_where_the_settings_look(tmp_path: Path) -> None:
    found = every_settings(tmp_path)
    assert found["compose.yaml api"].generator.base_url == "http://vllm:8000/v1"
    assert "vllm" in services("compose.yaml")
    assert found["gpu api"].generator.base_url == "http://footnote-vllm:8000/v1"
    assert one("gpu", "Service", "footnote-vllm")["spec"]["ports"][0]["port"] == 8000
    (server,) = pod("gpu", "footnote-vllm")["containers"]
    for words in (server["args"], services("compose.yaml")["vllm"]["command"]):
        assert words[words.index("--port") + 1] == "8000"
    egress = one("gpu", "NetworkPolicy")["spec"]["egress"]
    assert {"protocol": "TCP", "port": 8000} in egress[1]["ports"]
    assert (
        egress[1]["to"][0]["podSelector"]["matchLabels"]
        == one("gpu", "Deployment", "footnote-vllm")["spec"]["template"]["metadata"]["labels"]
    )


def test_the_image_sets_what_the_launcher_sets() -> None:
    launcher = (ROOT / "footnote").read_text(encoding="utf-8")
    exported = "\n".join(re.findall(r"^export (.*)$", launcher, re.MULTILINE))
    known = {
        name: value
        for name, default, plain in re.findall(r'\b([A-Z_]+)=(?:"\$\{[A-Z_]+:-(\w+)\}"|(\w+))', exported)
        if (value := default or plain)
    }
    assert len(known) >= 10
    image = image_environment()
    assert {name: image.get(name) for name in known} == known


def test_the_milvus_is_where_the_settings_look(tmp_path: Path) -> None:
    found = every_settings(tmp_path)
    for service in ("api", "page"):
        address = parse_address(found[f"compose.yaml {service}"].milvus.uri)
        assert address.endpoint.rpartition(":")[0] == "http://milvus"
        assert found[f"compose.yaml {service}"].indexer.index == "local"  # without the profile nobody is asked
    milvus = services("compose.yaml")["milvus"]
    assert (milvus["profiles"], milvus["command"][0]) == (["milvus"], "milvus")
    assert "ports" not in milvus  # it has no password
    major, minor, _ = milvus["image"].rpartition(":v")[2].split(".")
    assert (int(major), int(minor)) >= (2, 5)  # BM25 functions

"""What deploy/ says, read for the tests: files, settings, and the command lines of containers."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from app.settings import ROOT, Settings, load_settings

DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = ("compose.yaml", "compose.cpu.yaml")
OVERLAYS = ("cpu", "gpu")
KUBERNETES = "1.37"
OURS = ("api", "page")  # services and containers that run Footnote
PORTS = {"api": Settings().server.port, "page": Settings().ui.port}
COMMANDS = {"api": ["serve"], "page": ["ui"]}
SPARE_S = 10  # beside what running answers may take


def compose(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8")))


def services(name: str) -> dict[str, dict[str, Any]]:
    """Services of a compose file, with what they extend put in as compose does it."""
    found = {}
    for service, told in compose(name)["services"].items():
        base = told.get("extends")
        whole = services(base["file"])[base["service"]] if base else {}
        environment = {**whole.get("environment", {}), **told.get("environment", {})}
        found[service] = {**whole, **{key: value for key, value in told.items() if key != "extends"}}
        found[service]["environment"] = environment
    return found


def resources(overlay: str) -> list[dict[str, Any]]:
    """Everything that an overlay applies: it adds files to the base and patches nothing."""
    return [each for file in _files(DEPLOY / "kubernetes" / overlay) for each in _documents(file)]


def _files(folder: Path) -> Iterator[Path]:
    told = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    assert set(told) == {"apiVersion", "kind", "resources"}
    for name in told["resources"]:
        path = folder / name
        yield from _files(path) if path.is_dir() else [path]


def _documents(file: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(file.read_text(encoding="utf-8")))


def one(overlay: str, kind: str, name: str = "footnote") -> dict[str, Any]:
    (found,) = [r for r in resources(overlay) if (r["kind"], r["metadata"]["name"]) == (kind, name)]
    return found


def pod(overlay: str, name: str = "footnote") -> dict[str, Any]:
    return dict(one(overlay, "Deployment", name)["spec"]["template"]["spec"])


def containers(overlay: str) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in pod(overlay)["containers"]}


def image_environment() -> dict[str, str]:
    """What ENV sets in the last stage."""
    (block,) = re.findall(r"^ENV ((?:.*\\\n)*.*)$", DOCKERFILE.rpartition("\nFROM ")[2], re.MULTILINE)
    return dict(word.split("=", 1) for word in shlex.split(block.replace("\\\n", " ")))


def instructions(name: str) -> list[str]:
    return re.findall(rf"^{name} (.*)$", DOCKERFILE, re.MULTILINE)


def settings_of(file: Path, environment: Mapping[str, Any]) -> Settings:
    """The settings that a container loads; a ${VARIABLE} of compose has some value."""
    ours = {name: str(value) for name, value in environment.items() if name.startswith("FOOTNOTE_")}
    return load_settings(file, {name: value for name, value in ours.items() if name != "FOOTNOTE_CONFIG"})


def every_settings(tmp_path: Path) -> dict[str, Settings]:
    """The settings of each container of ours."""
    found, image = {}, image_environment()
    for name in COMPOSE:
        for service in OURS:
            environment = {**image, **services(name)[service]["environment"]}
            found[f"{name} {service}"] = settings_of(DEPLOY / "footnote.toml", environment)
    for overlay in OVERLAYS:
        file = tmp_path / f"{overlay}.toml"
        file.write_text(one(overlay, "ConfigMap")["data"]["footnote.toml"], encoding="utf-8")
        for container in OURS:
            told = {each["name"]: each.get("value", "secret") for each in containers(overlay)[container]["env"]}
            found[f"{overlay} {container}"] = settings_of(file, {**image, **told})
    return found


def healthcheck() -> list[str]:
    (told,) = re.findall(r"^HEALTHCHECK .*\\\n *CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    return [str(word) for word in json.loads(told)]

"""What a deployment must not do: stay open, write, keep a secret, be two."""

import re
from pathlib import Path

import pytest
from deployed import (
    COMPOSE,
    DEPLOY,
    DOCKERFILE,
    OURS,
    OVERLAYS,
    PORTS,
    SPARE_S,
    containers,
    every_settings,
    image_environment,
    instructions,
    one,
    pod,
    resources,
    services,
)
from streamlit import config

from app.api.keys import Keys
from app.api.launch import refuse_open
from app.database import Database
from app.sections.serving import ServerSection
from app.settings import load_settings
from app.ui import person
from indexer.errors import ConfigError


def test_settings_load_and_the_api_asks_for_keys(tmp_path: Path) -> None:
    keys = Keys(Database(tmp_path))
    for where, settings in every_settings(tmp_path).items():
        assert settings.server.host == "0.0.0.0", where
        refuse_open(settings.server, keys)
        assert settings.home == Path("/var/lib/footnote")
        assert bool(settings.generator.base_url) == where.startswith(("compose.yaml", "gpu"))
    with pytest.raises(ConfigError):
        refuse_open(ServerSection(host="0.0.0.0"), keys)


def test_the_page_is_open_to_the_host_alone(tmp_path: Path) -> None:
    for name in COMPOSE:
        assert services(name)["page"]["ports"] == [f"127.0.0.1:{PORTS['page']}:{PORTS['page']}"]
    for where, settings in every_settings(tmp_path).items():
        if where.startswith(OVERLAYS):
            assert settings.ui.host == "127.0.0.1", where
    assert "basic_auth" in (DEPLOY / "Caddyfile").read_text(encoding="utf-8").partition("{$PAGE_DOMAIN}")[2]


def test_the_page_asks_everybody_who_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = config.get_option("server.address")
    try:
        for where, settings in every_settings(tmp_path).items():
            monkeypatch.setattr(person, "settings", lambda settings=settings: settings)
            config.set_option("server.address", settings.ui.host)
            assert person.asks(), where
    finally:
        config.set_option("server.address", address)


def test_one_process_serves_a_volume() -> None:
    for overlay in OVERLAYS:
        told = one(overlay, "Deployment")["spec"]
        assert (told["replicas"], told["strategy"]["type"]) == (1, "Recreate")


def test_running_answers_are_finished_before_a_container_is_killed(tmp_path: Path) -> None:
    for where, settings in every_settings(tmp_path).items():
        name, _, container = where.partition(" ")
        grace = (
            pod(name)["terminationGracePeriodSeconds"]
            if name in OVERLAYS
            else int(services(name)[container]["stop_grace_period"].removesuffix("s"))
        )
        assert grace >= settings.server.shutdown_s + SPARE_S, where


def test_nothing_can_be_written_but_the_home_and_temporary_files() -> None:
    assert instructions("USER")[-1] == "10001:10001"
    for name in COMPOSE:
        for service in OURS:
            told = services(name)[service]
            assert told["read_only"] is True
            assert told["cap_drop"] == ["ALL"]
            assert told["security_opt"] == ["no-new-privileges:true"]
            writable = [each for each in told["volumes"] if not each.endswith(":ro")]
            assert writable == ["home:/var/lib/footnote"]
            assert told["tmpfs"][0].startswith("/tmp:")
            assert not told.get("privileged")
    for overlay in OVERLAYS:
        about = pod(overlay)["securityContext"]
        assert (about["runAsNonRoot"], about["runAsUser"]) == (True, 10001)
        assert about["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in containers(overlay).values():
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"requests", "limits"} <= set(container["resources"])
            writable = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
            assert writable == {"/var/lib/footnote", "/tmp"}
    image = image_environment()
    assert (image["HOME"], image["FOOTNOTE_HOME"]) == ("/tmp", "/var/lib/footnote")


def test_no_secret_is_written_down() -> None:
    assert not re.search(r"(?i)^(ENV|ARG).*(api_key|password|secret|_token=)", DOCKERFILE, re.MULTILINE)
    for name in COMPOSE:
        for service, told in services(name).items():
            for variable, value in told["environment"].items():
                if re.search(r"KEY|TOKEN|HASH|PASSWORD|SECRET", variable):
                    assert re.fullmatch(r"\$\{\w+:[?-][^}]*\}", value), f"{service} {variable}"
                    assert not re.search(r":-.+\}", value), f"{service} {variable}"
    for overlay in OVERLAYS:
        assert "Secret" not in {each["kind"] for each in resources(overlay)}
        for told in containers(overlay).values():
            keys = [each for each in told["env"] if "KEY" in each["name"]]
            assert keys
            assert all("secretKeyRef" in each["valueFrom"] for each in keys)


def test_the_variables_that_kubernetes_makes_for_services_stay_out() -> None:
    """A Service named footnote becomes FOOTNOTE_SERVICE_HOST in every pod, which is refused as no setting."""
    with pytest.raises(ConfigError, match="FOOTNOTE_SERVICE_HOST"):
        load_settings(None, {"FOOTNOTE_SERVICE_HOST": "10.0.0.1"})
    assert all(pod(overlay)["enableServiceLinks"] is False for overlay in OVERLAYS)

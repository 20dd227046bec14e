"""What deploy/ says, held against the schemas of what reads it. Nothing is built or applied: see docs/deployment.md."""

import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest
from check_jsonschema.builtin_schemas import get_builtin_schema
from deployed import COMPOSE, DEPLOY, KUBERNETES, OVERLAYS, compose, containers, one, pod, resources
from jsonschema.validators import validator_for


@pytest.mark.parametrize("name", COMPOSE)
def test_compose_files_are_what_the_specification_says(name: str) -> None:
    schema = get_builtin_schema("vendor.compose-spec")
    validator = validator_for(schema)(schema)
    assert list(validator.iter_errors(compose(name))) == []
    broken = compose(name)
    broken["services"]["api"]["prots"] = ["8080:8080"]
    assert list(validator.iter_errors(broken))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_manifests_are_what_kubernetes_takes(overlay: str) -> None:
    for resource in resources(overlay):
        kubernetes_validate.validate(resource, KUBERNETES, strict=True)
    wrong = one(overlay, "Deployment")
    wrong["spec"]["template"]["spec"]["terminationGracePeriod"] = 45
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_resource_is_there_once_and_what_it_names_too(overlay: str) -> None:
    named = [(each["kind"], each["metadata"]["name"]) for each in resources(overlay)]
    assert len(set(named)) == len(named)
    volumes = pod(overlay)["volumes"]
    for volume in volumes:
        if "persistentVolumeClaim" in volume:
            assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in named
        if "configMap" in volume:
            assert ("ConfigMap", volume["configMap"]["name"]) in named
    for container in containers(overlay).values():
        assert {mount["name"] for mount in container["volumeMounts"]} <= {volume["name"] for volume in volumes}


def test_the_dockerfile_passes_hadolint(tmp_path: Path) -> None:
    hadolint = str(Path(sys.executable).parent / "hadolint")
    found = subprocess.run([hadolint, "--no-color", DEPLOY / "Dockerfile"], capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (0, "")
    bad = tmp_path / "Dockerfile"
    bad.write_text("FROM python:latest\n", encoding="utf-8")
    assert "DL3007" in subprocess.run([hadolint, bad], capture_output=True, text=True).stdout

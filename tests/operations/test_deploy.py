"""The files of deploy/: their linters, and that every command, flag, setting and path in them is there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from coppice.cli.app import app
from coppice.settings import Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
TOOLS = Path(sys.executable).parent
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
KEDA = DEPLOY / "kubernetes" / "keda.yaml"

#: Set in these files and read by others: the S3 client, PostgreSQL's image, rclone.
OTHERS = ("AWS_", "POSTGRES_", "RCLONE_", "PYTHONUNBUFFERED", "PATH")


def documents(path: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def everything(value: object) -> Iterator[dict[str, Any]]:
    """Every mapping in a document."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from everything(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from everything(inner)


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


def test_hadolint_has_nothing_to_say_of_the_dockerfile() -> None:
    found = run(str(TOOLS / "hadolint"), "Dockerfile")
    assert found.returncode == 0, found.stdout


def test_the_image_gets_every_file_that_it_copies() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    names = [name for line in copied for name in line.split()]
    assert names
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for name in names:
        assert (ROOT / name).exists()
        assert name in kept, f"{name} is kept out by .dockerignore"


def test_the_image_s_torch_is_the_pinned_one() -> None:
    """PyTorch's own index has a torchvision for every torch; ours are constrained to a pair that goes together."""
    pins = dict(re.findall(r"^(torch|torchvision)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    assert set(pins) == {"torch", "torchvision"}


@pytest.mark.slow
def test_the_manifests_are_valid_kubernetes() -> None:
    paths = [str(path) for path in MANIFESTS if path != KEDA]
    found = run(str(TOOLS / "kubernetes-validate"), "--strict", *paths)
    assert found.returncode == 0, found.stdout + found.stderr
    passed = re.findall(r"passed for resource", found.stdout + found.stderr)
    assert len(passed) == sum(len(documents(Path(path))) for path in paths)


def test_scaled_objects_have_the_fields_of_keda_s_postgresql_scaler() -> None:
    """KEDA's schema is in no package; these are the fields of https://keda.sh/docs/latest/scalers/postgresql/."""
    deployments = {
        found["metadata"]["name"]: found
        for path in MANIFESTS
        for found in documents(path)
        if found["kind"] == "Deployment"
    }
    secret = documents(DEPLOY / "kubernetes" / "secrets.example.yaml")[0]
    authentication, *scaled = documents(KEDA)
    (reference,) = authentication["spec"]["secretTargetRef"]
    assert (authentication["kind"], reference["parameter"]) == ("TriggerAuthentication", "connection")
    assert reference["name"] == secret["metadata"]["name"]
    assert reference["key"] in secret["stringData"]
    assert len(scaled) == 2
    for found in scaled:
        spec = found["spec"]
        worker = deployments[spec["scaleTargetRef"]["name"]]
        assert "replicas" not in worker["spec"]  # else every `apply` would undo what KEDA set
        (trigger,) = spec["triggers"]
        assert trigger["type"] == "postgresql"
        assert trigger["authenticationRef"]["name"] == authentication["metadata"]["name"]
        assert set(trigger["metadata"]) == {"query", "targetQueryValue"}
        (container,) = worker["spec"]["template"]["spec"]["containers"]
        assert container["args"][container["args"].index("--workers") + 1] == trigger["metadata"]["targetQueryValue"]
        assert f"'{container['args'][container['args'].index('--queues') + 1]}'" in trigger["metadata"]["query"]


def commands_given() -> Iterator[tuple[str, list[str]]]:
    """Where a command of ours is given, and it."""
    for found in everything([documents(path) for path in MANIFESTS]):
        if "image" in found and "args" in found:
            yield found["name"], found["args"]
    compose = documents(DEPLOY / "compose.yaml")[0]
    for name, service in compose["services"].items():
        if service.get("image", "").startswith("coppice:"):
            yield name, service["command"]
    for line in re.findall(r"^ExecStart=\S+/coppice (.+)$", (DEPLOY / "coppice.service").read_text(), re.MULTILINE):
        yield "coppice.service", line.split()
    yield "Dockerfile", json.loads(re.findall(r"^CMD (.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)[-1])


def test_every_command_and_flag_exists() -> None:
    known = typer.main.get_command(app)
    given = list(commands_given())
    assert len(given) >= 8
    for where, (command, *flags) in given:
        assert command in known.commands, where  # type: ignore[attr-defined]  # a group's
        parameters = known.commands[command].params  # type: ignore[attr-defined]
        options = {option for parameter in parameters for option in parameter.opts}
        assert {flag for flag in flags if flag.startswith("--")} <= options, where


def test_every_setting_exists_and_takes_the_value_given() -> None:
    text = "\n".join(path.read_text() for path in (*DEPLOY.rglob("*.*"), ROOT / "Dockerfile") if path.is_file())
    text = re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE)
    names = set(re.findall(r"\b(COPPICE_[A-Z_]+)\b", text))
    assert len(names) > 8
    assert {name.removeprefix("COPPICE_").lower() for name in names} <= set(Settings.model_fields)
    pairs = re.findall(r"\b(COPPICE_[A-Z_]+)(?:=|: |, value: )\"?([^\s\"}]+)", text)
    for name, value in pairs:
        assert Settings.model_validate({name.removeprefix("COPPICE_").lower(): value})


def test_settings_of_others_are_known_ones() -> None:
    for line in (DEPLOY / "fleet.env.example").read_text().splitlines():
        name = line.partition("=")[0]
        assert line.startswith("#") or name.startswith(("COPPICE_", *OTHERS))


def test_what_is_mounted_is_made_and_what_is_waited_for_exists() -> None:
    compose = documents(DEPLOY / "compose.yaml")[0]
    services = compose["services"]
    for name, service in services.items():
        for other, wait in service.get("depends_on", {}).items():
            assert other in services, name
            if wait["condition"] == "service_healthy":
                assert "healthcheck" in services[other]
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert source.startswith("/") or source in compose["volumes"]
        assert set(service.get("secrets", [])) <= set(compose["secrets"])
    for found in everything([documents(path) for path in MANIFESTS]):
        if "containers" in found:
            volumes = {volume["name"] for volume in found["volumes"]}
            assert all(mount["name"] in volumes for made in found["containers"] for mount in made["volumeMounts"])


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


def test_everybody_waits_longer_than_a_drain() -> None:
    compose = documents(DEPLOY / "compose.yaml")[0]["services"]["workers"]
    assert seconds(compose["stop_grace_period"]) > int(compose["environment"]["COPPICE_DRAIN_SECONDS"])
    for found in everything([documents(path) for path in MANIFESTS]):
        if "terminationGracePeriodSeconds" in found:
            (container,) = found["containers"]
            (drain,) = [int(given["value"]) for given in container["env"] if given["name"] == "COPPICE_DRAIN_SECONDS"]
            assert found["terminationGracePeriodSeconds"] > drain
    unit = (DEPLOY / "coppice.service").read_text()
    stop, drain = (int(re.findall(rf"{name}=(\d+)", unit)[0]) for name in ("TimeoutStopSec", "COPPICE_DRAIN_SECONDS"))
    assert stop > drain


def test_probes_ask_for_what_the_service_answers() -> None:
    """The addresses of `http.health` and `jobs.exposition`, on ports that the container names."""
    probes = [
        (container, probe["httpGet"])
        for found in everything([documents(path) for path in MANIFESTS])
        for container in found.get("containers", [])
        for name, probe in container.items()
        if name.endswith("Probe")
    ]
    assert len(probes) == 7
    for container, asked in probes:
        assert asked["path"] in ("/healthz", "/readyz")
        assert asked["port"] in {port["name"] for port in container["ports"]}

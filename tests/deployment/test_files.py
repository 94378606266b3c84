"""Compose file, images, Kubernetes manifests and systemd units, read as those programs read them, against the code that they start."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import typer
import yaml

from riverbank.cli import app
from riverbank.configuration import KINDS, load_any
from riverbank.provisioning.trial import OPS_PORT, Trial, prepare

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("riverbank/")}
PROCESSES = {name: service for name, service in OURS.items() if not service["image"].endswith("/riverbank")}
MANIFESTS = sorted(path for path in (DOCKER / "kubernetes").glob("*.yml") if path.stem in KINDS)


def stages() -> dict[str, list[str]]:
    """Target -> its instructions."""
    found: dict[str, list[str]] = {}
    for line in re.sub(r"\\\n", " ", (DOCKER / "Dockerfile").read_text()).splitlines():
        if match := re.match(r"FROM (\S+) AS (\S+)", line):
            found[match[2]] = instructions = list(found.get(match[1], ()))
        elif line and not line.startswith("#"):
            instructions.append(line)
    return found


def command_of(service: dict[str, Any]) -> list[str]:
    """What a service's container runs, without `riverbank`."""
    if "command" in service:
        return service["command"]
    last = [line for line in stages()[service["image"].partition("/")[2]] if line.startswith("CMD ")][-1]
    return yaml.safe_load(last.removeprefix("CMD "))


def require_command(arguments: list[str]) -> None:
    """Parse as `riverbank` would, without running it."""
    command: click.Command = typer.main.get_command(app)
    context = command.make_context("riverbank", list(arguments), resilient_parsing=False)
    while isinstance(command, click.Group):
        name, found, rest = command.resolve_command(context, [*context.protected_args, *context.args])
        assert found is not None, arguments
        command = found
        context = command.make_context(name, rest, parent=context)


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `riverbank trial prepare /federation` makes in a container."""
    directory = tmp_path_factory.mktemp("federation")
    names = [name for name, service in OURS.items() if service["image"] == "riverbank/institution"]
    prepare(directory, Trial(names, "kafka:9093", "clickhouse://riverbank@clickhouse:8123/default"), entropy=os.urandom, now_ms=0)
    return directory


@pytest.mark.parametrize("name", OURS)
def test_every_service_runs_a_command_that_exists(name: str):
    """With options that it has."""
    require_command(command_of(OURS[name]))


@pytest.mark.parametrize("name", PROCESSES)
def test_every_service_finds_its_settings(name: str, federation: Path):
    """Mounted where they are looked for, of the kind that the command runs, with state on a volume and the port that is asked for its health."""
    mounts = dict(volume.removesuffix(":ro").rsplit(":", 1) for volume in PROCESSES[name]["volumes"])
    places = {place: source for source, place in mounts.items()}
    settings = load_any(federation / Path(places["/etc/riverbank"]).name / "settings.toml")
    kind = command_of(PROCESSES[name])[0]

    assert isinstance(settings, KINDS[kind])
    assert settings.ops.port == OPS_PORT
    assert places["/etc/riverbank"] == f"./federation/{name}"
    assert places["/var/lib/riverbank"] == name
    for setting in ("state_dir", "ledger_dir"):
        place = getattr(getattr(settings, kind), setting, None)
        assert place is None or place.is_relative_to("/var/lib/riverbank")


def test_every_file_that_settings_name_is_mounted(federation: Path):
    """Below /etc/riverbank, in the folder of whoever reads it."""
    named = [
        (settings, path)
        for settings in federation.glob("*/*.toml")
        for path in re.findall(r'"/etc/riverbank/([^"]+)"', settings.read_text())
    ]  # fmt: skip

    assert len(named) > 50
    assert [(str(settings), path) for settings, path in named if not (settings.parent / path).is_file()] == []


def test_secrets_are_their_owners_alone(federation: Path):
    """Keys, passphrases, passwords."""
    secret = [path for path in federation.rglob("*") if path.suffix in {".key", ".pem"} or path.name in {"passphrase", "clickhouse"}]

    assert [path for path in secret if path.is_file() and path.stat().st_mode & 0o077] == []


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_bounded(name: str):
    """Memory limited, no rights kept, files read-only where they are ours; what it waits for exists."""
    service = SERVICES[name]

    if "prepare" not in service.get("profiles", ()):
        assert service["mem_limit"]
        assert service["cap_drop"] == ["ALL"]
    assert set(service.get("depends_on", ())) <= SERVICES.keys()
    volumes = [volume.split(":")[0] for volume in service.get("volumes", ())]
    assert {volume for volume in volumes if not volume.startswith(".")} <= COMPOSE["volumes"].keys()
    if name in PROCESSES:
        assert service["read_only"]
        assert int(service["stop_grace_period"].removesuffix("s")) > 10  # streams.runner gives itself ten.
    files = [DOCKER / volume for volume in volumes if volume.startswith("./") and not volume.startswith("./federation")]
    assert [path for path in files if not path.exists()] == []


@pytest.mark.parametrize("target", ["institution", "aggregator", "audit", "web"])
def test_every_image_is_humble(target: str):
    """No root, SIGTERM to process 1 without a shell, a health check that exists."""
    lines = stages()[target]

    assert [line for line in lines if line.startswith("USER ")][-1] == "USER 1000:1000"
    assert "STOPSIGNAL SIGTERM" in lines
    assert 'ENTRYPOINT ["riverbank"]' in lines
    check = next(line for line in reversed(lines) if line.startswith("HEALTHCHECK "))
    require_command(yaml.safe_load(check.partition("CMD ")[2])[1:])


def test_images_get_every_package_and_nothing_else():
    """What the Dockerfile copies is what the wheel is made of; what it copies is let through."""
    copied = set(re.findall(r"^COPY (\w+) \1$", (DOCKER / "Dockerfile").read_text(), re.MULTILINE))
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    packages = re.search(r"packages = \[(.*?)\]", (ROOT / "pyproject.toml").read_text())

    assert packages is not None
    assert copied == set(re.findall(r'"(\w+)"', packages[1]))
    assert copied <= let_through
    assert [name for name in let_through if not (ROOT / name).exists()] == []


def test_prometheus_asks_services_that_exist():
    """Each process of the compose file, by its name."""
    config = yaml.safe_load((DOCKER / "monitoring" / "prometheus.yml").read_text())
    asked = set(itertools.chain(*(each["targets"] for job in config["scrape_configs"] for each in job["static_configs"])))

    assert asked == {f"{name}:{OPS_PORT}" for name in PROCESSES}


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_every_manifest_runs_a_command_that_exists(path: Path):
    """Without root, with limits, probed on the ops port, with the time to stop that it needs."""
    workload, service = yaml.safe_load_all(path.read_text())
    pod = workload["spec"]["template"]["spec"]
    container = pod["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}

    require_command(container["args"])
    assert container["args"][0] == path.stem
    assert ports["ops"] == OPS_PORT
    assert {port["targetPort"] for port in service["spec"]["ports"]} == set(ports)
    assert container["livenessProbe"]["httpGet"] == {"path": "/health/live", "port": "ops"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/health/ready", "port": "ops"}
    assert pod["terminationGracePeriodSeconds"] > 10
    assert pod["securityContext"]["runAsNonRoot"]
    for each in (container, *pod["initContainers"]):
        assert each["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert {"cpu", "memory"} <= each["resources"]["limits"].keys()


def test_kubernetes_takes_the_folder():
    """`kubectl kustomize` puts it together."""
    kustomization = yaml.safe_load((DOCKER / "kubernetes" / "kustomization.yml").read_text())
    assert {path.name for path in (DOCKER / "kubernetes").glob("*.yml")} == {*kustomization["resources"], "kustomization.yml"}
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("needs kubectl")
    done = subprocess.run([kubectl, "kustomize", DOCKER / "kubernetes"], capture_output=True, text=True, check=True)

    kinds = sorted(document["kind"] for document in yaml.safe_load_all(done.stdout))
    assert kinds == ["Namespace", "NetworkPolicy", *["Service"] * 4, *["StatefulSet"] * 4]


@pytest.mark.parametrize("kind", ["institution", "aggregator", "audit", "web"])
def test_the_unit_runs_every_kind(kind: str):
    """The commands of its lines exist; it stops us as we stop."""
    text = (DOCKER / "systemd" / "riverbank@.service").read_text()
    lines = dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    for name in ("ExecStart", "ExecStartPre"):
        require_command(lines[name].replace("%i", kind).split()[1:])

    assert (lines["KillSignal"], lines["NoNewPrivileges"], lines["User"]) == ("SIGTERM", "true", "riverbank")
    assert int(lines["TimeoutStopSec"]) > 10


def test_systemd_takes_the_unit(tmp_path: Path):
    """`systemd-analyze verify`, with an executable that is there."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("needs systemd-analyze")
    unit = tmp_path / "riverbank@.service"
    unit.write_text((DOCKER / "systemd" / unit.name).read_text().replace("/opt/riverbank/bin/riverbank", sys.executable))
    done = subprocess.run([analyze, "verify", "--recursive-errors=no", unit], capture_output=True, text=True, check=False)

    assert (done.returncode, [line for line in done.stderr.splitlines() if "riverbank" in line]) == (0, [])

"""What Riverbank is made of: a bill of materials of its locked packages and jars, and what is known against them.

Called by `riverbank supply-chain`, which `make check` runs.
Never takes "could not ask" for "nothing known": packages that were not looked up are counted and named."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import InvalidRequirement, Requirement

from riverbank.embedded.jars import Jar
from streams.telemetry import SOFTWARE_VERSION

_TIMEOUT_S: Final = 300


class SupplyChainError(Exception):
    """A lock cannot be read, or the advisory tool failed; one sentence."""


@dataclass(frozen=True, slots=True)
class Locked:
    """A package of a lock, with the SHA-256 of every file that may be installed for it."""

    name: str
    version: str
    sha256: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Findings:
    """What an advisory service said."""

    known: Mapping[str, tuple[str, ...]]
    """Package -> advisories against the locked version."""
    asked: int
    """Packages that were looked up."""
    not_asked: tuple[str, ...]
    """Packages that were not, the service being away or ignorant of them."""


def locked_packages(lock: Path) -> tuple[Locked, ...]:
    """The packages of a lock that apply to this interpreter. SupplyChainError: not pinned with ==, or without a hash."""
    return tuple(_locked(lock))


def _locked(lock: Path) -> Iterator[Locked]:
    try:
        text = lock.read_text(encoding="utf-8")
    except OSError as error:
        raise SupplyChainError(f"{lock} cannot be read: {error.strerror}; name the lock with --lock") from error
    lines = (line for line in text.replace("\\\n", " ").splitlines() if line.strip() and not line.lstrip().startswith("#"))
    for line in lines:
        pinned, *hashes = line.split("--hash=sha256:")
        try:
            requirement = Requirement(pinned.strip())
        except InvalidRequirement as error:
            raise SupplyChainError(f"{lock}: not a requirement with SHA-256 hashes: {pinned.strip()}") from error
        pins = list(requirement.specifier)
        if len(pins) != 1 or pins[0].operator != "==" or not hashes:
            raise SupplyChainError(f"{lock}: {requirement.name} is not pinned by == and a SHA-256 hash; run `make lock`")
        if requirement.marker is None or requirement.marker.evaluate():
            yield Locked(requirement.name, pins[0].version, tuple(each.strip() for each in hashes))


def bill_of_materials(packages: Sequence[Locked], jars: Sequence[Jar]) -> str:
    """CycloneDX 1.6 as JSON. The same input gives the same bytes, without a time or a random serial number."""
    bom = Bom()
    bom.metadata.component = Component(name="riverbank", version=SOFTWARE_VERSION, type=ComponentType.APPLICATION, bom_ref="riverbank")
    for package in packages:
        url = PackageURL("pypi", name=package.name.lower(), version=package.version)
        bom.components.add(_component(package.name, package.version, url, package.sha256))
    for jar in jars:
        url = PackageURL("maven", namespace=jar.group, name=jar.artifact, version=jar.version)
        bom.components.add(_component(f"{jar.group}:{jar.artifact}", jar.version, url, (jar.sha256,)))
    bom.register_dependency(bom.metadata.component, bom.components)
    document = json.loads(JsonV1Dot6(bom).output_as_string())
    # Both would differ from one writing to the next, and a diff of two bills should show what changed.
    del document["serialNumber"], document["metadata"]["timestamp"]
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


def _component(name: str, version: str, url: PackageURL, sha256: Sequence[str]) -> Component:
    hashes = [HashType(alg=HashAlgorithm.SHA_256, content=each) for each in sha256]
    return Component(name=name, version=version, type=ComponentType.LIBRARY, purl=url, bom_ref=str(url), hashes=hashes)


def advisories(lock: Path) -> Findings:
    """Ask the advisory service of pip-audit about every package of a lock; a service that is away leaves them not asked."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(lock), "--require-hashes", "--disable-pip"]
    # stderr and the exit code only repeat what the JSON says; a run without JSON has failed.
    done = subprocess.run(
        [*command, "--format", "json", "--progress-spinner", "off"], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    )
    if not done.stdout.strip():
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        if "ConnectionError" in done.stderr or "ServiceError" in done.stderr:
            return Findings({}, 0, tuple(package.name for package in locked_packages(lock)))
        raise SupplyChainError(f"pip-audit ended with {done.returncode}: {last}")
    return findings_of(json.loads(done.stdout))


def findings_of(report: Mapping[str, Any]) -> Findings:
    """From pip-audit's JSON report."""
    known, asked, not_asked = {}, 0, []
    for package in report["dependencies"]:
        if "skip_reason" in package:
            not_asked.append(package["name"])
            continue
        asked += 1
        if package["vulns"]:
            known[package["name"]] = tuple(each["id"] for each in package["vulns"])
    return Findings(known, asked, tuple(not_asked))

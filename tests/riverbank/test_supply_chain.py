"""What Riverbank is made of: every package pinned by hash, a bill of materials that does not wander, honest findings."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from riverbank.embedded.jars import pinned_jars
from riverbank.supply_chain import Findings, SupplyChainError, advisories, bill_of_materials, findings_of, locked_packages

ROOT = Path(__file__).parents[2]
LOCKS = [ROOT / "requirements.lock", ROOT / "requirements-dev.lock"]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_locked_package_is_pinned_by_hash_and_no_address_is_named(lock: Path):
    packages = locked_packages(lock)
    assert len(packages) > 40
    assert all(re.fullmatch(r"[0-9a-f]{64}", each) for package in packages for each in package.sha256)
    assert "://" not in lock.read_text()
    assert "--index-url" not in lock.read_text()


def test_what_runs_is_locked_the_same_in_development():
    run, development = (({package.name: package.version for package in locked_packages(lock)}) for lock in LOCKS)
    assert run.items() <= development.items()


def test_the_bill_names_every_package_and_jar_with_its_hash_and_stays_the_same():
    packages, jars = locked_packages(LOCKS[0]), pinned_jars()
    bill = bill_of_materials(packages, jars)
    assert bill == bill_of_materials(tuple(reversed(packages)), tuple(reversed(jars)))
    components = {each["purl"]: each for each in json.loads(bill)["components"]}
    assert len(components) == len(packages) + len(jars)
    kafka = next(each for purl, each in components.items() if purl.startswith("pkg:maven/org.apache.kafka/kafka-clients@"))
    jar = next(jar for jar in jars if jar.artifact == "kafka-clients")
    assert kafka["hashes"] == [{"alg": "SHA-256", "content": jar.sha256}]
    assert any(purl.startswith("pkg:pypi/pynacl@") for purl in components)


@pytest.mark.parametrize(
    ("line", "wrong"),
    [("river>=0.26 --hash=sha256:00", "not pinned"), ("river==0.26.0", "not pinned"), ("-e . --hash=sha256:00", "not a requirement")],
)
def test_a_lock_that_pins_nothing_is_refused(tmp_path: Path, line: str, wrong: str):
    lock = tmp_path / "some.lock"
    lock.write_text(line + "\n")
    with pytest.raises(SupplyChainError, match=wrong):
        locked_packages(lock)


def test_a_lock_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(SupplyChainError, match=r"absent\.lock cannot be read"):
        locked_packages(tmp_path / "absent.lock")


def test_what_could_not_be_looked_up_is_not_taken_for_clean():
    report = {
        "dependencies": [
            {"name": "old", "version": "1", "vulns": [{"id": "PYSEC-1"}, {"id": "PYSEC-2"}]},
            {"name": "good", "version": "2", "vulns": []},
            {"name": "unknown", "skip_reason": "Dependency not found"},
        ]
    }
    assert findings_of(report) == Findings({"old": ("PYSEC-1", "PYSEC-2")}, 2, ("unknown",))


def test_every_package_of_a_real_lock_is_either_looked_up_or_named(tmp_path: Path):
    lock = tmp_path / "one.lock"
    lock.write_text("idna==3.10 --hash=sha256:946d195a0d259cbba61165e88e65941f16e9b36ea6ddb97f00452bae8b1287d3\n")
    findings = advisories(lock)
    assert findings.asked + len(findings.not_asked) == 1

"""What the doctor sees on the machine: each fault found, named, and with a repair that, carried out, cures it."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest
from pydantic import BaseModel

from federation.errors import Broken
from riverbank.doctor.findings import Finding, Level
from riverbank.doctor.machine import ROOM_NEEDED, ROOM_WANTED, clock, files, packages, private_file, room


class _Party(BaseModel):
    key_file: Path


class _Process(BaseModel):
    party: _Party
    state_dir: Path


@pytest.fixture
def process(tmp_path: Path) -> _Process:
    """A private key and a private folder."""
    key, state = tmp_path / "party.key", tmp_path / "state"
    key.write_bytes(b"secret")
    key.chmod(0o600)
    state.mkdir(mode=0o700)
    return _Process(party=_Party(key_file=key), state_dir=state)


def levels(findings: list[Finding]) -> set[Level]:
    return {finding.level for finding in findings if finding.check == "permissions"}


def test_a_process_as_it_should_be_has_nothing_wrong(process: _Process):
    assert levels(list(files(process))) == {Level.GOOD}


@pytest.mark.parametrize("which", ["key", "state"])
def test_what_others_may_read_is_found_and_the_repair_cures_it(process: _Process, which: str):
    (process.party.key_file if which == "key" else process.state_dir).chmod(0o755)
    found = [finding for finding in files(process) if finding.level is not Level.GOOD and finding.check == "permissions"]
    assert [finding.level for finding in found] == [Level.WRONG if which == "key" else Level.WARNING]
    subprocess.run(shlex.split(found[0].repair), check=True)
    assert levels(list(files(process))) == {Level.GOOD}


def test_an_absent_key_is_found_by_the_name_of_its_setting(tmp_path: Path):
    finding = private_file("party.key_file", tmp_path / "absent")
    assert finding.level is Level.WRONG
    assert "party.key_file" in finding.repair
    assert "No such file" in finding.found


def test_a_folder_that_is_not_there_yet_is_no_fault(process: _Process, tmp_path: Path):
    new = process.model_copy(update={"state_dir": tmp_path / "new" / "state"})
    assert levels(list(files(new))) == {Level.GOOD}
    assert not new.state_dir.exists()


@pytest.mark.parametrize(
    ("free", "level"),
    [(ROOM_WANTED, Level.GOOD), (ROOM_WANTED - 1, Level.WARNING), (ROOM_NEEDED, Level.WARNING), (ROOM_NEEDED - 1, Level.WRONG)],
)
def test_room_on_the_disk(free: int, level: Level):
    assert room("institution.state_dir /x", free).level is level


def test_the_packages_of_this_checkout_fit():
    assert [finding.level for finding in packages()] == [Level.GOOD]


def test_a_package_of_a_wrong_version_is_found(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("riverbank.doctor.machine.requires", lambda _: ["numpy<1", "no-such-package>=1", "river; extra == 'dev'"])
    found = list(packages())
    assert [(finding.subject, finding.level) for finding in found] == [("numpy", Level.WRONG), ("no-such-package", Level.WRONG)]
    assert all("--require-hashes" in finding.repair for finding in found)


def test_the_clock_is_asked():
    assert clock().check == "clock"


def test_no_finding_leaves_a_person_without_a_repair():
    with pytest.raises(Broken):
        Finding("disk", Level.WRONG, "/", "full")

"""What the doctor says of a party's keys and standing: each with what to do about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from federation import messages as m
from federation.members.directory import Directory
from riverbank.doctor.findings import Level
from riverbank.doctor.membership import key_file, standing
from tests.credentials import AGGREGATOR, FAR_MS, OPERATOR, Credentials

DAY_MS = 24 * 3_600_000
INSTITUTION = m.PartyRole.INSTITUTION


@pytest.fixture
def credentials() -> Credentials:
    return Credentials("f", "ab")


def test_a_key_file_is_locked_or_it_is_wrong(tmp_path: Path, credentials: Credentials):
    """The first line says so; a key in the clear is not shown."""
    (good,) = key_file(credentials.write_key_file(tmp_path / "party.key", "a"))
    assert (good.level, good.found) == (Level.GOOD, "locked, argon2id of 1 passes over 8 KiB")

    clear = tmp_path / "clear.key"
    clear.touch(mode=0o600)
    clear.write_bytes(credentials.keys["a"].signing_seed.reveal())
    (wrong,) = key_file(clear)
    assert (wrong.level, wrong.found) == (Level.WRONG, "not a locked file")


def test_a_member_takes_part_until_its_certificate_ends(credentials: Credentials):
    """Good, a warning in the last thirty days, wrong from the end on."""
    for days, level in ((31, Level.GOOD), (30, Level.WARNING), (0, Level.WRONG)):
        found = standing(credentials.directory, "a", INSTITUTION, FAR_MS - days * DAY_MS)
        assert found.level is level
    assert found.found == "has a certificate that has expired"
    assert standing(credentials.directory, AGGREGATOR, m.PartyRole.AGGREGATOR, 0).level is Level.GOOD


@pytest.mark.parametrize("act", [m.Standing.SUSPENDED, m.Standing.REVOKED, m.Standing.LEFT])
def test_who_takes_no_part_is_told_why(credentials: Credentials, act: m.Standing):
    directory = credentials.directory.take(OPERATOR, credentials.act("a", act))
    found = standing(directory, "a", INSTITUTION, 0)
    assert (found.level, found.found) == (Level.WRONG, f"is {act.value}")


def test_strangers_and_other_roles(credentials: Credentials):
    """Nobody certified, nobody verified, or somebody else's name in the settings."""
    said = {party: standing(credentials.directory, party, INSTITUTION, 0).found for party in ("z", AGGREGATOR)}
    assert said == {"z": "is not certified by the federation", AGGREGATOR: "is certified as aggregator"}
    uninvited = Directory.of("f", credentials.ca_verify_key, credentials.certified)
    assert standing(uninvited, "a", INSTITUTION, 0).found == "has not been verified by an operator"

"""Keys that follow others: a party's with one command, and the CA's, believed by whoever pinned the key before it and by nobody else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from federation.errors import OwnFault, PeerFault
from federation.members.locking import LEAST
from federation.messages import AuthorityRotated, CertificateRequest, PartyRole
from riverbank.cli import app
from riverbank.provisioning.applicants import Applicant
from riverbank.provisioning.authority import Office
from riverbank.provisioning.papers import digest_of_paper, fingerprint, read_paper, read_published
from streams.codec import encode
from streams.courier import key_of
from streams.memory import MemoryLog
from streams.parties import Parties
from streams.ports import Outgoing
from streams.topology import FEDERATION_TOPICS, PARTIES, partitions_of
from tests.credentials import entropy_of

SECRET = b"a passphrase of everybody's"
NOW_MS = 1_790_000_000_000


def office_in(folder: Path) -> Office:
    return Office.create(folder, "atlas", SECRET, cost=LEAST, entropy=entropy_of("ca", folder.name), now_ms=NOW_MS)


def certify(office: Office, party: Applicant, *names: str) -> Path:
    """The CA's answer to a new request of the party's, not yet accepted."""
    asked, answer = (office.directory / f"{party.party}.{'.'.join((*names, kind))}" for kind in ("request", "answer"))
    party.apply(asked, SECRET, hosts=(), cost=LEAST, entropy=entropy_of(party.party, names), now_ms=NOW_MS)
    read_out = fingerprint(digest_of_paper(read_paper(asked, CertificateRequest)))
    office.answer(asked, answer, confirmed=read_out, days=365, overlap_days=7, replace=False, now_ms=NOW_MS)
    return answer


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return office_in(tmp_path / "ca")


@pytest.fixture
def north(tmp_path: Path, office: Office) -> Applicant:
    party = Applicant.of(tmp_path / "north", "north", PartyRole.INSTITUTION, office.directory / "federation.toml")
    party.accept(certify(office, party))
    return party


def renewed(office: Office, paper: Path, days: int = 30) -> Office:
    """The same CA, opened again, with its next key."""
    office.renew(paper, SECRET, overlap_days=days, cost=LEAST, entropy=entropy_of("next", paper), now_ms=NOW_MS)
    return Office.open(office.directory, "atlas", SECRET)


def test_a_folder_follows_the_ca(tmp_path: Path, office: Office, north: Applicant):
    """With the paper the new key is pinned and its answers are accepted; before, they are not. Serials go on."""
    after = renewed(office, tmp_path / "paper")
    answer = certify(after, north, "again")
    assert after.verify_key != office.verify_key
    with pytest.raises(PeerFault, match="bad_signature by authority"):
        north.accept(answer)

    north.follow(tmp_path / "paper")
    assert Applicant.at_home(north.directory).accept(answer).certified.serial == 2
    assert renewed(after, tmp_path / "second").verify_key != after.verify_key
    assert read_paper(tmp_path / "second", AuthorityRotated).serial == 2


def test_a_folder_does_not_follow_a_stranger(tmp_path: Path, north: Applicant):
    """Another CA of the same name vouches for its own next key: the pin stays."""
    pinned = (north.directory / "federation.toml").read_bytes()
    renewed(office_in(tmp_path / "stranger"), tmp_path / "paper")
    with pytest.raises(OwnFault, match="not by the CA key that is pinned"):
        north.follow(tmp_path / "paper")
    assert (north.directory / "federation.toml").read_bytes() == pinned


async def test_a_running_process_follows_the_ca(tmp_path: Path, office: Office, north: Applicant):
    """Pinned to the old key, it believes certificates by the new one once the cross-signature is in the log, and those of a stranger never."""
    log = MemoryLog(partitions_of(FEDERATION_TOPICS))
    parties = Parties(log, federation="atlas", ca_verify_key=office.verify_key)

    async def publish(paper: Path) -> int:
        said = read_published(paper)
        await log.append([Outgoing(PARTIES.full_name(), 0, key_of(PARTIES, said), encode(said))])
        await parties.catch_up()
        known = parties.directory.certificates.get("north", ())
        return known[-1].serial if known else 0

    after = renewed(office, tmp_path / "paper")
    answer = certify(after, north, "again")
    stranger = renewed(office_in(tmp_path / "stranger"), tmp_path / "strangers")
    south = Applicant.of(tmp_path / "south", "south", PartyRole.INSTITUTION, stranger.directory / "federation.toml")

    assert await publish(answer) == 0  # Nobody has vouched for its key.
    assert await publish(tmp_path / "strangers") == 0
    await publish(certify(stranger, south))
    assert "south" not in parties.directory.certificates
    await publish(tmp_path / "paper")
    assert await publish(answer) == 2


def test_one_command_rotates(tmp_path: Path, office: Office, north: Applicant):
    """Without the CA it writes a request; with the CA's folder it is certified and accepted at once. No secret is shown."""
    run = CliRunner(env={"RIVERBANK_PASSPHRASE": SECRET.decode()})
    arguments = ["provision", "rotate", "--directory", str(north.directory), "--json", "--out"]
    asked = run.invoke(app, [*arguments, str(tmp_path / "request")])
    done = run.invoke(app, [*arguments, str(tmp_path / "answer"), "--ca", str(office.directory)])
    nobody = run.invoke(app, ["provision", "rotate", "--directory", str(tmp_path), "--out", str(tmp_path / "x")])

    assert read_paper(tmp_path / "request", CertificateRequest).by_previous is not None
    assert json.loads(asked.stdout).keys() == {"party", "request", "fingerprint"}
    assert (json.loads(done.stdout)["certificate"], read_published(tmp_path / "answer")) == (2, north.certified())
    assert isinstance(nobody.exception, OwnFault)
    assert SECRET.decode() not in asked.output + done.output


def test_the_ca_is_renewed_and_followed_by_command(tmp_path: Path, office: Office, north: Applicant):
    """`federation renew` writes the paper, `follow` pins the key in it."""
    run = CliRunner(env={"RIVERBANK_PASSPHRASE": SECRET.decode()})
    paper = str(tmp_path / "paper")
    made = run.invoke(app, ["provision", "federation", "renew", paper, "--directory", str(office.directory), "--json"])
    followed = run.invoke(app, ["provision", "follow", paper, "--directory", str(north.directory), "--json"])

    key = json.loads(made.stdout)["ca_verify_key"]
    assert json.loads(followed.stdout) == {"party": "north", "ca_verify_key": key}
    assert Office.open(office.directory, "atlas", SECRET).verify_key.hex() == key != office.verify_key.hex()

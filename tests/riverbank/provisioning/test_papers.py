"""From an empty folder to a certified party: requests travel, private keys do not; whatever is changed on the way is refused."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from federation.errors import OwnFault, PeerFault
from federation.members.keys import KeyRing
from federation.members.locking import LEAST
from federation.messages import CertificateAnswer, CertificateRequest, PartyRole
from riverbank.provisioning.applicants import Applicant
from riverbank.provisioning.authority import Office
from riverbank.provisioning.papers import digest_of_paper, fingerprint, read_paper, write_paper
from streams.access import Principal
from streams.settings import TlsSettings
from streams.tls import open_tls
from streams.topology import Role
from tests.credentials import entropy_of

SECRET, OTHER = b"a passphrase of the CA", b"a passphrase of north's"
NOW_MS = 1_790_000_000_000
DAY_MS = 24 * 3_600_000


@pytest.fixture
def office(tmp_path: Path) -> Office:
    Office.create(tmp_path / "ca", "atlas", SECRET, cost=LEAST, entropy=entropy_of("ca"), now_ms=NOW_MS)
    return Office.open(tmp_path / "ca", "atlas", SECRET)


@pytest.fixture
def north(tmp_path: Path, office: Office) -> Applicant:
    return Applicant.of(tmp_path / "north", "north", PartyRole.INSTITUTION, office.directory / "federation.toml")


def apply(party: Applicant, folder: Path, name: str = "request", *, lost: bool = False) -> Path:
    """The request as a file."""
    out = folder / name
    party.apply(out, OTHER, hosts=(), cost=LEAST, entropy=entropy_of(party.party, name), now_ms=NOW_MS, lost=lost)
    return out


def answer(office: Office, request: Path, *, replace_keys: bool = False, now_ms: int = NOW_MS) -> Path:
    """The answer as a file."""
    out = request.with_name(f"{request.name}.answer")
    read_out = fingerprint(digest_of_paper(read_paper(request, CertificateRequest)))
    office.answer(request, out, confirmed=read_out, days=365, overlap_days=7, replace=replace_keys, now_ms=now_ms)
    return out


def private_parts(folder: Path) -> list[bytes]:
    """Everything that must not leave, as bytes and as text."""
    ring = KeyRing.unlocked((folder / "party.key").read_bytes(), OTHER)
    secrets = [part.reveal() for keys in ring.keys for part in (keys.signing_seed, keys.sealing_secret)]
    pems = [path.read_bytes() for path in folder.rglob("kafka.key*")] + [path.read_bytes() for path in folder.rglob("kafka.password*")]
    return [
        *secrets,
        *(each.hex().encode() for each in secrets),
        *(line for pem in pems for line in pem.splitlines() if b"-----" not in line),
    ]


def test_an_institution_is_certified_and_no_key_travels(tmp_path: Path, office: Office, north: Applicant):
    """Its folder is complete, its processes can open TLS, and nothing private is in any paper, public file or README."""
    request = apply(north, tmp_path)
    made = answer(office, request)
    north.accept(made)
    papers = [
        request,
        made,
        *tmp_path.rglob("README.md"),
        *tmp_path.rglob("*.toml"),
        *tmp_path.rglob("*.crt"),
        office.directory / "issued.json",
    ]
    for private in (*private_parts(north.directory), office.seed.reveal(), OTHER, SECRET):
        assert [path for path in papers if private in path.read_bytes()] == []
    for path in [*tmp_path.rglob("*.key"), *tmp_path.rglob("kafka.password")]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path

    certified = north.certified()
    assert certified is not None
    assert (certified.serial, certified.expires_at_ms) == (1, NOW_MS + 365 * DAY_MS)
    for process in ("institution", "portal"):
        tls = TlsSettings(**north.settings(process, "kafka:9092")["federation"]["tls"])
        assert open_tls(tls, Principal("north", Role(process))).principal.party == "north"


def test_keys_are_renewed_and_the_older_ones_retired(tmp_path: Path, office: Office, north: Applicant):
    """The ring holds both until the overlap is over; the request is signed with both; the serial rises."""
    north.accept(answer(office, apply(north, tmp_path)))
    first = north.certified()
    second_request = apply(north, tmp_path, "second")
    assert len(KeyRing.unlocked((north.directory / "party.key").read_bytes(), OTHER).keys) == 2
    north.accept(answer(office, second_request))
    second = north.certified()
    north.retire(OTHER, cost=LEAST, entropy=entropy_of("retire"))

    assert first is not None
    assert second is not None
    assert (second.serial, second.previous_until_ms) == (2, NOW_MS + 7 * DAY_MS)
    assert [keys.verify_key for keys in KeyRing.unlocked((north.directory / "party.key").read_bytes(), OTHER).keys] == [second.verify_key]


def test_an_acceptance_that_was_cut_short_is_finished_by_the_next(tmp_path: Path, office: Office, north: Applicant):
    """Whichever of the keys had been put in place: accepting again puts the rest there, and every process opens TLS."""
    made = answer(office, apply(north, tmp_path))
    for name in ("kafka.password", "kafka.key"):
        (north.directory / "institution" / f"{name}.next").rename(north.directory / "institution" / name)
    north.accept(made)

    for process in ("institution", "portal"):
        tls = TlsSettings(**north.settings(process, "kafka:9092")["federation"]["tls"])
        assert open_tls(tls, Principal("north", Role(process)))


def test_a_replayed_or_foreign_answer_is_refused(tmp_path: Path, office: Office, north: Applicant):
    """An older bundle, another party's, one by another CA, one with swapped certificates: the folder stays as it is."""
    first = answer(office, apply(north, tmp_path))
    north.accept(first)
    with pytest.raises(OwnFault, match="no request waits"):
        north.accept(first)
    second = answer(office, apply(north, tmp_path, "second"))
    south = Applicant.of(tmp_path / "south", "south", PartyRole.INSTITUTION, office.directory / "federation.toml")
    souths = answer(office, apply(south, tmp_path, "souths"))
    for replayed in (first, souths):
        with pytest.raises(OwnFault, match="answers another request"):
            north.accept(replayed)

    good = read_paper(second, CertificateAnswer)
    write_paper(tmp_path / "kept", good)
    for forged in (
        replace(good, transports=good.transports[::-1]),
        replace(good, authorities=b"another authority"),
        replace(good, certified=read_paper(souths, CertificateAnswer).certified),
    ):
        write_paper(tmp_path / "forged", forged)
        with pytest.raises(PeerFault, match="bad_signature by authority"):
            north.accept(tmp_path / "forged")
    impostor = Office.create(tmp_path / "impostor", "atlas", SECRET, cost=LEAST, entropy=entropy_of("impostor"), now_ms=NOW_MS)
    with pytest.raises(PeerFault, match="bad_signature by authority"):
        north.accept(answer(impostor, tmp_path / "second"))
    assert north.certified() == read_paper(first, CertificateAnswer).certified
    assert north.accept(tmp_path / "kept").certified.serial == 2


def test_a_tampered_request_is_not_certified(tmp_path: Path, office: Office, north: Applicant):
    """Another name, another key, another host, another party's TLS request: the signature does not hold, and no serial is used."""
    good = read_paper(apply(north, tmp_path), CertificateRequest)
    for forged in (
        replace(good, party="south"),
        replace(good, sealing_key=bytes(32)),
        replace(good, verify_key=bytes(32)),
        replace(good, transports=good.transports[:1]),
        replace(good, role=PartyRole.OPERATOR),
    ):
        write_paper(tmp_path / "forged", forged)
        with pytest.raises(PeerFault, match="bad_signature"):
            answer(office, tmp_path / "forged")
    with pytest.raises(OwnFault, match="ask its sender again"):
        office.answer(tmp_path / "request", tmp_path / "x", confirmed="00", days=1, overlap_days=0, replace=False, now_ms=NOW_MS)
    (tmp_path / "torn").write_text((tmp_path / "request").read_text()[:-90])
    with pytest.raises(OwnFault, match="not a riverbank certificate request"):
        read_paper(tmp_path / "torn", CertificateRequest)

    assert read_paper(answer(office, tmp_path / "request"), CertificateAnswer).certified.serial == 1


def test_nobody_takes_over_a_name(tmp_path: Path, office: Office, north: Applicant):
    """Who is certified is renewed with its own key only, unless the CA's keeper has been told that the keys are lost; then they end at once."""
    north.accept(answer(office, apply(north, tmp_path)))
    thief = Applicant.of(tmp_path / "thief", "north", PartyRole.INSTITUTION, office.directory / "federation.toml")
    with pytest.raises(PeerFault, match="not signed with the key certified before"):
        answer(office, apply(thief, tmp_path, "thiefs"))
    lost = apply(north, tmp_path, "lost", lost=True)
    made = read_paper(answer(office, lost, replace_keys=True), CertificateAnswer)

    assert (made.certified.serial, made.certified.previous_until_ms) == (2, NOW_MS)


def test_a_wrong_passphrase_opens_no_office(tmp_path: Path, office: Office, north: Applicant):
    """Neither the CA's nor a party's; a short one is not taken for a new folder."""
    with pytest.raises(OwnFault, match="the passphrase does not open it"):
        Office.open(office.directory, "atlas", OTHER)
    apply(north, tmp_path)
    with pytest.raises(OwnFault, match="the passphrase does not open it"):
        north.apply(tmp_path / "again", SECRET, hosts=(), cost=LEAST, entropy=entropy_of("again"), now_ms=NOW_MS)
    with pytest.raises(OwnFault, match="at least 15 characters"):
        Office.create(tmp_path / "short", "atlas", b"short", cost=LEAST, entropy=entropy_of("short"), now_ms=NOW_MS)

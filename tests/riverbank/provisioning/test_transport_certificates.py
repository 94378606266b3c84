"""Certificates for TLS: real handshakes, without a socket, between what the authority signed."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from federation.errors import OwnFault, PeerFault
from federation.secagg.keys import Secret
from riverbank.provisioning.transport_certificates import (
    BROKER,
    Authority,
    Subject,
    certificate_pem,
    create_authority,
    key_from_pem,
    key_pem,
    new_key,
    request,
    sign_request,
)

NOW = datetime.now(UTC)
YEAR = timedelta(days=365)
NORTH = Subject("north", "institution", "atlas")
KAFKA = Subject("kafka", BROKER, "atlas")
PASSWORD = Secret(b"0123456789abcdef0123456789abcdef")


def authority(name: str = "atlas") -> Authority:
    return create_authority(name, serial=1, now=NOW, valid=YEAR)


def shown(folder: Path, ca: Authority, subject: Subject, *, hosts: tuple[str, ...] = (), now: datetime = NOW) -> tuple[Path, Path]:
    """Certificate and key files of a subject."""
    folder.mkdir(exist_ok=True)
    key = new_key()
    certificate = sign_request(ca, request(subject, key, hosts=hosts), subject, hosts=hosts, serial=7, now=now, valid=YEAR)
    (folder / "kafka.crt").write_bytes(certificate)
    (folder / "kafka.key").write_bytes(key_pem(key, PASSWORD))
    return folder / "kafka.crt", folder / "kafka.key"


def handshake(client_ca: Authority, client: tuple[Path, Path], server_ca: Authority, server: tuple[Path, Path], host: str) -> str:
    """Run a TLS handshake between two ends in memory; the client's distinguished name as the server sees it."""
    near = ssl.create_default_context(cadata=certificate_pem(server_ca.certificate).decode())
    far = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    far.verify_mode = ssl.CERT_REQUIRED
    far.load_verify_locations(cadata=certificate_pem(client_ca.certificate).decode())
    for context, (certificate, key) in ((near, client), (far, server)):
        context.load_cert_chain(certificate, key, PASSWORD.reveal())
    to_far, to_near = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [near.wrap_bio(to_near, to_far, server_hostname=host), far.wrap_bio(to_far, to_near, server_side=True)]
    open_ends = list(ends)
    while open_ends:
        for end in list(open_ends):
            try:
                end.do_handshake()
                open_ends.remove(end)
            except ssl.SSLWantReadError:
                continue
    seen = ends[1].getpeercert(binary_form=True)
    assert seen is not None
    return x509.load_der_x509_certificate(seen).subject.rfc4514_string()


def test_a_client_and_a_broker_of_one_authority_meet(tmp_path: Path) -> None:
    """Both are verified, the broker's host included; the broker sees CN = party, OU = role, O = federation."""
    ca = authority()
    client = shown(tmp_path / "client", ca, NORTH)
    server = shown(tmp_path / "server", ca, KAFKA, hosts=("127.0.0.1", "kafka.example"))

    assert handshake(ca, client, ca, server, "127.0.0.1") == "CN=north,OU=institution,O=atlas"
    assert handshake(ca, client, ca, server, "kafka.example") == NORTH.distinguished_name


def test_a_client_is_no_broker(tmp_path: Path) -> None:
    """A member's certificate cannot be shown as a broker's, not even for the right host."""
    ca = authority()
    client = shown(tmp_path / "client", ca, NORTH, hosts=("127.0.0.1",))
    with pytest.raises(ssl.SSLCertVerificationError, match="purpose"):
        handshake(ca, client, ca, client, "127.0.0.1")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [("host", "mismatch"), ("authority", "verify failed"), ("expired", "expired"), ("not yet", "not yet valid")],
)
def test_a_wrong_broker_is_refused(tmp_path: Path, wrong: str, sentence: str) -> None:
    """Another host, another authority, a certificate whose time is over or has not come."""
    ca, other = authority(), authority()
    signed_at = {"expired": NOW - 2 * YEAR, "not yet": NOW + YEAR}.get(wrong, NOW)
    signer = other if wrong == "authority" else ca
    server = shown(tmp_path / "server", signer, KAFKA, hosts=("localhost" if wrong == "host" else "127.0.0.1",), now=signed_at)
    client = shown(tmp_path / "client", ca, NORTH)
    with pytest.raises(ssl.SSLCertVerificationError, match=sentence):
        handshake(ca, client, ca, server, "127.0.0.1")


def test_a_client_of_another_authority_is_refused(tmp_path: Path) -> None:
    """The same name under another authority is nobody."""
    ca = authority()
    server = shown(tmp_path / "server", ca, KAFKA, hosts=("127.0.0.1",))
    stranger = shown(tmp_path / "client", authority(), NORTH)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(ca, stranger, ca, server, "127.0.0.1")


def test_requests_other_than_expected_are_refused() -> None:
    """Another subject, other hosts, another curve's promise, one flipped byte: the authority signs none of them."""
    ca, key = authority(), new_key()
    good = request(KAFKA, key, hosts=("127.0.0.1",))
    south = Subject("south", "institution", "atlas")
    for asked, subject, hosts in (
        (good, south, ("127.0.0.1",)),
        (good, KAFKA, ("10.0.0.1",)),
        (good, KAFKA, ()),
        (request(KAFKA, key), KAFKA, ("127.0.0.1",)),
        (b"no request", KAFKA, ()),
    ):
        with pytest.raises(PeerFault, match="bad_request"):
            sign_request(ca, asked, subject, hosts=hosts, serial=2, now=NOW, valid=YEAR)


def test_a_tampered_request_is_refused() -> None:
    """Somebody else's key put into a request does not carry the signature over."""
    der, other = (x509.load_pem_x509_csr(request(NORTH, new_key())).public_bytes(Encoding.DER) for _ in range(2))
    point_header = bytes.fromhex("034200")  # A bit string of 65 bytes: the uncompressed public point.
    at, there = der.index(point_header) + 3, other.index(point_header) + 3
    forged = der[:at] + other[there : there + 65] + der[at + 65 :]
    pem = ssl.DER_cert_to_PEM_cert(forged).replace("CERTIFICATE", "CERTIFICATE REQUEST").encode()
    with pytest.raises(PeerFault, match="not signed with the key"):
        sign_request(authority(), pem, NORTH, serial=2, now=NOW, valid=YEAR)


def test_a_key_is_opened_by_its_password_only() -> None:
    """Without it or with another one there is one sentence and no key."""
    key = new_key()
    written = key_pem(key, PASSWORD)

    assert key_from_pem(written, PASSWORD).private_numbers() == key.private_numbers()
    assert key_from_pem(key_pem(key)).private_numbers() == key.private_numbers()
    for wrong in (None, Secret(bytes(16))):
        with pytest.raises(OwnFault, match="another password"):
            key_from_pem(written, wrong)

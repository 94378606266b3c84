"""X.509 for Kafka's TLS (RFC 5280): the federation's P-256 authority, certificate requests, certificates of clients and of brokers.

Called by provisioning, and by tests that want a certificate that is wrong in one way.
Never holds or copies a requester's private key: an authority sees the request, which is signed with that key, and nothing else."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from federation.errors import OwnFault, PeerFault
from federation.secagg.keys import Secret

BROKER: Final = "broker"
"""The role of a certificate that a broker shows, beside those of `streams.topology.Role`."""
AUTHORITY: Final = "authority"
CLOCKS_APART: Final = timedelta(minutes=5)
"""A certificate counts from this long before it is signed: clocks differ."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Who a certificate is for: CN = party, OU = role, O = federation."""

    party: str
    role: str
    federation: str

    @property
    def distinguished_name(self) -> str:
        """As Kafka prints the principal (RFC 2253, after `User:`)."""
        return self.name().rfc4514_string()

    def name(self) -> x509.Name:
        """As in the certificate."""
        # RFC 2253 prints the last part first.
        parts = (
            (NameOID.ORGANIZATION_NAME, self.federation),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, self.role),
            (NameOID.COMMON_NAME, self.party),
        )
        return x509.Name([x509.NameAttribute(kind, text) for kind, text in parts])


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority: its certificate, and the key that signs."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)


def new_key() -> ec.EllipticCurvePrivateKey:
    """A P-256 private key from the operating system's entropy."""
    return ec.generate_private_key(ec.SECP256R1())


def create_authority(federation: str, *, serial: int, now: datetime, valid: timedelta) -> Authority:
    """A new self-signed authority of a federation, which signs certificates and no further authority."""
    key = new_key()
    subject = Subject(f"{federation}-tls", AUTHORITY, federation).name()
    builder = _builder(subject, subject, key.public_key(), serial, now, valid)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
    return Authority(builder.sign(key, hashes.SHA256()), key)


def request(subject: Subject, key: ec.EllipticCurvePrivateKey, *, hosts: Sequence[str] = ()) -> bytes:
    """A PEM certificate request (RFC 2986), signed with `key`: proof that the requester holds it. `hosts`: names or addresses a broker listens on."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject.name())
    if hosts:
        builder = builder.add_extension(_alternative_names(hosts), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def sign_request(
    authority: Authority, request_pem: bytes, subject: Subject, *, hosts: Sequence[str] = (), serial: int, now: datetime, valid: timedelta
) -> bytes:
    """The PEM certificate for `subject` and `hosts`, good for clients and, with role `broker`, for servers.

    PeerFault "bad_request": not a request, for somebody or something else than the authority was told, not on P-256, or not signed with its own key.
    `serial`: never used twice by one authority; at most 159 bits (RFC 5280 section 4.1.2.2).
    """
    public_key = _checked_request(request_pem, subject, hosts)
    builder = _builder(subject.name(), authority.certificate.subject, public_key, serial, now, valid)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
    # A broker is a client of the other brokers.
    purposes = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if subject.role == BROKER else [])]
    builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    builder = builder.add_extension(issuer, critical=False)
    if hosts:
        builder = builder.add_extension(_alternative_names(hosts), critical=False)
    return builder.sign(authority.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def certificate_pem(certificate: x509.Certificate) -> bytes:
    """As in `ca.crt`."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(key: ec.EllipticCurvePrivateKey, password: Secret | None = None) -> bytes:
    """PKCS #8, encrypted if there is a password. Java reads it too."""
    encryption = serialization.NoEncryption() if password is None else serialization.BestAvailableEncryption(password.reveal())
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def key_from_pem(content: bytes, password: Secret | None = None) -> ec.EllipticCurvePrivateKey:
    """The key in a PEM file; OwnFault if it is not a P-256 key or the password does not open it. The content is never quoted."""
    try:
        key = serialization.load_pem_private_key(content, None if password is None else password.reveal())
    except (ValueError, TypeError):
        raise OwnFault("not a private key in PEM, or another password's") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise OwnFault("the private key is not on P-256")
    return key


def _checked_request(request_pem: bytes, subject: Subject, hosts: Sequence[str]) -> ec.EllipticCurvePublicKey:
    try:
        asked = x509.load_pem_x509_csr(request_pem)
        signed = asked.is_signature_valid
        names = asked.extensions.get_extension_for_class(x509.SubjectAlternativeName).value if len(asked.extensions) else None
        key = asked.public_key()
    except (ValueError, InvalidSignature, x509.ExtensionNotFound, x509.UnsupportedGeneralNameType) as error:
        raise PeerFault("bad_request", "not a certificate request in PEM", accused=subject.party) from error
    if not signed:
        raise PeerFault("bad_request", "not signed with the key it asks a certificate for", accused=subject.party)
    if asked.subject != subject.name():
        wanted = subject.distinguished_name
        raise PeerFault("bad_request", f"asks for {asked.subject.rfc4514_string()}, not {wanted}", accused=subject.party)
    if names != (_alternative_names(hosts) if hosts else None):
        raise PeerFault("bad_request", f"asks for other hosts than {', '.join(hosts) or 'none'}", accused=subject.party)
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise PeerFault("bad_request", "the key is not on P-256", accused=subject.party)
    return key


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, serial: int, now: datetime, valid: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(serial)
        .not_valid_before(now - CLOCKS_APART)
        .not_valid_after(now + valid)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates, key_cert_sign=signs_certificates, crl_sign=signs_certificates, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _alternative_names(hosts: Sequence[str]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([_general_name(host) for host in hosts])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)

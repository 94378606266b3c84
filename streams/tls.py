"""Mutual TLS with a Kafka cluster: our own files looked over before they are used, and why a handshake failed.

Called by whoever opens a `streams.kafka.KafkaLog` or Faust's door, with the files that settings name.
Never speaks to a broker whose certificate and host name it has not verified, and never quotes a key or a password."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, overload

import structlog
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import NameOID

from streams.access import Principal
from streams.settings import SettingsError, TlsSettings, read_private_file
from streams.topology import Role

_LOOK_S: Final = 1.0
_QUESTION: Final = struct.pack(">ihhih", 10, 18, 0, 1, -1)  # ApiVersions v0 (Kafka protocol guide): which requests do you know?
_SUBJECT: Final = (NameOID.COMMON_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME)
_log: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Tls:
    """Mutual TLS as one principal."""

    context: ssl.SSLContext = field(repr=False)
    principal: Principal
    files: TlsSettings


@overload
def open_tls(files: TlsSettings, principal: Principal) -> Tls: ...
@overload
def open_tls(files: TlsSettings | None, principal: Principal) -> Tls | None: ...
def open_tls(files: TlsSettings | None, principal: Principal) -> Tls | None:
    """TLS 1.3 with these files, for a process that is `principal`; None without files: plain text.

    SettingsError, naming the file and what is wrong with it: unreadable, expired or not valid yet, somebody else's, not signed by an
    authority in ca_file, or not the certificate's key.
    """
    if files is None:
        return None
    context = _RenewingContext(ssl.PROTOCOL_TLS_CLIENT)  # Verifies certificate and host name.
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.renew(files, principal)
    return Tls(context, principal, files)


class _RenewingContext(ssl.SSLContext):
    """Goes, in each new connection, by the files that lie on the disk by then: renewing a certificate needs no restart.

    An authority that is gone from ca_file is trusted until the process ends: OpenSSL forgets none.
    """

    _files: TlsSettings
    _principal: Principal
    _changed: tuple[int, ...]

    def renew(self, files: TlsSettings, principal: Principal) -> None:
        """Go by these files; SettingsError, and the former ones stay in use, if they cannot be used."""
        changed = _changed_ns(files)
        _look_over(files, principal, datetime.now(UTC))
        # Tried elsewhere first: a certificate whose key does not follow would stay behind in the context.
        for context in (ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), self):
            context.load_verify_locations(files.ca_file)
            _load_chain(context, files)
        self._files, self._principal, self._changed = files, principal, changed

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """As ssl.SSLContext; asyncio calls it once for each connection."""
        if _changed_ns(self._files) != self._changed:
            try:
                self.renew(self._files, self._principal)
            except (SettingsError, OSError) as error:  # Being replaced just now, or badly.
                _log.warning("certificate not renewed", reason=str(error))
        return super().wrap_bio(*arguments, **options)


def _changed_ns(files: TlsSettings) -> tuple[int, ...]:
    """When each file was last written; 0 for one that is not there."""
    paths = (files.ca_file, files.cert_file, files.key_file)
    return tuple(path.stat().st_mtime_ns if path.exists() else 0 for path in paths)


def _load_chain(context: ssl.SSLContext, files: TlsSettings) -> None:
    password = None if files.password_file is None else read_private_file(files.password_file).rstrip(b"\r\n")
    read_private_file(files.key_file)  # For its mode.
    try:
        # An empty password, unlike none, keeps OpenSSL from asking the terminal.
        context.load_cert_chain(files.cert_file, files.key_file, password or b"")
    except ssl.SSLError as error:
        raise SettingsError([_key_problem(files, error)]) from None


def _key_problem(files: TlsSettings, error: ssl.SSLError) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"{files.key_file}: not the key of {files.cert_file}"
    password = (
        "an encrypted key, and no password_file says how to open it"
        if files.password_file is None
        else f"the password in {files.password_file} does not open it"
    )
    return f"{files.key_file}: not a private key in PEM, or {password}"


def _look_over(files: TlsSettings, principal: Principal, now: datetime) -> None:
    """SettingsError for what the brokers would refuse as well, but without saying which file is to blame."""
    authorities = _certificates(files.ca_file)
    chain = _certificates(files.cert_file)
    problems = [
        *(_date_problem(files.ca_file, each, now) for each in authorities),
        *(_date_problem(files.cert_file, each, now) for each in chain),
        _owner_problem(files.cert_file, chain[0], principal),
        _issuer_problem(files, chain, authorities),
    ]
    found = [problem for problem in problems if problem is not None]
    if found:
        raise SettingsError(found)


def _certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise SettingsError([f"{path}: {error.strerror}"]) from error
    except ValueError:
        raise SettingsError([f"{path}: holds no certificate in PEM"]) from None


def _date_problem(path: Path, certificate: x509.Certificate, now: datetime) -> str | None:
    if now > certificate.not_valid_after_utc:
        return f"{path}: {_subject(certificate)} expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC; it has to be renewed"
    if now < certificate.not_valid_before_utc:
        return (
            f"{path}: {_subject(certificate)} is valid from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on; is the clock right?"
        )
    return None


def certified_principal(cert_file: Path) -> Principal:
    """Whose certificate this is; SettingsError if it is nobody's of a federation."""
    return _principal(cert_file, _certificates(cert_file)[0])


def _principal(path: Path, certificate: x509.Certificate) -> Principal:
    try:
        (party,), (role,) = (certificate.subject.get_attributes_for_oid(kind) for kind in _SUBJECT)
        return Principal(str(party.value), Role(str(role.value)))
    except ValueError:
        raise SettingsError([f"{path}: {_subject(certificate)} names no party and role (CN and OU)"]) from None


def _owner_problem(path: Path, certificate: x509.Certificate, principal: Principal) -> str | None:
    try:
        if _principal(path, certificate) == principal:
            return None
    except SettingsError as error:
        return str(error)
    return f"{path}: is {_subject(certificate)}, not {principal.name}'s (CN={principal.party},OU={principal.role})"


def _issuer_problem(files: TlsSettings, chain: Sequence[x509.Certificate], authorities: Sequence[x509.Certificate]) -> str | None:
    if any(_issued(chain[-1], authority) for authority in authorities) and all(_issued(lower, upper) for lower, upper in pairwise(chain)):
        return None
    by = "itself" if _issued(chain[0], chain[0]) else chain[-1].issuer.rfc4514_string()
    return f"{files.cert_file}: signed by {by}, not by an authority in {files.ca_file}"


def _issued(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _subject(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string()


async def refusal(bootstrap: str, tls: Tls) -> str | None:
    """Why the handshake with one of these brokers fails, in a sentence; None if none does, or nobody listens.

    Kafka's client only says that there is no connection.
    """
    for broker in bootstrap.split(","):
        host, _, port = broker.rpartition(":")
        with contextlib.suppress(TimeoutError, ConnectionRefusedError):
            async with asyncio.timeout(_LOOK_S):
                if (found := await _handshake(broker, host, int(port), tls)) is not None:
                    return found
    return None


async def _handshake(broker: str, host: str, port: int, tls: Tls) -> str | None:
    refused = f"{broker} refuses {tls.files.cert_file} ({tls.principal.name})"
    try:
        reader, writer = await asyncio.open_connection(host, port, ssl=tls.context)
    except ssl.SSLCertVerificationError as error:
        return f"{broker} shows a certificate that authorities in {tls.files.ca_file} do not vouch for: {error.verify_message}"
    except ssl.SSLError as error:
        return f"{broker} does not speak TLS 1.3 with us: {error.reason}"
    except ConnectionRefusedError:
        raise
    except OSError as error:
        return f"{broker} hangs up during the TLS handshake: {error.strerror or type(error).__name__}"
    try:
        # In TLS 1.3 the broker judges our certificate after our part of the handshake, and its owner when it is asked something.
        writer.write(_QUESTION)
        return f"{refused}: it hangs up" if not await reader.read(1) else None
    except ssl.SSLError as error:
        return f"{refused}: {error.reason}"
    except ConnectionError as error:
        return f"{refused}: {error.strerror or type(error).__name__}"
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

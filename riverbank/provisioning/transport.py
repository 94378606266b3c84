"""TLS files for all processes of a federation that runs on one machine, made in one go.

Called by the demo and by tests that run the real processes.
Never keeps the authority's key: what it made cannot be extended, only made anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from riverbank.provisioning.bundles import CA_CERTIFICATE, KAFKA_CERTIFICATE, KAFKA_KEY, write_secret
from riverbank.provisioning.transport_certificates import (
    Authority,
    Subject,
    certificate_pem,
    create_authority,
    key_pem,
    new_key,
    request,
    sign_request,
)
from streams.access import Principal
from streams.settings import TlsSettings
from streams.topology import Role

_VALID: Final = timedelta(days=365)


def create_transport(folders: Mapping[Principal, Path], *, federation: str, hosts: Sequence[str]) -> dict[Principal, TlsSettings]:
    """An authority's certificate, a certificate and a key in each principal's folder; `hosts`: where the brokers among them listen."""
    now = datetime.now(UTC)
    authority = create_authority(federation, serial=1, now=now, valid=_VALID)
    made = {}
    for serial, (principal, folder) in enumerate(folders.items(), start=2):
        own_hosts = tuple(hosts) if principal.role is Role.BROKER else ()
        made[principal] = certified_files(authority, folder, principal, federation, own_hosts, serial, now)
    return made


def certified_files(
    authority: Authority, folder: Path, principal: Principal, federation: str, hosts: Sequence[str], serial: int, now: datetime
) -> TlsSettings:
    """Key and certificate of one principal in its folder, and whom it trusts; `serial`: never used twice by one authority."""
    key, subject = new_key(), Subject(principal.party, principal.role.value, federation)
    asked = request(subject, key, hosts=hosts)
    write_secret(folder / KAFKA_KEY, key_pem(key))
    (folder / KAFKA_CERTIFICATE).write_bytes(sign_request(authority, asked, subject, hosts=hosts, serial=serial, now=now, valid=_VALID))
    (folder / CA_CERTIFICATE).write_bytes(certificate_pem(authority.certificate))
    return tls_files(folder)


def tls_files(folder: Path) -> TlsSettings:
    """The settings that name a folder's three files."""
    return TlsSettings(ca_file=folder / CA_CERTIFICATE, cert_file=folder / KAFKA_CERTIFICATE, key_file=folder / KAFKA_KEY)

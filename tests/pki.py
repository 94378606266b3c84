"""Certificates for tests: an authority, what it signs, and ways to get a certificate wrong.

Used by every test that speaks TLS.
Never used outside tests: it keeps everybody's keys below one directory."""

from __future__ import annotations

import copy
import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path

from riverbank.embedded.configuration import BrokerTls
from riverbank.provisioning.bundles import CA_CERTIFICATE, KAFKA_CERTIFICATE, KAFKA_KEY, write_secret
from riverbank.provisioning.transport_certificates import (
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
from streams.tls import Tls, open_tls
from streams.topology import Role

FEDERATION = "pki"
DAY = timedelta(days=1)
BROKER = Principal("kafka", Role.BROKER)
OPERATOR = Principal("admin", Role.OPERATOR)  # Above the access lists, unlike the federation's own `operator`.


class Pki:
    """One authority's certificates, below `directory`; `life` is how long they are valid, from `life[0]` days from now to `life[1]`."""

    def __init__(self, directory: Path, federation: str = FEDERATION, *, life: tuple[float, float] = (0, 10)) -> None:
        self.directory, self.federation = directory, federation
        self._serials = itertools.count(1)
        self._begin, self._valid = datetime.now(UTC) + life[0] * DAY, (life[1] - life[0]) * DAY
        # The authority itself is always valid, so that a test has one thing wrong at a time.
        self._authority = create_authority(federation, serial=next(self._serials), now=datetime.now(UTC) - 100 * DAY, valid=200 * DAY)
        directory.mkdir(parents=True, exist_ok=True)
        self.ca_file = directory / CA_CERTIFICATE
        self.ca_file.write_bytes(certificate_pem(self._authority.certificate))

    def files(self, principal: Principal, *, hosts: tuple[str, ...] = (), life: tuple[float, float] | None = None) -> TlsSettings:
        """Key and certificate of a principal, made when first asked for."""
        begin, valid = (self._begin, self._valid) if life is None else (datetime.now(UTC) + life[0] * DAY, (life[1] - life[0]) * DAY)
        folder = self.directory / principal.name
        if not folder.exists():
            key, subject = new_key(), Subject(principal.party, principal.role.value, self.federation)
            asked = request(subject, key, hosts=hosts)
            signed = sign_request(self._authority, asked, subject, hosts=hosts, serial=next(self._serials), now=begin, valid=valid)
            write_secret(folder / KAFKA_KEY, key_pem(key))
            (folder / KAFKA_CERTIFICATE).write_bytes(signed)
        return TlsSettings(ca_file=self.ca_file, cert_file=folder / KAFKA_CERTIFICATE, key_file=folder / KAFKA_KEY)

    def of_federation(self, federation: str) -> Pki:
        """The same authority, certifying for somebody else."""
        other = copy.copy(self)
        other.directory, other.federation = self.directory / federation, federation
        return other

    def tls(self, principal: Principal) -> Tls:
        tls = open_tls(self.files(principal), principal)
        assert tls is not None
        return tls

    def broker(self, *hosts: str) -> BrokerTls:
        """What a broker listening on these addresses (127.0.0.1) shows; the operator is above its access lists."""
        return BrokerTls(self.files(BROKER, hosts=hosts or ("127.0.0.1",)), self.federation, (OPERATOR,))

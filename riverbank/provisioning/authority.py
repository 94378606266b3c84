"""The federation's CA in its folder: made once, it answers requests and remembers every serial it has given.

Called by `riverbank provision federation` and by tests.
Never receives a private key, and never certifies keys whose owner has not signed with them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import tomli_w
from cryptography import x509

from federation.errors import OwnFault
from federation.members.certificates import certify, pass_on
from federation.members.locking import Cost, lock, unlock
from federation.members.requests import no_signature, signed_answer, verify_request
from federation.messages import CertificateAnswer, CertificateRequest, PartyRole, TransportCertified
from federation.secagg.keys import KEY_BYTES, Secret, drawn, signing_public
from riverbank.provisioning.bundles import CA_CERTIFICATE, replace_secret, write_readme, write_secret
from riverbank.provisioning.papers import digest_of_paper, fingerprint, read_paper, write_paper
from riverbank.provisioning.transport_certificates import (
    Authority,
    Subject,
    certificate_pem,
    create_authority,
    key_from_pem,
    key_pem,
    sign_request,
)
from streams.ports import Entropy
from streams.settings import read_private_file

FEDERATION: Final = "federation.toml"
KEY: Final = "ca.key"
ISSUED: Final = "issued.json"
_DAY_MS: Final = 24 * 3_600_000
_CA_YEARS: Final = 10
# What the processes of a party are, each with a certificate of its own.
PROCESSES: Final = {
    PartyRole.INSTITUTION: frozenset({"institution", "portal", "ledger"}),
    PartyRole.AGGREGATOR: frozenset({"aggregator"}),
    PartyRole.OPERATOR: frozenset({"operator", "console", "broker"}),
    PartyRole.AUDIT: frozenset({"audit"}),
}


@dataclass(frozen=True)
class Office:
    """The open CA: who may hold it signs for the whole federation."""

    directory: Path
    federation: str
    seed: Secret
    transport: Authority = field(repr=False)

    @property
    def verify_key(self) -> bytes:
        """What everybody pins."""
        return signing_public(self.seed)

    @classmethod
    def create(cls, directory: Path, federation: str, passphrase: bytes, *, cost: Cost, entropy: Entropy, now_ms: int) -> Office:
        """A new CA in a new folder; FileExistsError if there is one."""
        now = datetime.fromtimestamp(now_ms / 1000, UTC)
        transport = create_authority(federation, serial=1, now=now, valid=timedelta(days=365 * _CA_YEARS))
        office = cls(directory, federation, Secret(drawn(entropy, KEY_BYTES)), transport)
        write_secret(directory / KEY, _locked(office, passphrase, cost, entropy))
        (directory / CA_CERTIFICATE).write_bytes(certificate_pem(transport.certificate))
        _write_public(office)
        office._remember({"transport_serial": 1, "parties": {}})
        write_readme(directory, "federation", federation)
        return office

    @classmethod
    def open(cls, directory: Path, federation: str, passphrase: bytes) -> Office:
        """The CA in a folder; OwnFault as `locking.unlock`."""
        plain = unlock(read_private_file(directory / KEY), Secret(passphrase)).reveal()
        certificate = x509.load_pem_x509_certificate((directory / CA_CERTIFICATE).read_bytes())
        return cls(directory, federation, Secret(plain[:KEY_BYTES]), Authority(certificate, key_from_pem(plain[KEY_BYTES:])))

    def answer(
        self, request_file: Path, answer_file: Path, *, confirmed: str, days: int, overlap_days: int, replace: bool, now_ms: int
    ) -> CertificateAnswer:
        """Certify the keys in a request, and write the answer.

        `confirmed`: the fingerprint that its sender read out. `replace`: the keys before were lost or stolen; they count no longer, and the
        request need not be signed with them. OwnFault or PeerFault say why not; then nothing is written and no serial is used.
        """
        request = read_paper(request_file, CertificateRequest)
        digest = digest_of_paper(request)
        if confirmed != fingerprint(digest):
            raise OwnFault(
                f"the request's fingerprint is {fingerprint(digest)}, not {confirmed}: ask its sender again, by another way than it came"
            )
        if request.federation != self.federation:
            raise OwnFault(f"the request is for the federation {request.federation}")
        issued = self._issued()
        before = issued["parties"].get(request.party)
        if before is not None and before["role"] != request.role.value:
            raise OwnFault(f"{request.party} is an {before['role']}")
        verify_request(request, None if before is None or replace else bytes.fromhex(before["verify_key"]))
        wanted = {each.role for each in request.transports}
        if not wanted <= PROCESSES[request.role] or len(wanted) != len(request.transports):
            raise OwnFault(f"an {request.role.value} has no process {', '.join(sorted(wanted - PROCESSES[request.role])) or 'twice'}")
        serial = 1 if before is None else before["serial"] + 1
        certified = certify(
            self.seed, federation=self.federation, party=request.party, role=request.role, serial=serial, issued_at_ms=now_ms,
            expires_at_ms=now_ms + days * _DAY_MS, previous_until_ms=now_ms + (0 if replace else overlap_days * _DAY_MS),
            verify_key=request.verify_key, sealing_key=request.sealing_key,
        )  # fmt: skip
        now = datetime.fromtimestamp(now_ms / 1000, UTC)
        transports = []
        for number, each in enumerate(request.transports, start=issued["transport_serial"] + 1):
            subject = Subject(request.party, each.role, self.federation)
            pem = sign_request(self.transport, each.request, subject, hosts=each.hosts, serial=number, now=now, valid=timedelta(days=days))
            transports.append(TransportCertified(role=each.role, certificate=pem))
        unsigned = CertificateAnswer(
            request_digest=digest, certified=certified, transports=tuple(transports),
            authorities=(self.directory / CA_CERTIFICATE).read_bytes(), by_authority=no_signature(),
        )  # fmt: skip
        # The serials first: one that is skipped after a crash harms nobody, one that is given twice does.
        issued["transport_serial"] += len(transports)
        issued["parties"][request.party] = {"serial": serial, "role": request.role.value, "verify_key": request.verify_key.hex()}
        self._remember(issued)
        answer = signed_answer(self.seed, unsigned)
        write_paper(answer_file, answer)
        return answer

    def renew(self, rotation_file: Path, passphrase: bytes, *, overlap_days: int, cost: Cost, entropy: Entropy, now_ms: int) -> Office:
        """Go over to a new Ed25519 key, and write the paper in which the old one and it vouch for each other; the office with the new key.

        `overlap_days`: for so long the log still takes certificates by the old key. The P-256 authority for TLS stays.
        """
        renewed = replace(self, seed=Secret(drawn(entropy, KEY_BYTES)))
        issued = self._issued()
        issued["authority_serial"] = issued.get("authority_serial", 0) + 1
        rotated = pass_on(
            self.seed, renewed.seed, federation=self.federation, serial=issued["authority_serial"], old_until_ms=now_ms + overlap_days * _DAY_MS
        )  # fmt: skip
        self._remember(issued)
        # The paper first: once the old key is gone, nobody can write it any more.
        write_paper(rotation_file, rotated)
        replace_secret(self.directory / KEY, _locked(renewed, passphrase, cost, entropy))
        _write_public(renewed)
        return renewed

    def _issued(self) -> dict[str, Any]:
        known: dict[str, Any] = json.loads((self.directory / ISSUED).read_text())
        return known

    def _remember(self, issued: dict[str, Any]) -> None:
        draft = self.directory / f"{ISSUED}.new"
        with draft.open("w") as file:
            file.write(json.dumps(issued, indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.directory / ISSUED)


def _locked(office: Office, passphrase: bytes, cost: Cost, entropy: Entropy) -> bytes:
    content = Secret(office.seed.reveal() + key_pem(office.transport.key))
    return lock(content, Secret(passphrase), cost=cost, entropy=entropy)


def _write_public(office: Office) -> None:
    public = {"name": office.federation, "ca_verify_key": office.verify_key.hex()}
    (office.directory / FEDERATION).write_text(tomli_w.dumps({"federation": public}))

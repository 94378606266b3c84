"""A party's own folder: keys drawn where they are used, a request that travels, and the answer that completes it; the same to renew them.

Called by `riverbank provision institution|operator|aggregator` and by tests.
Never writes a private key outside the folder, nor unlocked into it."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import tomli_w

from federation.errors import OwnFault
from federation.members.certificates import verify_rotation
from federation.members.keys import KeyRing, PartyKeys
from federation.members.locking import Cost
from federation.members.requests import check_answer, no_signature, signed_request
from federation.messages import AuthorityRotated, CertificateAnswer, CertificateRequest, PartyCertified, PartyRole, TransportRequested
from federation.secagg.keys import Secret, drawn
from riverbank.provisioning.authority import FEDERATION, PROCESSES
from riverbank.provisioning.bundles import CA_CERTIFICATE, KAFKA_CERTIFICATE, KAFKA_KEY, replace_secret, write_readme, write_secret
from riverbank.provisioning.papers import digest_of_paper, fingerprint, read_paper, write_paper
from riverbank.provisioning.transport_certificates import Subject, key_pem, new_key, request
from streams.codec import decode, encode
from streams.ports import Entropy
from streams.settings import read_private_file

PARTY_KEY: Final = "party.key"
CERTIFICATE: Final = "party.crt"
PENDING: Final = "request.pending"
KAFKA_PASSWORD: Final = "kafka.password"  # noqa: S105  # A file's name.
_NEXT: Final = ".next"
_BYTES_MAX: Final = 1 << 16


@dataclass(frozen=True)
class Applicant:
    """A party and its folder."""

    directory: Path
    party: str
    role: PartyRole
    federation: str
    ca_verify_key: bytes

    @classmethod
    def of(cls, directory: Path, party: str, role: PartyRole, federation_file: Path) -> Applicant:
        """With the federation's public file, which its operator gives to everybody: compare the key in it by telephone."""
        try:
            table = tomllib.loads(federation_file.read_text())["federation"]
            return cls(directory, party, role, str(table["name"]), bytes.fromhex(table["ca_verify_key"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise OwnFault(f"{federation_file}: not a federation's public file ({error})") from error

    @classmethod
    def at_home(cls, directory: Path) -> Applicant:
        """Whoever is certified in this folder; OwnFault if nobody is."""
        path = directory / CERTIFICATE
        found = decode(path.read_bytes(), (PartyCertified,), _BYTES_MAX) if path.exists() else None
        if not isinstance(found, PartyCertified):
            raise OwnFault(f"{directory}: nobody is certified here yet")
        return cls.of(directory, found.party, found.role, directory / FEDERATION)

    def apply(
        self, request_file: Path, passphrase: bytes, *, hosts: Sequence[str], cost: Cost, entropy: Entropy, now_ms: int, lost: bool = False
    ) -> str:
        """Draw keys, the first or newer ones, and write the request; its fingerprint, to be read out to the CA's keeper.

        `hosts`: where a broker among the processes listens. `lost`: the keys before are lost or stolen, so the request is not signed with them.
        What is in use stays in use until the answer is accepted.
        """
        known = self.directory / PARTY_KEY
        ring = KeyRing.unlocked(read_private_file(known), passphrase) if known.exists() else None
        drawn_now, certified = PartyKeys.from_entropy(entropy), self.certified()
        previous = None if ring is None or certified is None or lost else ring.holding(certified.verify_key)
        transports = [self._transport(name, hosts if name == "broker" else (), entropy) for name in sorted(PROCESSES[self.role])]
        asked = signed_request(
            CertificateRequest(
                federation=self.federation, party=self.party, role=self.role, asked_at_ms=now_ms, verify_key=drawn_now.verify_key,
                sealing_key=drawn_now.sealing_key, transports=tuple(transports), by_new=no_signature(), by_previous=None,
            ),
            drawn_now,
            previous,
        )  # fmt: skip
        # Before the request leaves: a running process finds the new keys here as soon as they are certified.
        newer = KeyRing((drawn_now,)) if ring is None else ring.with_newer(drawn_now)
        replace_secret(known, newer.locked(passphrase, cost=cost, entropy=entropy))
        write_paper(self.directory / PENDING, asked)
        write_paper(request_file, asked)
        _pin(self)
        write_readme(self.directory, self.role.value, self.party)
        return fingerprint(digest_of_paper(asked))

    def accept(self, answer_file: Path) -> CertificateAnswer:
        """Put the CA's answer in place. OwnFault or PeerFault, and nothing changes, unless it is the pinned CA's answer to our request."""
        answer = read_paper(answer_file, CertificateAnswer)
        pending = self.directory / PENDING
        if not pending.exists():
            raise OwnFault(f"{self.directory}: no request waits for an answer")
        asked = read_paper(pending, CertificateRequest)
        before = self.certified()
        serial_before = 0 if before is None else before.serial
        check_answer(
            answer, ca_verify_key=self.ca_verify_key, request=asked, request_digest=digest_of_paper(asked), serial_before=serial_before
        )
        for each in answer.transports:
            folder = self.directory / each.role
            (folder / CA_CERTIFICATE).write_bytes(answer.authorities)
            (folder / KAFKA_CERTIFICATE).write_bytes(each.certificate)
            for name in (KAFKA_PASSWORD, KAFKA_KEY):
                drawn_then = folder / (name + _NEXT)
                if drawn_then.exists():  # Else an acceptance that was cut short has put it there.
                    drawn_then.replace(folder / name)
        (self.directory / CERTIFICATE).write_bytes(encode(answer.certified))
        pending.unlink()
        return answer

    def follow(self, rotation_file: Path) -> Applicant:
        """Pin the CA's next key; PeerFault or OwnFault, and the pin stays, unless the pinned key vouches for it."""
        rotated = read_paper(rotation_file, AuthorityRotated)
        verify_rotation(rotated)
        if rotated.party != self.federation or rotated.old_key != self.ca_verify_key:
            raise OwnFault(f"{rotation_file}: not by the CA key that is pinned in {self.directory}")
        followed = replace(self, ca_verify_key=rotated.new_key)
        _pin(followed)
        return followed

    def retire(self, passphrase: bytes, *, cost: Cost, entropy: Entropy) -> None:
        """Forget the keys older than the certified ones: when the overlap that the CA gave is over."""
        certified, known = self.certified(), self.directory / PARTY_KEY
        if certified is None:
            raise OwnFault(f"{self.directory}: nothing is certified yet")
        ring = KeyRing.unlocked(read_private_file(known), passphrase).from_on(certified.verify_key)
        replace_secret(known, ring.locked(passphrase, cost=cost, entropy=entropy))

    def certified(self) -> PartyCertified | None:
        """The certificate in the folder; None before the first answer."""
        path = self.directory / CERTIFICATE
        if not path.exists():
            return None
        found = decode(path.read_bytes(), (PartyCertified,), _BYTES_MAX)
        return found if isinstance(found, PartyCertified) else None

    def settings(self, process: str, bootstrap: str) -> dict[str, Any]:
        """The [federation] and [party] tables for one of the processes."""
        folder = self.directory / process
        tls = {
            "ca_file": str(folder / CA_CERTIFICATE), "cert_file": str(folder / KAFKA_CERTIFICATE), "key_file": str(folder / KAFKA_KEY),
            "password_file": str(folder / KAFKA_PASSWORD),
        }  # fmt: skip
        federation = {"name": self.federation, "bootstrap": bootstrap, "ca_verify_key": self.ca_verify_key.hex(), "tls": tls}
        return {"federation": federation, "party": {"name": self.party, "key_file": str(self.directory / PARTY_KEY)}}

    def _transport(self, process: str, hosts: Sequence[str], entropy: Entropy) -> TransportRequested:
        folder, key, password = self.directory / process, new_key(), Secret(drawn(entropy, 32).hex().encode())
        for name in (KAFKA_KEY + _NEXT, KAFKA_PASSWORD + _NEXT):
            (folder / name).unlink(missing_ok=True)  # Of a request that was never answered.
        write_secret(folder / (KAFKA_KEY + _NEXT), key_pem(key, password))
        write_secret(folder / (KAFKA_PASSWORD + _NEXT), password.reveal())
        asked = request(Subject(self.party, process, self.federation), key, hosts=hosts)
        return TransportRequested(role=process, hosts=tuple(hosts), request=asked)


def _pin(applicant: Applicant) -> None:
    public = {"name": applicant.federation, "ca_verify_key": applicant.ca_verify_key.hex()}
    (applicant.directory / FEDERATION).write_text(tomli_w.dumps({"federation": public}))

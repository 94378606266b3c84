"""Who is who: the federation CA's word on a party's keys, the registry of all parties, and a party's own key file.

Called by provisioning (certify), by every shell (the registry checks each envelope) and by a party's start-up (its keys).
Never takes a key from anybody but the pinned CA: not from the aggregator, not from the key's owner."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, Self

from federation.errors import OwnFault, PeerFault
from federation.limits import NAME_LENGTH_MAX
from federation.messages import PartyCertified, PartyRole
from federation.secagg.keys import KEY_BYTES, SIGNATURE_BYTES, Entropy, Secret, drawn, framed, sign, signing_public, verify, x25519_public

_DOMAIN: Final = b"riverbank/certificate/1"
_KEY_FILE: Final = b"riverbank party keys 1\n"


@dataclass(frozen=True, slots=True)
class PartyKeys:
    """A party's two long-lived secrets: an Ed25519 seed to sign with and an X25519 scalar to unseal with."""

    signing_seed: Secret
    sealing_secret: Secret

    @classmethod
    def from_entropy(cls, entropy: Entropy) -> Self:
        """New keys."""
        return cls(Secret(drawn(entropy, KEY_BYTES)), Secret(drawn(entropy, KEY_BYTES)))

    @property
    def verify_key(self) -> bytes:
        """Ed25519 public key, 32 bytes."""
        return signing_public(self.signing_seed)

    @property
    def sealing_key(self) -> bytes:
        """X25519 public key, 32 bytes."""
        return x25519_public(self.sealing_secret)

    def to_bytes(self) -> bytes:
        """The content of the key file: a header line, then both secrets. Whoever writes it sees to the file's mode."""
        return _KEY_FILE + self.signing_seed.reveal() + self.sealing_secret.reveal()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """The keys in a key file; OwnFault if it is not one. The content is never quoted in the error."""
        if not content.startswith(_KEY_FILE) or len(content) != len(_KEY_FILE) + 2 * KEY_BYTES:
            raise OwnFault("not a key file of a party")
        seed, secret = content[-2 * KEY_BYTES : -KEY_BYTES], content[-KEY_BYTES:]
        return cls(Secret(seed), Secret(secret))


def certify(ca_seed: Secret, *, federation: str, party: str, role: PartyRole, verify_key: bytes, sealing_key: bytes) -> PartyCertified:
    """The CA's certificate; OwnFault for an empty or overlong name or a key that is not 32 bytes."""
    unsigned = PartyCertified(
        federation=federation, party=party, role=role, verify_key=verify_key, sealing_key=sealing_key, certificate=bytes(SIGNATURE_BYTES)
    )
    problem = _problem(unsigned)
    if problem is not None:
        raise OwnFault(problem)
    return replace(unsigned, certificate=sign(ca_seed, _signed_bytes(unsigned)))


def verify_certificate(ca_verify_key: bytes, certified: PartyCertified) -> None:
    """Return if the CA vouches for every field; PeerFault "bad_certificate" or "bad_signature" accuses the party named."""
    problem = _problem(certified)
    if problem is not None:
        raise PeerFault("bad_certificate", problem, accused=certified.party)
    verify(ca_verify_key, _signed_bytes(certified), certified.certificate, accused=certified.party)


@dataclass(frozen=True, slots=True)
class Registry:
    """The certified parties of one federation, each verified against the pinned CA; immutable."""

    federation: str
    ca_verify_key: bytes
    parties: Mapping[str, PartyCertified] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def of(cls, federation: str, ca_verify_key: bytes, certified: Iterable[PartyCertified] = ()) -> Self:
        """A registry of these parties; PeerFault at the first that the CA does not vouch for."""
        registry = cls(federation, ca_verify_key)
        for party in certified:
            registry = registry.admit(party)
        return registry

    def admit(self, certified: PartyCertified) -> Self:
        """The registry with this party in it, or with its newer keys.

        PeerFault: not the CA's word, or of another federation ("bad_certificate"); a change of role is refused too.
        """
        verify_certificate(self.ca_verify_key, certified)
        known = self.parties.get(certified.party)
        if certified.federation != self.federation:
            raise PeerFault("bad_certificate", "certified for another federation", accused=certified.party)
        if known is not None and known.role is not certified.role:
            raise PeerFault("bad_certificate", "a party does not change its role", accused=certified.party)
        return replace(self, parties=MappingProxyType({**self.parties, certified.party: certified}))

    def party(self, name: str) -> PartyCertified:
        """The certificate of a party; PeerFault "unknown_sender" for a stranger."""
        certified = self.parties.get(name)
        if certified is None:
            raise PeerFault("unknown_sender", "not certified by the federation", accused=name)
        return certified

    def verify(self, sender: str, signed_bytes: bytes, signature: bytes) -> None:
        """Return if `sender` is certified and signed these bytes; PeerFault "unknown_sender" or "bad_signature" otherwise."""
        verify(self.party(sender).verify_key, signed_bytes, signature, accused=sender)


def _signed_bytes(certified: PartyCertified) -> bytes:
    return framed(
        _DOMAIN, certified.federation.encode(), certified.party.encode(), certified.role.value.encode(),
        certified.verify_key, certified.sealing_key,
    )  # fmt: skip


def _problem(certified: PartyCertified) -> str | None:
    if not all(1 <= len(name) <= NAME_LENGTH_MAX for name in (certified.federation, certified.party)):
        return "a name is empty or too long"
    if len(certified.verify_key) != KEY_BYTES or len(certified.sealing_key) != KEY_BYTES:
        return "a key does not have 32 bytes"
    return None

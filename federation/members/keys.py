"""A party's long-lived keys, and the ring on which it keeps the newest beside those that others may still use.

Drawn by provisioning where they are used; read by a party's start-up.
Never leaves its owner: what travels is the public half (`verify_key`, `sealing_key`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from federation.errors import OwnFault
from federation.members.locking import Cost, lock, unlock
from federation.secagg.keys import KEY_BYTES, Entropy, Secret, drawn, sign, signing_public, x25519_public

_FILE: Final = b"riverbank party keys 2\n"
RING_MAX: Final = 8
"""More keys than that on one ring are not in use: they were forgotten there."""


@dataclass(frozen=True, slots=True)
class PartyKeys:
    """An Ed25519 seed to sign with and an X25519 scalar to unseal with."""

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

    def sign(self, signed: bytes) -> bytes:
        """The Ed25519 signature of these bytes, 64 bytes; whoever calls puts a domain in front of them."""
        return sign(self.signing_seed, signed)

    @property
    def sealing_key(self) -> bytes:
        """X25519 public key, 32 bytes."""
        return x25519_public(self.sealing_secret)


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Keys, the newest last. The one to sign with is the one that the federation certified last (`Directory.newest`)."""

    keys: tuple[PartyKeys, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.keys) <= RING_MAX:
            raise OwnFault(f"a ring of {len(self.keys)} keys; it holds 1 to {RING_MAX}")

    @property
    def newest(self) -> PartyKeys:
        """The keys drawn last, certified or not."""
        return self.keys[-1]

    @property
    def sealing_secrets(self) -> tuple[Secret, ...]:
        """What is sealed to their owner opens with one of these; the newest first."""
        return tuple(keys.sealing_secret for keys in reversed(self.keys))

    def holding(self, verify_key: bytes) -> PartyKeys | None:
        """The keys of which this is the public half; None if they are not on the ring."""
        return next((keys for keys in reversed(self.keys) if keys.verify_key == verify_key), None)

    def with_newer(self, keys: PartyKeys) -> KeyRing:
        """With new keys beside those there are."""
        return KeyRing((*self.keys, keys))

    def from_on(self, verify_key: bytes) -> KeyRing:
        """Without the keys older than those of this public half; OwnFault if they are not on the ring."""
        found = next((place for place, keys in enumerate(self.keys) if keys.verify_key == verify_key), None)
        if found is None:
            raise OwnFault("these keys are not on the ring")
        return KeyRing(self.keys[found:])

    def locked(self, passphrase: bytes, *, cost: Cost, entropy: Entropy) -> bytes:
        """The content of the key file; OwnFault as `locking.lock`."""
        plain = _FILE + b"".join(keys.signing_seed.reveal() + keys.sealing_secret.reveal() for keys in self.keys)
        return lock(Secret(plain), Secret(passphrase), cost=cost, entropy=entropy)

    @classmethod
    def unlocked(cls, content: bytes, passphrase: bytes) -> Self:
        """The ring in a key file; OwnFault as `locking.unlock`, or if it is something else, which is never quoted."""
        plain = unlock(content, Secret(passphrase)).reveal()
        pairs = plain.removeprefix(_FILE)
        if not plain.startswith(_FILE) or len(pairs) % (2 * KEY_BYTES):
            raise OwnFault("not the keys of a party")
        parts = [Secret(pairs[at : at + KEY_BYTES]) for at in range(0, len(pairs), KEY_BYTES)]
        return cls(tuple(PartyKeys(seed, scalar) for seed, scalar in zip(parts[::2], parts[1::2], strict=True)))

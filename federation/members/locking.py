"""Private keys at rest: locked with a passphrase by argon2id (RFC 9106) and NaCl's secretbox (XSalsa20-Poly1305).

Called by provisioning, which locks, and by every process that has keys, which unlocks.
Never says more of a file that does not open than that it does not, and never keeps a passphrase."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from nacl import bindings
from nacl import exceptions as nacl_exceptions
from nacl.pwhash import argon2id

from federation.errors import OwnFault
from federation.secagg.keys import KEY_BYTES, Entropy, Secret, drawn

PASSPHRASE_BYTES_MIN: Final = 15  # NIST SP 800-63B-4, where nothing else stands in the way.
_HEADER: Final = re.compile(rb"riverbank locked 1 argon2id operations=([1-9]\d{0,9}) memory=([1-9]\d{0,9})\n")
_OPERATIONS_MAX: Final = 64
_MEMORY_MAX: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class Cost:
    """What one guess costs: passes over the memory, and its bytes. Written into the file's first line, where unlocking reads it."""

    operations: int
    memory_bytes: int

    def __post_init__(self) -> None:
        if not (1 <= self.operations <= _OPERATIONS_MAX and argon2id.MEMLIMIT_MIN <= self.memory_bytes <= _MEMORY_MAX):
            raise OwnFault(f"{self.operations} passes over {self.memory_bytes} bytes is not a cost that this program pays")


MODERATE: Final = Cost(3, 256 << 20)
"""libsodium's name for it: about half a second."""
LEAST: Final = Cost(1, argon2id.MEMLIMIT_MIN)
"""Only for a passphrase that was drawn at random and is as long as a key: nobody guesses those."""


def lock(content: Secret, passphrase: Secret, *, cost: Cost, entropy: Entropy) -> bytes:
    """The locked file. OwnFault for a passphrase that is too short."""
    if len(passphrase) < PASSPHRASE_BYTES_MIN:
        raise OwnFault(f"a passphrase has at least {PASSPHRASE_BYTES_MIN} characters")
    salt = drawn(entropy, bindings.crypto_pwhash_SALTBYTES)
    nonce = drawn(entropy, bindings.crypto_secretbox_NONCEBYTES)
    header = f"riverbank locked 1 argon2id operations={cost.operations} memory={cost.memory_bytes}\n".encode()
    return header + salt + nonce + bindings.crypto_secretbox(content.reveal(), nonce, stretched(passphrase, salt, cost).reveal())


def cost_of(content: bytes) -> Cost:
    """What a guess at a locked file's passphrase costs; OwnFault: not a locked file."""
    return _cost_and_end(content)[0]


def _cost_and_end(content: bytes) -> tuple[Cost, int]:
    header = _HEADER.match(content)
    if header is None:
        raise OwnFault("not a locked file")
    return Cost(int(header[1]), int(header[2])), header.end()


def unlock(content: bytes, passphrase: Secret) -> Secret:
    """What was locked. OwnFault: not a locked file, or one that this passphrase does not open."""
    cost, at = _cost_and_end(content)
    nonce_at = at + bindings.crypto_pwhash_SALTBYTES
    box_at = nonce_at + bindings.crypto_secretbox_NONCEBYTES
    salt, nonce = content[at:nonce_at], content[nonce_at:box_at]
    if len(content) < box_at + bindings.crypto_secretbox_MACBYTES:
        raise OwnFault("a locked file that was cut off")
    try:
        return Secret(bindings.crypto_secretbox_open(content[box_at:], nonce, stretched(passphrase, salt, cost).reveal()))
    except nacl_exceptions.CryptoError:
        raise OwnFault("the passphrase does not open it, or it was changed") from None


def stretched(passphrase: Secret, salt: bytes, cost: Cost) -> Secret:
    """A 32-byte key from a passphrase: argon2id with this salt of 16 bytes. MemoryError if the memory is not to be had."""
    try:
        return Secret(
            bindings.crypto_pwhash_alg(
                KEY_BYTES, passphrase.reveal(), salt, cost.operations, cost.memory_bytes, bindings.crypto_pwhash_ALG_ARGON2ID13
            )
        )
    except nacl_exceptions.RuntimeError:
        raise MemoryError(f"no {cost.memory_bytes} bytes for argon2id") from None

"""Secrets that do not leak by accident, keys bound to a purpose, and the two curves.

Called by everything in `federation.secagg`, and by shells that sign.
Never stores a key, and never uses one key for two purposes: `derive` stands between."""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Callable
from typing import Final, NoReturn

from nacl import bindings
from nacl import exceptions as nacl_exceptions

from federation.errors import OwnFault, PeerFault

Entropy = Callable[[int], bytes]
"""`count -> count` uniform bytes, never given before."""

KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
_DOMAIN: Final = b"riverbank/derive/1"
_LENGTH: Final = struct.Struct("<I").pack


class Secret:
    """Bytes that must not be seen: not in a repr, a log line, a format string, a pickle or the timing of a comparison.

    >>> Secret(bytes(32))
    Secret(32 bytes)
    """

    __slots__ = ("_value",)
    __hash__ = None  # type: ignore[assignment]  # A hash of a secret is a short fingerprint of it.

    def __init__(self, value: bytes) -> None:
        self._value: Final = bytes(value)

    def reveal(self) -> bytes:
        """The bytes themselves: for a primitive, or for the institution's own key store."""
        return self._value

    def __len__(self) -> int:
        return len(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value, other._value)

    def __repr__(self) -> str:
        return f"Secret({len(self._value)} bytes)"

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> NoReturn:
        raise OwnFault("a Secret is not pickled or copied: keep one reference, or reveal() into the key store")


def drawn(entropy: Entropy, count: int) -> bytes:
    """`count` bytes of entropy; OwnFault if the source gives another number of them."""
    got = entropy(count)
    if len(got) != count:
        raise OwnFault(f"the source of entropy gave {len(got)} bytes where {count} were asked for")
    return got


def framed(*parts: bytes) -> bytes:
    """Join byte strings so that no two different sequences give the same bytes: each is preceded by its length (4 bytes, LE).

    >>> framed(b"ab", b"c") == framed(b"a", b"bc")
    False
    """
    pieces: list[bytes] = []
    for part in parts:
        pieces += (_LENGTH(len(part)), part)
    return b"".join(pieces)


def number(value: int) -> bytes:
    """An integer from 0 to 2^64 - 1 as 8 bytes LE, for `framed`; OwnFault for another."""
    if not 0 <= value < 1 << 64:
        raise OwnFault(f"{value} is not a number of 8 bytes")
    return value.to_bytes(8, "little")


def derive(key: Secret, *, purpose: bytes, context: bytes = b"") -> Secret:
    """A 32-byte key for one purpose: BLAKE2b-256 keyed with `key` (RFC 7693) over the framed domain, purpose and context.

    `key` has 16..64 bytes; anything else is OwnFault.
    """
    if not 16 <= len(key) <= 64:
        raise OwnFault(f"a key of {len(key)} bytes cannot be derived from")
    return Secret(hashlib.blake2b(framed(_DOMAIN, purpose, context), key=key.reveal(), digest_size=KEY_BYTES).digest())


def x25519_public(scalar: Secret) -> bytes:
    """The X25519 public key (32 bytes) of a 32-byte secret scalar; clamped as RFC 7748 section 5 says."""
    if len(scalar) != KEY_BYTES:
        raise OwnFault("an X25519 scalar has 32 bytes")
    return bindings.crypto_scalarmult_base(scalar.reveal())


def x25519_shared(scalar: Secret, peer_public: bytes, *, accused: str) -> Secret:
    """The X25519 shared secret (RFC 7748 section 6.1); feed it to `derive` before use.

    A peer key of the wrong length or of low order (shared secret zero, known to everybody) is PeerFault "bad_key".
    """
    if len(scalar) != KEY_BYTES:
        raise OwnFault("an X25519 scalar has 32 bytes")
    if len(peer_public) != KEY_BYTES:
        raise PeerFault("bad_key", f"an X25519 key of {len(peer_public)} bytes", accused=accused)
    try:
        return Secret(bindings.crypto_scalarmult(scalar.reveal(), peer_public))
    except nacl_exceptions.RuntimeError as low_order:
        raise PeerFault("bad_key", "an X25519 key of low order", accused=accused) from low_order


def signing_public(seed: Secret) -> bytes:
    """The Ed25519 verify key (32 bytes) of a 32-byte seed (RFC 8032 section 5.1.5)."""
    return _signing_pair(seed)[0]


def sign(seed: Secret, signed: bytes) -> bytes:
    """The 64-byte Ed25519 signature of `signed` (RFC 8032 section 5.1.6); the caller puts a domain in front of the bytes."""
    return bindings.crypto_sign(signed, _signing_pair(seed)[1])[:SIGNATURE_BYTES]


def verify(verify_key: bytes, signed: bytes, signature: bytes, *, accused: str) -> None:
    """Return if `signature` is `verify_key`'s over `signed`; otherwise PeerFault "bad_signature"."""
    try:
        if len(signature) != SIGNATURE_BYTES or len(verify_key) != KEY_BYTES:
            raise PeerFault("bad_signature", "key or signature has the wrong length", accused=accused)
        bindings.crypto_sign_open(signature + signed, verify_key)
    except nacl_exceptions.BadSignatureError as bad:
        raise PeerFault("bad_signature", "the signature does not match", accused=accused) from bad


def _signing_pair(seed: Secret) -> tuple[bytes, bytes]:
    if len(seed) != KEY_BYTES:
        raise OwnFault("an Ed25519 seed has 32 bytes")
    return bindings.crypto_sign_seed_keypair(seed.reveal())

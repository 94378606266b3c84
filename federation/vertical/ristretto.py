"""The prime-order group ristretto255 (RFC 9496): names hashed into it, points raised by a secret.

Called by `intersection` and `membership`; the one door to rbcl.
Never takes bytes for a point that are not the one canonical encoding of a point other than the identity."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import rbcl

from federation.errors import OwnFault, PeerFault
from federation.secagg.keys import Entropy, Secret, drawn, framed

POINT_BYTES: Final = 32
IDENTITY: Final = bytes(POINT_BYTES)
_DOMAIN: Final = b"riverbank/vertical/name/1"


def secret_scalar(entropy: Entropy) -> Secret:
    """A scalar uniform up to 2^-250: 512 bits reduced modulo the group's order; never 0."""
    scalar = rbcl.crypto_core_ristretto255_scalar_reduce(drawn(entropy, 64))
    if scalar == bytes(32):
        raise OwnFault("the source of entropy gave a scalar of zero")
    return Secret(scalar)


def inverse_scalar(scalar: Secret) -> Secret:
    """1/scalar modulo the group's order."""
    return Secret(rbcl.crypto_core_ristretto255_scalar_invert(scalar.reveal()))


def hashed(names: Sequence[bytes], context: bytes) -> list[bytes]:
    """The point of each name in this context, whose logarithm nobody knows (RFC 9496, section 4.3.4, over BLAKE2b-512).

    The context keys the hash: the points of one run are of no use in another.
    """
    key = hashlib.blake2b(framed(_DOMAIN, context), digest_size=32).digest()
    return [rbcl.crypto_core_ristretto255_from_hash(hashlib.blake2b(name, key=key, digest_size=64).digest()) for name in names]


def random_point(entropy: Entropy) -> bytes:
    """A uniform point: the hash of no name."""
    return bytes(rbcl.crypto_core_ristretto255_from_hash(drawn(entropy, 64)))


def based(scalar: Secret) -> bytes:
    """Scalar * the generator."""
    return bytes(rbcl.crypto_scalarmult_ristretto255_base(scalar.reveal()))


def raised(points: Sequence[bytes], scalar: Secret, *, accused: str) -> list[bytes]:
    """Scalar * each point; PeerFault "bad_point" for what is not the canonical encoding of a point, or is the identity."""
    raw = scalar.reveal()
    try:
        return [rbcl.crypto_scalarmult_ristretto255(raw, point) for point in points]
    except (RuntimeError, ValueError) as error:
        raise PeerFault("bad_point", "bytes that are no point of the group", accused=accused) from error


def added(left: bytes, right: bytes) -> bytes:
    """Left + right; both must have been checked."""
    return bytes(rbcl.crypto_core_ristretto255_add(left, right))


def subtracted(left: bytes, right: bytes) -> bytes:
    """Left - right; both must have been checked."""
    return bytes(rbcl.crypto_core_ristretto255_sub(left, right))


def is_point(encoded: bytes) -> bool:
    """Whether these are the canonical 32 bytes of a point, the identity included."""
    return len(encoded) == POINT_BYTES and bool(rbcl.crypto_core_ristretto255_is_valid_point(encoded))


def points_in(body: bytes, *, most: int, accused: str) -> list[bytes]:
    """The points of a message, 32 bytes each; PeerFault "bad_points" for a broken length, none or more than `most`, or one twice.

    That each is a point is seen when it is raised.
    """
    count, rest = divmod(len(body), POINT_BYTES)
    if rest or not 1 <= count <= most:
        raise PeerFault("bad_points", f"{len(body)} bytes where 1 to {most} points of {POINT_BYTES} were due", accused=accused)
    points = [body[at : at + POINT_BYTES] for at in range(0, len(body), POINT_BYTES)]
    if len(set(points)) != count:
        raise PeerFault("bad_points", "the same point twice", accused=accused)
    return points

"""Shamir's shares over 2^255 - 19 of the secrets behind self masks and round keys.

Called by the participant (split) and the coordinator (combine).
Never shares a key that is used as it is: what is split is a number below the prime, and keys are derived from it.

Python's integers do not compute in constant time: whoever can time a process of ours is outside what is defended."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Final

from federation.errors import OwnFault, PeerFault
from federation.limits import COHORT_MAX
from federation.secagg.keys import Entropy, Secret, drawn

PRIME: Final = 2**255 - 19
SHARE_BYTES: Final = 32


def draw_secret(entropy: Entropy) -> Secret:
    """A secret to be split: a uniform integer below PRIME, 32 bytes little-endian."""
    return Secret(_draw(entropy, 1)[0].to_bytes(SHARE_BYTES, "little"))


def split(secret: Secret, *, threshold: int, members: int, entropy: Entropy) -> tuple[bytes, ...]:
    """Shares 1..members of `secret`, 32 bytes each; any `threshold` of them give it back, fewer say nothing about it.

    Shamir 1979: share x is the value at x of a uniform polynomial of degree threshold - 1 whose value at 0 is the secret.
    """
    if not 1 <= threshold <= members <= COHORT_MAX:
        raise OwnFault(f"cannot split for {threshold} of {members}")
    constant = int.from_bytes(secret.reveal(), "little")
    if len(secret) != SHARE_BYTES or constant >= PRIME:
        raise OwnFault("only a secret from draw_secret can be split")
    coefficients = [*_draw(entropy, threshold - 1), constant]  # Highest power first, for Horner.
    return tuple(_value_at(x, coefficients).to_bytes(SHARE_BYTES, "little") for x in range(1, members + 1))


def combine(shares: Mapping[int, bytes], *, threshold: int) -> Secret:
    """The secret behind shares {x: share x}; they are trusted to be `checked_share`s of one secret.

    OwnFault: fewer than `threshold` shares, or an x outside 1..COHORT_MAX.
    """
    xs = tuple(sorted(shares))
    return combine_many(xs, [[shares[x] for x in xs]], threshold=threshold)[0]


def combine_many(xs: Sequence[int], rows: Sequence[Sequence[bytes]], *, threshold: int) -> list[Secret]:
    """One secret per row; row[k] is the share at xs[k]. Faster than one by one: the weights are computed once per `xs`."""
    if len(xs) < threshold:
        raise OwnFault(f"{len(xs)} shares where {threshold} are needed")
    weights = lagrange_weights(tuple(xs))
    secrets = []
    for row in rows:
        if len(row) != len(xs) or any(len(share) != SHARE_BYTES for share in row):
            raise OwnFault("a row has one share of 32 bytes per x")
        total = sum(weight * int.from_bytes(share, "little") for weight, share in zip(weights, row, strict=True))
        secrets.append(Secret((total % PRIME).to_bytes(SHARE_BYTES, "little")))
    return secrets


@functools.lru_cache(maxsize=32)
def lagrange_weights(xs: tuple[int, ...]) -> tuple[int, ...]:
    """Weights w with sum(w[k] * f(xs[k])) = f(0) modulo PRIME, for every polynomial f of degree below len(xs)."""
    if len(set(xs)) != len(xs) or not all(1 <= x <= COHORT_MAX for x in xs):
        raise OwnFault("shares have different positions, from 1 to the size of the cohort")
    weights = []
    for x in xs:
        others = [other for other in xs if other != x]
        denominator = math.prod(other - x for other in others)
        weights.append(math.prod(others) * pow(denominator, -1, PRIME) % PRIME)
    return tuple(weights)


def checked_share(share: bytes, *, accused: str) -> bytes:
    """`share` as it is; PeerFault "bad_share" unless it is 32 bytes of a number below PRIME."""
    if len(share) != SHARE_BYTES or int.from_bytes(share, "little") >= PRIME:
        raise PeerFault("bad_share", "not a share: wrong length, or not below the prime", accused=accused)
    return share


def joined(shares: Sequence[bytes]) -> bytes:
    """Shares one after the other: the plaintext of a box."""
    return b"".join(shares)


def parted(joined_shares: bytes, count: int, *, accused: str) -> tuple[bytes, ...]:
    """The `count` shares in the plaintext of a box, each checked; PeerFault "bad_share" if there are more or fewer."""
    if len(joined_shares) != SHARE_BYTES * count:
        raise PeerFault("bad_share", f"{len(joined_shares)} bytes where {count} shares were due", accused=accused)
    return tuple(
        checked_share(joined_shares[first : first + SHARE_BYTES], accused=accused) for first in range(0, len(joined_shares), SHARE_BYTES)
    )


def _value_at(x: int, coefficients: Sequence[int]) -> int:
    value = 0
    for coefficient in coefficients:
        value = (value * x + coefficient) % PRIME
    return value


def _draw(entropy: Entropy, count: int) -> list[int]:
    """`count` uniform integers below PRIME: 255 bits, drawn again in the 19 of 2^255 cases that lie above it."""
    found: list[int] = []
    while len(found) < count:
        missing = count - len(found)
        block = drawn(entropy, SHARE_BYTES * missing)
        numbers = (int.from_bytes(block[k * SHARE_BYTES : (k + 1) * SHARE_BYTES], "little") % 2**255 for k in range(missing))
        found += [value for value in numbers if value < PRIME]
    return found

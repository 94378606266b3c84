"""Entity resolution whose outcome neither side is shown: for every row one bit, split between the two.

Called by `bank` and `partner` after a shuffled `intersection.answer`.
Never shows the bank which of its names are shared, nor the partner which of its; the bank learns how many.

The setting of Hardy et al. ("Private federated learning on vertically partitioned data via entity resolution and additively
homomorphic encryption", 2017), without their third party. Both lists have been padded to one length with points of no name. From the shuffled
answer the bank sees which places of it agree with which places of the partner's list, but knows neither order. It completes
the agreeing places to a one-to-one assignment, drawn at random for the rest, and sends it with one encrypted bit per place: agrees or
not. The partner, who knows both orders, puts the bits into the order of the bank's question, flips each where a coin of its own says
so, re-randomises them and sends them back. So row i is the bank's i-th name and the partner's assigned one, and
`bank's bit xor partner's coin` says whether they are one person. The bank's bits are uniform whatever the outcome; the partner saw
ciphertexts and a random assignment. Encryption: ElGamal with the bit in the exponent, under a key of the bank's for this run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from federation.errors import OwnFault, PeerFault
from federation.secagg.keys import Entropy, Secret, drawn
from federation.vertical.ristretto import POINT_BYTES, added, based, is_point, raised, secret_scalar, subtracted
from federation.vertical.shuffling import shuffled

_BIT_BYTES = 2 * POINT_BYTES
_ONE = based(Secret(b"\x01" + bytes(31)))


@dataclass(frozen=True, slots=True)
class Assignment:
    """What the bank says: place in the answer -> place in the partner's list; the key, and a bit under it for each place."""

    positions: tuple[int, ...]
    key: bytes
    bits: bytes = field(repr=False)


def padded(names: Sequence[str], length: int, *, entropy: Entropy) -> list[str]:
    """The names and as many that nobody has as make `length`; OwnFault if there are more names than that.

    A name that nobody has begins with a character that `normalised` names never hold, and has 128 random bits.
    """
    if len(names) > length:
        raise OwnFault(f"{len(names)} names where the list is to have {length}")
    return [*names, *(f"\0{drawn(entropy, 16).hex()}" for _ in range(length - len(names)))]


def is_padding(name: str) -> bool:
    """Whether `padded` made this name."""
    return name.startswith("\0")


def assign(matched: Sequence[tuple[int, int]], length: int, *, entropy: Entropy) -> tuple[Secret, Assignment]:
    """The bank's assignment from (place in the answer, place in the partner's list) pairs; and the secret that opens the bits."""
    taken = dict(matched)
    free = sorted(set(range(length)) - set(taken.values()))
    spare = iter([free[index] for index in shuffled(len(free), entropy)])
    secret = secret_scalar(entropy)
    key = based(secret)
    bits = b"".join(_encrypted(place in taken, key, entropy) for place in range(length))
    return secret, Assignment(tuple(taken[place] if place in taken else next(spare) for place in range(length)), key, bits)


def flip(assigned: Assignment, asked_at: Sequence[int], *, entropy: Entropy, accused: str) -> tuple[bytes, bytes]:
    """The partner's turn: (bits in the order of the bank's question, flipped and re-randomised; its coins, one byte each).

    `asked_at`: place in the answer -> place in the question. PeerFault "bad_bits" for what is not one ciphertext for each place.
    """
    count = len(asked_at)
    pairs = _pairs(assigned.bits, count, accused=accused)
    if not is_point(assigned.key) or assigned.key == bytes(POINT_BYTES):
        raise PeerFault("bad_bits", "the key of the bits is no point", accused=accused)
    coins = bytes(byte & 1 for byte in drawn(entropy, count))
    flipped: list[bytes] = [b""] * count
    for place, row in enumerate(asked_at):
        first, second = pairs[place]
        if coins[row]:
            first, second = subtracted(bytes(POINT_BYTES), first), subtracted(_ONE, second)
        fresh = _encrypted(False, assigned.key, entropy)
        flipped[row] = added(first, fresh[:POINT_BYTES]) + added(second, fresh[POINT_BYTES:])
    return b"".join(flipped), coins


def open_bits(bits: bytes, secret: Secret, count: int, *, accused: str) -> bytes:
    """The bank's bits, one byte each, in the order of its question; PeerFault "bad_bits" for anything but encrypted bits."""
    opened = bytearray()
    for first, second in _pairs(bits, count, accused=accused):
        value = subtracted(second, raised([first], secret, accused=accused)[0])
        if value not in {bytes(POINT_BYTES), _ONE}:
            raise PeerFault("bad_bits", "a ciphertext holds no bit", accused=accused)
        opened.append(value == _ONE)
    return bytes(opened)


def _encrypted(bit: bool, key: bytes, entropy: Entropy) -> bytes:
    coin = secret_scalar(entropy)
    hidden = raised([key], coin, accused="")[0]
    return based(coin) + (added(hidden, _ONE) if bit else hidden)


def _pairs(bits: bytes, count: int, *, accused: str) -> list[tuple[bytes, bytes]]:
    if len(bits) != _BIT_BYTES * count:
        raise PeerFault("bad_bits", f"{len(bits)} bytes where {_BIT_BYTES * count} were due", accused=accused)
    pairs = [(bits[at : at + POINT_BYTES], bits[at + POINT_BYTES : at + _BIT_BYTES]) for at in range(0, len(bits), _BIT_BYTES)]
    if not all(is_point(first) and is_point(second) for first, second in pairs):
        raise PeerFault("bad_bits", "bytes that are no point of the group", accused=accused)
    return pairs

"""Which customers two parties share, or how many: names hashed to points, blinded by both, compared.

Called by `bank` and `partner`; `membership` goes on where the outcome is to be shown to nobody.
Never sends a name or the hash of one, and never uses a secret or an order twice.

Diffie-Hellman private set intersection (Meadows 1986; Huberman, Franklin and Hogg 1999) over ristretto255, semi-honest. The
bank asks with a H(x) for its names x. The partner answers with b a H(x), and with b H(y) for its own names y in an order of its
own. The bank computes a b H(y) and compares. Where the outcome is shown, the answer keeps the order of the question, so that the bank
knows which of its names are shared and tells the partner which of its own are; otherwise the answer is shuffled, and equal points
say how many, not which (De Cristofaro, Gasti and Tsudik 2012).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from federation.errors import OwnFault, PeerFault
from federation.limits import LIST_MAX
from federation.messages import OverlapPolicy
from federation.secagg.keys import Entropy, Secret, framed, number
from federation.vertical.ristretto import hashed, points_in, raised, secret_scalar
from federation.vertical.shuffling import shuffled


def run_context(federation: str, bank: str, partner: str, run: int) -> bytes:
    """What binds the points of a run to it: no two runs of any two parties are alike."""
    return framed(federation.encode(), bank.encode(), partner.encode(), number(run))


@dataclass(frozen=True, slots=True)
class Asking:
    """What the bank remembers of its question: place in it -> name, and the secret of this run."""

    names: tuple[str, ...]
    scalar: Secret


@dataclass(frozen=True, slots=True)
class Answer:
    """What the partner says, and its own order: place in `own` -> name, place in `raised` -> place in the question."""

    raised: bytes = field(repr=False)
    own: bytes = field(repr=False)
    names: tuple[str, ...]
    asked_at: tuple[int, ...]


def ask(names: Sequence[str], context: bytes, *, entropy: Entropy) -> tuple[Asking, bytes]:
    """The bank's question: its names blinded, 32 bytes each, in an order drawn anew. OwnFault unless 1 to LIST_MAX different names."""
    _require_listed(names)
    order = shuffled(len(names), entropy)
    asked = tuple(names[index] for index in order)
    scalar = secret_scalar(entropy)
    points = raised(hashed([name.encode() for name in asked], context), scalar, accused="")
    return Asking(asked, scalar), b"".join(points)


def answer(
    asked: bytes, names: Sequence[str], context: bytes, *, policy: OverlapPolicy, most: int, entropy: Entropy, accused: str
) -> Answer:
    """The partner's answer to `asked`, a question of at most `most` names.

    PeerFault "bad_points" or "bad_point". OwnFault unless 1 to LIST_MAX different names of its own.
    """
    _require_listed(names)
    points = points_in(asked, most=most, accused=accused)
    scalar = secret_scalar(entropy)
    order = shuffled(len(names), entropy)
    own_names = tuple(names[index] for index in order)
    own = raised(hashed([name.encode() for name in own_names], context), scalar, accused="")
    asked_at = tuple(range(len(points)) if policy is OverlapPolicy.SHOWN else shuffled(len(points), entropy))
    again = raised([points[index] for index in asked_at], scalar, accused=accused)
    return Answer(b"".join(again), b"".join(own), own_names, asked_at)


def matches(asking: Asking, raised_again: bytes, own: bytes, *, accused: str) -> list[tuple[int, int]]:
    """(place in the answer, place in the partner's list) of the shared ones, by place in the answer.

    PeerFault "bad_points": not one point for each name asked, or one twice; "bad_point": no point.
    """
    answered = points_in(raised_again, most=LIST_MAX, accused=accused)
    if len(answered) != len(asking.names):
        raise PeerFault("bad_points", f"{len(answered)} answers to {len(asking.names)} names", accused=accused)
    place = {point: index for index, point in enumerate(answered)}
    theirs = raised(points_in(own, most=LIST_MAX, accused=accused), asking.scalar, accused=accused)
    return sorted((place[point], index) for index, point in enumerate(theirs) if point in place)


def positions_to_bytes(positions: Sequence[int]) -> bytes:
    """Places in a list as 4 bytes each, little-endian."""
    return b"".join(position.to_bytes(4, "little") for position in positions)


def positions_from_bytes(body: bytes, *, below: int, accused: str) -> list[int]:
    """Different places below `below`; PeerFault "bad_positions" for anything else."""
    positions = [int.from_bytes(body[at : at + 4], "little") for at in range(0, len(body), 4)]
    if len(body) % 4 or len(set(positions)) != len(positions) or any(position >= below for position in positions):
        raise PeerFault("bad_positions", f"not different places below {below}", accused=accused)
    return positions


def _require_listed(names: Sequence[str]) -> None:
    if not 1 <= len(names) <= LIST_MAX or len(set(names)) != len(names):
        raise OwnFault(f"an intersection takes 1 to {LIST_MAX} different names")

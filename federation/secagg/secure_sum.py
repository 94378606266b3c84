"""A secure sum, whatever hides the addends: the interface that masks and threshold Paillier share.

Implemented by `masked_sum` and `paillier_sum`; what goes in comes from `quantize.encode_contribution`, and what comes out goes to
`quantize.decode_sum`.
Never opens anything but a sum over at least `threshold` contributions, and never two sums of one round."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from federation.errors import OwnFault
from federation.ids import RoundId
from federation.limits import COHORT_MAX, COHORT_MIN
from federation.secagg.agreement import round_context
from federation.secagg.keys import framed, number
from federation.secagg.ring import RingVector


@dataclass(frozen=True, slots=True, kw_only=True)
class SumTerms:
    """What all members of one round agree on; checked when made."""

    federation: str
    round_id: RoundId
    members: tuple[str, ...]  # Sorted.
    threshold: int  # Of contributions in a sum, and of members who reveal.
    length: int  # Values of a contribution (quantize.contribution_length).
    model_digest: bytes
    ready_digest: bytes

    def __post_init__(self) -> None:
        if list(self.members) != sorted(set(self.members)) or not COHORT_MIN <= len(self.members) <= COHORT_MAX:
            raise OwnFault("the members of a round are sorted, different, and not too few or too many")
        if not 2 <= self.threshold <= len(self.members) or self.length < 1:
            raise OwnFault("threshold or length out of range")

    def context(self) -> bytes:
        """Everything above, as bytes to bind seeds and proofs to."""
        names = framed(*(name.encode() for name in self.members))
        numbers = (number(self.threshold), number(self.length))
        return framed(round_context(self.federation, self.round_id), names, *numbers, self.model_digest, self.ready_digest)

    def position(self, member: str) -> int:
        """Index of a member's share, from 1; OwnFault for a stranger."""
        if member not in self.members:
            raise OwnFault(f"{member} is no member of the round")
        return self.members.index(member) + 1

    def require_enough(self, contributors: Mapping[str, bytes]) -> tuple[str, ...]:
        """The contributors, sorted; OwnFault if one is a stranger or they are fewer than the threshold."""
        for name in contributors:
            self.position(name)
        if len(contributors) < self.threshold:
            raise OwnFault(f"a sum over {len(contributors)} contributions where {self.threshold} are required would show too much")
        return tuple(sorted(contributors))


class SecureSum(Protocol):
    """One member's part in the sum of one round. A shell journals what each call returns before it is sent, and resends that."""

    def contribute(self, values: RingVector) -> bytes:
        """What this member publishes to add `values` (uint32[length]) to the sum; OwnFault a second time."""
        ...

    def reveal(self, contributions: Mapping[str, bytes]) -> bytes:
        """What this member gives so that the sum over exactly these contributions (by member) opens; seal it to the aggregator.

        OwnFault a second time, or for too few contributions; PeerFault for one that is misshapen. That all members speak of
        the same contributions is the rounds' business (acks), not this interface's.
        """
        ...


class SumOpener(Protocol):
    """The aggregator's part in the sum of one round."""

    def open_sum(self, contributions: Mapping[str, bytes], revealed: Mapping[str, bytes]) -> RingVector:
        """uint32[length], the sum modulo 2^32 of the contributors' values, from what `threshold` members or more have revealed.

        PeerFault names who gave something wrong, where that can be told; OwnFault when it is too little.
        """
        ...


class Once:
    """Says each word once: the guard of a secret that a second use would give away."""

    __slots__ = ("_said",)

    def __init__(self) -> None:
        self._said: set[str] = set()

    def say(self, word: str) -> None:
        """OwnFault the second time."""
        if word in self._said:
            raise OwnFault(f"already done in this round: {word}")
        self._said.add(word)

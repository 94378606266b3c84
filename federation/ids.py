"""Names of things: lanes, rounds, parties, and the digest that identifies bytes.

Used by everything.
Never parses or prints a message: identity only."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final, NewType

from federation.messages import HeadName

InstitutionId = NewType("InstitutionId", str)
Millis = NewType("Millis", int)

ZERO_DIGEST: Final = bytes(32)


def digest_of(data: bytes | memoryview) -> bytes:
    """BLAKE2b-256 of `data`: the identity of a payload, a vector or a layout."""
    return hashlib.blake2b(data, digest_size=32).digest()


def body_digest_of(body: bytes) -> bytes:
    """SHA-256 (FIPS 180-4) of a body of up to a megabyte: its identity. Processors have instructions for it, so it is the fastest there is."""
    return hashlib.sha256(body).digest()


@dataclass(frozen=True, order=True)
class Lane:
    """One sequence of rounds: a head, and which of its cohorts (0 unless group-wise sums are on)."""

    head: HeadName
    group: int = 0

    def __str__(self) -> str:
        return self.head.value if self.group == 0 else f"{self.head.value}/{self.group}"


@dataclass(frozen=True, order=True)
class RoundId:
    """One round of one lane under one key epoch; round numbers of a lane are never reused."""

    lane: Lane
    epoch: int
    round: int

    def __str__(self) -> str:
        return f"{self.lane} e{self.epoch} r{self.round}"

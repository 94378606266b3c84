"""What a step may be told (events) and may ask for (effects).

Made by the workers' shells; returned by `rounds.coordinator` and `rounds.participant`.
Never carries a callback, a clock or a connection."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from federation.ids import RoundId
from federation.messages import Message

RingVector = NDArray[np.uint32]


# --- events -----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Received:
    """A record of the lane's log whose envelope signature has been verified against the sender's certificate."""

    sender: str
    message: Message
    digest: bytes  # digest_of(payload bytes)


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed; deadlines are absolute, this only wakes somebody to look."""

    now_ms: int


@dataclass(frozen=True, slots=True)
class ContributionReady:
    """The institution's quantised, clipped, noised contribution for a round: uint32 of dimension + 1 (last: examples)."""

    round_id: RoundId
    values: RingVector = field(repr=False)


@dataclass(frozen=True, slots=True)
class ChunksSummed:
    """The masked sum over the named survivors, all chunks joined: uint32 of dimension + 1."""

    round_id: RoundId
    survivors_digest: bytes
    masked_sum: RingVector = field(repr=False)


# --- effects ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Publish:
    """Sign, journal and append this message (topic and partition follow from its type, streams/topology.py)."""

    message: Message


@dataclass(frozen=True, slots=True)
class PublishModel:
    """Append the vector's ModelChunks, then this ModelPublished (float64, dimension)."""

    message: Message
    vector: NDArray[np.float64] = field(repr=False)


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Send a Tick at this time, or a little later."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class PrepareContribution:
    """Participant: make the contribution for this round from the local model and answer with ContributionReady."""

    round_id: RoundId
    model_version: int


@dataclass(frozen=True, slots=True)
class SumChunks:
    """Coordinator: have the masked chunks of these survivors summed and answer with ChunksSummed."""

    round_id: RoundId
    survivors_digest: bytes
    chunk_digests: tuple[tuple[str, tuple[bytes, ...]], ...]  # (institution, its chunk digests), sorted


@dataclass(frozen=True, slots=True)
class RoundEnded:
    """Participant: the round is over; with a model, whether our update is in it. Local learning rebases on it."""

    round_id: RoundId
    model_version: int | None  # None: abandoned
    model_digest: bytes | None
    included: bool


@dataclass(frozen=True, slots=True)
class Report:
    """A fault to count and audit; the message that showed it was refused."""

    kind: str
    accused: str
    detail: str
    round_id: RoundId | None = None


Event = Received | Tick | ContributionReady | ChunksSummed
Effect = Publish | PublishModel | WakeAt | PrepareContribution | SumChunks | RoundEnded | Report

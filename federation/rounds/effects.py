"""What a step may be told (events) and may ask for (effects).

Made by the workers' shells; returned by `rounds.coordinator` and `rounds.participant`.
Never carries a callback, a clock or a connection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from federation.ids import RoundId, digest_of
from federation.messages import GroupsMerged, Message, ModelPublished, RoundParameters, SumOpened
from federation.secagg.keys import Secret

RingVector = NDArray[np.uint32]
Vector = NDArray[np.float64]


def model_digest(vector: Vector) -> bytes:
    """The identity of a model: the digest of its vector, float64 little-endian."""
    return digest_of(vector.astype("<f8", copy=False).tobytes())


# --- events -----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Received:
    """A record of the lane's log whose envelope signature has been verified against the sender's certificate."""

    sender: str
    message: Message
    digest: bytes  # digest_of(payload bytes)
    serial: int  # Of the certificate.


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed; deadlines are absolute, this only wakes somebody to look."""

    now_ms: int


@dataclass(frozen=True, slots=True)
class ContributionReady:
    """The institution's clipped, quantised, noised contribution for a round: uint32 of quantize.contribution_length."""

    round_id: RoundId
    values: RingVector = field(repr=False)


@dataclass(frozen=True, slots=True)
class ChunksSummed:
    """The masked sum over the named survivors, all chunks joined: uint32 of quantize.contribution_length."""

    round_id: RoundId
    survivors_digest: bytes
    masked_sum: RingVector = field(repr=False)


@dataclass(frozen=True, slots=True)
class ChunksRefused:
    """A survivor's chunk is absent, or is not what its update promised: the sum cannot be made."""

    round_id: RoundId
    survivors_digest: bytes
    at_fault: tuple[str, ...]
    detail: str


@dataclass(frozen=True, slots=True)
class InvitedChanged:
    """Coordinator: who is to be invited to the next epochs, and the lowest certificate serial that each may speak under.

    An epoch with anybody else in it is closed.
    """

    invited: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class KeysChanged:
    """Coordinator: its sealing secrets, the newest first; the older ones open what was sealed before others knew of the newest."""

    sealing_secrets: tuple[Secret, ...]


@dataclass(frozen=True, slots=True)
class PartiesKnown:
    """Participant: who may take part in rounds, each with the lowest certificate serial it may speak under, and the aggregator's
    sealing keys (X25519) by certificate serial. As the federation's directory says now; before the first one nobody may take part.
    """

    acceptable: Mapping[str, int]
    sealing_keys: Mapping[int, bytes]


@dataclass(frozen=True, slots=True)
class ModelLoaded:
    """Coordinator: the answer to LoadModel, float64[dimension]; ignored unless its digest is the one in the log."""

    vector: Vector = field(repr=False)


@dataclass(frozen=True, slots=True)
class SumLoaded:
    """Coordinator: the answer to LoadSum, uint32[contribution_length]; ignored unless its digest is the one in the log."""

    group: int
    total: RingVector = field(repr=False)


# --- effects ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Publish:
    """Sign, journal and append this message (topic and partition follow from its type, streams/topology.py)."""

    message: Message


@dataclass(frozen=True, slots=True)
class PublishModel:
    """Append the vector's ModelChunks, then the message that names it (float64, dimension)."""

    message: ModelPublished | GroupsMerged
    vector: Vector = field(repr=False)


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Send a Tick at this time, or a little later."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class PrepareContribution:
    """Participant: make the contribution for this round from the local model and answer with ContributionReady.

    `honest_survivors` is how many shares of the noise are certain to be in the sum; each adds noise_sigma^2 / that many.
    """

    round_id: RoundId
    model_version: int
    model_digest: bytes
    parameters: RoundParameters
    honest_survivors: int
    masked_deadline_ms: int


@dataclass(frozen=True, slots=True)
class SumChunks:
    """Coordinator: have the masked chunks of these survivors summed and answer with ChunksSummed or ChunksRefused."""

    round_id: RoundId
    survivors_digest: bytes
    chunk_digests: tuple[tuple[str, tuple[bytes, ...]], ...]  # (institution, its chunk digests), sorted
    parameters: RoundParameters


@dataclass(frozen=True, slots=True)
class PublishSum:
    """Coordinator of a group: append the opened sum's SumChunks, uint32[contribution_length], then this SumOpened."""

    message: SumOpened
    total: RingVector = field(repr=False)


@dataclass(frozen=True, slots=True)
class LoadSum:
    """Coordinator, after a restart: read this opened sum from the models' topic and answer with SumLoaded."""

    group: int
    sum_digest: bytes


@dataclass(frozen=True, slots=True)
class LoadModel:
    """Coordinator, after a restart: read this model from the models' topic and answer with ModelLoaded."""

    version: int
    digest: bytes


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


Event = (
    Received
    | Tick
    | ContributionReady
    | ChunksSummed
    | ChunksRefused
    | InvitedChanged
    | KeysChanged
    | PartiesKnown
    | ModelLoaded
    | SumLoaded
)
Effect = Publish | PublishModel | PublishSum | WakeAt | PrepareContribution | SumChunks | LoadModel | LoadSum | RoundEnded | Report

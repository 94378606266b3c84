"""What the aggregator keeps for a lane: the operator's settings, the transcript, and what only it may hold beside it.

Made by `coordinator.initial`, read by `coordinator` and `decisions`.
Never saved: the log rebuilds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from federation import messages as m
from federation.errors import OwnFault
from federation.ids import Lane
from federation.limits import COHORT_MIN, ROUNDS_PER_EPOCH_MAX
from federation.rounds.desk import Proposal
from federation.rounds.effects import ChunksRefused, RingVector, Vector
from federation.rounds.transcript import Transcript
from federation.rounds.unmasking import RevealedShares
from federation.secagg.keys import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class CoordinatorSettings:
    """What the operator decides for a lane; fixed for the life of the process."""

    federation: str
    lane: Lane
    party: str
    sealing_secrets: tuple[Secret, ...]  # The newest first.
    parameters: m.RoundParameters
    epsilon: float | None = None  # Said with each model: what participations_max rounds cost a customer; None without noise.
    rounds_per_epoch: int = 32
    members_min: int = COHORT_MIN  # An epoch with fewer is not set up.
    survivors_min: int = COHORT_MIN  # A round with fewer is abandoned; never below the threshold, whatever stands here.
    customers_min: int = 1  # A sum over fewer, as its noisy count says, gives no model.
    period_ms: int = 10_000  # From one opening to the next.
    masked_wait_ms: int = 5_000
    unmask_wait_ms: int = 5_000
    keys_wait_ms: int = 5_000
    shares_wait_ms: int = 5_000
    renewal_wait_ms: int = 60_000  # At least this long between two epochs set up early.
    rounds_left_min: int = 4  # With fewer rounds left, the next epoch is set up.
    propose_again_ms: int = 30_000  # A decision not read back by then is said again.
    server_step: float = 1.0

    def __post_init__(self) -> None:
        waits = (self.period_ms, self.masked_wait_ms, self.unmask_wait_ms, self.keys_wait_ms, self.shares_wait_ms, self.propose_again_ms)
        if min(waits) <= 0 or not 1 <= self.rounds_per_epoch <= ROUNDS_PER_EPOCH_MAX:
            raise OwnFault("waits are positive and an epoch has 1 to 64 rounds")
        if self.rounds_left_min < 1:
            raise OwnFault("the next epoch is set up at the latest when no round is left: rounds_left_min is at least 1")
        if min(self.members_min, self.survivors_min) < COHORT_MIN:
            raise OwnFault(f"fewer than {COHORT_MIN} members cannot hide among one another")


@dataclass(frozen=True, slots=True)
class OpenedSum:
    """What the survivors' sum says, once it is open."""

    total: RingVector = field(repr=False)
    sum_digest: bytes
    mean_delta: Vector = field(repr=False)
    customers: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CoordinatorState:
    """The transcript, and beside it what only the aggregator keeps. In memory only: the log rebuilds it."""

    settings: CoordinatorSettings
    transcript: Transcript
    invited: Mapping[str, int]  # Institution -> the lowest certificate serial it may speak under.
    model: Vector | None  # Of transcript.model_version; None until loaded after a restart, and in a group, where the head keeps it.
    open_at_ms: int | None = None  # Of a group: when its next round is to be opened; None: not before the head says so.
    now_ms: int | None = None  # None while the log is being re-read: nothing is decided before the first tick.
    announced_ms: int = 0  # About when the last epoch was announced.
    accused: Mapping[str, int] = field(default_factory=dict)  # Institution -> the epoch in which it spoilt a round.
    share_tags: Mapping[int, Mapping[str, bytes]] = field(default_factory=dict)  # Epoch -> dealer -> its EpochShares.share_tags.
    updates: Mapping[str, m.MaskedUpdate] = field(default_factory=dict)  # Of the open round.
    shares: RevealedShares = field(default_factory=dict, repr=False)  # Of the open round, as they were revealed.
    masked_sum: RingVector | None = field(default=None, repr=False)
    refused: ChunksRefused | None = None
    proposed: Mapping[Proposal, int] = field(default_factory=dict)  # When; a decision said and not yet read back.
    opened: OpenedSum | None = field(default=None, repr=False)  # Of the open round.
    candidate: Vector | None = field(default=None, repr=False)  # The model proposed.
    in_vain: tuple[tuple[int, frozenset[str]], ...] = ()  # (round, survivors) of sums that were opened and gave no model.

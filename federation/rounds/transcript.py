"""What a lane's log has established so far: the one reading of it that the aggregator and every member share.

Folded by `coordinator` and `participant` from the same records in the same order, hence "the first in the log's order wins".
Never holds a secret and never decides: a record that may not stand where it stands is a PeerFault and changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, TypeAlias

from federation import messages as m
from federation.errors import PeerFault
from federation.ids import Lane, RoundId
from federation.rounds.effects import Received
from federation.rounds.phases import EPOCH_MOVES, ROUND_MOVES, EpochPhase, RoundPhase, Word
from federation.secagg.quantize import contribution_length
from federation.secagg.sealing import BOX_OVERHEAD_BYTES
from federation.secagg.shares import SHARE_BYTES

LaneMessage: TypeAlias = (
    m.EpochAnnounced
    | m.EpochKeys
    | m.EpochRoster
    | m.EpochShares
    | m.EpochReady
    | m.EpochClosed
    | m.RoundOpened
    | m.MaskedUpdate
    | m.SurvivorsNamed
    | m.SurvivorsAcked
    | m.SharesRevealed
    | m.ModelPublished
    | m.SumOpened
    | m.RoundAbandoned
)
# The kind of fault that is none: too slow for the others, who have not waited. The aggregator counts it, members pass over it.
LATE: Final = "late"
RoundMessage: TypeAlias = (
    m.RoundOpened
    | m.MaskedUpdate
    | m.SurvivorsNamed
    | m.SurvivorsAcked
    | m.SharesRevealed
    | m.ModelPublished
    | m.SumOpened
    | m.RoundAbandoned
)


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch's set-up, as far as the log shows it."""

    announced: m.EpochAnnounced
    digest: bytes
    phase: EpochPhase = EpochPhase.KEYS
    keys: Mapping[str, m.EpochKeys] = field(default_factory=dict)  # Only the roster's, once there is one.
    keys_digests: Mapping[str, bytes] = field(default_factory=dict)
    advertised: frozenset[bytes] = frozenset()  # All keys of `keys`, while more may come: none may come twice.
    roster: m.EpochRoster | None = None
    roster_digest: bytes = b""
    shares_digests: Mapping[str, bytes] = field(default_factory=dict)
    ready: m.EpochReady | None = None
    ready_digest: bytes = b""
    members: tuple[str, ...] = field(init=False)  # The roster, sorted; empty before it is named.
    peers: tuple[str, ...] = field(init=False)  # The members ready for rounds, sorted; empty before they are named.
    positions: Mapping[str, int] = field(init=False)  # A member's place in the roster, from 1: where its shares are taken.

    def __post_init__(self) -> None:
        # Made once: every record of a round is read against them.
        members = tuple(member.institution for member in self.roster.members) if self.roster else ()
        object.__setattr__(self, "members", members)
        object.__setattr__(self, "peers", tuple(member.institution for member in self.ready.members) if self.ready else ())
        object.__setattr__(self, "positions", {member: position for position, member in enumerate(members, start=1)})

    @property
    def number(self) -> int:
        """Which epoch of the lane."""
        return self.announced.epoch

    @property
    def threshold(self) -> int:
        """Shares and acks needed; 0 before the roster is named."""
        return self.roster.threshold if self.roster else 0

    @property
    def parameters(self) -> m.RoundParameters:
        """For every round of the epoch."""
        return self.announced.parameters

    def round_last(self) -> int:
        """The last round there are keys for."""
        return self.announced.first_round + self.announced.rounds - 1

    def round_public(self, institution: str, number: int) -> bytes:
        """The X25519 public key an institution advertised for a round."""
        start = 32 * (number - self.announced.first_round)
        return self.keys[institution].round_keys[start : start + 32]

    def chunks(self) -> int:
        """How many chunks a masked vector is cut into."""
        return -(-contribution_length(self.parameters) // self.parameters.chunk_length)


@dataclass(frozen=True, slots=True)
class Round:
    """The open round, as far as the log shows it."""

    opened: m.RoundOpened
    digest: bytes
    phase: RoundPhase = RoundPhase.MASKING
    updates: Mapping[str, bytes] = field(default_factory=dict)  # Institution -> digest of its MaskedUpdate.
    survivors: tuple[str, ...] = ()
    survivors_digest: bytes = b""
    acks: Mapping[str, bytes] = field(default_factory=dict)
    reveals: Mapping[str, bytes] = field(default_factory=dict)  # Members pass over them: for them it stays empty.


@dataclass(frozen=True, slots=True)
class Ending:
    """How the last round ended."""

    epoch: int
    round: int
    digest: bytes
    abandoned: bool


@dataclass(frozen=True, slots=True)
class Transcript:
    """A lane's log, folded. `model_known` is False until the log has named a model."""

    federation: str
    lane: Lane
    aggregator: str
    model_version: int
    model_digest: bytes
    model_known: bool = False
    epoch_first: int = 0  # The first epoch announced in what was read; 0: none yet.
    epoch_last: int = 0
    round_next: int = 1
    opened_at_ms: int = 0  # When the last round opened.
    current: Epoch | None = None  # The epoch of the rounds.
    pending: Epoch | None = None  # The epoch being set up.
    round: Round | None = None
    ended: Ending | None = None
    serials: Mapping[str, int] = field(default_factory=dict)  # Party -> the certificate serial below which it is not heard here.

    def heard_under(self, serials: Mapping[str, int]) -> Transcript:
        """With these parties speaking, or invited to speak, under these certificates: earlier ones are not heard from now on."""
        raised = {party: serial for party, serial in serials.items() if serial > self.serials.get(party, 0)}
        return replace(self, serials={**self.serials, **raised}) if raised else self

    def round_id(self) -> RoundId:
        """The open round's identity; PeerFault-free callers check `round` first."""
        opened = self.opened_round().opened
        return RoundId(self.lane, opened.epoch, opened.round)

    def opened_round(self) -> Round:
        """The open round; ValueError if there is none."""
        if self.round is None:
            raise ValueError("no round is open")
        return self.round

    def running(self) -> Epoch:
        """The epoch of the rounds; ValueError if there is none."""
        if self.current is None:
            raise ValueError("no epoch is running")
        return self.current

    def with_epoch(self, epoch: Epoch) -> Transcript:
        """With the pending or the current epoch replaced by its next state."""
        if self.pending is not None and self.pending.number == epoch.number:
            return replace(self, pending=epoch)
        return replace(self, current=epoch)

    def find_epoch(self, number: int, *, accused: str) -> Epoch:
        """The pending or current epoch of that number; PeerFault "stale" for another."""
        for epoch in (self.pending, self.current):
            if epoch is not None and epoch.number == number:
                return epoch
        raise PeerFault("stale", f"epoch {number} is not being set up or used", accused=accused)


SEED_BOX_BYTES: Final = SHARE_BYTES + BOX_OVERHEAD_BYTES
"""A boxed share of a self seed."""

DIFFERENCE_MIN: Final = 2
"""Two sums of nearly the same data must differ by at least that many institutions, or not at all."""

DIFFERENCE_ROUNDS: Final = 8
"""For how many rounds a sum that gave no model counts as nearly the same data."""


def in_lane(transcript: Transcript, message: LaneMessage) -> bool:
    """Whether the message is about this lane; one partition carries every group of a head."""
    return Lane(message.head, message.group) == transcript.lane


def refuse_move(phase: StrEnum, message: m.Message, *, accused: str) -> PeerFault:
    """The fault of a message that the table does not permit in this phase."""
    return PeerFault("out_of_phase", f"{type(message).__name__} while {phase.value}", accused=accused)


def epoch_move(epoch: Epoch, message: LaneMessage, *, accused: str) -> EpochPhase:
    """Where the table leads; PeerFault "out_of_phase" for an absent move, "late" for keys and shares that others have not waited for."""
    row: Mapping[Word, EpochPhase] = EPOCH_MOVES[epoch.phase]
    if type(message) not in row:
        if isinstance(message, m.EpochKeys) or (isinstance(message, m.EpochShares) and epoch.ready is not None):
            raise PeerFault(LATE, f"its {type(message).__name__} came while the epoch was {epoch.phase.value}", accused=accused)
        raise refuse_move(epoch.phase, message, accused=accused)
    return row[type(message)]


def is_over(transcript: Transcript, message: RoundMessage) -> bool:
    """Whether the message is about the round that ended last."""
    ended = transcript.ended
    return ended is not None and (ended.epoch, ended.round) == (message.epoch, message.round)


def _is_open(transcript: Transcript, message: RoundMessage) -> bool:
    opened = transcript.round.opened if transcript.round else None
    return opened is not None and (opened.epoch, opened.round) == (message.epoch, message.round)


def round_move(transcript: Transcript, message: RoundMessage, *, accused: str) -> RoundPhase:
    """Where the table leads.

    PeerFault "out_of_phase" for an absent move, "late" if what is absent is an update (slow, which is no misbehaviour),
    "stale" for a message about another round than the open one.
    """
    phase = transcript.round.phase if transcript.round else RoundPhase.IDLE
    if not isinstance(message, m.RoundOpened):
        if isinstance(message, m.MaskedUpdate) and not _is_open(transcript, message) and message.round < transcript.round_next:
            raise PeerFault(LATE, "its masked update came when the round was over", accused=accused)
        if not _is_open(transcript, message):
            raise PeerFault("stale", f"{type(message).__name__} for e{message.epoch} r{message.round}, not the open round", accused=accused)
    row: Mapping[Word, RoundPhase] = ROUND_MOVES[phase]
    if type(message) not in row and isinstance(message, m.MaskedUpdate):
        raise PeerFault(LATE, "its masked update came after the survivors were named", accused=accused)
    if type(message) not in row:
        raise refuse_move(phase, message, accused=accused)
    return row[type(message)]


def repeated(received: Received, before: bytes | None, kind: str) -> bool:
    """Whether this record was said before, byte for byte (a re-sent one: harmless); PeerFault `kind` if it was said differently."""
    if before is None:
        return False
    if before != received.digest:
        raise PeerFault(kind, f"two different {type(received.message).__name__} under one identity", accused=received.sender)
    return True


def require_peer(condition: object, kind: str, detail: str, *, accused: str) -> None:
    """PeerFault unless `condition` holds."""
    if not condition:
        raise PeerFault(kind, detail, accused=accused)

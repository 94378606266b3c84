"""What a head's log has established beside its lanes: the drawing of groups, the round they are in, the model of them all.

Folded by `head_reading` for the aggregator and every member alike, beside one `Transcript` per lane.
Never holds a secret and never decides: a record that may not stand where it stands is a PeerFault and changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from federation import messages as m
from federation.ids import Lane, RoundId
from federation.rounds.phases import DrawingPhase, GatheringPhase
from federation.rounds.transcript import Ending, LaneMessage, Transcript

HeadMessage: TypeAlias = m.GroupsInvited | m.LotSealed | m.LotsFixed | m.LotRevealed | m.DrawingVoided | m.GroupsMerged | m.MergeAbandoned
LaneKey: TypeAlias = tuple[int, int]
"""(drawing, group): a group's lane lives as long as its drawing, with one epoch that has the drawing's number."""

PLAIN: Final[LaneKey] = (0, 0)
"""The lane of a head without groups: as many epochs as it takes."""


def lane_key(message: LaneMessage | m.MaskedChunk) -> LaneKey:
    """Which lane a message belongs to."""
    return PLAIN if message.group == 0 else (message.epoch, message.group)


def lane_of(round_id: RoundId) -> LaneKey:
    """Which lane a round belongs to."""
    return PLAIN if round_id.lane.group == 0 else (round_id.epoch, round_id.lane.group)


@dataclass(frozen=True, slots=True)
class Drawing:
    """One drawing of a head's institutions into groups, as far as the log shows it."""

    invited: m.GroupsInvited
    digest: bytes
    phase: DrawingPhase = DrawingPhase.SEALING
    sealed: Mapping[str, bytes] = field(default_factory=dict)  # Institution -> commitment to its lot.
    fixed: m.LotsFixed | None = None
    fixed_digest: bytes = b""
    revealed: Mapping[str, bytes] = field(default_factory=dict)  # Institution -> lot.
    groups: tuple[tuple[str, ...], ...] = ()  # Once drawn; group g is at g - 1.

    @property
    def number(self) -> int:
        """Which drawing of the head."""
        return self.invited.epoch

    @property
    def counted(self) -> tuple[str, ...]:
        """Whose lots count, sorted; empty before they are fixed."""
        return tuple(listed.institution for listed in self.fixed.lots) if self.fixed else ()

    def lane_keys(self) -> tuple[LaneKey, ...]:
        """Of its groups' lanes; none before they are drawn."""
        return tuple((self.number, group) for group in range(1, len(self.groups) + 1))


@dataclass(frozen=True, slots=True)
class Gathering:
    """The round that a head's groups are in, until a model comes of it or none."""

    epoch: int
    round: int
    phase: GatheringPhase = GatheringPhase.SUMMING
    opened: frozenset[int] = frozenset()  # Groups.
    ended: frozenset[int] = frozenset()
    sums: Mapping[int, m.SumOpened] = field(default_factory=dict)  # Of the groups that ended in one.


@dataclass(frozen=True, slots=True)
class Merged:
    """The newest model, if it came of several groups, and the terms it was made on."""

    message: m.GroupsMerged
    terms: m.GroupsInvited


@dataclass(frozen=True, slots=True)
class HeadTranscript:
    """A head's log, folded. `model_known` is False until the log has named a model."""

    federation: str
    head: m.HeadName
    aggregator: str
    model_version: int
    model_digest: bytes
    model_known: bool = False
    epoch_first: int = 0  # The first drawing in what was read; 0: none yet.
    epoch_last: int = 0
    round_next: int = 1  # Rounds are counted for all lanes together.
    opened_at_ms: int = 0  # When the last round opened.
    current: Drawing | None = None  # The drawing of the rounds.
    pending: Drawing | None = None  # The drawing under way, or whose groups set up their keys.
    gathering: Gathering | None = None
    ended: Ending | None = None  # The last round of the groups.
    merged: Merged | None = None
    serials: Mapping[str, int] = field(default_factory=dict)  # Party -> the certificate serial below which it is not heard, in any lane.

    def heard_under(self, serials: Mapping[str, int]) -> HeadTranscript:
        """As `Transcript.heard_under`."""
        raised = {party: serial for party, serial in serials.items() if serial > self.serials.get(party, 0)}
        return replace(self, serials={**self.serials, **raised}) if raised else self

    def drawing(self, number: int) -> Drawing | None:
        """The pending or current drawing of that number."""
        return next((each for each in (self.pending, self.current) if each is not None and each.number == number), None)

    def lane_keys(self) -> tuple[LaneKey, ...]:
        """Of every lane that has something to say."""
        drawings = [each for each in (self.current, self.pending) if each is not None]
        return (PLAIN, *(key for each in drawings for key in each.lane_keys()))

    def lane(self, key: LaneKey) -> Transcript:
        """A lane of which nothing has been read yet."""
        epoch, group = key
        return Transcript(
            federation=self.federation,
            lane=Lane(self.head, group),
            aggregator=self.aggregator,
            model_version=self.model_version,
            model_digest=self.model_digest,
            model_known=self.model_known,
            epoch_last=max(0, epoch - 1),
            round_next=self.round_next,
            serials=self.serials,
        )

    def in_step(self, lane: Transcript) -> Transcript:
        """The lane with everybody's certificates, and unless it is in a round with the head's model and count of rounds; the very same object if it has them."""
        lane = lane.heard_under(self.serials)
        if lane.round is not None:
            return lane
        # While the groups are in a round, a group that has not opened it yet still may.
        round_next = self.round_next if self.gathering is None else lane.round_next
        known = (self.model_version, self.model_digest, self.model_known)
        if (*known, round_next) == (lane.model_version, lane.model_digest, lane.model_known, lane.round_next):
            return lane
        version, digest, is_known = known
        return replace(lane, model_version=version, model_digest=digest, model_known=is_known, round_next=round_next)

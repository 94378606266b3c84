"""What the aggregator keeps for a head: its lanes, the operator's settings for groups, and the sums that are still to be merged.

Made by `head_coordinator.initial`, read by `head_coordinator` and `head_decisions`.
Never saved: the log rebuilds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from federation import messages as m
from federation.rounds.coordinator_state import CoordinatorSettings, CoordinatorState
from federation.rounds.desk import Proposal
from federation.rounds.effects import RingVector, Vector
from federation.rounds.head_transcript import Drawing, HeadTranscript, LaneKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """Into how many groups an operator wants a head's institutions drawn, and how their means become one (m.GroupsInvited)."""

    groups: int
    rule: m.GroupRule
    trim: int
    groups_min: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeadCoordinatorState:
    """One `CoordinatorState` per lane, and beside them what only the aggregator keeps. In memory only."""

    settings: CoordinatorSettings  # Of the lane without groups.
    grouping: Grouping | None  # None: the head has no groups.
    members: Mapping[str, int]  # Whom to invite, as InvitedChanged.
    head: HeadTranscript
    lanes: Mapping[LaneKey, CoordinatorState]
    model: Vector | None = field(repr=False)  # Of head.model_version; None until loaded after a restart.
    now_ms: int | None = None  # None while the log is being re-read.
    invited_ms: int = 0  # About when the last drawing was invited to.
    in_trouble: bool = False  # A group fell out of the last round.
    accused: Mapping[str, int] = field(default_factory=dict)  # Institution -> the drawing in which it spoilt something.
    sums: Mapping[int, RingVector] = field(default_factory=dict, repr=False)  # By group: sums of the gathering, as far as at hand.
    proposed: Mapping[Proposal, int] = field(default_factory=dict)
    candidate: Vector | None = field(default=None, repr=False)  # The merged model proposed.
    wake_ms: Mapping[LaneKey, int] = field(default_factory=dict)  # When each lane is to be looked at again.

    def lanes_of(self, drawing: Drawing) -> Mapping[LaneKey, CoordinatorState]:
        """The lanes of a drawing's groups."""
        return {key: self.lanes[key] for key in drawing.lane_keys()}


def is_ready(lane: CoordinatorState) -> bool:
    """Whether a group has its keys and can be in rounds."""
    known = lane.transcript
    return known.current is not None or (known.pending is not None and bool(known.pending.peers))


def is_settled(lane: CoordinatorState) -> bool:
    """Whether a group has its keys, or will not have any."""
    known = lane.transcript
    return is_ready(lane) or (known.epoch_first > 0 and known.pending is None)

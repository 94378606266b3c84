"""The table of the round: what may be said in which phase, and where it leads, for the lane's log and for a member.

Read by `transcript` and `head_reading` (both sides fold the log by it), `participant_epoch` and `participant_round`; docs/phases.md is drawn from it.
Never decides when something is said: absent moves are refused, present ones are permitted."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, TypeAlias, TypeVar

from federation import messages as m
from federation.rounds.effects import ContributionReady


class EpochPhase(StrEnum):
    """What the log waits for in the set-up of an epoch's keys."""

    KEYS = "waiting for keys"
    SHARES = "waiting for shares"
    READY = "ready for rounds"
    CLOSED = "closed"


class RoundPhase(StrEnum):
    """What the log waits for in a round."""

    IDLE = "no round open"
    MASKING = "waiting for masked updates"
    ACKING = "waiting for acks of the survivors"
    UNMASKING = "waiting for shares"


class MemberStage(StrEnum):
    """How far this member has gone in the open round."""

    WATCHING = "watching"
    PREPARING = "preparing its contribution"
    MASKED = "masked update said"
    ACKED = "survivors acked"
    REVEALED = "shares revealed"


class DrawingPhase(StrEnum):
    """What the log waits for while a head's institutions draw lots for groups."""

    SEALING = "waiting for sealed lots"
    REVEALING = "waiting for lots"
    DRAWN = "groups drawn"
    VOID = "void"


class GatheringPhase(StrEnum):
    """What the log waits for while a head's groups are in a round."""

    IDLE = "no group in a round"
    SUMMING = "waiting for the groups' sums"
    MERGING = "waiting for the merged model"


class AckQuorum:
    """A conclusion from the log: as many members as the threshold have acked the survivors."""


class AllRevealed:
    """A conclusion from the log: every lot that counts has been revealed."""


class AllEnded:
    """A conclusion from the log: every group that opened the round has ended it."""


Word: TypeAlias = type
"""A message type, an event type, or a conclusion."""

EPOCH_MOVES: Final[Mapping[EpochPhase, Mapping[Word, EpochPhase]]] = {
    EpochPhase.KEYS: {
        m.EpochKeys: EpochPhase.KEYS,
        m.EpochRoster: EpochPhase.SHARES,
        m.EpochClosed: EpochPhase.CLOSED,
    },
    EpochPhase.SHARES: {
        m.EpochShares: EpochPhase.SHARES,
        m.EpochReady: EpochPhase.READY,
        m.EpochClosed: EpochPhase.CLOSED,
    },
    EpochPhase.READY: {m.RoundOpened: EpochPhase.READY, m.EpochClosed: EpochPhase.CLOSED},
    # A new announcement, with a higher number, is a new epoch.
    EpochPhase.CLOSED: {m.EpochAnnounced: EpochPhase.KEYS},
}

ROUND_MOVES: Final[Mapping[RoundPhase, Mapping[Word, RoundPhase]]] = {
    RoundPhase.IDLE: {m.RoundOpened: RoundPhase.MASKING},
    RoundPhase.MASKING: {
        m.MaskedUpdate: RoundPhase.MASKING,
        m.SurvivorsNamed: RoundPhase.ACKING,
        m.RoundAbandoned: RoundPhase.IDLE,
    },
    RoundPhase.ACKING: {
        m.SurvivorsAcked: RoundPhase.ACKING,
        AckQuorum: RoundPhase.UNMASKING,
        m.RoundAbandoned: RoundPhase.IDLE,
    },
    RoundPhase.UNMASKING: {
        m.SurvivorsAcked: RoundPhase.UNMASKING,
        m.SharesRevealed: RoundPhase.UNMASKING,
        m.ModelPublished: RoundPhase.IDLE,  # Of a head without groups.
        m.SumOpened: RoundPhase.IDLE,  # Of a group, whose sum is still to be merged with the others'.
        m.RoundAbandoned: RoundPhase.IDLE,
    },
}

DRAWING_MOVES: Final[Mapping[DrawingPhase, Mapping[Word, DrawingPhase]]] = {
    # A new invitation, with a higher number, is a new drawing.
    DrawingPhase.VOID: {m.GroupsInvited: DrawingPhase.SEALING},
    DrawingPhase.SEALING: {
        m.LotSealed: DrawingPhase.SEALING,
        m.LotsFixed: DrawingPhase.REVEALING,
        m.DrawingVoided: DrawingPhase.VOID,
    },
    DrawingPhase.REVEALING: {
        m.LotRevealed: DrawingPhase.REVEALING,
        AllRevealed: DrawingPhase.DRAWN,
        m.DrawingVoided: DrawingPhase.VOID,
    },
    # Each group now sets up its epoch, which has the drawing's number; void if too few groups get there.
    DrawingPhase.DRAWN: {m.EpochAnnounced: DrawingPhase.DRAWN, m.RoundOpened: DrawingPhase.DRAWN, m.DrawingVoided: DrawingPhase.VOID},
}

GATHERING_MOVES: Final[Mapping[GatheringPhase, Mapping[Word, GatheringPhase]]] = {
    GatheringPhase.IDLE: {m.RoundOpened: GatheringPhase.SUMMING},
    GatheringPhase.SUMMING: {
        m.RoundOpened: GatheringPhase.SUMMING,
        m.SumOpened: GatheringPhase.SUMMING,
        m.RoundAbandoned: GatheringPhase.SUMMING,
        AllEnded: GatheringPhase.MERGING,
    },
    GatheringPhase.MERGING: {m.GroupsMerged: GatheringPhase.IDLE, m.MergeAbandoned: GatheringPhase.IDLE},
}

_ENDED: Final[Mapping[Word, MemberStage]] = {
    m.ModelPublished: MemberStage.WATCHING,
    m.SumOpened: MemberStage.WATCHING,
    m.RoundAbandoned: MemberStage.WATCHING,
}

MEMBER_MOVES: Final[Mapping[MemberStage, Mapping[Word, MemberStage]]] = {
    MemberStage.WATCHING: {m.RoundOpened: MemberStage.PREPARING, **_ENDED},
    MemberStage.PREPARING: {ContributionReady: MemberStage.MASKED, m.SurvivorsNamed: MemberStage.ACKED, **_ENDED},
    # No ContributionReady: a second vector under one round's keys would be a two-time pad.
    MemberStage.MASKED: {m.SurvivorsNamed: MemberStage.ACKED, **_ENDED},
    MemberStage.ACKED: {AckQuorum: MemberStage.REVEALED, **_ENDED},
    MemberStage.REVEALED: {**_ENDED},
}

# Who may say what; the envelope's sender is checked against it before the phase is.
AGGREGATOR_SAYS: Final = (
    m.EpochAnnounced, m.EpochRoster, m.EpochReady, m.EpochClosed,
    m.RoundOpened, m.SurvivorsNamed, m.ModelPublished, m.RoundAbandoned,
    m.GroupsInvited, m.LotsFixed, m.DrawingVoided, m.SumOpened, m.GroupsMerged, m.MergeAbandoned,
)  # fmt: skip
INSTITUTION_SAYS: Final = (
    m.EpochKeys, m.EpochShares, m.MaskedUpdate, m.SurvivorsAcked, m.SharesRevealed, m.LotSealed, m.LotRevealed,
)  # fmt: skip
# Sealed to the aggregator, and nothing that a member does depends on it: members pass over it unopened.
AGGREGATOR_ALONE_READS: Final = (m.SharesRevealed,)


def rendered() -> str:
    """docs/phases.md: the tables as mermaid state diagrams."""
    parts = [
        "# The phases of the protocol\n",
        "Rendered from `federation/rounds/phases.py` (`rendered()`); `tests/federation/rounds/test_phases.py` compares. An arrow that is",
        "not drawn is refused, names who is at fault, and changes nothing. `AckQuorum`, `AllRevealed` and `AllEnded` are not messages",
        "but conclusions: as many members as the threshold have acked the survivors; every lot that counts is revealed; every group",
        "that opened the round has ended it.\n",
        "## The set-up of an epoch, as the log shows it\n",
        _diagram(EPOCH_MOVES, EpochPhase.CLOSED),
        "## A round, as the log shows it\n",
        _diagram(ROUND_MOVES, RoundPhase.IDLE),
        "## A member in a round\n",
        _diagram(MEMBER_MOVES, MemberStage.WATCHING),
        "## A drawing of groups, as the log shows it\n",
        _diagram(DRAWING_MOVES, DrawingPhase.VOID),
        "## A round of a head in groups, as the log shows it\n",
        _diagram(GATHERING_MOVES, GatheringPhase.IDLE),
        "## Who may say what\n",
        "| said by the aggregator | said by an institution |\n|---|---|",
        f"| {', '.join(f'`{word.__name__}`' for word in AGGREGATOR_SAYS)} | {', '.join(f'`{word.__name__}`' for word in INSTITUTION_SAYS)} |",
    ]
    return "\n".join(parts) + "\n"


PhaseT = TypeVar("PhaseT", bound=StrEnum)


def _diagram(moves: Mapping[PhaseT, Mapping[Word, PhaseT]], start: PhaseT) -> str:
    lines = ["```mermaid", "stateDiagram-v2"]
    lines += [f"    {phase.name}: {phase.value}" for phase in moves]
    lines += [f"    [*] --> {start.name}"]
    for phase, row in moves.items():
        lines += [f"    {phase.name} --> {into.name}: {word.__name__}" for word, into in row.items()]
    return "\n".join([*lines, "```\n"])

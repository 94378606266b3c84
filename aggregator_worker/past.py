"""How much of a head's log a restart must read: from the beginning of the epoch or drawing in use, not from the beginning of time.

Called by `head_shell` before it rebuilds its state.
Never trusts an opening to be one that counted: only a round that the aggregator ended shows which epoch was in use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aggregator_worker import rereading
from federation.messages import (
    EpochAnnounced,
    GroupsInvited,
    GroupsMerged,
    MaskedUpdate,
    MergeAbandoned,
    Message,
    ModelPublished,
    RoundAbandoned,
    RoundOpened,
    SharesRevealed,
    SumOpened,
    SurvivorsAcked,
    SurvivorsNamed,
)
from federation.rounds.effects import Received
from streams.ports import Log, Record
from streams.topology import ROUNDS

_ENDS = (ModelPublished, RoundAbandoned, SumOpened, GroupsMerged, MergeAbandoned)
_OF_A_ROUND = (RoundOpened, MaskedUpdate, SurvivorsNamed, SurvivorsAcked, SharesRevealed, *_ENDS)


@dataclass(frozen=True)
class Past:
    """The part of the log that matters: everything, unless it is known better."""

    begin: int = 0  # Where the epoch in use was announced, or the drawing invited to.
    rounds_from: int = 0  # Rounds before this are of the epoch or drawing before, though this one was being set up already.
    last_round: int = 0  # The newest round that has ended.

    def counts(self, offset: int, event: Received) -> bool:
        """Whether the record is to be folded.

        While an epoch was set up, rounds of the one before went on. Read without that epoch they make no sense, and an
        opening that was refused then, because a round was open, would be taken now.
        """
        return offset >= self.rounds_from or not isinstance(event.message, _OF_A_ROUND)


async def find_past(log: Log, partition: int, end: int, received: Callable[[Record], Awaitable[Received | None]], aggregator: str) -> Past:
    """Read ROUNDS/`partition` backwards from `end` to the beginning of the epoch, or drawing, of the newest ended round."""
    in_use: tuple[bool, int] | None = None
    last_round, rounds_from = 0, 0
    async for window in rereading.windows_backwards(log, ROUNDS.full_name(), partition, end):
        for record in reversed(window):
            event = await received(record)
            message = event.message if event is not None and event.sender == aggregator else None
            if isinstance(message, _ENDS):
                if in_use is None:
                    in_use, last_round = (_in_groups(message), message.epoch), message.round
                elif rounds_from == 0 and (_in_groups(message), message.epoch) != in_use:
                    rounds_from = record.offset + 1
            if in_use is not None and _begins(message) == in_use:
                return Past(record.offset, rounds_from, last_round)
    return Past(last_round=last_round)


def _begins(message: Message | None) -> tuple[bool, int] | None:
    """Which epoch, or drawing of groups, a record is the beginning of."""
    if isinstance(message, GroupsInvited) or (isinstance(message, EpochAnnounced) and message.group == 0):
        return _in_groups(message), message.epoch
    return None


def _in_groups(message: Message) -> bool:
    """Whether a record is about groups: their epochs have their drawing's number, and begin with its invitation."""
    return getattr(message, "group", 1) > 0

"""How much of a lane's log a restart must read: from the announcement of the epoch in use, not from the beginning of time.

Called by `lane` before it rebuilds its state.
Never trusts an opening to be one that counted: only a round that the aggregator ended shows which epoch was in use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aggregator_worker import rereading
from federation.messages import (
    EpochAnnounced,
    MaskedUpdate,
    ModelPublished,
    RoundAbandoned,
    RoundOpened,
    SharesRevealed,
    SurvivorsAcked,
    SurvivorsNamed,
)
from federation.rounds.effects import Received
from streams.ports import Log, Record
from streams.topology import ROUNDS

_OF_A_ROUND = (RoundOpened, MaskedUpdate, SurvivorsNamed, SurvivorsAcked, SharesRevealed, ModelPublished, RoundAbandoned)


@dataclass(frozen=True)
class Past:
    """The part of the log that matters: everything, unless it is known better."""

    begin: int = 0  # Where the epoch in use was announced.
    rounds_from: int = 0  # Rounds before this are of the epoch before, though this one was being set up already.
    last_round: int = 0  # The newest round that has ended.

    def counts(self, offset: int, event: Received) -> bool:
        """Whether the record is to be folded.

        While an epoch was set up, rounds of the one before went on. Read without that epoch they make no sense, and an
        opening that was refused then, because a round was open, would be taken now.
        """
        return offset >= self.rounds_from or not isinstance(event.message, _OF_A_ROUND)


async def find_past(log: Log, partition: int, end: int, received: Callable[[Record], Awaitable[Received | None]], aggregator: str) -> Past:
    """Read ROUNDS/`partition` backwards from `end` to where the epoch of the newest ended round was announced."""
    epoch, last_round, rounds_from = None, 0, 0
    async for window in rereading.windows_backwards(log, ROUNDS.full_name(), partition, end):
        for record in reversed(window):
            event = await received(record)
            message = event.message if event is not None and event.sender == aggregator else None
            if isinstance(message, ModelPublished | RoundAbandoned):
                if epoch is None:
                    epoch, last_round = message.epoch, message.round
                elif message.epoch < epoch and rounds_from == 0:
                    rounds_from = record.offset + 1
            if isinstance(message, EpochAnnounced) and message.epoch == epoch:
                return Past(record.offset, rounds_from, last_round)
    return Past(last_round=last_round)

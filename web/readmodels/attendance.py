"""Who did what in a round, institution by institution: what a person asks when a round came to nothing.

Called by `riverbank rounds` and the console.
Never guesses: a part is what the log says, or that it says nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from web.readmodels.rounds import RoundRow


class Part(StrEnum):
    """What became of one institution in one round."""

    AWAITED = "awaited"  # The round still waits for its update.
    SENT = "sent"  # Its update came.
    SUMMED = "summed"  # It is in the sum.
    LATE = "late"  # Its update came when the survivors were named.
    MISSING = "missing"  # No update came.
    NO_ACK = "no ack"  # It sent an update, then did not acknowledge the survivors.
    NO_SHARES = "no shares"  # It acknowledged, then did not reveal its shares.
    AT_FAULT = "at fault"  # The aggregator named it.


@dataclass(frozen=True, slots=True)
class Attendance:
    """One institution's part."""

    institution: str
    part: Part


def attendance(row: RoundRow, members: Iterable[str]) -> list[Attendance]:
    """The part of everybody who was ready for the round, or said anything in it; sorted by name."""
    return [Attendance(name, _part(row, name)) for name in sorted({*members, *row.updates, *row.late})]


def absent(row: RoundRow, members: Iterable[str]) -> list[Attendance]:
    """Those of them who held the round up, or are not in what came of it."""
    return [each for each in attendance(row, members) if each.part not in {Part.SENT, Part.SUMMED, Part.AWAITED}]


def _part(row: RoundRow, name: str) -> Part:
    if name in row.blamed:
        return Part.AT_FAULT
    if name in row.survivors:
        if row.state != "abandoned":
            return Part.SUMMED
        return Part.NO_ACK if name not in row.acked else Part.NO_SHARES if name not in row.revealed else Part.SENT
    if name in row.late:
        return Part.LATE
    if name in row.updates:
        return Part.SENT
    return Part.AWAITED if row.ended_at_ms is None and not row.survivors else Part.MISSING

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
    parts = dict.fromkeys(members, Part.AWAITED if row.ended_at_ms is None and not row.survivors else Part.MISSING)
    parts |= dict.fromkeys(row.updates, Part.SENT) | dict.fromkeys(row.late, Part.LATE)
    parts |= _survivors(row) | dict.fromkeys(row.blamed, Part.AT_FAULT)
    return [Attendance(name, parts[name]) for name in sorted(parts)]


def absent(row: RoundRow, members: Iterable[str]) -> list[Attendance]:
    """Those of them who held the round up, or are not in what came of it."""
    return [each for each in attendance(row, members) if each.part not in {Part.SENT, Part.SUMMED, Part.AWAITED}]


def _survivors(row: RoundRow) -> dict[str, Part]:
    if row.state != "abandoned":
        return dict.fromkeys(row.survivors, Part.SUMMED)
    parts = dict.fromkeys(row.survivors, Part.NO_ACK)
    parts |= dict.fromkeys(set(row.acked) & parts.keys(), Part.NO_SHARES)
    return parts | dict.fromkeys(set(row.acked) & set(row.revealed) & parts.keys(), Part.SENT)

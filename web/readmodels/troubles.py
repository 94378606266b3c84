"""Who holds rounds up, since when, and why: what an operator looks for first, from what the other read models know.

Called by the live page.
Never accuses for one bad round: twice in a row is the least."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from federation import messages as m
from web.readmodels.attendance import Part, attendance
from web.readmodels.institutions import Institutions
from web.readmodels.lag import LagState
from web.readmodels.rounds import HeadRounds, RoundRow, Rounds

IN_A_ROW: Final = 2
LOOKED_AT_MAX: Final = 50  # Rounds of a head: the page is made every second, and what is older changes nothing about what to do.
_PRESENT: Final = frozenset({Part.SENT, Part.SUMMED, Part.AWAITED})


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong now; `institution` is empty where it is nobody's alone."""

    institution: str
    head: m.HeadName
    state: LagState
    since_ms: int
    why: str


def troubles(rounds: Rounds, institutions: Institutions, now_ms: int) -> list[Trouble]:
    """Everything that is wrong, errors first, then by how long it has lasted."""
    found = []
    for institution, head in institutions.lags.keys():  # noqa: SIM118 Not a mapping.
        verdict = institutions.lags.verdict(institution, head, now_ms)
        if verdict.state is not LagState.OK:
            found.append(Trouble(institution, head, verdict.state, verdict.since_ms, verdict.why))
    for head, known in rounds.heads.items():
        ended = [row for row in reversed(known.recent) if row.ended_at_ms is not None][:LOOKED_AT_MAX]
        found += [*_fruitless(head, ended), *_absentees(head, known, ended)]
    return sorted(found, key=lambda each: (each.state is not LagState.ERR, each.since_ms, each.institution))


def _fruitless(head: m.HeadName, ended: Sequence[RoundRow]) -> list[Trouble]:
    """The newest rounds, newest first, if they all came to nothing."""
    row_of = [row.state == "abandoned" for row in ended]
    count = row_of.index(False) if False in row_of else len(row_of)
    if count < IN_A_ROW:
        return []
    why = f"the last {count} rounds came to nothing; the newest: {ended[0].reason}"
    return [Trouble("", head, LagState.ERR, ended[count - 1].opened_at_ms, why)]


def _absentees(head: m.HeadName, known: HeadRounds, ended: Sequence[RoundRow]) -> list[Trouble]:
    """Who was not in any of the newest rounds, newest first."""
    newest: dict[str, Part] = {}
    absences: dict[str, list[RoundRow]] = {}
    over: set[str] = set()
    for row in ended:
        for each in attendance(row, known.members_of(row.epoch, row.group)):
            if each.part in _PRESENT:
                over.add(each.institution)
            elif each.institution not in over:
                newest.setdefault(each.institution, each.part)
                absences.setdefault(each.institution, []).append(row)
    return [
        Trouble(name, head, LagState.WARN, rows[-1].opened_at_ms, f"{newest[name].value} in each of its last {len(rows)} rounds")
        for name, rows in absences.items()
        if len(rows) >= IN_A_ROW
    ]

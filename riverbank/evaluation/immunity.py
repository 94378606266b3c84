"""Herd immunity: how soon a fraud that strikes one institution is recognised at the others, who have never seen it.

Asked by `course` at every round of an attack; shown by `tables` and `plots`.
Never teaches anybody: what the others' models would say of the attack is asked, and nothing of it is learned."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from federation.messages import CardTransaction
from riverbank.arrivals import Arrival
from riverbank.generator.attack import MINUTE_MS, Attack

FLAGGED: Final = 0.01  # An institution looks at so many of its ordinary payments, the most suspicious ones.
ORDINARY: Final = 400  # Of these, the last so many before the attack are asked about.
PROBES: Final = 200  # Payments of the attack's kind that are asked about at each of the others.


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What the others would have made of the attack at one time."""

    minute: float  # Since the attack began.
    recall: float  # Share of its payments among what is looked at; mean over the institutions not struck.


@dataclass(frozen=True, slots=True, kw_only=True)
class Immunity:
    """How the others' recall went, and when it was twice what it was at first, and a half: minutes of event time, None if never."""

    moments: list[Moment]
    doubled_minutes: float | None
    half_minutes: float | None


@dataclass(slots=True)
class Watch:
    """Asks the institutions that are not struck, as the attack goes on."""

    attack: Attack
    say: Callable[[str, CardTransaction], float]  # Whose, and about what: the log-odds that would be served.
    _ordinary: dict[str, deque[CardTransaction]] = field(default_factory=dict)
    _moments: list[Moment] = field(default_factory=list)

    def see(self, arrival: Arrival) -> None:
        """Remember the ordinary payments before the attack."""
        if isinstance(arrival.message, CardTransaction) and arrival.at_ms < self.attack.start_ms:
            self._ordinary.setdefault(arrival.institution, deque(maxlen=ORDINARY)).append(arrival.message)

    def ask(self, at_ms: int) -> None:
        """A round has been held, or would have been; before the attack, nothing is asked."""
        if at_ms >= self.attack.start_ms:
            others = [(number, name) for number, name in enumerate(self.attack.world.names) if name != self.attack.victim]
            recall = float(np.mean([self._recall(number, name, at_ms) for number, name in others]))
            self._moments.append(Moment(minute=round((at_ms - self.attack.start_ms) / MINUTE_MS, 2), recall=recall))

    def immunity(self) -> Immunity:
        """What was seen. A recall that was next to nothing counts as doubled when it is beyond chance."""
        first = self._moments[0].recall
        return Immunity(moments=self._moments, doubled_minutes=self._first(max(2 * first, 2 * FLAGGED)), half_minutes=self._first(0.5))

    def _recall(self, number: int, name: str, at_ms: int) -> float:
        # All of them as if they were made now: habits fade, and a fair comparison is between payments of one moment.
        ordinary = [self.say(name, replace(payment, occurred_at_ms=at_ms)) for payment in self._ordinary[name]]
        attacking = [self.say(name, probe) for probe in self.attack.probes(number, at_ms, PROBES)]
        return float(np.mean(np.array(attacking) > np.quantile(ordinary, 1 - FLAGGED)))

    def _first(self, recall: float) -> float | None:
        return next((moment.minute for moment in self._moments if moment.recall >= recall), None)

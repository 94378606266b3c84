"""What the partner lets happen: whom it lists, how often, for which training it gives its rows.

Called by `runs` before a step of the core, and after it with what has come of it.
Never lets an intersection show more than the settings allow, however the bank asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from federation import messages as m
from federation.vertical.effects import Aligned, Begun, Effect, Names, Table
from federation.vertical.ristretto import POINT_BYTES
from federation.vertical.scorecard import Rows
from institution_workers.vertical.people import People
from streams.ports import Outgoing
from streams.settings import VerticalSettings

_DAY_MS: Final = 24 * 3_600_000
_REFERENCE: Final = np.dtype([("run", "<i8"), ("place", "<u4")])


def references(rows: Sequence[tuple[int, int]]) -> bytes:
    """(run, place) of each row as in `TrainingAsked.rows`."""
    return np.array(list(rows), dtype=_REFERENCE).tobytes()


@dataclass(frozen=True)
class PartnerDesk:
    """`width`: how many coordinates the own feature schema has."""

    people: People
    settings: VerticalSettings
    width: int

    def look_up(self, message: m.Message, now_ms: int) -> Names | Table | str | None:
        """The names for an intersection, the rows for a training; a sentence where the settings say no."""
        if isinstance(message, m.IntersectionAsked):
            return self._names(message, now_ms)
        return self._table(message, now_ms) if isinstance(message, m.TrainingAsked) else None

    def perform(self, effect: Effect, now_ms: int) -> Sequence[Outgoing]:
        """Remember that a run began, and who is aligned."""
        if isinstance(effect, Begun):
            self.people.begin(effect.run, effect.policy, now_ms)
        elif isinstance(effect, Aligned):
            self.people.align(effect.run, effect.shared, effect.names, effect.bits)
        return ()

    def _names(self, asked: m.IntersectionAsked, now_ms: int) -> Names | str:
        settings, count = self.settings, len(asked.points) // POINT_BYTES
        if asked.policy not in settings.policies:
            return f"intersections may be {', '.join(settings.policies)} here, not {asked.policy.value}"
        if not settings.list_min <= count <= settings.list_max:
            return f"a list of {count} names, where {settings.list_min} to {settings.list_max} are answered"
        listed = self.people.listed()
        if len(listed) < settings.list_min:
            return f"the partner knows fewer than {settings.list_min} people"
        return self._too_often(now_ms, training=False) or Names(listed, settings.list_max)

    def _table(self, asked: m.TrainingAsked, now_ms: int) -> Table | str:
        if refusal := self._too_often(now_ms, training=True):
            return refusal
        if asked.alignment:
            if self.people.policy_of(asked.alignment) is not m.OverlapPolicy.HIDDEN:
                return f"run {asked.alignment} is no hidden alignment"
            names, bits = self.people.rows_of(asked.alignment)
            return Table(Rows.of(self.people.actives(names)), self.width, self.settings.rows_min, bits)
        if len(asked.rows) % _REFERENCE.itemsize:
            return "the rows of the training cannot be read"
        rows = np.frombuffer(asked.rows, dtype=_REFERENCE)
        people = [self.people.person_at(int(run), int(place)) for run, place in rows.tolist()]
        known = [person for person in people if person is not None]
        if len(known) != len(people) or len(set(known)) != len(known):
            return "a row of the training is in no shown alignment, or there twice"
        return Table(Rows.of(self.people.actives(known)), self.width, self.settings.rows_min)

    def _too_often(self, now_ms: int, *, training: bool) -> str:
        """Why another run of this kind is one too many; empty if it is not."""
        if self.people.begun_since(now_ms - _DAY_MS, training=training) >= self.settings.runs_per_day:
            return f"{self.settings.runs_per_day} runs of this kind within 24 hours are enough"
        return ""

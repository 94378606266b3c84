"""Rounds in the open of a head in groups, some institutions poisoning: what groups cost, and what they are worth.

Used by `course` for variants that name groups or poisoners; who is where, and the rule, are the production's own functions.
Never used outside of an evaluation, as `plain`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from federation.ids import digest_of
from federation.merge import Vector, combine_groups
from federation.messages import GroupRule
from federation.rounds.coordinator import CoordinatorSettings
from federation.rounds.lots import drawn_groups
from federation.secagg import ring
from riverbank.evaluation.institution import Institution
from riverbank.evaluation.plain import PlainRounds

_ROUNDS_PER_DRAWING: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouped:
    """Into how many groups institutions are drawn, how their means become one, and how many institutions poison."""

    groups: int = 1
    rule: GroupRule = GroupRule.MEAN
    trim: int = 0
    poisoned: int = 0


class GroupRounds(PlainRounds):
    """Rounds of some institutions, all of whom take part in each; the first `poisoned` of them say the opposite of what they learned."""

    def __init__(self, institutions: Sequence[Institution], settings: CoordinatorSettings, grouped: Grouped, *, seed: int) -> None:
        super().__init__(institutions, settings)
        self._grouped = grouped
        self._seed = seed
        self._by_name = {each.name: each for each in institutions}
        self._poisoners = {each.name for each in institutions[: grouped.poisoned]}

    def _mean_delta(self) -> Vector | None:
        drawing = self.held // _ROUNDS_PER_DRAWING
        lots = digest_of(f"{self._seed}/{drawing}".encode())
        sums = [
            self._opened([self._by_name[name] for name in group])
            for group in drawn_groups(tuple(self._by_name), self._grouped.groups, lots)
        ]
        opened = [each for each in sums if each is not None]
        least = {GroupRule.MEAN: 1, GroupRule.MEDIAN: 3, GroupRule.TRIMMED_MEAN: 2 * self._grouped.trim + 1}[self._grouped.rule]
        if len(opened) < least:
            return None
        means, customers = [mean for mean, _ in opened], [count for _, count in opened]
        return combine_groups(means, customers, rule=self._grouped.rule, trim=self._grouped.trim)

    def _contribution(self, institution: Institution, honest_survivors: int) -> ring.RingVector:
        values = super()._contribution(institution, honest_survivors)
        return self._opposite(values) if institution.name in self._poisoners else values

    def _opposite(self, values: ring.RingVector) -> ring.RingVector:
        """As far the other way as so many customers at the clip norm could reach; the count, which is not looked at, stays."""
        parameters, said = self._settings.parameters, ring.centred(values).astype(np.float64)
        norm = float(np.linalg.norm(said[:-1]))
        reach = parameters.clip_quanta * max(0.0, said[-1] / parameters.count_quanta)
        if norm == 0.0:
            return values
        turned = np.append(np.rint(said[:-1] * (-reach / norm)), said[-1])
        return ring.from_integers(turned.astype(np.int64))

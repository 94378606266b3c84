"""A table like `table`, at which everybody minds a whole head: lanes, drawings of groups, merged models.

Used by the tests of heads in groups, and to show that a head without groups is its one lane, byte for byte.
Never draws from the machine, as `table`."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from federation import messages as m
from federation.rounds import head_coordinator, head_participant
from federation.rounds.effects import (
    Effect,
    Event,
    LoadModel,
    LoadSum,
    ModelLoaded,
    PublishModel,
    PublishSum,
    RingVector,
    SumLoaded,
    model_digest,
)
from federation.rounds.head_coordinator_state import Grouping, HeadCoordinatorState
from federation.rounds.head_participant import HeadParticipantState
from federation.rounds.head_record import from_head_record, to_head_record
from federation.secagg import ring
from streams.codec import decode, encode
from tests.sim.table import AGGREGATOR, Table

MEDIAN = Grouping(groups=3, rule=m.GroupRule.MEDIAN, trim=0, groups_min=3)
MEAN = Grouping(groups=3, rule=m.GroupRule.MEAN, trim=0, groups_min=2)
NAMES = "ABCDEFGHI"


class HeadTable(Table):
    """The state of everybody and the log between them."""

    def __init__(self, names: Iterable[str], *, grouping: Grouping | None = MEDIAN, **settings: object) -> None:
        self.grouping = grouping
        self.sums: dict[bytes, RingVector] = {}
        self.vectors: dict[bytes, np.ndarray] = {}
        super().__init__(names, **settings)  # type: ignore[arg-type]
        self.vectors[model_digest(self.start)] = self.start

    def fresh_coordinator(self) -> HeadCoordinatorState:
        return head_coordinator.initial(
            self.coordinator_settings, self.grouping, invited=dict.fromkeys(self.names, 1), model_version=0, model=self.start
        )

    def fresh_member(self, name: str) -> HeadParticipantState:
        lane = super().fresh_member(name)
        fresh = head_participant.initial(lane.settings, model_version=0, model_digest=model_digest(self.start))
        return head_participant.step(fresh, self.who_is_who(), self.no_entropy)[0]

    @staticmethod
    def no_entropy(_count: int) -> bytes:
        """Where nothing may be drawn."""
        raise AssertionError

    def fork(self) -> HeadTable:
        other = super().fork()
        other.sums, other.vectors = dict(self.sums), dict(self.vectors)
        return other

    def tell_coordinator(self, event: Event) -> None:
        self.coordinator, effects = head_coordinator.step(self.coordinator, event)
        for effect in effects:
            self._perform_for_coordinator(effect)

    def tell(self, name: str, event: Event) -> None:
        self.members[name], effects = head_participant.step(self.members[name], event, self.entropy[name])
        for effect in effects:
            self._perform_for_member(name, effect)

    def _perform_for_coordinator(self, effect: Effect) -> None:
        match effect:
            case PublishModel(message, vector):
                self.models[message.version] = vector
                self.vectors[message.model_digest] = vector
                self.say(AGGREGATOR, message)
            case PublishSum(message, total):
                self.sums[message.sum_digest] = total
                self.say(AGGREGATOR, message)
            case LoadModel(_, digest):
                self.tell_coordinator(ModelLoaded(self.vectors[digest]))
            case LoadSum(group, digest):
                self.tell_coordinator(SumLoaded(group, self.sums[digest]))
            case _:
                super()._perform_for_coordinator(effect)

    def restart_coordinator(self) -> None:
        """A new process: the log read to its end, effects discarded; then the clock."""
        self.drain()
        self.coordinator = self.fresh_coordinator()
        for received in self.log:
            self.coordinator, _ = head_coordinator.step(self.coordinator, received)

    def restart_member(self, name: str) -> None:
        """A new process: the state through its record and the codec."""
        record = decode(encode(to_head_record(self.members[name])), (m.HeadSaved,), 10_000_000)
        assert isinstance(record, m.HeadSaved)
        restored = from_head_record(self.members[name].settings, record)
        assert to_head_record(restored) == record
        self.members[name], _ = head_participant.step(restored, self.who_is_who(), self.no_entropy)

    def groups(self) -> tuple[tuple[str, ...], ...]:
        """Of the drawing in use."""
        current = self.members[self.names[0]].head.current
        return () if current is None else current.groups

    def plain_means(self, merged: m.GroupsMerged) -> list[np.ndarray]:
        """What each group's mean must be."""
        means = []
        for said in merged.sums:
            total = ring.centred(self.plain_sum(said.contributors, merged.round))
            means.append(total[:-1] / 1000.0 / (total[-1] / 10))
        return means

"""Cohorts: who is with whom, and one model out of several sums."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation import messages as m
from federation.errors import OwnFault
from federation.ids import Lane, RoundId
from federation.limits import COHORT_MIN
from federation.merge import GroupRule
from federation.rounds import groups
from federation.rounds.coordinator_state import CoordinatorSettings
from federation.rounds.effects import CohortOpened, CohortsMerged, Effect, Received
from federation.secagg import ring
from tests.sim.table import AGGREGATOR, FEDERATION, LANE, Table, parameters


class CohortTable(Table):
    """One cohort of several on a shared log; what it opens goes to the `room`."""

    def __init__(self, room: Room, names: str, group: int) -> None:
        super().__init__(names, lane=Lane(LANE.head, group), cohorts=room.count)
        self.room = room

    def say(self, sender: str, message: m.Message) -> Received:
        received = super().say(sender, message)
        for other in self.room.tables:
            if other is not self:
                other.log.append(received)
                other.unread.append(received)
        return received

    def _perform_for_coordinator(self, effect: Effect) -> None:
        if isinstance(effect, CohortOpened):
            self.room.opened.append(effect)
        super()._perform_for_coordinator(effect)


class Room:
    """Several cohorts of one head, and the shell that merges what they open."""

    def __init__(self, *cohorts: str, rule: GroupRule = "median") -> None:
        self.count, self.rule = len(cohorts), rule
        self.opened: list[CohortOpened] = []
        self.tables: list[CohortTable] = []
        for group, names in enumerate(cohorts):
            self.tables.append(CohortTable(self, names, group))

    def go_on(self, ticks: int) -> None:
        for _ in range(ticks):
            for table in self.tables:
                table.tick()
            while any(table.unread for table in self.tables):
                for table in self.tables:
                    if table.unread:
                        table.deliver()

    def merge(self) -> np.ndarray:
        """What the shell does when it has waited long enough."""
        version = self.opened[0].model_version
        vector = groups.merged(self.tables[0].models[version], self.opened, rule=self.rule)
        for cohort in self.opened:
            table = self.tables[cohort.round_id.lane.group]
            table.models[version + 1] = vector
            table.tell_coordinator(CohortsMerged(cohort.round_id, vector))
        self.opened.clear()
        return vector


def mean_of(table: Table, names: str, number: int) -> np.ndarray:
    total = ring.centred(table.plain_sum(names, number))
    return total[:-1] / 1000.0 / (total[-1] / 10)


def test_one_model_out_of_three_cohorts():
    """Three cohorts open three sums; their median is the next model of all, and all go on from it."""
    room = Room("ABC", "DEF", "GHI")
    room.go_on(3)
    assert len(room.opened) == 3
    vector = room.merge()
    room.go_on(4)
    means = [mean_of(table, names, 1) for table, names in zip(room.tables, ("ABC", "DEF", "GHI"), strict=True)]
    published = [received.message for received in room.tables[0].said(m.ModelPublished)]

    assert np.allclose(vector, np.median(means, axis=0))
    assert sorted(message.group for message in published) == [0, 1, 2]
    assert len({message.model_digest for message in published}) == 1
    assert {state.transcript.model_version for table in room.tables for state in table.members.values()} == {1}
    assert [report for table in room.tables for _, report in table.reports] == []
    room.go_on(12)
    assert len(room.opened) == 3
    assert {cohort.model_version for cohort in room.opened} == {1}


def test_a_cohort_that_fails_goes_on_from_the_others_model():
    """Its round is abandoned, and its members start the next one from the model that the other cohorts made."""
    room = Room("ABC", "DEF")
    room.tables[1].contribute = lambda _name, _wanted: None
    room.go_on(4)
    assert [cohort.round_id.lane.group for cohort in room.opened] == [0]
    room.merge()
    room.go_on(8)
    lost = room.tables[1]
    reasons = [received.message.reason for received in lost.said(m.RoundAbandoned)]

    assert m.AbandonReason.TOO_FEW_UPDATES in reasons
    assert {state.transcript.model_version for state in lost.members.values()} == {1}
    assert lost.coordinator.transcript.model_version == 1


def test_a_cohort_that_is_never_merged():
    """Without the shell's answer the round ends at its deadline: nothing is stuck."""
    room = Room("ABC", "DEF")
    room.go_on(20)

    assert {received.message.group for received in room.tables[0].said(m.RoundAbandoned)} == {0, 1}


def test_two_cohorts_do_not_publish_two_models():
    """A second, other model of one version is refused by everybody: the first in the log's order is the model of the head."""
    room = Room("ABC", "DEF")
    room.go_on(3)
    first, second = room.opened
    for cohort, shift in ((first, 0.0), (second, 1.0)):
        table = room.tables[cohort.round_id.lane.group]
        vector = table.start + shift
        table.tell_coordinator(CohortsMerged(cohort.round_id, vector))
    room.go_on(2)
    known = {state.transcript.model_digest for table in room.tables for state in (table.coordinator, *table.members.values())}
    kinds = {report.kind for table in room.tables for _, report in table.reports}

    assert kinds == {"second_decision"}
    assert len(known) == 1


def test_another_model_of_a_known_version_beside():
    """A cohort beside ours cannot say another model of a version that we know; the same one again, or an old one, is no news."""
    table = Table("ABC")
    table.until_ended(2)
    table.drain()
    first, second = (received.message for received in table.said(m.ModelPublished))
    before = table.members["A"].transcript
    for message in (replace(first, group=1), replace(second, group=1)):
        table.say(AGGREGATOR, message)
    table.drain()
    assert table.reports == []
    table.say(AGGREGATOR, replace(second, group=1, model_digest=bytes(32)))
    table.drain()

    assert {report.kind for _, report in table.reports} == {"second_decision"}
    assert table.members["A"].transcript == before


def test_a_model_beside_that_does_not_follow_is_refused():
    """A cohort beside ours cannot put us onto a model that was not made from the newest one."""
    table = Table("ABC")
    table.until_ended()
    table.drain()
    message = table.said(m.ModelPublished)[0].message
    before = table.members["A"].transcript
    table.say(AGGREGATOR, replace(message, group=1, version=7))
    table.drain()

    assert table.members["A"].transcript == before
    assert {report.kind for _, report in table.reports} == {"bad_model"}


names = st.lists(st.text("abcdefghij", min_size=1, max_size=6), unique=True, min_size=1, max_size=40)


@given(names, st.integers(1, 12))
def test_everybody_is_in_one_cohort(institutions: list[str], count: int):
    """Cohorts are a partition, nearly equal, none below the least unless there are too few for one; order does not matter."""
    cohorts = groups.cohorts_of(institutions, count, federation="f", head=m.HeadName.CREDIT)
    sizes = [len(cohort) for cohort in cohorts]

    assert sorted(name for cohort in cohorts for name in cohort) == sorted(institutions)
    assert len(cohorts) <= count
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= min(COHORT_MIN, len(institutions))
    assert cohorts == groups.cohorts_of(institutions[::-1], count, federation="f", head=m.HeadName.CREDIT)


def test_a_poisoned_minority_of_cohorts_does_not_move_the_median():
    """Two cohorts of five with huge means: each coordinate stays within what the other three said."""
    rng = np.random.Generator(np.random.PCG64(1))
    honest = [rng.normal(size=4) for _ in range(3)]
    lies = [np.full(4, 1e6), np.full(4, -1e6)]
    cohorts = [
        CohortOpened(RoundId(Lane(LANE.head, group), 1, 1), 0, bytes(32), mean, 10, 0) for group, mean in enumerate([*honest, *lies])
    ]
    vector = groups.merged(np.zeros(4), cohorts, rule="median")

    assert (vector >= np.min(honest, axis=0)).all()
    assert (vector <= np.max(honest, axis=0)).all()


def test_cohorts_of_different_models_are_not_merged():
    """A sum that started elsewhere says nothing about this model."""
    cohorts = [CohortOpened(RoundId(LANE, 1, 1), 0, bytes([at]) * 32, np.zeros(2), 1, 0) for at in (1, 2)]
    with pytest.raises(OwnFault):
        groups.merged(np.zeros(2), cohorts, rule="mean")
    with pytest.raises(OwnFault):
        groups.cohorts_of(["a", "a"], 1, federation="f", head=m.HeadName.CREDIT)


def test_a_lane_outside_the_cohorts():
    """A lane of group 2 where there are two cohorts stops the aggregator when it starts."""
    with pytest.raises(OwnFault):
        CoordinatorSettings(
            federation=FEDERATION, lane=Lane(LANE.head, 2), party=AGGREGATOR, sealing_secrets=(Table("ABC").sealing_secret,),
            parameters=parameters(), cohorts=2,
        )  # fmt: skip

"""The aggregator's step: decisions count when read back, the log rebuilds the state, nothing gets stuck."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from federation import messages as m
from federation.errors import OwnFault
from federation.ids import RoundId
from federation.rounds import coordinator
from federation.rounds.coordinator_state import CoordinatorSettings, CoordinatorState
from federation.rounds.effects import (
    ChunksRefused,
    ChunksSummed,
    Effect,
    InvitedChanged,
    LoadModel,
    ModelLoaded,
    PrepareContribution,
    Publish,
    SumChunks,
    Tick,
    WakeAt,
)
from tests.sim.table import AGGREGATOR, FEDERATION, LANE, Table, parameters


def replayed(table: Table) -> CoordinatorState:
    """A new aggregator that has read what the other has read, and no clock."""
    state = table.fresh_coordinator()
    for received in table.log[: len(table.log) - len(table.unread)]:
        state, effects = coordinator.step(state, received)
        assert not any(isinstance(effect, Publish | SumChunks | LoadModel) for effect in effects)
    return state


def said(effects: tuple[Effect, ...]) -> list[type]:
    return [type(effect.message) for effect in effects if isinstance(effect, Publish)]


def test_nothing_is_decided_before_the_first_tick():
    """A restarted aggregator that has not yet read the log to its end must not speak."""
    table = Table("ABCDE")
    table.until_ended(3)

    assert replayed(table).now_ms is None


def test_the_log_rebuilds_the_state():
    """Replayed from its start, the log gives the same transcript and the same working state, at any record."""
    table = Table("ABCDE")
    for kind in (m.EpochRoster, m.EpochReady, m.SurvivorsNamed, m.SharesRevealed, m.ModelPublished, m.RoundOpened):
        table.until(kind)
        table.deliver()
        state = replayed(table)

        assert state.transcript == table.coordinator.transcript
        assert (state.updates, state.shares, state.share_tags) == (
            table.coordinator.updates,
            table.coordinator.shares,
            table.coordinator.share_tags,
        )


def test_a_decision_changes_nothing_until_it_is_read_back():
    """Said and lost on its way to the log: the state has not moved, and the decision is said again in time."""
    table = Table("ABCDE")
    table.silent = lambda sender, _: sender == AGGREGATOR
    table.tick()

    assert table.coordinator.transcript.pending is None
    assert table.log == []
    table.silent = lambda _sender, _message: False
    table.tick(table.coordinator_settings.propose_again_ms - 1)
    assert table.log == []
    table.tick(1)
    assert [type(received.message) for received in table.log] == [m.EpochAnnounced]


def test_a_restart_at_any_record_gives_the_same_models():
    """Restarted after each record in turn, the aggregator finishes what was begun; the models are bit-equal to an undisturbed run."""
    undisturbed = Table("ABCDE")
    undisturbed.until_ended(2)
    disturbed = Table("ABCDE")
    while len(disturbed.said(m.ModelPublished)) < 2:
        if not disturbed.unread:
            disturbed.tick()
            continue
        disturbed.deliver()
        if not disturbed.unread:  # A restarted aggregator reads to the log's end before it ticks.
            state = replayed(disturbed)
            disturbed.coordinator = replace(state, model=disturbed.models[state.transcript.model_version])

    assert np.array_equal(disturbed.models[2], undisturbed.models[2])
    assert all(name == AGGREGATOR or report.kind == "never" for name, report in disturbed.reports)


def test_a_restarted_aggregator_asks_for_the_newest_model():
    """It opens no round before it has the vector to add to, and takes no other vector for it."""
    table = Table("ABCDE")
    table.until_ended()
    state, effects = coordinator.step(replayed(table), Tick(table.now_ms + 60_000))
    published = table.said(m.ModelPublished)[-1].message
    assert isinstance(published, m.ModelPublished)

    assert LoadModel(1, published.model_digest) in effects
    assert m.RoundOpened not in said(effects)
    state, effects = coordinator.step(state, ModelLoaded(table.models[1] + 1.0))
    assert m.RoundOpened not in said(effects)
    _, effects = coordinator.step(state, ModelLoaded(table.models[1]))
    assert m.RoundOpened in said(effects)


def test_two_aggregators_do_not_fork_a_round():
    """A zombie that decides beside its successor: the first decision in the log counts, on both, and both say the same model."""
    table = Table("ABCDE")
    table.until(m.RoundOpened)
    zombie = table.coordinator
    table.until_ended()
    for received in table.log[table.log.index(table.said(m.RoundOpened)[0]) :]:
        zombie, effects = coordinator.step(zombie, received)
        for effect in effects:
            if isinstance(effect, SumChunks):
                zombie, _ = coordinator.step(zombie, table.summed(effect))

    assert zombie.transcript == table.coordinator.transcript


def test_every_wait_ends():
    """Whatever everybody else withholds, the aggregator asks to be woken and ends the round."""
    for silent_kind in (m.EpochKeys, m.EpochShares, m.MaskedUpdate, m.SurvivorsAcked, m.SharesRevealed):
        table = Table("ABCDE")
        table.silent = lambda _, message, kind=silent_kind: isinstance(message, kind)
        for _ in range(40):
            table.drain()
            table.tick()
        endings = table.said(m.EpochClosed) + table.said(m.RoundAbandoned)

        assert len(endings) >= 2, silent_kind


def test_chunks_that_are_never_summed():
    """Without the sum the round is abandoned at its deadline."""
    table = Table("ABCDE")
    table.summed = lambda asked: ChunksSummed(asked.round_id, bytes(32), np.zeros(4, dtype=np.uint32))
    table.until_ended()
    ended = table.said(m.RoundAbandoned)[0].message
    assert isinstance(ended, m.RoundAbandoned)

    assert ended.reason is m.AbandonReason.BAD_SUM


def test_answers_about_another_round_are_dropped():
    """A late sum or refusal of an earlier round does not touch this one."""
    table = Table("ABCDE")
    table.until(m.RoundOpened)
    table.deliver()
    state = table.coordinator
    for event in (
        ChunksSummed(RoundId(LANE, 1, 99), b"", np.zeros(4, dtype=np.uint32)),
        ChunksRefused(RoundId(LANE, 1, 99), b"", ("A",), ""),
    ):
        state, effects = coordinator.step(state, event)

    assert (state.masked_sum, state.refused) == (None, None)
    assert said(effects) == []


def test_the_aggregator_is_woken_at_its_next_deadline():
    """With a round open and everybody silent, the one thing to wait for is the deadline of the updates."""
    table = Table("ABCDE")
    opened = table.until(m.RoundOpened)
    table.silent = lambda _sender, _message: True
    table.deliver()
    _, effects = coordinator.step(table.coordinator, Tick(table.now_ms))
    assert isinstance(opened.message, m.RoundOpened)

    assert WakeAt(opened.message.masked_deadline_ms) in effects


def test_an_institution_removed_by_the_operator_is_out_at_once():
    """The running epoch is closed after its round, and the next one is set up without it."""
    table = Table("ABCDE", rounds_per_epoch=32)
    table.until_ended()
    table.tell_coordinator(InvitedChanged(dict.fromkeys("ABCD", 1)))
    table.until_ended()

    assert [received.message.epoch for received in table.said(m.EpochClosed)] == [1]
    assert table.said(m.EpochAnnounced)[-1].message.invited == tuple("ABCD")
    assert table.said(m.ModelPublished)[-1].message.contributors == tuple("ABCD")


def test_a_federation_of_three_does_not_stop_on_an_accusation():
    """Leaving the accused out would leave two: everybody is invited again."""
    table = Table("ABC")
    summed = table.summed
    table.summed = lambda asked: ChunksRefused(asked.round_id, asked.survivors_digest, ("C",), "chunk 1 is absent")
    table.until_ended()
    table.summed = summed
    table.until_ended()

    assert table.said(m.ModelPublished)[-1].message.contributors == tuple("ABC")


def test_too_few_customers():
    """A sum over fewer customers than the operator wants gives no model."""
    table = Table("ABCDE", customers_min=51)
    table.until_ended()

    assert table.said(m.RoundAbandoned)[0].message.reason is m.AbandonReason.TOO_FEW_CUSTOMERS


def test_more_survivors_than_the_threshold_may_be_demanded():
    """survivors_min above the threshold holds: four of five are then too few."""
    table = Table("ABCDE", survivors_min=5)
    plain = table.contribute
    table.contribute = lambda name, wanted: plain(name, wanted) if name != "E" else None
    table.until_ended()

    assert table.said(m.RoundAbandoned)[0].message.reason is m.AbandonReason.TOO_FEW_UPDATES


def test_a_late_opening_keeps_the_beat_and_a_missed_one_starts_anew():
    """Openings are at absolute times; after a stop of many periods, one round opens at once instead of all the missed ones."""
    table = Table("ABCDE", rounds_per_epoch=32)
    table.until_ended()
    table.tick(12_345)
    second = table.until(m.RoundOpened).message
    table.until_ended()
    table.tick(100_000)
    third = table.until(m.RoundOpened).message
    first = table.said(m.RoundOpened)[0].message

    assert second.opened_at_ms == first.opened_at_ms + 10_000
    assert third.opened_at_ms == table.now_ms
    assert len(table.said(m.RoundOpened)) == 3


def test_events_of_the_other_side_are_refused():
    """A coordinator is not asked for a contribution."""
    wanted = PrepareContribution(RoundId(LANE, 1, 1), 0, bytes(32), parameters(), 2, 0)
    with pytest.raises(OwnFault):
        coordinator.step(Table("ABC").coordinator, wanted)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "bad",
    [{"period_ms": 0}, {"rounds_per_epoch": 65}, {"rounds_per_epoch": 0}, {"rounds_left_min": 0}, {"survivors_min": 2}, {"members_min": 2}],
)
def test_settings_are_checked(bad: dict[str, int]):
    """Impossible settings stop the aggregator when it starts."""
    secret = Table("ABC").sealing_secret
    with pytest.raises(OwnFault):
        CoordinatorSettings(federation=FEDERATION, lane=LANE, party=AGGREGATOR, sealing_secrets=(secret,), parameters=parameters(), **bad)

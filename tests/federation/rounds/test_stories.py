"""Rounds told from beginning to end: who stayed, who left, what came of it."""

from __future__ import annotations

import itertools

import numpy as np

from federation import messages as m
from federation.ids import digest_of
from federation.secagg import ring
from tests.sim.table import Table


def sum_digest(table: Table, names: str, number: int) -> bytes:
    return digest_of(ring.to_bytes(table.plain_sum(names, number)))


def last_model(table: Table) -> m.ModelPublished:
    message = table.said(m.ModelPublished)[-1].message
    assert isinstance(message, m.ModelPublished)
    return message


def last_abandoned(table: Table) -> m.RoundAbandoned:
    message = table.said(m.RoundAbandoned)[-1].message
    assert isinstance(message, m.RoundAbandoned)
    return message


def test_everybody_stays():
    """Five contribute, the opened sum is exactly theirs, and every one of them learns that it is included."""
    table = Table("ABCDE")
    table.until_ended()

    assert last_model(table).contributors == tuple("ABCDE")
    assert last_model(table).sum_digest == sum_digest(table, "ABCDE", 1)
    assert [ended.included for _, ended in table.ended] == [True] * 5
    assert table.reports == []


def test_one_falls_silent_before_masking():
    """The four who stayed are summed exactly; the one who left is not in the sum and knows it."""
    table = Table("ABCDE")
    table.contribute = _only(table, "ABCD")
    table.until_ended()

    assert last_model(table).contributors == tuple("ABCD")
    assert last_model(table).sum_digest == sum_digest(table, "ABCD", 1)
    assert {name for name, ended in table.ended if ended.included} == set("ABCD")


def test_one_falls_silent_after_masking():
    """Its update is in the sum all the same: the others' shares take its self mask off."""
    table = Table("ABCDE")
    table.until(m.SurvivorsNamed)
    table.silent = lambda sender, _: sender == "E"
    table.until_ended()

    assert last_model(table).contributors == tuple("ABCDE")
    assert last_model(table).sum_digest == sum_digest(table, "ABCDE", 1)


def test_too_many_fall_silent():
    """Below the threshold the round is abandoned at its deadline, nothing is opened, and the next round goes on."""
    table = Table("ABCDE")
    table.contribute = _only(table, "ABC")
    table.until_ended()
    reason = last_abandoned(table).reason
    revealed = table.said(m.SharesRevealed)
    table.contribute = _only(table, "ABCDE")
    table.until_ended()

    assert reason is m.AbandonReason.TOO_FEW_UPDATES
    assert revealed == []
    assert last_model(table).round == 2


def test_too_few_acks():
    """Without the threshold's acks no share is revealed and the round is abandoned."""
    table = Table("ABCDE")
    table.silent = lambda sender, message: sender in "DE" and isinstance(message, m.SurvivorsAcked)
    table.until_ended()

    assert last_abandoned(table).reason is m.AbandonReason.TOO_FEW_ACKS
    assert table.said(m.SharesRevealed) == []


def test_too_few_shares():
    """With fewer than the threshold's shares nothing can be rebuilt: the round is abandoned."""
    table = Table("ABCDE")
    table.silent = lambda sender, message: sender in "DE" and isinstance(message, m.SharesRevealed)
    table.until_ended()

    assert last_abandoned(table).reason is m.AbandonReason.TOO_FEW_SHARES


def test_models_add_up():
    """Every model is the one before plus the mean of the deltas."""
    table = Table("ABCD")
    table.until_ended(2)

    for number in (1, 2):
        total = ring.centred(table.plain_sum("ABCD", number))
        mean = total[:-1] / 1000.0 / (total[-1] / 10)
        assert np.allclose(table.models[number] - table.models[number - 1], mean)


def test_the_next_epoch_is_set_up_while_rounds_go_on():
    """No round waits for keys: openings keep the period's beat over three epochs."""
    table = Table("ABCD", rounds_per_epoch=4, rounds_left_min=2)
    table.until_ended(9)
    opened = [received.message for received in table.said(m.RoundOpened)]

    assert [message.round for message in opened] == list(range(1, 10))
    assert {message.epoch for message in opened} >= {1, 2, 3}
    assert len({b.opened_at_ms - a.opened_at_ms for a, b in itertools.pairwise(opened)}) == 1


def test_a_late_joiner_comes_in_with_the_next_epoch():
    """Who was away for the first set-up is in the ready set of the next, and contributes."""
    table = Table("ABCDE", rounds_per_epoch=32, renewal_wait_ms=20_000)
    table.silent = lambda sender, _: sender == "E"
    table.until_ended(1)
    first = last_model(table).contributors
    table.silent = lambda _sender, _message: False
    table.until_ended(4)

    assert first == tuple("ABCD")
    assert last_model(table).contributors == tuple("ABCDE")


def test_the_vanished_are_left_out_of_the_next_epoch():
    """A member that is gone costs nobody anything once the next epoch is set up."""
    table = Table("ABCDE", rounds_per_epoch=2, rounds_left_min=1)
    table.until_ended(1)
    table.silent = lambda sender, _: sender == "E"
    table.until_ended(3)
    ready = table.said(m.EpochReady)[-1].message
    assert isinstance(ready, m.EpochReady)

    assert [member.institution for member in ready.members] == list("ABCD")


def test_a_cohort_of_two_never_starts():
    """Two could each compute the other's update: no epoch is announced."""
    table = Table("AB")
    for _ in range(100):
        table.tick()

    assert table.log == []


def _only(table: Table, names: str):
    full = table.fork().contribute
    return lambda name, wanted: full(name, wanted) if name in names else None

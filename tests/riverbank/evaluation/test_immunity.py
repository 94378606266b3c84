"""An attack on one institution: what it is made of, and how its being recognised elsewhere is measured."""

from __future__ import annotations

from itertools import pairwise

from federation.messages import CardTransaction, OutcomeObserved
from riverbank.evaluation.immunity import Watch
from riverbank.evaluation.passage import Beat, Cadence
from riverbank.generator.attack import MINUTE_MS, Attack
from riverbank.generator.world import World

ATTACK = Attack(world=World(seed=5, customers=200), day=1)


def test_it_strikes_one_institution_among_everybodys_payments():
    """In time order, confirmed a minute later, at shops that nobody else knows."""
    arrivals = list(ATTACK.arrivals())
    struck = [each for each in arrivals if isinstance(each.message, CardTransaction) and each.message.event_id.startswith("tx-attack")]
    shops = {each.message.terminal for each in struck}
    known = {each.message.subject: each for each in arrivals if isinstance(each.message, OutcomeObserved)}

    assert all(earlier.at_ms <= later.at_ms for earlier, later in pairwise(arrivals))
    assert len(struck) == ATTACK.minutes * ATTACK.per_minute
    assert {each.institution for each in struck} == {ATTACK.victim}
    assert all(known[each.message.event_id].at_ms == each.at_ms + MINUTE_MS for each in struck)
    assert all(known[each.message.event_id].message.positive for each in struck)
    others = [each.message.terminal for each in arrivals if isinstance(each.message, CardTransaction) and each not in struck]
    assert len(shops) == ATTACK.shops
    assert shops.isdisjoint(others)


def test_probes_are_the_same_attack_on_others():
    """The same shops, another institution's customers; asked again, the same payments at another time."""
    first, later = (list(ATTACK.probes(2, at_ms, 50)) for at_ms in (1000, 2000))

    assert {probe.customer.split("-")[1] for probe in first} == {"2"}
    assert {probe.terminal for probe in first} <= {f"t-{90_000_000 + shop:08d}" for shop in range(6)}
    assert [(probe.customer, probe.amount) for probe in first] == [(probe.customer, probe.amount) for probe in later]
    assert {probe.occurred_at_ms for probe in later} == {2000}


def test_recall_is_of_what_stands_out_from_ordinary_payments():
    """Probes that score above all but one in a hundred ordinary payments are recognised: three of four here, from the third minute on."""
    minutes = []

    def say(name, payment):
        if payment.event_id.startswith("probe"):
            recognised = len(minutes) >= 3 and name != ATTACK.world.names[1]
            return 9.0 if recognised else -9.0
        return payment.amount / 1000

    watch = Watch(ATTACK, say)
    for arrival in ATTACK.arrivals():
        watch.see(arrival)
    watch.ask(ATTACK.start_ms - 1)
    for minute in range(6):
        minutes.append(minute)
        watch.ask(ATTACK.start_ms + minute * MINUTE_MS)
    was = watch.immunity()

    assert [moment.recall for moment in was.moments] == [0.0, 0.0, 0.75, 0.75, 0.75, 0.75]
    assert (was.doubled_minutes, was.half_minutes) == (2.0, 2.0)


def test_rounds_come_every_minute_from_the_attack_on():
    """Before it, after so many events; at its beginning one, then one a minute."""
    beat = Beat(Cadence.parsed("100"), (ATTACK.start_ms, Cadence(event_ms=60_000)))
    rounds = [arrival.at_ms for arrival in ATTACK.arrivals() if beat.due(arrival)]
    during = [at_ms for at_ms in rounds if at_ms >= ATTACK.start_ms]

    assert 0 < len(rounds) - len(during) < 10
    assert len(during) > ATTACK.minutes - 2
    assert during[0] - ATTACK.start_ms < MINUTE_MS

"""The generated world: the same seed gives the same bytes, rates stay in bounds, labels are late, drift shows.

Run on some weeks of each stream.
Never compares with a stored digest: numpy may change how it draws, but not within one installation."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter, defaultdict
from itertools import islice, pairwise, takewhile

import numpy as np
import pytest

from federation.errors import OwnFault
from federation.heads.behaviour import Behaviour
from federation.heads.credit import CreditEncoder
from federation.heads.fraud import FraudEncoder
from federation.heads.products import Catalogue
from federation.messages import CardTransaction, CreditApplication, HeadName, InteractionKind, OutcomeObserved, ProductInteraction
from riverbank.arrivals import DAY_MS, Arrival
from riverbank.generator import acquisitions, applications, payments
from riverbank.generator.sources import sources
from riverbank.generator.world import CONSENT_ONE_IN, SIZE_RATIO, World
from streams.codec import encode

WORLD = World(seed=7)
_DIGEST_SOURCE = """
import hashlib, sys
from collections import Counter
from itertools import islice
from riverbank.generator.sources import sources
from riverbank.generator.world import World
from streams.codec import encode
digest = hashlib.sha256()
for head, source in sorted(sources(World(seed=int(sys.argv[1]))).items()):
    for arrival in islice(source(Counter()), 3000):
        digest.update(arrival.institution.encode() + arrival.key + encode(arrival.message))
print(digest.hexdigest())
"""


def _until_day(head: HeadName, day: int, world: World = WORLD) -> list[Arrival]:
    end_ms = world.day_start_ms(day)
    return list(takewhile(lambda arrival: arrival.at_ms < end_ms, sources(world)[head](Counter())))


@pytest.fixture(scope="module")
def paid() -> list[Arrival]:
    """45 days of payments: 30 before the drift, 15 after."""
    return _until_day(HeadName.FRAUD, payments.DRIFT_DAY + 15)


@pytest.fixture(scope="module")
def applied() -> list[Arrival]:
    """Applications, 120 days before the drift and 120 after, and the outcomes of most of them."""
    return _until_day(HeadName.CREDIT, 2 * applications.DRIFT_DAY + 60)


@pytest.fixture(scope="module")
def taken() -> list[Arrival]:
    """60 days of products."""
    return _until_day(HeadName.PRODUCTS, acquisitions.DRIFT_DAY + 40)


def _labels(stream: list[Arrival]) -> dict[str, bool]:
    return {arrival.message.subject: arrival.message.positive for arrival in stream if isinstance(arrival.message, OutcomeObserved)}


# --- all streams -------------------------------------------------------------------------------------------------------
def _digest(seed: int, hash_seed: str) -> str:
    run = subprocess.run(  # A process of its own: nothing may depend on Python's hash seed.
        [sys.executable, "-c", _DIGEST_SOURCE, str(seed)],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout.strip()


def test_the_same_seed_gives_the_same_bytes_in_any_process_and_another_seed_others() -> None:
    """A demo can be repeated from its recorded seed."""
    first = _digest(41873, "1")

    assert first == _digest(41873, "2")
    assert first != _digest(41874, "1")


@pytest.mark.parametrize("head", HeadName)
def test_a_stream_can_be_started_anew(head: HeadName) -> None:
    """A feed that was killed skips what it fed: the second run must be the first one again."""
    source = sources(WORLD)[head]

    assert list(islice(source(Counter()), 2000)) == list(islice(source(Counter()), 2000))


@pytest.mark.parametrize("name", ["paid", "applied", "taken"])
def test_times_never_go_back_ids_are_unique_and_consent_is_the_customers(name: str, request: pytest.FixtureRequest) -> None:
    """One customer in 25 does not consent, with all his events."""
    stream: list[Arrival] = request.getfixturevalue(name)
    times = [arrival.at_ms for arrival in stream]
    events = [arrival.message for arrival in stream if not isinstance(arrival.message, OutcomeObserved)]
    consents = defaultdict(set)
    for event in events:
        consents[event.customer].add(event.consented)

    assert times == sorted(times)
    assert len({arrival.message.event_id for arrival in stream}) == len(stream)
    assert all(len(answers) == 1 for answers in consents.values())
    assert np.mean([not event.consented for event in events]) == pytest.approx(1 / CONSENT_ONE_IN, abs=0.02)


def test_institutions_differ_in_size_and_a_customer_stays_at_one(paid: list[Arrival], taken: list[Arrival]) -> None:
    """Each has about three quarters of the customers of the one before it, in every head."""
    homes = defaultdict(set)
    for arrival in [*paid, *taken]:
        if not isinstance(arrival.message, OutcomeObserved):
            homes[arrival.message.customer].add(arrival.institution)
    sizes = Counter(next(iter(home)) for home in homes.values())
    counts = [sizes[name] for name in WORLD.names]

    assert all(len(home) == 1 for home in homes.values())
    assert [small / large for large, small in pairwise(counts)] == pytest.approx([SIZE_RATIO] * 4, abs=0.06)


def test_every_event_can_be_learned(paid: list[Arrival], applied: list[Arrival], taken: list[Arrival]) -> None:
    """The shipped encoders accept every value, and no category is one they lump together."""
    fraud, credit, catalogue, behaviour = FraudEncoder.shipped(), CreditEncoder.shipped(), Catalogue.shipped(), Behaviour()
    for arrival in [*paid[:3000], *applied[:3000], *taken[:3000]]:
        message = arrival.message
        encode(message)
        if isinstance(message, CardTransaction):
            fraud.encode(message, behaviour)
            behaviour.observe(message.customer, message.terminal, message.amount, message.occurred_at_ms)
        elif isinstance(message, CreditApplication):
            active = credit.encode(message)
            assert not any(credit.layout.names[index].endswith("=other") for index in active)
        elif isinstance(message, ProductInteraction):
            catalogue.encode((), message.product)


def test_a_world_that_cannot_be_is_refused() -> None:
    """With a sentence."""
    for wrong in ({"names": ()}, {"customers": 3}, {"start_ms": -DAY_MS}, {"start_ms": 5}, {"seed": -1}):
        with pytest.raises(OwnFault, match="a generated world needs"):
            World(**({"seed": 1} | wrong))  # type: ignore[arg-type]


# --- payments ----------------------------------------------------------------------------------------------------------
def test_one_payment_in_seventy_or_so_is_fraud_at_every_institution(paid: list[Arrival]) -> None:
    """Rare, but enough to learn from within minutes."""
    labels = _labels(paid)
    known = Counter(arrival.institution for arrival in paid if isinstance(arrival.message, OutcomeObserved))
    frauds = Counter(arrival.institution for arrival in paid if isinstance(arrival.message, OutcomeObserved) and arrival.message.positive)

    assert np.mean(list(labels.values())) == pytest.approx(0.014, abs=0.005)
    assert all(0.004 < frauds[name] / known[name] < 0.03 for name in WORLD.names)


def test_every_outcome_of_a_payment_comes_after_seven_days(paid: list[Arrival]) -> None:
    """Frauds and others alike: the delay says nothing."""
    made = {arrival.message.event_id: arrival.at_ms for arrival in paid}
    outcomes = [arrival.message for arrival in paid if isinstance(arrival.message, OutcomeObserved)]

    assert {outcome.occurred_at_ms - made[outcome.subject] for outcome in outcomes} == {7 * DAY_MS}


def test_the_kinds_of_fraud_show_before_the_drift_and_hide_after_it(paid: list[Arrival]) -> None:
    """Tiny tests and very high amounts are frequent among frauds before, and gone after."""
    labels = _labels(paid)
    drift_ms = WORLD.day_start_ms(payments.DRIFT_DAY)
    amounts: dict[bool, list[float]] = {False: [], True: []}
    for arrival in paid:
        if isinstance(arrival.message, CardTransaction) and labels.get(arrival.message.event_id):
            amounts[arrival.at_ms >= drift_ms].append(arrival.message.amount)
    tiny = {after: np.mean([amount < 2.5 for amount in found]) for after, found in amounts.items()}
    high = {after: np.mean([amount > 250 for amount in found]) for after, found in amounts.items()}

    assert tiny[False] > 0.1
    assert tiny[True] < 0.02
    assert high[False] > 2 * high[True]


def test_a_compromised_terminal_strikes_several_institutions(paid: list[Arrival]) -> None:
    """That is what they can learn from each other: terminals with many frauds have victims of three banks or more."""
    labels = _labels(paid)
    struck = defaultdict(list)
    for arrival in paid:
        if isinstance(arrival.message, CardTransaction) and labels.get(arrival.message.event_id):
            struck[arrival.message.terminal].append(arrival.institution)
    busy = [victims for victims in struck.values() if len(victims) >= 15]

    assert busy
    assert np.mean([len(set(victims)) for victims in busy]) > 3


# --- applications ------------------------------------------------------------------------------------------------------
def test_one_loan_in_seven_fails_and_after_the_drift_nearly_one_in_four(applied: list[Arrival]) -> None:
    """Money is short from the documented day on."""
    labels = _labels(applied)
    drift_ms = WORLD.day_start_ms(applications.DRIFT_DAY)
    failed: dict[bool, list[bool]] = {False: [], True: []}
    for arrival in applied:
        if arrival.message.event_id in labels:
            failed[arrival.at_ms >= drift_ms].append(labels[arrival.message.event_id])

    assert np.mean(failed[False]) == pytest.approx(0.135, abs=0.02)
    assert np.mean(failed[True]) == pytest.approx(0.23, abs=0.03)


def test_every_outcome_of_a_loan_comes_after_one_to_two_months(applied: list[Arrival]) -> None:
    """Good and bad loans wait equally long on average."""
    made = {arrival.message.event_id: arrival.at_ms for arrival in applied}
    waits: dict[bool, list[float]] = {False: [], True: []}
    for arrival in applied:
        if isinstance(arrival.message, OutcomeObserved) and made[arrival.message.subject] < WORLD.day_start_ms(240):
            waits[arrival.message.positive].append((arrival.at_ms - made[arrival.message.subject]) / DAY_MS)

    assert min(map(min, waits.values())) >= 30
    assert max(map(max, waits.values())) <= 60
    assert np.mean(waits[True]) == pytest.approx(np.mean(waits[False]), abs=1)


def test_lending_grows_after_the_drift_so_that_the_calendar_slows_down(applied: list[Arrival]) -> None:
    """At a steady pace the years last; outcomes under way stay below the 200,000 that an institution remembers."""
    days = Counter((arrival.at_ms - WORLD.start_ms) // DAY_MS for arrival in applied if isinstance(arrival.message, CreditApplication))

    assert np.mean([days[day] for day in range(100)]) == pytest.approx(applications.PER_DAY, rel=0.05)
    assert days[290] > 1.8 * applications.PER_DAY
    assert applications.volume(10**6) * applications.PER_DAY * max(applications.OUTCOME_DAYS) < 200_000


def test_the_hidden_scorecard_ranks_loans_and_is_shared(applied: list[Arrival]) -> None:
    """At every institution the third with most points fails far more often than the third with fewest."""
    labels = _labels(applied)
    drift_ms = WORLD.day_start_ms(applications.DRIFT_DAY)
    for name in WORLD.names:
        ranked = sorted(
            (applications.points_of(loan.numbers, loan.categories, applications.STEPS, applications.CHOICES), labels[loan.event_id])
            for loan in (arrival.message for arrival in applied if arrival.institution == name and arrival.at_ms < drift_ms)
            if isinstance(loan, CreditApplication) and loan.event_id in labels
        )
        third = len(ranked) // 3
        least, most = np.mean([failed for _, failed in ranked[:third]]), np.mean([failed for _, failed in ranked[-third:]])

        assert most > 2 * least


# --- products ----------------------------------------------------------------------------------------------------------
def test_what_is_held_leads_to_what_follows(taken: list[Arrival]) -> None:
    """A product that follows from one held is taken far more often than its share of all."""
    held = defaultdict(set)
    followed = acquired = 0
    for arrival in taken:
        message = arrival.message
        if isinstance(message, ProductInteraction) and message.kind is InteractionKind.ACQUIRED:
            if held[message.customer]:
                acquired += 1
                followed += any(message.product in acquisitions.NEXT[product] for product in held[message.customer])
            assert message.product not in held[message.customer]
            held[message.customer].add(message.product)

    assert followed / acquired > 0.5
    assert max(len(products) for products in held.values()) <= acquisitions.PRODUCTS_MOST


def test_fashion_changes_on_the_documented_day(taken: list[Arrival]) -> None:
    """Savings gain what funds and securities lose."""
    drift_ms = WORLD.day_start_ms(acquisitions.DRIFT_DAY)
    share: dict[bool, Counter[str]] = {False: Counter(), True: Counter()}
    for arrival in taken:
        if isinstance(arrival.message, ProductInteraction) and arrival.message.kind is InteractionKind.ACQUIRED:
            share[arrival.at_ms >= drift_ms][arrival.message.product] += 1
    before, after = ({product: count / found.total() for product, count in found.items()} for found in (share[False], share[True]))

    assert after["savings_account"] > 1.5 * before["savings_account"]
    assert after["securities"] < 0.5 * before["securities"]


def test_existing_customers_come_first_and_all_kinds_of_interaction_occur(taken: list[Arrival]) -> None:
    """Those who pay by card have products too, so that the portal knows them."""
    customers = {int(arrival.message.customer.rsplit("-", 1)[1]) for arrival in taken if isinstance(arrival.message, ProductInteraction)}
    kinds = Counter(arrival.message.kind for arrival in taken if isinstance(arrival.message, ProductInteraction))

    assert customers >= set(range(WORLD.customers))
    assert set(kinds) == set(InteractionKind)
    assert kinds[InteractionKind.ACQUIRED] > 0.6 * kinds.total()

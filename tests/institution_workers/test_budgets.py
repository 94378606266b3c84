"""Customers' budgets in real rounds: who pays, what a crash or a lost state costs, whose terms are refused."""

from __future__ import annotations

import itertools
import math
import shutil

import pytest

from federation.messages import ActionKind, MaskedUpdate
from federation.privacy.accountant import budget_of, epsilon_of, noise_sigma
from institution_workers.ledger import DAY_MS, Price
from institution_workers.participation import Budget
from streams.codec import decode
from streams.topology import ACTIONS, ROUNDS, Cluster, lane_partition
from tests.institution_workers.world import FRAUD, Crash, World

TWICE = {
    "clip_quanta": 2048,
    "count_quanta": 512,
    "noise_sigma": noise_sigma(1.0, clip_quanta=2048, count_quanta=512),
    "participations_max": 2,
}


@pytest.fixture
async def world(tmp_path, clock, encoders):
    made = World(tmp_path, clock, encoders, budget=Budget(budget_of(8.0, 1e-6), 365), **TWICE)
    await made.certify()
    yield made
    for bank in made.banks.values():
        if bank.running:
            bank.stop()


def updates_of(world, name):
    return [
        e.message.round for e in world.opened(ROUNDS, lane_partition(FRAUD)) if isinstance(e.message, MaskedUpdate) and e.sender == name
    ]


async def one_more(world, scribe, bank, customer):
    """A round in which this customer of the bank was active before; whether a model came of it does not matter."""
    before = len(updates_of(world, bank.name))
    bank.learn(scribe, 1, positive=True, customer=customer)
    await world.run(lambda: len(updates_of(world, bank.name)) > before)


async def test_a_customer_contributes_as_often_as_the_round_allows(world, scribe):
    """Twice; after that the bank still learns from her and still takes part, with nothing of hers."""
    bank = world.banks["bank-a"]
    for _ in range(3):
        await one_more(world, scribe, bank, "anna")
    learned = bank.pupil.learned
    await one_more(world, scribe, bank, "ben")

    assert bank.study.ledger.spent_most(FRAUD) == pytest.approx(2.0)
    assert bank.study.epsilon_spent(FRAUD) == pytest.approx(epsilon_of(2.0, 1e-6))
    assert bank.store.counters()["exhausted.fraud"] == 1
    assert (learned, bank.pupil.learned) == (3, 4)
    assert bank.study.window.lessons(FRAUD) == []
    assert bank.study.ledger._database.execute("SELECT count(*) FROM spendings").fetchone()[0] == 2


@pytest.mark.parametrize("point", ["stepped", "rounds written", "rounds saved", "sent"])
@pytest.mark.parametrize("number", [3, 5])
async def test_a_crash_never_spends_less_than_is_said(world, scribe, point, number):
    """Between ledger, journal and log: whatever contribution of hers the log may have, the ledger has paid for."""
    seen = itertools.count(1)

    def reach(reached):
        if reached == point and next(seen) == number:
            raise Crash

    bank = world.banks["bank-a"]
    bank.reach = reach
    for _ in range(2):
        await one_more(world, scribe, bank, "anna")
    said = set(updates_of(world, "bank-a"))
    rows = bank.study.ledger._database.execute("SELECT total(cost) FROM spendings").fetchone()[0]

    assert bank.lives == 2
    assert rows == pytest.approx(len(said))
    assert [fault for fault in world.faults() if fault[1] == "ledger_gap"] == []


async def test_every_spend_and_every_model_is_in_the_institutions_own_audit(world, scribe):
    """One entry for each contribution said, with its price, and one for each model adopted; both without a customer."""
    bank = world.banks["bank-a"]
    for _ in range(2):
        await one_more(world, scribe, bank, "anna")
    await world.run(lambda: bank.pupil.basis.version > 0)
    journaled = [record for _, record in bank.store.unsaid(Cluster.OWN, 1000) if record.topic == ACTIONS.full_name("bank-a")]
    entries = [decode(record.value, ACTIONS.carries, ACTIONS.bytes_max) for record in journaled]
    spent = [entry for entry in entries if entry.kind is ActionKind.PRIVACY]
    adopted = [entry for entry in entries if entry.kind is ActionKind.RELEASE]

    assert len({entry.detail["round"] for entry in spent}) == len(spent) == len(set(updates_of(world, "bank-a")))
    assert {"epsilon_most", "delta", "customers"} < set(spent[0].detail)
    assert adopted[-1].detail["version"] == str(bank.pupil.basis.version)
    assert not any(b"anna" in record.value for record in journaled)


@pytest.mark.parametrize("lost", ["restored", "gone"])
async def test_a_lost_state_gives_no_budget_back(world, scribe, clock, tmp_path, lost):
    """A restored backup or a new state folder hears of contributions it does not know: nobody contributes for a period."""
    bank = world.banks["bank-d"]
    await one_more(world, scribe, bank, "dora")
    bank.stop()
    shutil.copytree(tmp_path / "bank-d", tmp_path / "backup")
    bank.start()
    await one_more(world, scribe, bank, "dora")
    bank.stop()
    shutil.rmtree(tmp_path / "bank-d")
    if lost == "restored":
        shutil.copytree(tmp_path / "backup", tmp_path / "bank-d")
    bank.start()
    bank.learn(scribe, 1, positive=True, customer="emil")
    await world.run(lambda: ("bank-d", "ledger_gap", "bank-d") in world.faults())
    await world.run(lambda: not bank.study.window.lessons(FRAUD), ms_max=120_000)

    assert bank.study.ledger.spent_most(FRAUD) == pytest.approx(1.0 if lost == "restored" else 0.0)
    assert bank.store.counters()["exhausted.fraud"] == 1
    clock.at_ms += 365 * DAY_MS

    assert bank.study.ledger.admitted(FRAUD, ["emil"], Price.of(world.state.settings.parameters), clock.now_ms()) == [pytest.approx(1.0)]


async def test_terms_that_cost_too_much_are_not_taken_part_in(tmp_path, clock, encoders):
    """An institution whose policy allows less stays out of the epoch and says why."""
    dear = World(tmp_path, clock, encoders, budget=Budget(budget_of(1.0, 1e-6), 365), **TWICE)
    await dear.certify()
    await dear.run(lambda: len({fault[0] for fault in dear.faults() if fault[1] == "bad_parameters"}) == 4)
    for bank in dear.banks.values():
        bank.stop()

    assert not dear.published


def test_the_policy_and_the_promise_meet():
    """Two contributions with multiplier 1 have an epsilon of 7.2: within a policy of 8, beyond one of 7."""
    assert budget_of(8.0, 1e-6) > 2.0
    assert budget_of(7.0, 1e-6) < 2.0
    assert math.isfinite(budget_of(8.0, 1e-6))

"""Institutions of a head in groups: they learn together across groups, and believe no merged model that they cannot work out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import pytest_asyncio

from federation.ids import digest_of
from federation.messages import GroupRule, GroupsMerged, SumChunk
from federation.rounds.effects import PublishModel
from federation.rounds.head_coordinator_state import Grouping
from institution_workers import global_models
from streams.topology import MODELS, lane_partition
from tests.institution_workers.world import FRAUD, Crash, World

BANKS = tuple(f"bank-{letter}" for letter in "abcdefghi")
MEDIAN = Grouping(groups=3, rule=GroupRule.MEDIAN, trim=0, groups_min=3)
TWO = Grouping(groups=2, rule=GroupRule.MEAN, trim=0, groups_min=2)


@pytest_asyncio.fixture
async def new_world(tmp_path, clock, encoders):
    """Makes a world, whose banks are stopped in the end."""
    worlds = []

    async def make(banks, grouping):
        worlds.append(World(tmp_path, clock, encoders, banks=banks, grouping=grouping))
        await worlds[-1].certify()
        return worlds[-1]

    yield make
    for bank in (bank for made in worlds for bank in made.banks.values()):
        if bank.running:
            bank.stop()


@pytest_asyncio.fixture
async def world(new_world):
    """Six banks in two groups."""
    return await new_world(BANKS[:6], TWO)


def summed_updates(bank):
    """What a bank is about to contribute: the sum of its customers' updates."""
    total = np.zeros(len(bank.pupil.layout))
    for update in bank.pupil.updates(lessons for _, lessons in bank.study.window.lessons(FRAUD)):
        total[list(update)] += np.array(list(update.values()))
    return total


async def test_groups_of_banks_learn_one_model(new_world, scribe):
    """The model is the median of three groups' means, every bank rests on it, and what was said is spent."""
    world = await new_world(BANKS, MEDIAN)
    for number, bank in enumerate(world.banks.values()):
        bank.learn(scribe, 10, positive=number % 2 == 0)
    said = {name: summed_updates(bank) for name, bank in world.banks.items()}
    await world.rounds(1)
    merged = world.published[0]
    means = [sum(said[name] for name in each.contributors) / 30 for each in merged.sums]  # Three banks, ten customers each.

    assert isinstance(merged, GroupsMerged)
    assert all(np.allclose(bank.pupil.base, np.median(means, axis=0), atol=1e-3) for bank in world.banks.values())
    assert not any(bank.study.window.lessons(FRAUD) for bank in world.banks.values())
    await world.rounds(2, scribe)
    assert len({bank.pupil.base.tobytes() for bank in world.banks.values()}) == 1
    assert world.faults() == []


async def test_a_bank_that_was_away_checks_the_newest_model_too(new_world, scribe):
    """It reads the models, and the sums between them, in the order of the log, and rests on the newest."""
    world = await new_world(BANKS[:7], TWO)
    await world.rounds(1, scribe)
    bank = world.banks["bank-d"]
    bank.stop()
    while len(world.published) < 4:  # What is said in a round without a model is gone: customers go on, and so do the others.
        for other in world.banks.values():
            if other.running:
                other.learn(scribe, 2, positive=True)
        number = world.state.head.round_next
        await world.run(lambda number=number: world.state.head.round_next > number)
    bank.start()
    await world.run(bank.rested)

    assert bank.pupil.base.tobytes() == world.banks["bank-a"].pupil.base.tobytes()
    assert [fault for fault in world.faults() if fault[1] not in {"late", "stale"}] == []


@pytest.mark.parametrize("point", ["rounds written", "sent"])
async def test_a_crash_in_a_round_of_groups_changes_nothing(world, scribe, point):
    """Killed at any labelled point in each of its turns: the same bank goes on in its group, and nothing is said twice differently."""
    await world.rounds(1, scribe)
    left = [6]

    def reach(reached):
        if reached == point and left[0]:
            left[0] -= 1
            raise Crash

    world.banks["bank-b"].reach = reach
    await world.rounds(2, scribe)

    assert left[0] < 6
    assert [fault for fault in world.faults() if fault[1] not in {"late", "stale"}] == []


async def test_a_model_that_the_sums_do_not_make_is_not_adopted(world, scribe):
    """The aggregator publishes another vector with a digest to match: every bank works it out, says so, and stays where it was."""
    await world.rounds(1, scribe)
    for bank in world.banks.values():
        bank.learn(scribe, 2, positive=False)

    def forged(effect):
        if not isinstance(effect, PublishModel):
            return effect
        vector = effect.vector + 0.01
        return PublishModel(replace(effect.message, model_digest=digest_of(vector.astype("<f8").tobytes())), vector)

    world.forged = forged
    await world.run(lambda: len(world.published) >= 2)
    await world.run(lambda: len({actor for actor, kind, _ in world.faults() if kind == "bad_merge"}) == len(world.banks))

    assert {accused for _, kind, accused in world.faults() if kind == "bad_merge"} == {"aggregator"}
    assert all(bank.pupil.basis.version == 1 for bank in world.banks.values())


async def test_without_the_sums_a_merged_model_is_not_believed(world, scribe, monkeypatch):
    """The aggregator keeps a group's sum to itself: there is nothing to check the model with, so nobody rests on it."""
    monkeypatch.setattr(global_models, "_PATIENCE_MS", 0)
    await world.rounds(1, scribe)
    for bank in world.banks.values():
        bank.learn(scribe, 2, positive=False)
    world.says = lambda message: not (isinstance(message, SumChunk) and message.round == 2 and message.group == 2)
    await world.run(lambda: len(world.published) >= 2)
    for _ in range(20):
        await world.aggregate()
        for bank in world.banks.values():
            await bank.participation.step(0)

    assert {bank.pupil.basis.version for bank in world.banks.values()} == {1}
    assert any(isinstance(each.message, SumChunk) for each in world.opened(MODELS, lane_partition(FRAUD)))

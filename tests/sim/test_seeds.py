"""Thousands of histories, each drawn from one seed: whatever goes wrong, the promises in `checkers` hold.

One seed is one history: `RIVERBANK_SEED=41873 pytest tests/sim/test_seeds.py -k one_seed` replays it.
Never takes longer because a history is unlucky: a world that is stuck fails."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from itertools import chain

import pytest

from tests.sim.checkers import breaches
from tests.sim.faults import POINTS, Faults
from tests.sim.histories import SEEDS_IN_TURN, broken_in, broken_in_groups, history
from tests.sim.world import World

SEEDS = 100_000 if os.environ.get("RIVERBANK_NIGHTLY") == "1" else 2_000
GROUP_SEEDS = SEEDS // 40  # Of nine institutions or more: each costs several of the others.


def test_seeds():
    """In every one of these histories all promises hold. They do not know of one another: each core takes its share."""
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        broken = list(chain.from_iterable(pool.map(broken_in, range(0, SEEDS, SEEDS_IN_TURN))))

    assert broken == [], "\n".join(broken[:3])


def test_seeds_in_groups():
    """The same for a head whose institutions are drawn into groups."""
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        broken = list(chain.from_iterable(pool.map(broken_in_groups, range(0, GROUP_SEEDS, SEEDS_IN_TURN))))

    assert broken == [], "\n".join(broken[:3])


@pytest.mark.parametrize("in_groups", [False, True])
def test_one_seed(in_groups: bool):
    """The seed named in RIVERBANK_SEED, or the first, in full view."""
    seed = int(os.environ.get("RIVERBANK_SEED", "0"))

    assert breaches(history(seed, in_groups=in_groups)) == []


@pytest.mark.parametrize(("seed", "in_groups"), [(3, False), (7, False), (41873, False), (3, True)])
def test_one_seed_is_one_history(seed: int, in_groups: bool):
    """Run twice, a seed gives the same bytes in the same order, and the same states."""
    first, second = history(seed, in_groups=in_groups), history(seed, in_groups=in_groups)

    assert first.history.digest() == second.history.digest()
    assert first.trouble.crashes == second.trouble.crashes
    assert {name: shell.disk for name, shell in first.institutions.items()} == {
        name: shell.disk for name, shell in second.institutions.items()
    }


def test_every_kind_of_trouble_comes_up():
    """The seeds are not all lucky: processes die at every labelled point, and rounds end both ways."""
    crashes = dict.fromkeys(POINTS, 0)
    for seed in range(30):
        world = World(seed, faults=Faults(crash=0.05, partial=0.3, repeat=0.2, cut=0.02, idle=0.3, zombie=0.02))
        world.run(2)
        for point, count in world.trouble.crashes.items():
            crashes[point] += count

    assert min(crashes.values()) > 0, crashes

"""One seed's history, and whether the promises hold in it: in a module that a process of its own can import.

Used by `test_seeds`, which shares the seeds out to the machine's cores.
Never swallows a failure: it comes back as text, with the command that replays it."""

from __future__ import annotations

import traceback

from tests.sim.checkers import breaches
from tests.sim.faults import Faults
from tests.sim.head_table import MEAN, MEDIAN
from tests.sim.world import World

SEEDS_IN_TURN = 25  # What a process takes at a time.


def world_in_groups(seed: int) -> World:
    """Nine to twelve institutions in three groups, which are all needed, or two of them."""
    return World(seed, faults=Faults.drawn(seed).rarer(4), institutions=9 + seed % 4, grouping=MEDIAN if seed % 2 else MEAN)


def history(seed: int, *, in_groups: bool = False) -> World:
    """Two rounds in trouble, then one in peace: and a model comes of it, soon."""
    world = world_in_groups(seed) if in_groups else World(seed)
    world.run(2)
    world.calm_down()
    version = world.read().head.model_version
    # Members may refuse some rounds after a sum that gave no model (differencing); groups are drawn anew, and may need another drawing.
    for _ in range(24 if in_groups else 12):
        world.run(1)
        if world.read().head.model_version > version:
            return world
    raise AssertionError("no model although nothing goes wrong any more")


def broken_in(first: int) -> list[str]:
    """What is wrong with the histories of the next seeds, each with its replay; empty when nothing is."""
    return [problem for seed in range(first, first + SEEDS_IN_TURN) for problem in _problems(seed, in_groups=False)]


def broken_in_groups(first: int) -> list[str]:
    """The same of heads in groups."""
    return [problem for seed in range(first, first + SEEDS_IN_TURN) for problem in _problems(seed, in_groups=True)]


def _problems(seed: int, *, in_groups: bool) -> list[str]:
    replay = f"replay: RIVERBANK_SEED={seed} pytest tests/sim/test_seeds.py -k one_seed"
    try:
        found = breaches(history(seed, in_groups=in_groups))
    except Exception:  # noqa: BLE001  # Whatever it is, it may not be one that pickles.
        return [f"{traceback.format_exc()}{replay}"]
    return [f"{found[:3]}; {replay}"] if found else []

"""One seed's history, and whether the promises hold in it: in a module that a process of its own can import.

Used by `test_seeds`, which shares the seeds out to the machine's cores.
Never swallows a failure: it comes back as text, with the command that replays it."""

from __future__ import annotations

import traceback

from tests.sim.checkers import breaches
from tests.sim.world import World

SEEDS_IN_TURN = 25  # What a process takes at a time.


def history(seed: int) -> World:
    """Two rounds in trouble, then one in peace: and a model comes of it, soon."""
    world = World(seed)
    world.run(2)
    world.calm_down()
    version = world.transcript().model_version
    for _ in range(12):  # Members may refuse some rounds after a sum that gave no model (differencing).
        world.run(1)
        if world.transcript().model_version > version:
            return world
    raise AssertionError("no model although nothing goes wrong any more")


def broken_in(first: int) -> list[str]:
    """What is wrong with the histories of the next seeds, each with its replay; empty when nothing is."""
    return [problem for seed in range(first, first + SEEDS_IN_TURN) for problem in _problems(seed)]


def _problems(seed: int) -> list[str]:
    replay = f"replay: RIVERBANK_SEED={seed} pytest tests/sim/test_seeds.py -k one_seed"
    try:
        found = breaches(history(seed))
    except Exception:  # noqa: BLE001  # Whatever it is, it may not be one that pickles.
        return [f"{traceback.format_exc()}{replay}"]
    return [f"{found[:3]}; {replay}"] if found else []

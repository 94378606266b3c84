"""Any third of a cohort falls silent, in any phase: the survivors' sum is exact, or the round ends with a reason and nothing is opened.

Every history is forked from a frozen one, so a cohort's set-up is paid for once.
Never a share below the threshold, never a round without an end: those are asserted for every subset."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterator
from functools import cache

import pytest

from federation import messages as m
from federation.ids import digest_of
from federation.limits import threshold_of
from federation.secagg import ring
from tests.sim.table import AGGREGATOR, Table

NIGHTLY = os.environ.get("RIVERBANK_NIGHTLY") == "1"
COHORTS = range(3, 17)
# What the dropped members have still said, and nothing after it.
PHASES = ("before keys", "before shares", "before masking", "before acking", "before revealing")
FROZEN_BEFORE: dict[str, type[m.Message]] = {
    "before keys": m.EpochAnnounced,
    "before shares": m.EpochRoster,
    "before masking": m.RoundOpened,
    "before acking": m.SurvivorsNamed,
    "before revealing": m.SurvivorsAcked,
}
EVERY_SUBSET_UP_TO = 16 if NIGHTLY else 8
SAMPLED = 2  # Per size, in larger cohorts.


def names_of(count: int) -> tuple[str, ...]:
    return tuple(f"bank{index:02}" for index in range(count))


@cache
def frozen(count: int, phase: str) -> Table:
    """A cohort whose next unread record is the one that the phase answers; nobody changes it, everybody forks it."""
    at = PHASES.index(phase)
    table = frozen(count, PHASES[at - 1]).fork() if at else Table(names_of(count), rounds_per_epoch=1)
    table.until(FROZEN_BEFORE[phase])
    return table


def subsets(count: int) -> Iterator[tuple[str, ...]]:
    """Who falls silent: every subset of up to a third, or of each size a sample."""
    names = names_of(count)
    rng = random.Random(count)
    for size in range(count // 3 + 1):
        every = itertools.combinations(names, size)
        if count <= EVERY_SUBSET_UP_TO:
            yield from every
        else:
            yield from {tuple(sorted(rng.sample(names, size))) for _ in range(SAMPLED if size else 1)}


def ended_round(count: int, phase: str, gone: tuple[str, ...]) -> Table:
    """The round, or its set-up, with these members silent from this phase on."""
    table = frozen(count, phase).fork()
    table.silent = lambda sender, _: sender in gone
    contribute = table.contribute
    table.contribute = lambda name, wanted: None if name in gone else contribute(name, wanted)
    in_setup = PHASES.index(phase) < PHASES.index("before masking")
    table.until(m.ModelPublished, m.RoundAbandoned, *([m.EpochClosed] if in_setup else []))
    table.deliver()
    return table


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("count", COHORTS)
def test_any_third_falls_silent(count: int, phase: str):
    """The sum of those who stayed, exactly; or, where too few stayed, an end with a reason and no share revealed."""
    for gone in subsets(count):
        table = ended_round(count, phase, gone)
        models = [received.message for received in table.said(m.ModelPublished)]
        revealed = {received.sender for received in table.said(m.SharesRevealed)}
        stayed = [name for name in names_of(count) if name not in gone]
        # In the set-up, the roster shrinks with the silent; the threshold is that of the roster.
        roster = len(stayed) if phase == "before keys" else count
        if len(stayed) >= max(3, threshold_of(roster)):
            contributors = stayed if PHASES.index(phase) <= PHASES.index("before masking") else list(names_of(count))
            [model] = models
            assert model.contributors == tuple(contributors), (gone, model)
            assert model.sum_digest == digest_of(ring.to_bytes(table.plain_sum(contributors, model.round))), gone
        else:
            assert models == [], gone
            # Before the last phase nobody reveals; in it, fewer than the threshold do.
            assert len(revealed) < threshold_of(count), gone
        assert table.coordinator.transcript.round is None
        assert all(who == AGGREGATOR and report.kind == "late" for who, report in table.reports), table.reports

"""A head in groups as it is run, on a real broker: one institution of nine poisons its update, and the rule says how far it gets."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

from federation import messages as m
from federation.rounds import merging
from federation.rounds.effects import PrepareContribution, RingVector
from federation.rounds.head_transcript import Merged
from federation.secagg import ring
from riverbank.embedded.kafka import EmbeddedKafka
from tests.aggregator_worker.troupe import Troupe

pytestmark = [pytest.mark.broker]
NAMES = ("alder", "beech", "cherry", "elder", "fir", "hazel", "juniper", "larch", "maple")
POISONER = "elder"
DIMENSION = 70_000  # Two chunks, of two partitions.
CUSTOMERS = 10
# What honest institutions have learned: 100 quanta a customer in one direction, of the 1,000 that a customer may bring.
TRUTH = np.where(np.arange(DIMENSION) % 2, 1.0, -1.0) / np.sqrt(DIMENSION)


def contribution(name: str, wanted: PrepareContribution) -> RingVector:
    """An honest sum of ten customers' updates; or the opposite, as long as ten customers at the clip norm can be."""
    rng = np.random.Generator(np.random.PCG64(list(f"{name}/{wanted.round_id}".encode())))
    norm = wanted.parameters.clip_quanta
    honest = CUSTOMERS * norm / 10 * TRUTH + rng.normal(scale=0.3, size=DIMENSION)
    values = np.rint(-CUSTOMERS * norm * TRUTH if name == POISONER else honest).astype(np.int64)
    return ring.from_integers(np.append(values, CUSTOMERS * wanted.parameters.count_quanta))


@pytest_asyncio.fixture
async def troupe(tmp_path: Path) -> AsyncIterator[Troupe]:
    """Nine institutions in three groups; a drawing has keys for few rounds, so that the next one is soon."""
    async with EmbeddedKafka(tmp_path / "kafka") as kafka:
        made = Troupe(kafka.bootstrap, tmp_path, NAMES, dimension=DIMENSION)
        made.cast.contribute = contribution
        made.head_lines = ("groups = 3", 'group_rule = "median"')
        await made.prepare(epoch_rounds=8)
        yield made
        await made.close()


async def test_a_median_of_groups_bounds_what_a_poisoner_does_and_a_mean_does_not(troupe: Troupe):
    """Through Kafka and Faust, with a SIGKILL in a round and the rule changed: every sum exact, every merged model worked out again."""
    first = troupe.start()
    await troupe.cast.play(lambda cast: len(cast.merged) >= 3)
    opened = len(troupe.cast.said(m.RoundOpened))
    await troupe.cast.play(lambda cast: len(cast.said(m.RoundOpened)) > opened)
    await first.ended(signal.SIGKILL)
    troupe.start()
    await troupe.cast.play(lambda cast: len(cast.merged) >= 5)
    await troupe.workers[-1].ended(signal.SIGTERM)

    troupe.head_lines = ("groups = 3", 'group_rule = "mean"')
    troupe.write_settings(epoch_rounds=8)
    troupe.start()
    in_mean = lambda cast: {said.epoch for said in cast.said(m.GroupsInvited) if said.rule is m.GroupRule.MEAN}  # noqa: E731
    await troupe.cast.play(lambda cast: sum(each.epoch in in_mean(cast) for each in cast.merged) >= 2)

    vectors, totals = await troupe.vectors()
    terms = {said.epoch: said for said in troupe.cast.said(m.GroupsInvited)}
    # How far each model went along what the honest have learned, as a share of what they would have given together.
    steps: dict[m.GroupRule, list[float]] = {rule: [] for rule in m.GroupRule}
    base, version = np.zeros(DIMENSION), 0
    for merged in troupe.cast.merged:
        if merged.version > version:
            assert merging.problem(Merged(merged, terms[merged.epoch]), base, totals, vectors[merged.model_digest]) is None
            learned = 0.1 * terms[merged.epoch].parameters.clip_norm
            steps[terms[merged.epoch].rule].append(float((vectors[merged.model_digest] - base) @ TRUTH) / learned)
            base, version = vectors[merged.model_digest], merged.version

    assert troupe.cast.wrong_sums() == []
    assert {report.kind for _, report in troupe.cast.reports} <= {"second_decision", "out_of_phase", "stale"}
    assert 0.9 < min(steps[m.GroupRule.MEDIAN]) <= max(steps[m.GroupRule.MEDIAN]) < 1.1
    assert max(steps[m.GroupRule.MEAN]) < 0.0  # One at the norm bound outweighs eight who are not.
    assert {state.head.model_digest for state in troupe.cast.states.values()} == {troupe.cast.merged[-1].model_digest}

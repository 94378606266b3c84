"""The shell of a head whose institutions are drawn into groups: sums opened apart, one model merged, restarts anywhere."""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np
import pytest
import pytest_asyncio

from aggregator_worker.past import find_past
from federation import messages as m
from federation.rounds import merging
from federation.rounds.head_coordinator_state import Grouping
from federation.rounds.head_transcript import Merged
from streams.model_chunks import ModelJoiner, SumJoiner
from streams.signed import open_record
from streams.topology import MODELS, ROUNDS, lane_partition
from tests.aggregator_worker.test_head_shell import AGGREGATOR, DIMENSION, FEDERATION, HEAD, Stand

MEDIAN = Grouping(groups=3, rule=m.GroupRule.MEDIAN, trim=0, groups_min=3)


class GroupStand(Stand):
    """Nine institutions in three groups."""

    def __init__(self) -> None:
        super().__init__("abcdefghi", grouping=MEDIAN)

    def check(self) -> None:
        """Every merged model is what the rule makes of sums that are exact, bit for bit; nothing failed."""
        assert self.failures == []
        assert self.cast.wrong_sums() == []
        models, sums = ModelJoiner(), SumJoiner()
        vectors, totals = {}, {}
        for record in self.log.records(MODELS.full_name(), lane_partition(HEAD)):
            piece = open_record(record.value or b"", topic=MODELS, federation=FEDERATION, verify=self.parties.directory.verify).message
            if isinstance(piece, m.SumChunk):
                totals[piece.sum_digest] = sums.add(piece, sender=AGGREGATOR)
            else:
                vectors[piece.model_digest] = models.add(piece, sender=AGGREGATOR)
        terms = {invited.epoch: invited for invited in self.cast.said(m.GroupsInvited)}
        base, version = np.zeros(DIMENSION), 0
        for merged in self.cast.merged:
            if merged.version > version:  # Else said twice; whoever reads the log takes the first.
                assert merging.problem(Merged(merged, terms[merged.epoch]), base, totals, vectors[merged.model_digest]) is None
                base, version = vectors[merged.model_digest], merged.version


@pytest_asyncio.fixture
async def stand() -> AsyncIterator[GroupStand]:
    made = GroupStand()
    await made.parties.publish(made.log)
    yield made
    await made.kill()


def merged(count: int):
    return lambda cast: len(cast.merged) >= count


async def test_groups_are_merged_round_by_round(stand: GroupStand):
    """Three rounds, three models, each the median of three groups' means; the next drawing takes over; nobody is accused."""
    await stand.start()
    await stand.cast.play(merged(9))

    stand.check()
    assert stand.faults() == set()
    assert all([said.group for said in each.sums] == [1, 2, 3] for each in stand.cast.merged)
    assert len({each.epoch for each in stand.cast.merged}) > 1
    assert [each.round for each in stand.cast.merged] == list(range(1, len(stand.cast.merged) + 1))


@pytest.mark.parametrize(
    "kind",
    [m.GroupsInvited, m.LotSealed, m.LotsFixed, m.LotRevealed, m.EpochReady, m.RoundOpened, m.SurvivorsNamed, m.SumOpened, m.GroupsMerged],
)
async def test_a_restart_anywhere_loses_nothing(stand: GroupStand, kind: type[m.Message]):
    """Killed after a record of any kind: the drawing and the round go on where they were, every sum and every model is exact."""
    await stand.start()
    before = len(stand.cast.said(kind))
    await stand.cast.play(lambda cast: len(cast.said(kind)) > before)
    await stand.kill()
    await stand.start(stand.ends())
    await stand.cast.play(merged(len(stand.cast.merged) + 2))

    stand.check()
    assert stand.cast.said(m.MergeAbandoned) == []
    assert stand.cast.said(m.RoundAbandoned) == []
    assert stand.cast.said(m.DrawingVoided) == []


async def test_a_rebuild_begins_with_the_drawing_in_use(stand: GroupStand):
    """A head with a long past is rebuilt from the invitation to its present drawing on."""
    await stand.start()
    await stand.cast.play(merged(12))
    await stand.kill()
    await stand.start(stand.ends())
    end = stand.ends()[ROUNDS.full_name(), lane_partition(HEAD)]
    past = await find_past(stand.log, lane_partition(HEAD), end, stand.lane._received, AGGREGATOR)
    begins = open_record(
        stand.log.records(ROUNDS.full_name(), lane_partition(HEAD))[past.begin].value or b"",
        topic=ROUNDS, federation=FEDERATION, verify=stand.parties.directory.verify,
    )  # fmt: skip
    await stand.cast.play(merged(len(stand.cast.merged) + 2))

    assert isinstance(begins.message, m.GroupsInvited)
    assert begins.message.epoch > 1
    stand.check()


async def test_a_head_goes_into_groups_and_comes_out_again(stand: GroupStand):
    """The operator turns groups on, and off again: the versions of the model go on, whoever reads the log agrees."""
    stand.grouping = None
    await stand.start()
    await stand.cast.play(lambda cast: len(cast.published) >= 2)
    await stand.kill()
    stand.grouping = MEDIAN
    await stand.start(stand.ends())
    await stand.cast.play(merged(2))
    await stand.kill()
    stand.grouping = None
    await stand.start(stand.ends())
    plain = len(stand.cast.published)
    await stand.cast.play(lambda cast: len(cast.published) >= plain + 2)
    versions = [each.version for each in sorted((*stand.cast.published, *stand.cast.merged), key=lambda each: each.published_at_ms)]

    assert stand.failures == []
    assert stand.cast.wrong_sums() == []
    assert versions == list(range(1, len(versions) + 1))
    assert {state.head.model_version for state in stand.cast.states.values()} == {versions[-1]}
    assert stand.faults() == set()


async def test_the_audit_names_the_group(stand: GroupStand):
    """Every record of a group's round is audited under the group's lane, the head's own under the head."""
    await stand.start()
    await stand.cast.play(merged(1))
    entries = {(entry.action, entry.head) for entry in stand.entries()}

    assert {("SumOpened", f"credit/{group}") for group in (1, 2, 3)} <= entries
    assert {("GroupsMerged", "credit"), ("LotSealed", "credit"), ("SumChunk", "credit/2")} <= entries
    assert {head for action, head in entries if action == "MaskedUpdate"} == {"credit/1", "credit/2", "credit/3"}

"""Where a rebuild begins, and what it passes over."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from aggregator_worker.past import Past, find_past
from federation import messages as m
from federation.rounds.effects import Received
from streams.memory import MemoryLog
from streams.ports import Outgoing, Record
from streams.topology import ROUNDS

AGGREGATOR = "aggregator"
LANE = {"head": m.HeadName.CREDIT, "group": 0}


def announced(epoch: int) -> m.EpochAnnounced:
    parameters = m.RoundParameters(
        dimension=1,
        layout_digest=bytes(32),
        clip_norm=1.0,
        clip_quanta=2,
        count_quanta=1,
        noise_sigma=0.0,
        participations_max=1,
        period_days=365,
        delta=1e-6,
        chunk_length=1,
    )
    return m.EpochAnnounced(
        **LANE,
        epoch=epoch,
        rounds=8,
        invited=(),
        serials=(),
        first_round=1,
        keys_deadline_ms=0,
        shares_deadline_ms=0,
        parameters=parameters,
    )


def opened(epoch: int, number: int) -> m.RoundOpened:
    return m.RoundOpened(
        **LANE, epoch=epoch, round=number, ready_digest=bytes(32), model_version=0, model_digest=bytes(32), opened_at_ms=0,
        masked_deadline_ms=0, unmask_deadline_ms=0, survivors_min=3,
    )  # fmt: skip


def ended(epoch: int, number: int) -> m.RoundAbandoned:
    return m.RoundAbandoned(**LANE, epoch=epoch, round=number, reason=m.AbandonReason.BAD_SUM, detail="", at_fault=(), abandoned_at_ms=0)


async def past_of(said: Sequence[m.Message | tuple[str, m.Message]]) -> Past:
    """What is found in a log of these messages, said by the aggregator unless a name stands before."""
    events = [Received(*((AGGREGATOR, each) if not isinstance(each, tuple) else each), bytes(32), 1) for each in said]
    log = MemoryLog({ROUNDS.full_name(): 1})
    await log.append([Outgoing(ROUNDS.full_name(), 0, None, b"") for _ in events])

    async def received(record: Record) -> Received | None:
        return events[record.offset]

    return await find_past(log, 0, len(events), received, AGGREGATOR)


async def test_the_epoch_in_use_is_that_of_the_newest_ended_round():
    """The rebuild begins with its announcement, however much lies before."""
    said = [announced(1), opened(1, 1), ended(1, 1), announced(2), opened(2, 2), ended(2, 2), opened(2, 3)]

    assert await past_of(said) == Past(begin=3, rounds_from=0, last_round=2)


async def test_an_opening_that_was_refused_misleads_nobody():
    """The opening of epoch 2 came while a round of epoch 1 was open: it is passed over, and so are the rounds of epoch 1."""
    said = [announced(1), opened(1, 1), announced(2), opened(2, 1), ended(1, 1), opened(2, 2), ended(2, 2)]
    past = await past_of(said)

    assert past == Past(begin=2, rounds_from=5, last_round=2)
    events = [Received(AGGREGATOR, message, bytes(32), 1) for message in said]
    assert [offset for offset, event in enumerate(events) if offset >= past.begin and past.counts(offset, event)] == [2, 5, 6]


async def test_an_epoch_that_is_only_opened_is_not_yet_in_use():
    """As long as no round of epoch 2 has ended, the rebuild begins with epoch 1."""
    said = [announced(1), opened(1, 1), ended(1, 1), announced(2), opened(2, 2)]

    assert await past_of(said) == Past(begin=0, rounds_from=0, last_round=1)


@pytest.mark.parametrize("said", [[], [announced(1)], [announced(1), opened(1, 1)]])
async def test_a_young_log_is_read_from_its_start(said: list[m.Message]):
    """Without an ended round, everything counts."""
    assert await past_of(said) == Past()


async def test_only_the_aggregator_ends_rounds():
    """An institution that says a round has ended does not move the beginning."""
    said = [announced(1), opened(1, 1), ended(1, 1), announced(2), opened(2, 2), ended(2, 2)]

    assert await past_of([*said, ("a", announced(9)), ("a", ended(9, 9))]) == await past_of(said)

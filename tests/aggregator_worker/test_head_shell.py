"""Lanes and chunk owners around a log in memory: everything of the aggregator but Faust and Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import pytest_asyncio

from aggregator_worker.agents import Agents
from aggregator_worker.chunk_owner import ChunkOwner
from aggregator_worker.head_shell import HeadShell
from aggregator_worker.office import Office, SystemClock
from aggregator_worker.past import find_past
from federation import messages as m
from federation.errors import Broken
from federation.ids import Lane, digest_of
from federation.members.keys import KeyRing
from federation.merge import next_model
from federation.rounds.coordinator_state import CoordinatorSettings
from federation.rounds.head_coordinator_state import Grouping
from federation.secagg.quantize import decode_sum
from streams.identity import Identity
from streams.memory import MemoryLog
from streams.model_chunks import ModelJoiner
from streams.parties import Parties
from streams.ports import Outgoing, Position
from streams.signed import open_record
from streams.topology import AUDIT, CHUNKS, FEDERATION_TOPICS, MODELS, ROUNDS, SUM_REQUESTS, SUMS, Topic, lane_partition, partitions_of
from tests.aggregator_worker.cast import Cast
from tests.credentials import AGGREGATOR, Credentials

FEDERATION = "lanes"
HEAD = m.HeadName.CREDIT
DIMENSION = 10
LAYOUT = digest_of(b"layout")
PARAMETERS = m.RoundParameters(
    dimension=DIMENSION,
    layout_digest=LAYOUT,
    clip_norm=1.0,
    clip_quanta=1000,
    count_quanta=10,
    noise_sigma=0.0,
    participations_max=1,
    period_days=365,
    delta=1e-6,
    chunk_length=4,
)
READ = (ROUNDS, SUMS, CHUNKS, SUM_REQUESTS)


class Stand:
    """A log, a cast, and an aggregator that can be killed and started again; records are delivered as Faust would."""

    def __init__(self, names: str = "abcd", *, grouping: Grouping | None = None, **settings: int) -> None:
        self.grouping = grouping
        self.log = MemoryLog(partitions_of(FEDERATION_TOPICS), now_ms=SystemClock().now_ms)
        self.parties = Credentials(FEDERATION, names)
        self.cast = Cast(self.log, self.parties, HEAD, LAYOUT, DIMENSION)
        waits = {"period_ms": 1, "masked_wait_ms": 3000, "unmask_wait_ms": 3000, "keys_wait_ms": 3000, "shares_wait_ms": 3000, **settings}
        self.settings = CoordinatorSettings(
            federation=FEDERATION, lane=Lane(HEAD), party=AGGREGATOR, sealing_secrets=(self.parties.keys[AGGREGATOR].sealing_secret,),
            parameters=PARAMETERS, rounds_per_epoch=8, rounds_left_min=2, **waits,
        )  # fmt: skip
        self.failures: list[BaseException] = []
        self.skipped: set[tuple[str, int]] = set()  # Topics and offsets that the door leaves out.
        self._tasks: list[asyncio.Task[None]] = []
        self._agents: Agents | None = None

    @property
    def lane(self) -> HeadShell:
        assert self._agents is not None
        lane = self._agents._lanes[lane_partition(HEAD)]
        assert lane is not None
        return lane

    async def start(self, committed: dict[tuple[str, int], int] | None = None) -> None:
        """A new aggregator; the door delivers from these offsets on, from the start without any."""
        known = Parties(self.log, federation=FEDERATION, ca_verify_key=self.parties.ca_verify_key)
        identity = Identity(AGGREGATOR, known, lambda: KeyRing((self.parties.keys[AGGREGATOR],)))
        office = Office(self.log, known, identity, self.parties.courier(self.log, AGGREGATOR), SystemClock())
        await known.catch_up()

        def new_lane(partition: int) -> HeadShell | None:
            if partition != lane_partition(HEAD):
                return None
            return HeadShell(self.settings, self.grouping, office, self.failures.append, lambda _count: None)

        owner = partial(ChunkOwner, office=office)
        self._agents = agents = Agents(new_lane, owner, self.failures.append)
        partitions = [(topic, number) for topic in READ for number in range(topic.partitions)]
        await agents.assigned(frozenset((topic.full_name(), number) for topic, number in partitions))
        await agents.recovered()
        self._tasks = [asyncio.create_task(self._deliver(agents, topic, number, committed or {})) for topic, number in partitions]

    async def _deliver(self, agents: Agents, topic: Topic, number: int, committed: dict[tuple[str, int], int]) -> None:
        name = topic.full_name()
        reader = await self.log.reader([Position(name, number, committed.get((name, number), 0))])
        while True:
            for record in await reader.poll(50, 1000):
                if (name, record.offset) not in self.skipped:
                    await agents.handlers()[name](record)

    async def kill(self) -> None:
        """Everything in memory is gone."""
        if self._agents is not None:
            self._agents.close()
        for task in self._tasks:
            task.cancel()
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(result, Exception):
                self.failures.append(result)
        self._tasks, self._agents = [], None

    def ends(self) -> dict[tuple[str, int], int]:
        return {(t.full_name(), n): len(self.log.records(t.full_name(), n)) for t in READ for n in range(t.partitions)}

    def models(self) -> dict[int, np.ndarray]:
        joiner, found = ModelJoiner(), {}
        for record in self.log.records(MODELS.full_name(), lane_partition(HEAD)):
            opened = open_record(record.value or b"", topic=MODELS, federation=FEDERATION, verify=self.parties.directory.verify)
            vector = joiner.add(opened.message, sender=opened.sender) if isinstance(opened.message, m.ModelChunk) else None
            if vector is not None:
                found[opened.message.version] = vector
        return found

    def entries(self) -> list[m.AuditEntry]:
        records = self.log.records(AUDIT.full_name())
        return [
            open_record(record.value or b"", topic=AUDIT, federation=FEDERATION, verify=self.parties.directory.verify).message
            for record in records
        ]

    def faults(self) -> set[tuple[str, str]]:
        return {(entry.action, entry.accused) for entry in self.entries() if entry.topic == ""}

    def check(self) -> None:
        """Every model is the one before plus the exact mean of what its contributors put in; nothing failed."""
        assert self.failures == []
        assert self.cast.wrong_sums() == []
        model = np.zeros(DIMENSION)
        models = self.models()
        for published in self.cast.published:
            mean, customers = decode_sum(self.cast.plain_sum(published), PARAMETERS, len(published.contributors))
            model = next_model(model, mean)
            assert customers == published.customers
            assert (models[published.version] == model).all()


@pytest_asyncio.fixture
async def stand() -> AsyncIterator[Stand]:
    made = Stand()
    await made.parties.publish(made.log)
    yield made
    await made.kill()


async def seen(stand: Stand, faults: set[tuple[str, str]]) -> None:
    """Wait until these faults are audited."""
    for _ in range(500):
        if stand.faults() >= faults:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(stand.faults())


def rounds_done(count: int):
    return lambda cast: len(cast.published) >= count


async def test_rounds_follow_one_another_exactly(stand: Stand):
    """Three rounds, three models, each the plain mean of the contributions to the last bit; nobody is accused."""
    await stand.start()
    await stand.cast.play(rounds_done(3))

    stand.check()
    assert stand.faults() == set()
    assert [model.contributors for model in stand.cast.published[:3]] == [tuple("abcd")] * 3


async def test_an_epoch_hands_over_to_the_next(stand: Stand):
    """More rounds than one epoch has keys for."""
    await stand.start()
    await stand.cast.play(rounds_done(10))

    stand.check()
    assert len({model.epoch for model in stand.cast.published}) > 1


@pytest.mark.parametrize(
    "kind",
    [m.EpochAnnounced, m.EpochReady, m.RoundOpened, m.MaskedUpdate, m.SurvivorsNamed, m.SurvivorsAcked, m.SharesRevealed, m.ModelPublished],
)
@pytest.mark.parametrize("forgotten", [True, False], ids=["from the start", "from the end"])
async def test_a_restart_anywhere_loses_nothing(stand: Stand, kind: type[m.Message], forgotten: bool):
    """Killed after a record of any kind, whatever the door's offsets say: the round goes on, the survivors named stay named, sums are exact."""
    await stand.start()
    seen = len(stand.cast.said(kind))
    await stand.cast.play(lambda cast: len(cast.published) >= 1 and len(cast.said(kind)) > seen + 3)
    await stand.kill()
    named = stand.cast.said(m.SurvivorsNamed)
    await stand.start({} if forgotten else stand.ends())
    await stand.cast.play(rounds_done(len(stand.cast.published) + 3))

    stand.check()
    assert stand.cast.said(m.RoundAbandoned) == []
    assert stand.cast.said(m.SurvivorsNamed)[: len(named)] == named
    assert len({named.round for named in stand.cast.said(m.SurvivorsNamed)}) == len(stand.cast.said(m.SurvivorsNamed))


async def test_a_rebuild_begins_with_the_epoch_in_use(stand: Stand):
    """A lane with a long past is rebuilt from its present epoch on, and goes on with the same model and the next round."""
    await stand.start()
    await stand.cast.play(rounds_done(20))
    known = stand.lane._state.head
    await stand.kill()
    await stand.start(stand.ends())
    rebuilt = stand.lane._state.head
    assert rebuilt.model_version >= known.model_version
    assert rebuilt.epoch_last >= known.epoch_last
    end = stand.ends()[ROUNDS.full_name(), lane_partition(HEAD)]
    assert (await find_past(stand.log, lane_partition(HEAD), end, stand.lane._received, AGGREGATOR)).begin > 0
    await stand.cast.play(rounds_done(24))

    stand.check()


async def test_records_left_out_by_the_door_are_read(stand: Stand):
    """A record of the lane that Faust skips is read from the log before the next one is looked at."""
    await stand.start()
    await stand.cast.play(rounds_done(1))
    end = stand.ends()[ROUNDS.full_name(), lane_partition(HEAD)]
    stand.skipped = {(ROUNDS.full_name(), end + number) for number in (1, 2, 5, 9)}
    await stand.cast.play(rounds_done(4))

    stand.check()


async def test_two_aggregators_do_not_fork(stand: Stand):
    """A second aggregator that takes itself for the only one: every round has one list of survivors and one end."""
    await stand.start()
    twin = Stand()
    twin.log, twin.parties, twin.cast, twin.settings = stand.log, stand.parties, stand.cast, stand.settings
    await twin.start()
    try:
        await stand.cast.play(rounds_done(4))
    finally:
        await twin.kill()

    assert twin.failures == []
    first = {(p.epoch, p.round): p.model_digest for p in reversed(stand.cast.published)}
    assert len({p.version for p in stand.cast.published}) == len(first)


async def test_a_chunk_that_is_not_what_was_promised_costs_one_round(stand: Stand):
    """A member whose body in the log has another digest than its update says: the round is abandoned at once, and names it."""
    stand.settings = replace(stand.settings, renewal_wait_ms=1, masked_wait_ms=500, unmask_wait_ms=500)
    await stand.start()
    real = stand.cast._send

    async def forged(outgoing: list[Outgoing]) -> None:
        await real([forge(record) for record in outgoing])

    def forge(record: Outgoing) -> Outgoing:
        if record.topic != CHUNKS.full_name():
            return record
        opened = open_record(record.value or b"", topic=CHUNKS, federation=FEDERATION, verify=stand.parties.directory.verify)
        chunk = opened.message
        assert isinstance(chunk, m.MaskedChunk)
        if chunk.institution != "b" or chunk.round != 2 or chunk.chunk != 1:
            return record
        other = replace(chunk, body=chunk.body[:-1] + bytes([chunk.body[-1] ^ 1]))
        return stand.parties.courier(stand.log, "b").prepare([other], 0)[0]

    stand.cast._send = forged
    await stand.cast.play(lambda cast: len(cast.said(m.RoundAbandoned)) == 1)
    (abandoned,) = stand.cast.said(m.RoundAbandoned)
    assert isinstance(abandoned, m.RoundAbandoned)
    assert (abandoned.round, abandoned.at_fault) == (2, ("b",))
    await stand.cast.play(rounds_done(4))

    stand.check()


async def test_who_is_not_a_survivor_is_taken_out_of_the_sum(stand: Stand):
    """Chunks that came without their update in time were added already, and are subtracted again."""
    stand.settings = replace(stand.settings, masked_wait_ms=300)
    await stand.start()
    real = stand.cast._send

    async def without_update(outgoing: list[Outgoing]) -> None:
        await real([record for record in outgoing if not is_update(record)])

    def is_update(record: Outgoing) -> bool:
        if record.topic != ROUNDS.full_name():
            return False
        message = open_record(record.value or b"", topic=ROUNDS, federation=FEDERATION, verify=stand.parties.directory.verify).message
        return isinstance(message, m.MaskedUpdate) and message.institution == "d" and message.round == 2

    stand.cast._send = without_update
    await stand.cast.play(rounds_done(3))

    assert stand.cast.published[1].contributors == tuple("abc")
    stand.check()


async def test_a_chunk_in_the_wrong_partition_is_refused(stand: Stand):
    """Chunks are summed where their number belongs; elsewhere they would be added twice by two owners."""
    await stand.start()
    chunk = m.MaskedChunk(head=HEAD, group=0, epoch=1, round=1, institution="a", chunk=1, chunks=3, body=bytes(64))
    record = stand.parties.courier(stand.log, "a").prepare([chunk], 0)[0]
    await stand.log.append([replace(record, partition=(record.partition + 1) % CHUNKS.partitions)])
    await seen(stand, {("wrong_partition", "a")})


async def test_partner_partitions_must_come_together(stand: Stand):
    """A lane without its sums, or chunks without their requests, is a fault of ours that stops the process."""
    await stand.start()
    assert stand._agents is not None
    everything = [(topic.full_name(), number) for topic in READ for number in range(topic.partitions)]
    for lacking in ((SUMS.full_name(), 1), (SUM_REQUESTS.full_name(), 2)):
        with pytest.raises(Broken, match="assigned to different workers"):
            await stand._agents.assigned(frozenset(everything) - {lacking})


async def test_strangers_and_forgers_are_refused_by_name(stand: Stand):
    """Records that are not the federation's, or not their sender's, are audited and change nothing."""
    await stand.start()
    await stand.cast.play(rounds_done(1))
    foreign = Credentials(FEDERATION, "z")
    lane = lane_partition(HEAD)
    keys = m.EpochKeys(head=HEAD, group=0, epoch=1, institution="z", channel_key=bytes(32), round_keys=bytes(32))
    ours = stand.parties.courier(stand.log, "a")
    summed = m.ChunkSummed(head=HEAD, group=0, epoch=1, round=1, chunk=0, survivors_digest=bytes(32), body=b"")
    await stand.log.append([foreign.courier(stand.log, "z").prepare([keys], 0)[0]])
    await stand.log.append([ours.prepare([summed], 0)[0]])
    await stand.log.append([Outgoing(ROUNDS.full_name(), lane, None, b"noise")])
    await seen(stand, {("unknown_sender", "z"), ("wrong_role", "a"), ("malformed", "")})

    assert stand.failures == []


async def test_a_new_institution_is_known_at_once(stand: Stand):
    """A record of a party certified after our start is not a stranger's."""
    await stand.start()
    late = Credentials(FEDERATION, "y")
    await late.certify(stand.log, late.certificate("y"))
    keys = m.EpochKeys(head=HEAD, group=0, epoch=7, institution="y", channel_key=bytes(32), round_keys=bytes(32))
    await stand.log.append([late.courier(stand.log, "y").prepare([keys], 0)[0]])
    await seen(stand, {("stale", "y")})

    assert {kind for kind, accused in stand.faults() if accused == "y"} == {"stale"}

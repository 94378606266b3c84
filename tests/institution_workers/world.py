"""Banks, an aggregator made of the coordinator's core, one log in memory, one clock.

Used by test_participation.py.
Never waits: time passes only when nobody has anything to do."""

from __future__ import annotations

import hashlib
import itertools
import math
from functools import partial

import numpy as np

from federation.ids import Lane, body_digest_of
from federation.members.keys import KeyRing
from federation.messages import GroupsMerged, HeadName, ModelPublished, RoundParameters
from federation.rounds import coordinator, head_coordinator
from federation.rounds.effects import ChunksSummed, Publish, PublishModel, PublishSum, Received, SumChunks, Tick
from federation.secagg.ring import from_bytes
from federation.secagg.sealing import SEAL_OVERHEAD_BYTES, unseal
from institution_workers.participation import Budget, Member, Participation
from institution_workers.remembered_parties import RememberedParties
from institution_workers.speaker import Speaker
from institution_workers.storage import Store
from institution_workers.study import Study
from streams.courier import Courier
from streams.identity import Identity
from streams.memory import MemoryLog
from streams.model_chunks import cut, cut_sum
from streams.parties import Parties
from streams.ports import Position
from streams.signed import open_record
from streams.topology import AUDIT, CHUNKS, FEDERATION_TOPICS, ROUNDS, Cluster, lane_partition, partitions_of
from tests.credentials import Credentials

FED, FRAUD = "fed", HeadName.FRAUD
UNLIMITED = Budget(math.inf, 1)
BANKS = ("bank-a", "bank-b", "bank-c", "bank-d")


class Crash(BaseException):
    """The process is gone."""


def _entropy(seed):
    numbers = itertools.count()
    return lambda count: hashlib.shake_256(f"{seed}/{next(numbers)}".encode()).digest(count)


class Bank:
    """One institution's worker on a state folder; `reach` may crash it."""

    def __init__(self, world, name):
        self.world, self.name = world, name
        self.ring = KeyRing((world.credentials.keys[name],))
        self.lives = 0
        self.reach = lambda _point: None
        self.start()

    def start(self):
        world, self.lives = self.world, self.lives + 1
        self.store = Store.open(world.folder / self.name, self.name)
        self.study = Study(self.store, self.name, (FRAUD,), clock=world.clock, encoders=world.encoders)
        memory = RememberedParties(self.store)
        parties = Parties(world.log, federation=FED, ca_verify_key=world.credentials.ca_verify_key, memory=memory)
        self.identity = Identity(self.name, parties, lambda: self.ring)
        courier = Courier(world.log, federation=FED, sender=self.name, sign=self.identity.sign)
        self.participation = Participation(
            world.log,
            self.store,
            self.study,
            Speaker(self.store, Cluster.FEDERATION, world.log, reach=self._reached),
            courier,
            parties,
            self.identity,
            member=Member(self.name, {FRAUD: world.budget}),
            clock=world.clock,
            entropy=_entropy(f"{self.name}, life {self.lives}"),
            reach=self._reached,
        )
        self.running = True

    def _reached(self, point):
        self.reach(point)

    def stop(self):
        self.running = False
        self.store.close()

    @property
    def pupil(self):
        return self.study.pupils[FRAUD]

    def rested(self):
        return self.pupil.basis.version == self.world.published[-1].version

    def learn(self, scribe, count, positive, customer=None):
        scribe.bank = self.name
        batch = []
        for _ in range(count):
            event_id = f"{self.name}-{next(self.world.numbers)}"
            batch += [
                scribe.payment(event_id, customer=customer or f"{self.name}-{next(self.world.numbers)}"),
                scribe.outcome(f"o-{event_id}", event_id, positive=positive),
            ]
        self.study.turn(batch)


class World:
    """Banks, an aggregator made of the coordinator's core, one log, one clock."""

    def __init__(self, folder, clock, encoders, banks=BANKS, *, budget=UNLIMITED, grouping=None, **changes):
        self.budget = budget
        self.folder, self.clock, self.encoders, self.numbers = folder, clock, encoders, itertools.count()
        self.log = MemoryLog(partitions_of(FEDERATION_TOPICS), now_ms=clock.now_ms)
        self.credentials = Credentials(FED, banks)
        self.aggregator_keys = self.credentials.keys["aggregator"]
        self.courier = self.credentials.courier(self.log, "aggregator")
        self.banks = {name: Bank(self, name) for name in banks}
        dimension = len(encoders.fraud.layout)
        parameters = RoundParameters(
            **{
                "dimension": dimension, "layout_digest": encoders.fraud.layout.digest, "clip_norm": 10.0, "clip_quanta": 1 << 16,
                "count_quanta": 1 << 14, "noise_sigma": 0.0, "participations_max": 1, "period_days": 365, "delta": 1e-6, "chunk_length": 50,
                **changes,
            }
        )  # fmt: skip
        settings = coordinator.CoordinatorSettings(
            federation=FED, lane=Lane(FRAUD), party="aggregator", sealing_secrets=(self.aggregator_keys.sealing_secret,),
            parameters=parameters, rounds_per_epoch=16, period_ms=1000, masked_wait_ms=800, unmask_wait_ms=800,
            keys_wait_ms=800, shares_wait_ms=800, renewal_wait_ms=1000, rounds_left_min=2,
        )  # fmt: skip
        self.state = head_coordinator.initial(
            settings, grouping, invited=dict.fromkeys(banks, 1), model_version=0, model=np.zeros(dimension)
        )
        self.reader = None
        self.chunks_read, self.bodies = {}, {}
        self.published = []
        self.forged = lambda effect: effect  # What a dishonest aggregator does instead.
        self.says = lambda _message: True

    async def certify(self, names=None):
        await self.credentials.publish(self.log, names)

    def opened(self, topic, partition=0):
        verify = self.credentials.directory.verify
        records = self.log._stored[topic.full_name(), partition].records
        return [open_record(r.value, topic=topic, federation=FED, verify=verify) for r in records]

    async def aggregate(self):
        """The aggregator's shell in its simplest form."""
        if self.reader is None:
            self.reader = await self.log.reader([Position(ROUNDS.full_name(), lane_partition(FRAUD), 0)])
        records = await self.reader.poll(100, 0)
        verify = self.credentials.directory.verify
        opened = [open_record(r.value, topic=ROUNDS, federation=FED, verify=verify) for r in records]
        events = [Received(each.sender, each.message, each.digest, each.serial) for each in opened]
        self.published += [each.message for each in opened if isinstance(each.message, (ModelPublished, GroupsMerged))]
        for event in (*events, Tick(self.clock.now_ms())):
            await self._step(event)
        return len(records)

    async def _step(self, event):
        self.state, effects = head_coordinator.step(self.state, event)
        for effect in map(self.forged, effects):
            if isinstance(effect, Publish):
                await self.courier.send(self.courier.prepare([effect.message], self.clock.now_ms()))
            elif isinstance(effect, PublishModel):
                pieces = cut(FRAUD, effect.message.version, effect.vector)
                await self.courier.send(self.courier.prepare([*pieces, effect.message], self.clock.now_ms()))
            elif isinstance(effect, PublishSum):
                said = [*cut_sum(effect.message, effect.total), effect.message]
                await self.courier.send(self.courier.prepare([each for each in said if self.says(each)], self.clock.now_ms()))
            elif isinstance(effect, SumChunks):
                await self._step(ChunksSummed(effect.round_id, effect.survivors_digest, self._sum(effect)))

    def _sum(self, effect):
        verify = self.credentials.directory.verify
        for partition in range(CHUNKS.partitions):
            records = self.log._stored[CHUNKS.full_name(), partition].records
            for record in records[self.chunks_read.get(partition, 0) :]:
                chunk = open_record(record.value, topic=CHUNKS, federation=FED, verify=verify).message
                plain = unseal(
                    chunk.body, self.aggregator_keys.sealing_secret, plain_bytes=len(chunk.body) - SEAL_OVERHEAD_BYTES, accused=""
                )
                self.bodies[body_digest_of(chunk.body)] = from_bytes(plain, len(plain) // 4, accused="")
            self.chunks_read[partition] = len(records)
        vectors = [np.concatenate([self.bodies[digest] for digest in digests]) for _, digests in effect.chunk_digests]
        return np.sum(vectors, axis=0, dtype=np.uint32)

    async def run(self, until, ms_max=30_000):
        """Let everybody step until the condition holds; banks that crash are restarted at once."""
        deadline = self.clock.at_ms + ms_max
        while not until():
            assert self.clock.at_ms < deadline, "nothing came of it"
            progress = await self.aggregate()
            for bank in [bank for bank in self.banks.values() if bank.running]:
                try:
                    progress += await bank.participation.step(0)
                except Crash:
                    bank.stop()
                    bank.reach = lambda _point: None
                    bank.start()
                    progress += 1
            if not progress:
                self.clock.at_ms += 50

    async def rounds(self, count, scribe=None):
        """Run until so many more models are published and adopted; with a scribe, everybody learns something before each."""
        for wanted in range(len(self.published) + 1, len(self.published) + count + 1):
            running = [bank for bank in self.banks.values() if bank.running]
            for bank in running if scribe else ():
                bank.learn(scribe, 2, positive=True)
            await self.run(partial(self.settled, wanted, running))

    def settled(self, wanted, running):
        return len(self.published) >= wanted and all(bank.rested() for bank in running)

    def faults(self):
        return [(e.message.actor, e.message.action, e.message.accused) for e in self.opened(AUDIT) if e.message.outcome != "sent"]

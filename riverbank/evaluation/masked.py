"""A round with everything: the institutions' own participation, the coordinator's core, masks and signatures, over a log in memory.

Used by `course`; the shell around the coordinator is as thin as one process without failures allows.
Never waits: time stands still while anybody has something to read, and passes when a round is due."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from aggregator_worker.chunk_sums import ChunkSums, Missing, opener
from federation.errors import Broken, OwnFault
from federation.members.keys import KeyRing, PartyKeys
from federation.messages import MaskedChunk, ModelPublished, RoundAbandoned, SumRequested, SumTerm
from federation.rounds import head_coordinator
from federation.rounds.coordinator import CoordinatorSettings
from federation.rounds.effects import ChunksSummed, Effect, Event, Publish, PublishModel, Received, Report, SumChunks, Tick, WakeAt
from federation.secagg import ring
from federation.secagg.keys import Secret
from federation.secagg.quantize import contribution_length
from institution_workers.participation import Budget, Member, Participation
from institution_workers.speaker import Speaker
from riverbank.evaluation.institution import Institution, SeededEntropy, SetClock
from riverbank.provisioning.federations import Founded, found
from streams.identity import Identity
from streams.memory import MemoryLog
from streams.model_chunks import cut
from streams.parties import Parties
from streams.ports import LogReader, Position
from streams.signed import Opened
from streams.topology import CHUNKS, FEDERATION_TOPICS, MEMBERS, PARTIES, ROUNDS, Cluster, Topic, lane_partition, partitions_of

_BATCH: Final = 10_000
_SWEEPS_MAX: Final = 1_000  # A round takes about ten.
_LATE_MS: Final = 50
_EVERYTHING: Final = 1 << 62


class MaskedRounds:
    """Rounds of some institutions, all of whom take part in each."""

    def __init__(self, institutions: Sequence[Institution], settings: CoordinatorSettings, *, clock: SetClock, seed: int) -> None:
        self._institutions = institutions
        self._settings = settings
        self._clock = clock
        self._log = MemoryLog(partitions_of(FEDERATION_TOPICS), now_ms=clock.now_ms)
        names = tuple(each.name for each in institutions)
        self._founded = _founded(settings.federation, names, seed, clock.now_ms())
        self._courier = self._founded.courier(self._log, settings.party)
        self._parties = self._registry()
        self._participations = [self._participation(institution) for institution in institutions]
        self._readers: dict[Topic, LogReader] = {}
        self._sums = ChunkSums(opener(lambda: settings.sealing_secrets))
        dimension = settings.parameters.dimension
        self._state = head_coordinator.initial(settings, None, invited=dict.fromkeys(names, 1), model_version=0, model=np.zeros(dimension))
        self.model = np.zeros(dimension)
        self.held = 0  # Rounds, those without a model included.
        self.abandoned = 0

    async def open(self) -> None:
        """Certify everybody, and agree on the first epoch's keys."""
        await self._founded.publish(self._log, self._clock.now_ms())
        await self._parties.catch_up()
        for participation in self._participations:
            await participation.open()
        partition = lane_partition(self._settings.lane.head)
        self._readers[ROUNDS] = await self._log.reader([Position(ROUNDS.full_name(), partition, 0)])
        self._readers[CHUNKS] = await self._log.reader([Position(CHUNKS.full_name(), number, 0) for number in range(CHUNKS.partitions)])

    async def hold(self) -> None:
        """One round, from its opening until everybody rests on what came of it."""
        before = self.held
        self._clock.at_ms += self._settings.period_ms
        for _ in range(_SWEEPS_MAX):
            if not await self._sweep():
                if self.held > before:
                    break
                self._clock.at_ms += _LATE_MS
        else:
            raise Broken("a round does not end")
        if self.held != before + 1:
            raise Broken(f"{self.held - before} rounds were held where one was due")
        self._forget()
        for institution in self._institutions:
            institution.forget_said()

    def bytes_sent(self) -> int | None:
        """By one institution in all rounds and set-ups, the mean of all; signed records, without Kafka's own framing or audit entries."""
        name = f"sent.{self._settings.lane.head.value}"
        sent = [institution.study.learner.counts.get(name, 0) for institution in self._institutions]
        return round(sum(sent) / len(sent))

    # --- who is there ---------------------------------------------------------------------------------------------
    def _registry(self) -> Parties:
        return Parties(self._log, federation=self._settings.federation, ca_verify_key=self._founded.ca_verify_key)

    def _participation(self, institution: Institution) -> Participation:
        def reach(point: str) -> None:
            if point == "contribution wanted":
                institution.entropy.begin()

        head, parties = self._settings.lane.head, self._registry()
        return Participation(
            self._log,
            institution.store,
            institution.study,
            Speaker(institution.store, Cluster.FEDERATION, self._log),
            self._founded.courier(self._log, institution.name),
            parties,
            Identity(institution.name, parties, lambda: KeyRing((self._founded.keys[institution.name],))),
            member=Member(institution.name, {head: Budget(math.inf, 1)}),
            clock=self._clock,
            entropy=institution.entropy,
            reach=reach,
        )

    # --- what they do ---------------------------------------------------------------------------------------------
    async def _sweep(self) -> int:
        """Everybody reads once what has come, and answers; how many records were read."""
        records = await self._readers[ROUNDS].poll(_BATCH, 0)
        for record in records:
            opened = await self._parties.open(record, ROUNDS, in_lane=True)
            self._note(opened)
            await self._step(Received(opened.sender, opened.message, opened.digest, opened.serial))
        await self._step(Tick(self._clock.now_ms()))
        return len(records) + sum([await participation.step(0) for participation in self._participations])

    def _note(self, opened: Opened) -> None:
        if isinstance(opened.message, ModelPublished | RoundAbandoned):
            self.held += 1
            self.abandoned += isinstance(opened.message, RoundAbandoned)

    async def _step(self, event: Event) -> None:
        self._state, effects = head_coordinator.step(self._state, event)
        for effect in effects:
            await self._perform(effect)

    async def _perform(self, effect: Effect) -> None:
        match effect:
            case Publish(message):
                await self._courier.send(self._courier.prepare([message], self._clock.now_ms()))
            case PublishModel(ModelPublished() as message, vector):
                self.model = vector
                pieces = cut(message.head, message.version, vector)
                await self._courier.send(self._courier.prepare([*pieces, message], self._clock.now_ms()))
            case SumChunks():
                await self._step(ChunksSummed(effect.round_id, effect.survivors_digest, await self._summed(effect)))
            case WakeAt():
                pass  # Every sweep ends with a look at the clock.
            case Report(kind, accused, detail):
                raise Broken(f"{accused} is accused of {kind}: {detail}")
            case _:
                raise OwnFault(f"{type(effect).__name__} is not a coordinator's effect")

    async def _summed(self, asked: SumChunks) -> ring.RingVector:
        """The masked sum, as the owners of the chunks make it."""
        for record in await self._readers[CHUNKS].poll(_BATCH, 0):
            opened = await self._parties.open(record, CHUNKS)
            if not isinstance(opened.message, MaskedChunk):
                raise Broken(f"{type(opened.message).__name__} among the chunks")
            self._sums.arrive(opened.message, opened.digest, record.offset)
        round_id, values, length = asked.round_id, contribution_length(asked.parameters), asked.parameters.chunk_length
        pieces = []
        for chunk, start in enumerate(range(0, values, length)):
            request = SumRequested(
                head=round_id.lane.head, group=round_id.lane.group, epoch=round_id.epoch, round=round_id.round, chunk=chunk,
                length=min(length, values - start), survivors_digest=asked.survivors_digest, opened_at_ms=self._clock.now_ms(),
                terms=tuple(SumTerm(institution=name, chunk_digest=digests[chunk]) for name, digests in asked.chunk_digests),
            )  # fmt: skip
            summed = self._sums.request(request)
            if isinstance(summed, Missing):
                raise Broken("a chunk is not in the log as promised")
            pieces.append(ring.from_bytes(summed.body, request.length, accused=self._settings.party))
        return np.concatenate(pieces)

    def _forget(self) -> None:
        """Retention: everybody has read everything, and memory must not grow with the number of rounds."""
        for topic in FEDERATION_TOPICS:
            if topic not in {PARTIES, MEMBERS}:
                for partition in range(topic.partitions):
                    self._log.truncate(topic.full_name(), partition, _EVERYTHING)


def _founded(federation: str, names: Sequence[str], seed: int, now_ms: int) -> Founded:
    ca_seed = Secret(SeededEntropy(seed, "certification")(32))
    return found(federation, names, ca_seed=ca_seed, keys_of=lambda name: keys_of(seed, name), now_ms=now_ms)


def keys_of(seed: int, name: str) -> PartyKeys:
    """A party's keys: those of an evaluation with this seed, and of nobody else's federation."""
    return PartyKeys.from_entropy(SeededEntropy(seed, f"keys of {name}"))

"""A round with everything: the institutions' own participation, the coordinator's core, masks and signatures, over a log in memory.

Used by `course`; the shell around the coordinator is as thin as one process without failures allows.
Never waits: time stands still while anybody has something to read, and passes when a round is due."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Final

import numpy as np

from aggregator_worker.chunk_sums import ChunkSums, Missing, opener
from federation.errors import Broken, OwnFault
from federation.messages import MaskedChunk, ModelPublished, PartyRole, RoundAbandoned, SumRequested, SumTerm
from federation.rounds import coordinator
from federation.rounds.coordinator import CoordinatorSettings
from federation.rounds.effects import ChunksSummed, Effect, Event, Publish, PublishModel, Received, Report, SumChunks, Tick, WakeAt
from federation.secagg import ring
from federation.secagg.certificates import PartyKeys, certify
from federation.secagg.keys import Secret, sign, signing_public
from federation.secagg.quantize import contribution_length
from institution_workers.participation import Budget, Member, Participation
from institution_workers.parties import Parties
from institution_workers.speaker import Speaker
from riverbank.evaluation.institution import Institution, SeededEntropy, SetClock
from streams.codec import encode
from streams.courier import Courier
from streams.memory import MemoryLog
from streams.model_chunks import cut
from streams.ports import LogReader, Outgoing, Position
from streams.signed import Opened
from streams.topology import CHUNKS, FEDERATION_TOPICS, PARTIES, ROUNDS, Cluster, Topic, lane_partition, partitions_of

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
        self._ca = Secret(SeededEntropy(seed, "certification")(32))
        self._keys = {name: keys_of(seed, name) for name in (settings.party, *(each.name for each in institutions))}
        self._courier = self._courier_of(settings.party)
        self._parties = self._registry()
        self._participations = [self._participation(institution) for institution in institutions]
        self._readers: dict[Topic, LogReader] = {}
        self._sums = ChunkSums(opener(settings.sealing_secret))
        dimension = settings.parameters.dimension
        names = tuple(each.name for each in institutions)
        self._state = coordinator.initial(settings, invited=names, model_version=0, model=np.zeros(dimension))
        self.model = np.zeros(dimension)
        self.held = 0  # Rounds, those without a model included.
        self.abandoned = 0

    async def open(self) -> None:
        """Certify everybody, and agree on the first epoch's keys."""
        for name, keys in self._keys.items():
            role = PartyRole.AGGREGATOR if name == self._settings.party else PartyRole.INSTITUTION
            certified = certify(
                self._ca,
                federation=self._settings.federation,
                party=name,
                role=role,
                verify_key=keys.verify_key,
                sealing_key=keys.sealing_key,
            )
            await self._log.append([Outgoing(PARTIES.full_name(), 0, name.encode(), encode(certified))])
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
    def _courier_of(self, name: str) -> Courier:
        seed = self._keys[name].signing_seed
        return Courier(self._log, federation=self._settings.federation, sender=name, sign=partial(sign, seed))

    def _registry(self) -> Parties:
        return Parties(self._log, federation=self._settings.federation, ca_verify_key=signing_public(self._ca))

    def _participation(self, institution: Institution) -> Participation:
        def reach(point: str) -> None:
            if point == "contribution wanted":
                institution.entropy.begin()

        head = self._settings.lane.head
        return Participation(
            self._log,
            institution.store,
            institution.study,
            Speaker(institution.store, Cluster.FEDERATION, self._log),
            self._courier_of(institution.name),
            self._registry(),
            member=Member(institution.name, self._keys[institution.name].verify_key, {head: Budget(math.inf, 1)}),
            clock=self._clock,
            entropy=institution.entropy,
            reach=reach,
        )

    # --- what they do ---------------------------------------------------------------------------------------------
    async def _sweep(self) -> int:
        """Everybody reads once what has come, and answers; how many records were read."""
        records = await self._readers[ROUNDS].poll(_BATCH, 0)
        for record in records:
            opened = await self._parties.open(record, ROUNDS)
            if not isinstance(opened, Opened):
                raise Broken(f"a record of the rounds cannot be opened: {opened}")
            self._note(opened)
            await self._step(Received(opened.sender, opened.message, opened.digest))
        await self._step(Tick(self._clock.now_ms()))
        return len(records) + sum([await participation.step(0) for participation in self._participations])

    def _note(self, opened: Opened) -> None:
        if isinstance(opened.message, ModelPublished | RoundAbandoned):
            self.held += 1
            self.abandoned += isinstance(opened.message, RoundAbandoned)

    async def _step(self, event: Event) -> None:
        self._state, effects = coordinator.step(self._state, event)
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
            if not isinstance(opened, Opened) or not isinstance(opened.message, MaskedChunk):
                raise Broken(f"a chunk cannot be opened: {opened}")
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
            if topic is not PARTIES:
                for partition in range(topic.partitions):
                    self._log.truncate(topic.full_name(), partition, _EVERYTHING)


def keys_of(seed: int, name: str) -> PartyKeys:
    """A party's keys: those of an evaluation with this seed, and of nobody else's federation."""
    return PartyKeys.from_entropy(SeededEntropy(seed, f"keys of {name}"))

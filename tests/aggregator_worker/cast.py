"""Scripted institutions around a real log: the participant's core, the codec, signatures; no storage and no learning.

Used by the aggregator's tests and by benchmarks/kafka_round.py.
Never crashes: the aggregator is what is tried here."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence

import numpy as np

from federation import messages as m
from federation.ids import Lane, RoundId, digest_of
from federation.rounds import head_participant
from federation.rounds.effects import (
    ContributionReady,
    Effect,
    PartiesKnown,
    PrepareContribution,
    Publish,
    Received,
    Report,
    RingVector,
    Tick,
    model_digest,
)
from federation.rounds.head_participant import HeadParticipantState
from federation.rounds.participant_state import ParticipantSettings, Terms
from federation.secagg import ring
from federation.secagg.quantize import contribution_length
from streams.ports import Log, Outgoing, Position
from streams.signed import open_record
from streams.topology import ROUNDS, lane_partition
from tests.credentials import AGGREGATOR, Credentials

CUSTOMERS = 10


def contribution_of(name: str, wanted: PrepareContribution) -> RingVector:
    """Drawn from the name and the round; ten customers."""
    rng = np.random.Generator(np.random.PCG64(list(f"{name}/{wanted.round_id}".encode())))
    values = rng.integers(-500, 501, contribution_length(wanted.parameters), dtype=np.int64)
    values[-1] = CUSTOMERS * wanted.parameters.count_quanta
    return ring.from_integers(values)


class Cast:
    """The institutions of one head's lane, all in this process, reading one log."""

    def __init__(
        self,
        log: Log,
        parties: Credentials,
        head: m.HeadName,
        layout_digest: bytes,
        dimension: int,
        *,
        aside: Callable[[float], None] = lambda _: None,
    ) -> None:
        """`aside` hears the seconds of each turn that the institutions themselves took."""
        self.log = log
        self.parties = parties
        self.head = head
        self.aside = aside
        self.contribute: Callable[[str, PrepareContribution], RingVector | None] = contribution_of
        self.heard: list[Received] = []
        self.heard_at_ms: list[int] = []  # The broker's stamps.
        self.reports: list[tuple[str, Report]] = []
        self.contributions: dict[tuple[str, RoundId], RingVector] = {}
        self.parameters: m.RoundParameters | None = None
        terms = Terms(dimension=dimension, layout_digest=layout_digest)
        self.states: dict[str, HeadParticipantState] = {
            name: head_participant.initial(
                ParticipantSettings(
                    federation=parties.federation,
                    lane=Lane(head),
                    party=name,
                    aggregator=AGGREGATOR,
                    terms=terms,
                ),
                model_version=0,
                model_digest=model_digest(np.zeros(dimension)),
            )
            for name in parties.institutions
        }
        known = PartiesKnown(parties.directory.acceptable(0, *m.PartyRole), {1: parties.keys[AGGREGATOR].sealing_key})
        self.states = {name: head_participant.step(state, known, os.urandom)[0] for name, state in self.states.items()}
        self._couriers = {name: parties.courier(log, name) for name in parties.institutions}

    def said(self, kind: type[m.Message]) -> list[m.Message]:
        return [received.message for received in self.heard if isinstance(received.message, kind)]

    @property
    def merged(self) -> list[m.GroupsMerged]:
        return [message for message in self.said(m.GroupsMerged) if isinstance(message, m.GroupsMerged)]

    @property
    def published(self) -> list[m.ModelPublished]:
        return [message for message in self.said(m.ModelPublished) if isinstance(message, m.ModelPublished)]

    def plain_sum(self, published: m.ModelPublished | m.SumOpened) -> RingVector:
        """What the opened sum must be."""
        round_id = RoundId(Lane(published.head, published.group), published.epoch, published.round)
        total = ring.zeros(len(self.contributions[published.contributors[0], round_id]))
        for name in published.contributors:
            ring.add(total, self.contributions[name, round_id])
        return total

    def wrong_sums(self) -> list[m.ModelPublished | m.SumOpened]:
        """Published models and groups' sums that are not exactly the sum of their contributors."""
        opened = (*self.published, *self.said(m.SumOpened))
        return [said for said in opened if said.sum_digest != digest_of(ring.to_bytes(self.plain_sum(said)))]

    async def play(self, until: Callable[[Cast], bool], within_s: float = 60.0) -> None:
        """Read and answer until the condition holds; AssertionError with what was heard if it does not within the time."""
        reader = await self.log.reader([Position(ROUNDS.full_name(), lane_partition(self.head), len(self.heard))])
        end = time.monotonic() + within_s
        try:
            while not until(self):
                assert time.monotonic() < end, [type(received.message).__name__ for received in self.heard[-40:]]
                for record in await reader.poll(500, 20):
                    opened = open_record(
                        record.value or b"", topic=ROUNDS, federation=self.parties.federation, verify=self.parties.directory.verify
                    )
                    received = Received(opened.sender, opened.message, opened.digest, opened.serial)
                    self.heard.append(received)
                    self.heard_at_ms.append(record.timestamp_ms)
                    begun = time.perf_counter()
                    outgoing = [each for name in self.states for each in self._hear(name, received)]
                    self.aside(time.perf_counter() - begun)
                    if outgoing:
                        await self._send(outgoing)
        finally:
            await reader.close()

    async def _send(self, outgoing: Sequence[Outgoing]) -> None:
        """Chunks before the updates that name them, as a real institution does."""
        by_topic: dict[str, list[Outgoing]] = {}
        for record in outgoing:
            by_topic.setdefault(record.topic, []).append(record)
        for topic in sorted(by_topic):  # audit, chunks, rounds.
            for start in range(0, len(by_topic[topic]), 16):
                await self.log.append(by_topic[topic][start : start + 16])

    def _hear(self, name: str, received: Received) -> Sequence[Outgoing]:
        now_ms = time.time_ns() // 1_000_000
        state, _ = head_participant.step(self.states[name], Tick(now_ms), os.urandom)
        state, effects = head_participant.step(state, received, os.urandom)
        said: list[m.Message] = []
        for effect in effects:
            state = self._perform(name, state, effect, said)
        self.states[name] = state
        return self._couriers[name].prepare(said, now_ms) if said else ()

    def _perform(self, name: str, state: HeadParticipantState, effect: Effect, said: list[m.Message]) -> HeadParticipantState:
        match effect:
            case Publish(message):
                said.append(message)
            case PrepareContribution():
                values = self.contribute(name, effect)
                if values is None:
                    return state
                self.contributions[name, effect.round_id] = values
                state, effects = head_participant.step(state, ContributionReady(effect.round_id, values.copy()), os.urandom)
                for each in effects:
                    state = self._perform(name, state, each, said)
            case Report():
                self.reports.append((name, effect))
            case _:
                pass
        return state


async def cancelled(task: asyncio.Task[None]) -> None:
    """End a task that runs for ever."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

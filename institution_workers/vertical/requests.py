"""What the bank's own systems ask of its vertical worker, and what it begins by itself.

Driven by `worker` at the bank.
Never begins a run while another is under way: who asks for one is told so."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from federation import messages as m
from federation.errors import OwnFault
from institution_workers.speaker import Speaker
from institution_workers.storage import Store
from institution_workers.vertical.bank_desk import BankDesk
from institution_workers.vertical.people import Waiting, normalised
from institution_workers.vertical.runs import Runs
from institution_workers.vertical.scores import Scores
from streams.codec import DecodeError, decode
from streams.ports import Clock, Log, LogReader, Outgoing, Position, Record
from streams.topology import VERTICAL_ASKED, Cluster

_BATCH = 100
_LOG = structlog.get_logger()


class Requests:
    """The bank's requests topic."""

    def __init__(
        self, log: Log, store: Store, desk: BankDesk, runs: Runs, scores: Scores, speakers: Sequence[Speaker], *, clock: Clock
    ) -> None:
        self._log, self._store, self._desk, self._runs, self._scores = log, store, desk, runs, scores
        self._speakers, self._clock = speakers, clock
        self._topic = VERTICAL_ASKED.full_name(desk.name)
        self._reader: LogReader | None = None
        self._tried: tuple[int, int] = (0, 0)

    async def open(self) -> None:
        """Read on where the state ends."""
        await self.close()
        self._reader = await self._log.reader([Position(self._topic, 0, self._store.next_offset(self._topic, 0))])

    async def step(self, wait_ms: int) -> int:
        """One turn: requests, then what is due by itself."""
        if self._reader is None:
            await self.open()
            return 0
        records = await self._reader.poll(_BATCH, wait_ms)
        for record in records:
            await self._take(record)
        if self._runs.idle:
            await self._begin_due()
        return len(records)

    async def close(self) -> None:
        """Stop reading."""
        if self._reader is not None:
            reader, self._reader = self._reader, None
            await reader.close()

    async def _take(self, record: Record) -> None:
        try:
            asked = decode(record.value or b"", VERTICAL_ASKED.carries, VERTICAL_ASKED.bytes_max)
        except DecodeError as error:
            _LOG.warning("request refused", offset=record.offset, reason=error.reason.value)
            self._save(record, ())
            return
        if not isinstance(asked, m.VerticalAsked):
            return
        now_ms = self._clock.now_ms()
        if asked.deadline_ms <= now_ms:
            self._save(record, [self._desk.told(asked.request_id, now_ms, done=False, detail="asked too late")])
        elif asked.verb is m.VerticalVerb.PREDICT:
            with self._store.turn():
                deadline_ms = min(asked.deadline_ms, now_ms + self._desk.settings.score_wait_ms)
                self._scores.ask(asked.request_id, normalised(asked.customer), deadline_ms, now_ms)
                self._store.set_offset(record.topic, record.partition, record.offset + 1)
        else:
            await self._begin(asked, record, now_ms)
        for speaker in self._speakers:
            await speaker.flush()

    async def _begin(self, asked: m.VerticalAsked, record: Record, now_ms: int) -> None:
        try:
            if asked.verb is m.VerticalVerb.INTERSECT:
                await self._intersect(asked.policy, asked, record)
            else:
                await self._train(asked, record, warm=asked.warm)
        except OwnFault as fault:
            self._save(record, [self._desk.told(asked.request_id, now_ms, done=False, detail=str(fault))])

    async def _begin_due(self) -> None:
        """By itself: an intersection after enough new customers, a training after enough new labels; not again until there are more."""
        settings, people = self._desk.settings, self._desk.people
        shown = m.OverlapPolicy.SHOWN in settings.policies
        new = len(people.listed(fresh=True)) if shown and settings.align_after else 0
        labelled = len(people.teachable(fresh=True)) if shown and settings.train_after else 0
        if (new, labelled) == self._tried:
            return
        self._tried = (new, labelled)
        try:
            if settings.align_after and new >= settings.align_after:
                await self._intersect(m.OverlapPolicy.SHOWN, None, None, fresh=True)
            elif settings.train_after and labelled >= settings.train_after:
                await self._train(None, None, warm=self._runs.state.half is not None)
        except OwnFault as fault:
            _LOG.warning("not begun", reason=str(fault))

    async def _intersect(
        self, policy: m.OverlapPolicy, asked: m.VerticalAsked | None, record: Record | None, *, fresh: bool = False
    ) -> None:
        run, now_ms = self._runs.next_run(), self._clock.now_ms()
        event = self._desk.intersection(run, policy, fresh=fresh)

        def within() -> None:
            self._desk.intersecting(event, now_ms)
            self._remember(asked, record, run)

        await self._runs.begin(event, within)

    async def _train(self, asked: m.VerticalAsked | None, record: Record | None, *, warm: bool) -> None:
        run, now_ms = self._runs.next_run(), self._clock.now_ms()
        event, people = self._desk.training(run, warm=warm)
        alone = await asyncio.to_thread(self._desk.taught_alone, event, self._desk.alone())

        def within() -> None:
            self._desk.training_on(event, people, alone, now_ms)
            self._remember(asked, record, run)

        await self._runs.begin(event, within)

    def _remember(self, asked: m.VerticalAsked | None, record: Record | None, run: int) -> None:
        if asked is not None and record is not None:
            self._desk.people.waits(asked.verb, Waiting(asked.request_id, run, "", asked.deadline_ms))
            self._store.set_offset(record.topic, record.partition, record.offset + 1)

    def _save(self, record: Record, own: Sequence[Outgoing]) -> None:
        with self._store.turn():
            self._store.journal(Cluster.OWN, own)
            self._store.set_offset(record.topic, record.partition, record.offset + 1)

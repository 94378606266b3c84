"""The runs of a partnership: its log in, steps of the core, and their effects, saved before said.

Driven by `worker`, a step at a time; the desks begin runs through `begin`.
Never says what is not in the journal, and never computes in the event loop: a step of the core may take seconds."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from federation import messages as m
from federation.errors import OwnFault, PeerFault
from federation.secagg.keys import Secret
from federation.vertical import bank, partner
from federation.vertical.effects import (
    Abandoned,
    Effect,
    Event,
    Heard,
    Names,
    Parties,
    PassSeen,
    Report,
    Say,
    StartIntersection,
    StartTraining,
    Table,
    Tick,
)
from federation.vertical.phases import BankPhase, PartnerPhase
from federation.vertical.run import State
from federation.vertical.saved import from_record, to_record
from institution_workers.speaker import Speaker
from institution_workers.storage import StateUnusable, Store
from institution_workers.vertical.parcels import Address, Joiner, Whole, cut, opened
from streams.codec import DecodeError, decode, encode
from streams.courier import Courier
from streams.parties import Parties as KnownParties
from streams.ports import Clock, Entropy, Log, LogReader, Outgoing, Position, Record
from streams.telemetry import FAULTS
from streams.topology import VERTICAL, Cluster

_BATCH: Final = 40
_SAVED_BYTES_MAX: Final = 1 << 28
_KEPT: Final = "vertical"
_LOG = structlog.get_logger()


class Desk(Protocol):
    """What one of the two parties knows and wants; `BankDesk` and `PartnerDesk`."""

    def look_up(self, message: m.Message, now_ms: int) -> Names | Table | str | None:
        """What the core needs to answer this message, or why it is not to be answered."""
        ...

    def perform(self, effect: Effect, now_ms: int) -> Sequence[Outgoing]:
        """Remember what has come of a run; what to say on the own cluster. Inside a turn of the store."""
        ...


@dataclass(frozen=True, slots=True)
class Self:
    """Who we are in the partnership, with the keys that are ours alone."""

    parties: Parties
    is_bank: bool
    sealing_secrets: Callable[[], Sequence[Secret]]
    ridge: float
    answer_wait_ms: int

    @property
    def name(self) -> str:
        """Our name."""
        return self.parties.bank if self.is_bank else self.parties.partner

    @property
    def peer(self) -> str:
        """The other party's."""
        return self.parties.partner if self.is_bank else self.parties.bank


class Runs:
    """One party's side of all runs. A step that raised LogUnavailable is repeated after `open`."""

    def __init__(
        self,
        log: Log,
        store: Store,
        desk: Desk,
        speakers: Sequence[Speaker],
        courier: Courier,
        registry: KnownParties,
        *,
        own: Self,
        clock: Clock,
        entropy: Entropy,
        reach: Callable[[str], None] = lambda _point: None,
    ) -> None:
        """`reach` is told each labelled point, so that tests can crash there."""
        self._log, self._store, self._desk, self._speakers, self._courier = log, store, desk, speakers, courier
        self._registry, self._own, self._clock, self._entropy, self._reach = registry, own, clock, entropy, reach
        key = f"{own.parties.bank}/{own.parties.partner}".encode()
        self._place: Final = (VERTICAL.full_name(), zlib.crc32(key) % VERTICAL.partitions)
        self._joiner = Joiner()
        self._reader: LogReader | None = None
        self._one_at_a_time = asyncio.Lock()
        self.state: State = self._loaded()
        self.seen: PassSeen | None = None
        self.refused = 0

    async def open(self) -> None:
        """Say what was left unsaid, learn who is certified, read on where the state ends."""
        await self.close()
        await self._flush()
        await self._registry.catch_up()
        self._joiner = Joiner()
        self._reader = await self._log.reader([Position(*self._place, self._store.next_offset(*self._place))])

    async def step(self, wait_ms: int) -> int:
        """One turn over what the log brought within `wait_ms`; how many records that was."""
        if self._reader is None:
            await self.open()
            return 0
        records = await self._reader.poll(_BATCH, wait_ms)
        async with self._one_at_a_time:
            await self._turn(Tick(self._clock.now_ms()))
            for record in records:
                await self._read(record)
            if records and not self._joiner.incomplete:
                with self._store.turn():  # Our own records, and other parties', are not read again either.
                    self._store.set_offset(*self._place, records[-1].offset + 1)
        await self._flush()
        return len(records)

    async def begin(self, event: StartIntersection | StartTraining, within: Callable[[], None]) -> None:
        """Bank: begin a run, and do `within` in the same turn; OwnFault if one is under way, or this one cannot be."""
        await self._registry.catch_up()
        if self._own.peer not in self._registry.directory.certificates:
            raise OwnFault(f"the federation has certified nobody called {self._own.peer}: check vertical.peer")
        unfit = self._registry.unfit(self._own.peer, self._clock.now_ms())
        if unfit is not None:
            raise OwnFault(f"{self._own.peer} {unfit}")
        async with self._one_at_a_time:
            await self._turn(event, within=within)
        await self._flush()

    async def close(self) -> None:
        """Stop reading."""
        if self._reader is not None:
            reader, self._reader = self._reader, None
            await reader.close()

    async def _flush(self) -> None:
        for speaker in self._speakers:
            await speaker.flush()

    @property
    def idle(self) -> bool:
        """Whether no run is under way."""
        return self.state.phase in {BankPhase.IDLE, PartnerPhase.IDLE}

    def next_run(self) -> int:
        """A number higher than any before: the time, so that a lost state does not repeat one."""
        return max(self.state.run + 1, self._clock.now_ms())

    # --- hearing ------------------------------------------------------------------------------------------------
    async def _read(self, record: Record) -> None:
        fault: PeerFault | None = None
        whole = None
        try:
            whole = await self._joined(record)
        except PeerFault as caught:
            fault = caught
        after = record.offset + 1
        if fault is not None:
            self._save((), self.state, after, fault=fault)
        elif whole is not None:
            await self._hear(whole, after)

    async def _joined(self, record: Record) -> Whole | None:
        """The message that this record completes; None for our own records, other parties', and what is nobody's."""
        try:
            said = await self._registry.open(record, VERTICAL)
        except DecodeError as error:
            FAULTS.labels(error.reason.value).inc()  # Not even an envelope: there is nobody to accuse.
            return None
        part, parties = said.message, self._own.parties
        if not isinstance(part, m.VerticalPart) or (part.bank, part.partner) != (parties.bank, parties.partner):
            return None
        if said.sender == self._own.name:
            return None
        if said.sender != self._own.peer:
            raise PeerFault("not_entitled", "speaks in a partnership of others", accused=said.sender)
        # Whoever is suspended or revoked in the middle of a run learns no more: every step of it answers something that was heard here.
        unfit = self._registry.unfit(said.sender, self._clock.now_ms())
        if unfit is not None:
            raise PeerFault("unfit_member", unfit, accused=said.sender)
        return self._joiner.add(part)

    async def _hear(self, whole: Whole, after: int) -> None:
        now_ms = self._clock.now_ms()
        try:
            message = opened(whole, self._own.sealing_secrets(), accused=self._own.peer)
        except PeerFault as fault:
            self._save((), self.state, after, fault=fault)
            return
        if whole.deadline_ms < now_ms and not isinstance(message, m.RunAbandoned):
            _LOG.warning("too late", says=whole.says, run=whole.run, late_ms=now_ms - whole.deadline_ms)
            return
        own = self._desk.look_up(message, now_ms)
        await self._turn(Heard(whole.run, whole.sequence, message, own), after)

    async def _turn(self, event: Event, after: int | None = None, within: Callable[[], None] = lambda: None) -> None:
        """One event: computed beside the loop, then saved with its effects, in one transaction."""
        answer_by_ms = self._clock.now_ms() + self._own.answer_wait_ms
        try:
            if isinstance(event, Tick):
                state, effects = self._step(event, answer_by_ms)
            else:
                state, effects = await asyncio.to_thread(self._step, event, answer_by_ms)
        except PeerFault as fault:
            if after is None:
                raise
            self._save((), self.state, after, fault=fault)
            return
        self._reach("stepped")
        if state is not self.state or after is not None:
            self._save(effects, state, after, within=within)

    def _step(self, event: Event, answer_by_ms: int) -> tuple[State, tuple[Effect, ...]]:
        if self._own.is_bank:
            return bank.step(self.state, event, entropy=self._entropy, answer_by_ms=answer_by_ms)
        return partner.step(self.state, event, entropy=self._entropy, answer_by_ms=answer_by_ms, ridge=self._own.ridge)

    # --- saved, then said ---------------------------------------------------------------------------------------
    def _save(
        self,
        effects: Sequence[Effect],
        state: State,
        after: int | None,
        *,
        fault: PeerFault | None = None,
        within: Callable[[], None] = lambda: None,
    ) -> None:
        now_ms = self._clock.now_ms()
        reports = [effect for effect in effects if isinstance(effect, Report)]
        if fault is not None:
            reports.append(Report(fault.kind, fault.accused, fault.detail))
        with self._store.turn():
            outgoing: list[Outgoing] = []
            own: list[Outgoing] = []
            within()
            for effect in effects:
                if isinstance(effect, Say):
                    outgoing += self._records(effect, state.answer_by_ms, now_ms)
                else:
                    own += self._desk.perform(effect, now_ms)
            for report in reports:
                FAULTS.labels(report.kind).inc()
                _LOG.warning("fault", kind=report.kind, accused=report.accused, detail=report.detail)
                outgoing += self._courier.prepare_fault(report.kind, report.accused, f"run {state.run}: {report.detail}", None, now_ms)
            self._store.journal(Cluster.FEDERATION, outgoing)
            self._store.journal(Cluster.OWN, own)
            if state is not self.state:
                self._store.set_participant(_KEPT, encode(to_record(state)))
            if after is not None and not self._joiner.incomplete:
                self._store.set_offset(*self._place, after)
            self._reach("written")
        ended = state.work is None and self.state.work is not None
        self.state = state
        self._note(effects)
        self._reach("saved")
        if ended:
            self._store.erase_traces()

    def _records(self, said: Say, deadline_ms: int, now_ms: int) -> Sequence[Outgoing]:
        parties = self._own.parties
        address = Address(parties.bank, parties.partner, self._own.name, said.run, said.sequence, deadline_ms)
        sealing_key = self._registry.directory.newest(self._own.peer).sealing_key
        return self._courier.prepare(cut(said.message, address, sealing_key=sealing_key, entropy=self._entropy), now_ms)

    def _note(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, PassSeen):
                self.seen = effect
                _LOG.info("pass", run=effect.run, number=effect.number, loss=effect.loss, gain=effect.gain)
            elif isinstance(effect, Abandoned):
                self.refused += effect.reason == "refused"
                _LOG.warning("run abandoned", run=effect.run, reason=effect.reason, detail=effect.detail)

    def _loaded(self) -> State:
        phases = BankPhase if self._own.is_bank else PartnerPhase
        saved = self._store.participant(_KEPT)
        if saved is None:
            return State(self._own.parties, phases.IDLE)
        try:
            record = decode(saved, (m.VerticalSaved,), _SAVED_BYTES_MAX)
        except DecodeError as error:
            raise StateUnusable(f"the saved partnership cannot be read ({error}): move the state folder away to start afresh") from error
        return from_record(self._own.parties, phases, record)  # type: ignore[arg-type]  # The only type allowed above.

"""Joint predictions: the bank asks for the partner's points of a shared customer, with a deadline and an answer without the partner.

Driven by `worker` on both sides; `requests` asks.
Never asks about anybody whom a shown intersection has not found shared, and never answers about anybody else."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Final

import structlog

from federation import messages as m
from federation.errors import Broken, PeerFault
from federation.heads.scoring import probability_of
from federation.secagg.sealing import SEAL_OVERHEAD_BYTES, seal, unseal_with_any
from federation.vertical.scorecard import Rows
from institution_workers.speaker import Speaker
from institution_workers.storage import Store
from institution_workers.vertical.bank_desk import BankDesk
from institution_workers.vertical.people import People, Waiting
from institution_workers.vertical.runs import Runs, Self
from streams.codec import DecodeError, decode, encode
from streams.courier import Courier
from streams.parties import Parties as KnownParties
from streams.ports import Clock, Entropy, Log, LogReader, Position, Record
from streams.signed import Opened
from streams.telemetry import FAULTS
from streams.topology import VERTICAL_SCORES, Cluster

_BATCH: Final = 200
_BYTES_MAX: Final = 4096
_LOG = structlog.get_logger()


class Scores:
    """One party's side of all joint predictions; `desk` is None at the partner."""

    def __init__(
        self,
        log: Log,
        store: Store,
        people: People,
        runs: Runs,
        desk: BankDesk | None,
        speakers: Sequence[Speaker],
        courier: Courier,
        registry: KnownParties,
        *,
        own: Self,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._log, self._store, self._people, self._runs, self._desk = log, store, people, runs, desk
        self._speakers, self._courier, self._registry, self._own, self._clock, self._entropy = (
            speakers, courier, registry, own, clock, entropy,
        )  # fmt: skip
        key = f"{own.parties.bank}/{own.parties.partner}".encode()
        self._place: Final = (VERTICAL_SCORES.full_name(), zlib.crc32(key) % VERTICAL_SCORES.partitions)
        self._reader: LogReader | None = None
        self._number = 0
        self.made = 0
        self.degraded = 0

    async def open(self) -> None:
        """Read on where the state ends."""
        await self.close()
        self._reader = await self._log.reader([Position(*self._place, self._store.next_offset(*self._place))])

    async def step(self, wait_ms: int) -> int:
        """One turn: what was asked or answered, and what waits no longer."""
        if self._reader is None:
            await self.open()
            return 0
        records = await self._reader.poll(_BATCH, wait_ms)
        opened = [await self._opened(record) for record in records]
        now_ms = self._clock.now_ms()
        overdue = self._overdue(now_ms)
        if records or overdue:
            with self._store.turn():
                for record, each in zip(records, opened, strict=True):
                    self._take(record, each, now_ms)
                for waiting in self._overdue(now_ms):
                    self._tell(waiting, None, "the partner did not answer in time", now_ms)
                if records:
                    self._store.set_offset(*self._place, records[-1].offset + 1)
            for speaker in self._speakers:
                await speaker.flush()
        return len(records)

    async def close(self) -> None:
        """Stop reading."""
        if self._reader is not None:
            reader, self._reader = self._reader, None
            await reader.close()

    def ask(self, request_id: str, person: str, deadline_ms: int, now_ms: int) -> None:
        """Bank, inside a turn: ask the partner, or answer at once where it cannot be asked."""
        place, state = self._people.place_of(person), self._runs.state
        waiting = Waiting(request_id, 0, person, deadline_ms)
        if place is None or state.half is None:
            why = "nothing has been learned together yet" if state.half is None else "not known to be shared with the partner"
            self._tell(waiting, None, why, now_ms)
            return
        unfit = self._registry.unfit(self._own.peer, now_ms)
        if unfit is not None:
            self._tell(waiting, None, f"the partner {unfit}", now_ms)
            return
        self._number = max(self._number + 1, now_ms)
        self._people.waits(m.VerticalVerb.PREDICT, Waiting(request_id, self._number, person, deadline_ms))
        self._say(self._number, deadline_ms, m.JointScoreAsked(alignment=place[0], row=place[1], version=state.version), now_ms)

    # --- inside a turn ------------------------------------------------------------------------------------------
    def _overdue(self, now_ms: int) -> list[Waiting]:
        return [] if self._desk is None else [w for w in self._people.awaiting(predictions=True) if now_ms >= w.deadline_ms]

    async def _opened(self, record: Record) -> Opened | DecodeError | PeerFault:
        try:
            return await self._registry.open(record, VERTICAL_SCORES)
        except (DecodeError, PeerFault) as fault:
            return fault

    def _take(self, record: Record, said: Opened | DecodeError | PeerFault, now_ms: int) -> None:
        try:
            if isinstance(said, PeerFault):
                raise said
            if isinstance(said, DecodeError):
                FAULTS.labels(said.reason.value).inc()
                return
            self._hear(said.message, said.sender, now_ms)
        except PeerFault as fault:
            FAULTS.labels(fault.kind).inc()
            _LOG.warning("fault", kind=fault.kind, accused=fault.accused, detail=fault.detail, offset=record.offset)
            entries = self._courier.prepare_fault(fault.kind, fault.accused, fault.detail, None, now_ms)
            self._store.journal(Cluster.FEDERATION, entries)

    def _hear(self, sealed: m.Message, sender: str, now_ms: int) -> None:
        parties = self._own.parties
        if not isinstance(sealed, m.JointScoreSealed) or (sealed.bank, sealed.partner) != (parties.bank, parties.partner):
            return
        if sender == self._own.name:
            return
        if sender != self._own.peer:
            raise PeerFault("not_entitled", "speaks in a partnership of others", accused=sender)
        unfit = self._registry.unfit(sender, now_ms)
        if unfit is not None:
            raise PeerFault("unfit_member", unfit, accused=sender)
        if sealed.deadline_ms <= now_ms:
            return
        kind = m.JointScoreAnswered if self._own.is_bank else m.JointScoreAsked
        size = len(sealed.body) - SEAL_OVERHEAD_BYTES
        plain = unseal_with_any(sealed.body, self._own.sealing_secrets(), plain_bytes=size, accused=sender)
        try:
            message = decode(plain, (kind,), _BYTES_MAX)
        except DecodeError as error:
            raise PeerFault(error.reason.value, error.detail, accused=sender) from error
        if isinstance(message, m.JointScoreAsked):
            self._say(sealed.request, sealed.deadline_ms, self._answer(message), now_ms)
        elif isinstance(message, m.JointScoreAnswered):
            self._read(sealed.request, message, now_ms)

    def _answer(self, asked: m.JointScoreAsked) -> m.JointScoreAnswered:
        """The partner's."""
        state, person = self._runs.state, self._people.person_at(asked.alignment, asked.row)
        if person is None or state.half is None or asked.version != state.version:
            why = "no such row is shared" if person is None else f"the scorecard at hand is version {state.version}"
            self.degraded += 1
            return m.JointScoreAnswered(points=0.0, version=0, detail=why)
        self.made += 1
        points = float(Rows.of(self._people.actives([person])).points(state.half.weights)[0])
        return m.JointScoreAnswered(points=points, version=state.version, detail="")

    def _read(self, request: int, answered: m.JointScoreAnswered, now_ms: int) -> None:
        """The bank's."""
        for waiting in self._people.awaiting(predictions=True):
            if waiting.number == request:
                points = answered.points if answered.version == self._runs.state.version else None
                self._tell(waiting, points, answered.detail or "the partner has another version", now_ms)

    def _tell(self, waiting: Waiting, points: float | None, why_not: str, now_ms: int) -> None:
        """The joint probability, or without the partner's points the bank's own."""
        desk, half = self._desk, self._runs.state.half
        if desk is None:
            raise Broken("only the bank tells")
        kept, active = desk.alone(), self._people.actives([waiting.person])
        joint = points is not None and half is not None and kept is not None
        if points is not None and half is not None and kept is not None:
            probability: float | None = probability_of(kept.prior + float(Rows.of(active).points(half.weights)[0]) + points)
        else:
            probability = desk.probability_alone(waiting.person)
        self.made += joint
        self.degraded += not joint
        self._people.answered(waiting.request_id)
        told = desk.told(
            waiting.request_id, now_ms, done=probability is not None, degraded=not joint, detail="" if joint else why_not,
            probability=-1.0 if probability is None else probability, version=self._runs.state.version,
        )  # fmt: skip
        self._store.journal(Cluster.OWN, [told])

    def _say(self, request: int, deadline_ms: int, message: m.Message, now_ms: int) -> None:
        parties = self._own.parties
        body = seal(encode(message), self._registry.directory.newest(self._own.peer).sealing_key, entropy=self._entropy)
        sealed = m.JointScoreSealed(
            bank=parties.bank, partner=parties.partner, institution=self._own.name, request=request, deadline_ms=deadline_ms, body=body
        )
        self._store.journal(Cluster.FEDERATION, self._courier.prepare([sealed], now_ms))

"""The shell around one head's coordinator: opens the log's records, lets the core step, performs what it asks for, in order.

Called by `wiring` with the records of ROUNDS and SUMS.
Never keeps what the log does not hold: a restart reads the log again, and a decision counts when it is read back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import structlog

from aggregator_worker import rereading
from aggregator_worker.measures import Measures
from aggregator_worker.office import Office
from aggregator_worker.past import Past, find_past
from federation.errors import OwnFault, PeerFault
from federation.ids import Lane, RoundId
from federation.members.directory import MARGIN_MS
from federation.messages import (
    ChunkRefused,
    ChunkSummed,
    ModelChunk,
    PartyRole,
    SumChunk,
    SumRequested,
    SumTerm,
)
from federation.rounds import effects as fx
from federation.rounds.coordinator_state import CoordinatorSettings
from federation.rounds.head_coordinator import initial, step
from federation.rounds.head_coordinator_state import Grouping, HeadCoordinatorState
from federation.rounds.head_transcript import lane_of
from federation.secagg import ring
from federation.secagg.quantize import contribution_length
from streams.model_chunks import ModelJoiner, SumJoiner, cut, cut_sum
from streams.ports import Record
from streams.topology import MODELS, ROUNDS, SUMS, lane_partition

_log: Final = structlog.get_logger(__name__)
# A chunk's owner may have died with our request: asking again is harmless.
ASK_AGAIN_S: Final = 2.0
RECOVERY_S: Final = 120.0


@dataclass
class _Joining:
    """The chunk sums of one list of survivors, as they come in."""

    asked: fx.SumChunks
    opened_at_ms: int
    bodies: dict[int, fx.RingVector] = field(default_factory=dict)

    def lengths(self) -> list[int]:
        """Values in each chunk of the masked vector."""
        total, length = contribution_length(self.asked.parameters), self.asked.parameters.chunk_length
        return [min(length, total - start) for start in range(0, total, length)]

    def requests(self) -> list[SumRequested]:
        """For every chunk whose sum has not come."""
        round_id = self.asked.round_id
        return [
            SumRequested(
                head=round_id.lane.head, group=round_id.lane.group, epoch=round_id.epoch, round=round_id.round, chunk=chunk, length=length,
                survivors_digest=self.asked.survivors_digest, opened_at_ms=self.opened_at_ms,
                terms=tuple(SumTerm(institution=name, chunk_digest=digests[chunk]) for name, digests in self.asked.chunk_digests),
            )
            for chunk, length in enumerate(self.lengths())
            if chunk not in self.bodies
        ]  # fmt: skip


class HeadShell:
    """One head, with all its lanes. `on_failure` hears of what goes wrong where nobody waits: in timers and while rebuilding."""

    def __init__(
        self,
        settings: CoordinatorSettings,
        grouping: Grouping | None,
        office: Office,
        on_failure: Callable[[BaseException], None],
        members_problem: Callable[[int], str | None],
    ) -> None:
        """`members_problem` says why no round of so many members can succeed under the operator's settings, or None."""
        self._settings: Final = settings
        self._partition: Final = lane_partition(settings.lane.head)
        self._office: Final = office
        self._on_failure: Final = on_failure
        self._members_problem: Final = members_problem
        self._measures: Final = Measures(settings.lane.head)
        self._state = initial(settings, grouping, invited={}, model_version=0, model=np.zeros(settings.parameters.dimension))
        self._turn: Final = asyncio.Lock()
        self._rebuilt = False
        self._next_offset = 0
        self._joining: dict[RoundId, _Joining] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    # --- what comes in ------------------------------------------------------------------------------------------
    async def rebuild(self) -> None:
        """Read the lane from its epoch's beginning up to its end, once; nothing is done on the way. Then look at the clock."""
        async with self._turn:
            await self._rebuild()

    async def take(self, record: Record) -> None:
        """A record of ROUNDS. One read before is dropped; if the door left some out, they are read first."""
        async with self._turn:
            await self._rebuild()
            if self._closed:
                return
            if record.offset > self._next_offset:
                _log.warning(
                    "records left out",
                    head=self._settings.lane.head.value,
                    first=self._next_offset,
                    count=record.offset - self._next_offset,
                )
                topic = ROUNDS.full_name()
                async for batch in rereading.read_range(self._office.log, topic, self._partition, self._next_offset, record.offset):
                    for left_out in batch:
                        await self._read(left_out)
            if record.offset >= self._next_offset:
                await self._read(record)

    async def take_sum(self, record: Record) -> None:
        """A record of SUMS: the masked sum of one chunk, or why there is none."""
        opened = await self._office.open(record, SUMS, PartyRole.AGGREGATOR)
        if opened is None or not isinstance(message := opened.message, ChunkSummed | ChunkRefused):
            return
        async with self._turn:
            joining = self._joining.get(RoundId(Lane(message.head, message.group), message.epoch, message.round))
            if self._closed or joining is None or message.survivors_digest != joining.asked.survivors_digest:
                return
            if isinstance(message, ChunkRefused):
                del self._joining[joining.asked.round_id]
                await self._advance(fx.ChunksRefused(joining.asked.round_id, message.survivors_digest, message.at_fault, message.detail))
                return
            lengths = joining.lengths()
            if not 0 <= message.chunk < len(lengths):
                raise OwnFault(f"chunk {message.chunk} of a vector of {len(lengths)}")
            joining.bodies[message.chunk] = ring.from_bytes(message.body, lengths[message.chunk], accused=opened.sender)
            if len(joining.bodies) == len(lengths):
                del self._joining[joining.asked.round_id]
                masked_sum = np.concatenate([joining.bodies[chunk] for chunk in range(len(lengths))])
                await self._advance(fx.ChunksSummed(joining.asked.round_id, message.survivors_digest, masked_sum))

    def close(self) -> None:
        """The partition is somebody else's now: no timer fires, nothing is said any more."""
        self._closed = True
        self._joining.clear()
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()

    # --- the log's records --------------------------------------------------------------------------------------
    async def _rebuild(self) -> None:
        if self._rebuilt or self._closed:
            return
        log = self._office.log
        async with asyncio.timeout(RECOVERY_S):
            end = await rereading.end_of(log, ROUNDS.full_name(), self._partition)
            past = await find_past(log, self._partition, end, self._received, self._settings.party)
            self._state, count = await self._folded(past, end)
            if past.last_round >= self._state.head.round_next:
                # The end of the log is about rounds that this part of it does not explain: then all of it must.
                self._state, count = await self._folded(Past(), end)
        self._next_offset = end
        self._rebuilt = True
        known = self._state.head
        _log.info("lane rebuilt", head=self._settings.lane.head.value, records=count, model=known.model_version, round=known.round_next)
        await self._advance(fx.Tick(self._office.clock.now_ms()))

    async def _folded(self, past: Past, end: int) -> tuple[HeadCoordinatorState, int]:
        """What the log established; effects are of the past and not performed. The state, and how many records it rests on."""
        state, count = self._state, 0
        async for batch in rereading.read_range(self._office.log, ROUNDS.full_name(), self._partition, past.begin, end):
            received = [(record.offset, event) for record in batch if (event := await self._received(record)) is not None]
            state = await asyncio.to_thread(_fold, state, [event for offset, event in received if past.counts(offset, event)])
            count += len(batch)
        return state, count

    async def _read(self, record: Record) -> None:
        event = await self._received(record)
        self._next_offset = record.offset + 1
        if event is not None:
            # The broker's stamp is the log's own time: a backlog is not late because we were.
            await self._advance(fx.Tick(record.timestamp_ms), event)

    async def _received(self, record: Record) -> fx.Received | None:
        opened = await self._office.open(record, ROUNDS)
        return None if opened is None else fx.Received(opened.sender, opened.message, opened.digest, opened.serial)

    # --- who is who -----------------------------------------------------------------------------------------------
    async def look_around(self) -> None:
        """Act on who is a member now, and on our keys, if either has changed."""
        async with self._turn:
            if self._rebuilt and not self._closed and self._news():
                await self._advance()

    def _news(self) -> tuple[fx.InvitedChanged | fx.KeysChanged, ...]:
        news: list[fx.InvitedChanged | fx.KeysChanged] = []
        directory, now_ms = self._office.parties.directory, self._office.clock.now_ms()
        invited = directory.acceptable(now_ms, PartyRole.INSTITUTION, margin_ms=MARGIN_MS)
        if invited != self._state.members:
            gone = {name: directory.why_not(name, now_ms) for name in self._state.members if name not in invited}
            _log.info("members", head=self._settings.lane.head.value, invited=sorted(invited), gone=gone)
            if (problem := self._members_problem(len(invited))) is not None:
                _log.warning("no round can succeed", head=self._settings.lane.head.value, reason=problem)
            news.append(fx.InvitedChanged(invited))
        sealing_secrets = self._office.identity.ring.sealing_secrets
        if sealing_secrets != self._state.settings.sealing_secrets:
            news.append(fx.KeysChanged(sealing_secrets))
        return tuple(news)

    # --- steps and effects --------------------------------------------------------------------------------------
    async def _advance(self, *events: fx.Event) -> None:
        for event in (*self._news(), *events):
            before = self._state
            # Unmasking for a large cohort takes long enough to miss a heartbeat.
            self._state, effects = await asyncio.to_thread(step, self._state, event)
            self._measures.note(before, self._state, event)
            for effect in effects:
                await self._perform(effect)

    async def _perform(self, effect: fx.Effect) -> None:  # One branch per effect.
        match effect:
            case fx.Publish(message):
                await self._office.say([message])
            case fx.PublishModel(message, vector):
                # First the vector: whoever reads the decision finds what it names.
                await self._office.say(cut(message.head, message.version, vector))
                await self._office.say([message])
            case fx.PublishSum(message, total):
                await self._office.say(cut_sum(message, total))
                await self._office.say([message])
            case fx.WakeAt(at_ms):
                self._wake_at(at_ms)
            case fx.SumChunks(round_id):
                lane = self._state.lanes[lane_of(round_id)]
                joining = self._joining[round_id] = _Joining(effect, lane.transcript.opened_round().opened.opened_at_ms)
                self._spawn(self._ask(joining))
            case fx.LoadModel(version, digest):
                self._spawn(self._load_model(version, digest))
            case fx.LoadSum():
                self._spawn(self._load_sum(effect))
            case fx.Report(kind, accused, detail, round_id):
                await self._office.report(PeerFault(kind, detail, accused=accused), round_id)
            case _:
                raise OwnFault(f"{type(effect).__name__} is not a coordinator's effect")

    def _wake_at(self, at_ms: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        wait_s = max(0, at_ms - self._office.clock.now_ms()) / 1000
        self._timer = asyncio.get_running_loop().call_later(wait_s, lambda: self._spawn(self._wake()))

    async def _wake(self) -> None:
        await self._hear(fx.Tick(self._office.clock.now_ms()))

    async def _ask(self, joining: _Joining) -> None:
        while joining is self._joining.get(joining.asked.round_id):
            if not self._is_open(joining.asked.round_id):
                del self._joining[joining.asked.round_id]
                return
            await self._office.say(joining.requests())
            await asyncio.sleep(ASK_AGAIN_S)

    def _is_open(self, round_id: RoundId) -> bool:
        lane = self._state.lanes.get(lane_of(round_id))
        return lane is not None and lane.transcript.round is not None and lane.transcript.round_id() == round_id

    async def _load_model(self, version: int, digest: bytes) -> None:
        joiner = ModelJoiner()
        async for piece in self._said_models():
            if isinstance(piece, ModelChunk) and (piece.version, piece.model_digest) == (version, digest):
                vector = joiner.add(piece, sender=self._settings.party)
                if vector is not None:
                    await self._hear(fx.ModelLoaded(vector))
                    return
        _log.error("model not found", head=self._settings.lane.head.value, version=version)

    async def _load_sum(self, wanted: fx.LoadSum) -> None:
        joiner = SumJoiner()
        async for piece in self._said_models():
            if isinstance(piece, SumChunk) and (piece.group, piece.sum_digest) == (wanted.group, wanted.sum_digest):
                total = joiner.add(piece, sender=self._settings.party)
                if total is not None:
                    await self._hear(fx.SumLoaded(wanted.group, total))
                    return
        _log.error("sum not found", head=self._settings.lane.head.value, group=wanted.group)

    async def _said_models(self) -> AsyncIterator[object]:
        """What lies in our partition of MODELS, the newest window first."""
        topic = MODELS.full_name()
        end = await rereading.end_of(self._office.log, topic, self._partition)
        async for window in rereading.windows_backwards(self._office.log, topic, self._partition, end):
            for record in window:
                opened = await self._office.open(record, MODELS, PartyRole.AGGREGATOR)
                if opened is not None:
                    yield opened.message

    async def _hear(self, event: fx.Event) -> None:
        async with self._turn:
            if not self._closed:
                await self._advance(event)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            self._on_failure(failure)


def _fold(state: HeadCoordinatorState, events: Sequence[fx.Event]) -> HeadCoordinatorState:
    for event in events:
        state, _ = step(state, event)
    return state

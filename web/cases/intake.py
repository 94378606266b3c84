"""Makes cases of flagged events: follows the institution's own topic of them, and keeps house among the cases.

Run by `web.wiring` for as long as the portal runs.
Never makes two cases of one event: the case and the place in the log are saved together."""

from __future__ import annotations

import asyncio
from typing import Final

from federation.errors import PeerFault
from federation.limits import NAME_LENGTH_MAX
from federation.messages import EventFlagged
from streams.codec import DecodeError, decode
from streams.ports import Clock, Log, Record
from streams.topology import FLAGS
from web.cases.case import SLA_MS
from web.cases.feedback import Feedback
from web.cases.store import CaseStore
from web.feed import Feed

_HOUSEKEEPING_S: Final = 2.0


class Intake:
    """From `flags.v1` to the queue."""

    def __init__(self, store: CaseStore, feedback: Feedback, log: Log, institution: str, clock: Clock) -> None:
        self._store = store
        self._feedback = feedback
        self._log = log
        self._topic = FLAGS.full_name(institution)
        self._clock = clock

    async def run(self) -> None:
        """Until cancelled."""
        start = [await self._store.position(self._topic, partition) for partition in range(FLAGS.partitions)]
        async with asyncio.TaskGroup() as group:
            group.create_task(Feed(self._log, start, self.take, self._clock).run())
            group.create_task(self._keep_house())

    async def take(self, record: Record) -> None:
        """One record of the topic; a tombstone erases its customer's cases. DecodeError or PeerFault for what is no flagged event."""
        if record.value is None:
            await self._store.erase((record.key or b"").decode(errors="replace"), record)
            return
        try:
            event = _read(record)
        except (DecodeError, PeerFault):
            await self._store.pass_over(record)
            raise
        await self._store.take(event, record, self._clock.now_ms())

    async def _keep_house(self) -> None:
        """Wake cases, and send what the log would not take before."""
        while True:
            await self._store.wake(self._clock.now_ms())
            await self._feedback.send()
            await asyncio.sleep(_HOUSEKEEPING_S)


def _read(record: Record) -> EventFlagged:
    event = decode(record.value or b"", FLAGS.carries, FLAGS.bytes_max)
    if not isinstance(event, EventFlagged) or not _is_sound(event):
        raise PeerFault("bad_flag", "not a flagged event of a known head with names of usual length", accused="the worker")
    return event


def _is_sound(event: EventFlagged) -> bool:
    names = (event.event_id, event.customer)
    return (
        event.head in SLA_MS
        and all(0 < len(name) <= NAME_LENGTH_MAX for name in names)
        and len(event.terminal) <= NAME_LENGTH_MAX
        and len(event.active) == len(event.points)
        and event.amount >= 0.0
    )

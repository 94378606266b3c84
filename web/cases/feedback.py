"""Tells the local model what officers decided: what the database holds goes to the institution's feedback topic.

Called by `web.cases.desk` at once, and by the portal's loop for what could not be sent then.
Never makes a record of its own: a decision and what it tells are one transaction, and the same id is sent again until the log has it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from federation.messages import FeedbackGiven, HeadName, Verdict
from streams.ports import Clock, LogUnavailable
from web.cases.store import CaseStore

_BATCH: Final = 100
_log = structlog.get_logger(__name__)


class Feedback:
    """The way from the database to the log. `send_one` returns once the log has acknowledged."""

    def __init__(self, store: CaseStore, send_one: Callable[[FeedbackGiven], Awaitable[None]], clock: Clock) -> None:
        self._store = store
        self._send_one = send_one
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()

    async def send(self) -> int:
        """Send what the log does not have yet; how many records it took. While it is away nothing is lost: they are sent later."""
        many = 0
        async with self._one_at_a_time:
            while rows := await self._store.unsent(_BATCH):
                for row in rows:
                    message = FeedbackGiven(
                        event_id=row.event_id, head=HeadName(row.head), subject=row.subject, customer=row.customer, product=row.product,
                        verdict=Verdict(row.verdict), occurred_at_ms=row.occurred_at_ms,
                    )  # fmt: skip
                    try:
                        await self._send_one(message)
                    except LogUnavailable as away:
                        _log.warning("feedback waits for the log", error=str(away))
                        return many
                    await self._store.sent(row.event_id, self._clock.now_ms())
                    many += 1
        return many

"""The running vertical worker: own events, runs, joint scores, requests and status take turns, whatever the brokers do.

Made and run by `wiring`.
Never gives up a broker it once had, and never starts without one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from federation import messages as m
from institution_workers.vertical.runs import Runs, Self
from institution_workers.vertical.scores import Scores
from institution_workers.worker import Stepping, patiently
from streams.courier import Courier
from streams.ports import Clock

_LOG = structlog.get_logger()


class Reporting:
    """Tells the federation how the partnership goes: phases and losses, no customer."""

    def __init__(self, runs: Runs, scores: Scores, courier: Courier, *, own: Self, clock: Clock) -> None:
        self._runs, self._scores, self._courier, self._own, self._clock = runs, scores, courier, own, clock

    async def report(self) -> None:
        """Send one status; LogUnavailable or LogRefused as the log says."""
        status = self.status()
        records = self._courier.prepare([status], status.at_ms)
        await self._courier.send(records[:1])  # Not in the audit: it exchanges nothing.

    def status(self) -> m.VerticalStatus:
        """How it stands."""
        state, seen, parties = self._runs.state, self._runs.seen, self._own.parties
        return m.VerticalStatus(
            bank=parties.bank,
            partner=parties.partner,
            institution=self._own.name,
            at_ms=self._clock.now_ms(),
            phase=state.phase.value,
            run=state.run,
            number=seen.number if seen else 0,
            loss=seen.loss if seen and seen.loss is not None else -1.0,
            gain=seen.gain if seen else -1.0,
            version=state.version,
            predictions=self._scores.made,
            degraded=self._scores.degraded,
            refused=self._runs.refused,
        )


class Worker:
    """Loops; the first error that is not an absent broker ends them all."""

    def __init__(self, parts: Sequence[tuple[str, Stepping]], reporting: Reporting, *, status_ms: int) -> None:
        """`parts`: a name for the operator, and what is stepped."""
        self._parts: Final = parts
        self._reporting = reporting
        self._status_seconds = status_ms / 1000

    async def run(self) -> None:
        """Work until cancelled. LogUnavailable when a broker cannot be reached at the start; errors of ours as they are."""
        loops: list[asyncio.Task[None]] = []
        try:
            for _, part in self._parts:
                await part.open()
            _LOG.info("working")
            works = [patiently(name, part.step, part.close) for name, part in self._parts]
            loops = [asyncio.create_task(work) for work in (*works, patiently("status", self._report, _nothing))]
            done, _ = await asyncio.wait(loops, return_when=asyncio.FIRST_COMPLETED)
            for ended in done:
                ended.result()
        finally:
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
            await asyncio.gather(*(part.close() for _, part in self._parts))

    async def _report(self, _wait_ms: int) -> None:
        await asyncio.sleep(self._status_seconds)
        await self._reporting.report()


async def _nothing() -> None:
    """Status keeps no connection of its own."""

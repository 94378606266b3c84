"""The running worker: one event loop in which learning, rounds and status take turns, whatever the brokers do.

Made and run by `wiring`.
Never gives up a broker it once had, and never starts without one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final, Protocol

import structlog

from federation.messages import HeadName, InstitutionStatus, LearningProgress
from institution_workers.learner import Count
from institution_workers.learning import Learning
from institution_workers.pupil import FEDERATED, LOCAL
from institution_workers.study import Study
from streams.codec import encode
from streams.courier import Courier
from streams.identity import Identity
from streams.ports import Clock, Log, LogUnavailable, Outgoing
from streams.telemetry import DEGRADED, EPSILON_SPENT, LEFT_OUT
from streams.topology import PROGRESS

WAIT_MS: Final = 100
_PAUSE_SECONDS: Final = 0.25
_PAUSE_SECONDS_MAX: Final = 5.0
_LATE_SECONDS: Final = 0.25  # The loop may not be held for longer.
_LOG = structlog.get_logger()


class Stepping(Protocol):
    """What the worker drives: `Learning`, `Participation`, `Witnessing`."""

    async def open(self) -> None:
        """Begin, or begin anew."""
        ...

    async def step(self, wait_ms: int) -> int:
        """One turn."""
        ...

    async def close(self) -> None:
        """End."""
        ...


def coarse(status: InstitutionStatus) -> InstitutionStatus:
    """What the federation may know of it: counts to two digits and no closer than tens, qualities to two decimals, lag to seconds.

    Exact counts, every second, would say how many customers were in a round, whatever noise the round's own count has (docs/privacy.md).
    """
    return replace(
        status,
        events_read=_rounded(status.events_read),
        events_learned=_rounded(status.events_learned),
        dead_letters=_rounded(status.dead_letters),
        waiting_for_label=_rounded(status.waiting_for_label),
        lag_records=_rounded(status.lag_records),
        lag_ms=status.lag_ms // 1000 * 1000,
        scored=_rounded(status.scored),
        quality_federated=round(status.quality_federated, 2),
        quality_local=round(status.quality_local, 2),
        updates_clipped=_rounded(status.updates_clipped),
    )


def _rounded(count: int) -> int:
    step = max(10, int(10 ** (len(str(count)) - 2)))
    return count // step * step


class Reporting:
    """Tells how learning goes, counts and scores, no customer: the institution itself exactly, the federation roughly."""

    def __init__(self, study: Study, learning: Learning, own: Log, courier: Courier, *, institution: str, clock: Clock) -> None:
        self._study = study
        self._own = own
        self._learning = learning
        self._courier = courier
        self._institution = institution
        self._clock = clock

    async def report(self) -> None:
        """Send one status per head; LogUnavailable or LogRefused as the log says."""
        now_ms = self._clock.now_ms()
        statuses = [self.status(head, now_ms) for head in self._study.pupils]
        await self._courier.send(self._courier.prepare(map(coarse, statuses), now_ms))
        topic = PROGRESS.full_name(self._institution)
        await self._own.append([Outgoing(topic, 0, s.head.value.encode(), encode(self.progress(s))) for s in statuses])

    def status(self, head: HeadName, now_ms: int) -> InstitutionStatus:
        """How one head stands."""
        pupil, counts = self._study.pupils[head], self._study.learner.counts
        lag_records, lag_ms = self._learning.lag(head, now_ms)
        return InstitutionStatus(
            institution=self._institution,
            head=head,
            at_ms=now_ms,
            round=counts.get(f"round.{head.value}", 0),
            model_version=pupil.basis.version,
            events_read=counts.get(f"{Count.READ.value}.{head.value}", 0),
            events_learned=pupil.learned,
            dead_letters=counts.get(f"{Count.DEAD.value}.{head.value}", 0),
            waiting_for_label=self._study.waiting(head),
            lag_records=lag_records,
            lag_ms=lag_ms,
            scored=int(pupil.quality[FEDERATED].scored),
            quality_federated=pupil.quality_of(FEDERATED),
            quality_local=pupil.quality_of(LOCAL),
            bytes_sent=counts.get(f"sent.{head.value}", 0),
            updates_clipped=pupil.clipped,
        )

    def progress(self, status: InstitutionStatus) -> LearningProgress:
        """What the institution itself is told besides."""
        left_out = self._study.learner.counts.get(f"{Count.EXHAUSTED.value}.{status.head.value}", 0)
        spent = self._study.epsilon_spent(status.head)
        LEFT_OUT.labels(head=status.head.value).set(left_out)
        if spent is not None:
            EPSILON_SPENT.labels(head=status.head.value).set(spent)
        return LearningProgress(head=status.head, status=status, customers_left_out=left_out, epsilon_spent=spent)


class Worker:
    """Five loops; the first error that is not an absent broker ends them all."""

    def __init__(
        self, learning: Stepping, participation: Stepping, witnessing: Stepping, reporting: Reporting, identity: Identity, *, status_ms: int
    ) -> None:
        self._identity: Final = identity
        self._learning: Final = learning
        self._participation: Final = participation
        self._witnessing: Final = witnessing
        self._reporting: Final = reporting
        self._status_seconds = status_ms / 1000

    async def run(self) -> None:
        """Work until cancelled. LogUnavailable when a broker cannot be reached at the start; errors of ours as they are.

        A turn is never half done: it holds the loop until it is saved, and what it did not get to say is in the journal.
        """
        loops: list[asyncio.Task[None]] = []
        try:
            await self._learning.open()
            await self._participation.open()
            _LOG.info("working")
            works = (
                patiently("own cluster", self._learning.step, self._learning.close),
                patiently("federation", self._participation.step, self._participation.close),
                patiently("audit's checkpoints", self._witnessing.step, self._witnessing.close),
                patiently("status", self._report, _nothing),
                patiently("parties", self._identity.step, self._identity.close),
            )
            loops = [asyncio.create_task(work) for work in works]
            done, _ = await asyncio.wait(loops, return_when=asyncio.FIRST_COMPLETED)
            for ended in done:
                ended.result()
        finally:
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
            await asyncio.gather(self._learning.close(), self._participation.close(), self._witnessing.close(), self._identity.close())

    async def _report(self, _wait_ms: int) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + self._status_seconds
        await asyncio.sleep(self._status_seconds)
        if loop.time() - due > _LATE_SECONDS:
            _LOG.warning("the loop was held", seconds=round(loop.time() - due, 3))
        await self._reporting.report()


async def patiently(part: str, step: Callable[[int], Awaitable[int | None]], close: Callable[[], Awaitable[None]]) -> None:
    """Step until cancelled; while the broker is away, try again after ever longer pauses, and say so."""
    pause = _PAUSE_SECONDS
    while True:
        try:
            await step(WAIT_MS)
            DEGRADED.labels(part).set(0)
            pause = _PAUSE_SECONDS
        except LogUnavailable as away:
            DEGRADED.labels(part).set(1)
            _LOG.warning("broker away", part=part, reason=str(away), again_in_seconds=pause)
            await close()
            await asyncio.sleep(pause)
            pause = min(2 * pause, _PAUSE_SECONDS_MAX)


async def _nothing() -> None:
    """Status keeps no connection of its own: the log begins anew by itself."""

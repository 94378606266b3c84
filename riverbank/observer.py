"""The federation as an operator looks at it: its log read to the end, then followed, with the rights of the console or of a portal.

Used by `riverbank rounds|lag|institutions|model`.
Never asks a process about itself: what is not in the log has not happened."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from federation import messages as m
from streams import topology
from streams.access import Principal, alone
from streams.kafka import KafkaLog
from streams.parties import Parties
from streams.ports import Clock, Log, LogUnavailable
from streams.settings import WebProcess
from streams.tls import open_tls
from streams.topology import Role
from web.feed import Feed, federation_fold, keep_up, positions_of
from web.readmodels.institutions import Institutions
from web.readmodels.models import Models
from web.readmodels.rounds import Rounds
from web.wiring import SystemClock

CAUGHT_UP_S: Final = 60.0


class Observer:
    """Rounds, models, institutions and their lag, folded from one federation's log."""

    def __init__(self, log: Log, parties: Parties, clock: Clock) -> None:
        self.rounds: Final = Rounds()
        self.models: Final = Models()
        self.institutions: Final = Institutions()
        self.lags: Final = self.institutions.lags
        self.parties: Final = parties
        self.clock: Final = clock
        self.feed: Final = Feed(log, positions_of([topology.ROUNDS, topology.STATUS]), federation_fold(parties, self._apply), clock)

    def _apply(self, message: m.Message) -> None:
        if isinstance(message, m.InstitutionStatus):
            self.institutions.apply(message)
        else:
            self.rounds.apply(message)
            self.models.apply(message)


@contextlib.asynccontextmanager
async def observing(log: Log, federation: str, ca_verify_key: bytes, *, caught_up_s: float = CAUGHT_UP_S) -> AsyncIterator[Observer]:
    """An observer that has read everything and goes on reading. LogUnavailable: that took longer than `caught_up_s`; LogRefused as the log."""
    parties = Parties(log, federation=federation, ca_verify_key=ca_verify_key)
    observer = Observer(log, parties, SystemClock())
    tasks = [asyncio.create_task(observer.feed.run()), asyncio.create_task(keep_up(parties))]
    caught_up = asyncio.create_task(observer.feed.caught_up.wait())
    try:
        await asyncio.wait([*tasks, caught_up], timeout=caught_up_s, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()  # It ends only by an error, and that is the caller's.
        if not caught_up.done():
            raise LogUnavailable(f"the federation's log could not be read to its end within {caught_up_s:.0f} s")
        yield observer
    finally:
        for running in (*tasks, caught_up):
            running.cancel()
        await asyncio.gather(*tasks, caught_up, return_exceptions=True)
        await parties.close()


@contextlib.asynccontextmanager
async def observing_as(settings: WebProcess) -> AsyncIterator[Observer]:
    """As `observing`, on the cluster and with the rights of the console, or of the portal, whose settings these are."""
    federation, institution = settings.federation, settings.web.institution
    ourselves = alone(Role.CONSOLE) if institution is None else Principal(institution, Role.PORTAL)
    log = KafkaLog(federation.bootstrap, client_id=f"{ourselves.name}-cli", tls=open_tls(federation.tls, ourselves))
    try:
        async with observing(log, federation.name, bytes.fromhex(federation.ca_verify_key)) as observer:
            yield observer
    finally:
        await log.close()

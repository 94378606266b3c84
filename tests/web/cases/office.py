"""An office for tests: a queue in SQLite, officers, an audit that can be taken away, a log that can be too.

Used by the tests of the cases and their pages.
Never skips the database: every case is a row."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from audit.auditor import AuditUnavailable
from federation.heads.credit import CreditEncoder
from federation.heads.fraud import FraudEncoder
from federation.messages import ActionKind, EventFlagged, FeedbackGiven, HeadName
from streams.codec import encode
from streams.ports import LogUnavailable, Record
from streams.topology import FLAGS
from tests.web.people import TestClock, people, somebody
from web.cases.desk import Desk
from web.cases.feedback import Feedback
from web.cases.intake import Intake
from web.cases.store import CaseStore
from web.identity.house import Identity
from web.identity.roles import Role

BANK = "alder-bank"
MEMORY = "/dev/shm" if Path("/dev/shm").exists() else None  # noqa: S108 A folder of its own in it.
LAYOUTS = {HeadName.FRAUD: FraudEncoder.shipped().layout, HeadName.CREDIT: CreditEncoder.shipped().layout}


@dataclass
class Audit:
    """Remembers its entries; away, it takes none."""

    entries: list[tuple[str, str, Mapping[str, str]]] = field(default_factory=list)
    away: bool = False

    async def record(self, _kind: ActionKind, action: str, *, actor: str, detail: Mapping[str, str] | None = None) -> None:
        if self.away:
            raise AuditUnavailable("away")
        self.entries.append((action, actor, dict(detail or {})))

    note = record


@dataclass
class Office:
    identity: Identity
    store: CaseStore
    desk: Desk
    intake: Intake
    feedback: Feedback
    audit: Audit
    clock: TestClock
    officers: list[str]
    told: list[FeedbackGiven] = field(default_factory=list)
    log_away: bool = False
    offset: int = 0

    async def tell(self, message: FeedbackGiven) -> None:
        if self.log_away:
            raise LogUnavailable("no Kafka broker answers")
        self.told.append(message)

    async def flag(self, customer: str, event_id: str, **other: object) -> None:
        """As the worker's record arrives."""
        await self.intake.take(self.record(flagged(customer, event_id, **other)))

    def record(self, event: EventFlagged) -> Record:
        self.offset += 1
        return Record(FLAGS.full_name(BANK), 0, self.offset - 1, event.customer.encode(), encode(event), self.clock.ms)


def flagged(customer: str, event_id: str, *, head: HeadName = HeadName.FRAUD, **other: object) -> EventFlagged:
    layout = LAYOUTS[head]
    usual: dict[str, object] = {
        "occurred_at_ms": 1_795_000_000_000, "amount": 120.0, "terminal": "shop-9" if head is HeadName.FRAUD else "",
        "log_odds": 0.5, "active": (1, 7, 12), "points": (1.5, 2.25, 0.5),
        "model_version": 31, "epoch": 2, "round": 33, "layout_digest": layout.digest,
    }  # fmt: skip
    return EventFlagged(head=head, event_id=event_id, customer=customer, **{**usual, **other})


@asynccontextmanager
async def office(*, four_eyes_from: float = 1_000.0, officers: int = 2) -> AsyncIterator[Office]:
    """Opened in memory where there is room: thousands of synced transactions are the disk's time, not ours."""
    clock, audit = TestClock(), Audit()
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        async with _opened(Path(folder), clock, audit, four_eyes_from, officers) as made:
            yield made


@asynccontextmanager
async def _opened(folder: Path, clock: TestClock, audit: Audit, four_eyes_from: float, officers: int) -> AsyncIterator[Office]:
    async with people(folder, clock, recorder=audit) as identity:
        ids = []
        for number in range(officers):
            email, _ = await somebody(identity, Role.OFFICER, code=False, email=f"officer{number}@alder.example", name=f"Officer {number}")
            ids.append(next(person.id for person in await identity.people.everybody() if person.email == email))
        store = CaseStore(identity.database, os.urandom)
        feedback = Feedback(store, lambda message: made.tell(message), clock)  # noqa: PLW0108 It is made below.
        desk = Desk(store, audit, feedback, clock, four_eyes_from=four_eyes_from)
        made = Office(identity, store, desk, Intake(store, feedback, None, BANK, clock), feedback, audit, clock, ids)
        audit.entries.clear()
        yield made

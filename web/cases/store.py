"""Cases in the portal's database: flagged events folded in, listed, changed by compare-and-set.

Called by `web.cases.desk` and `web.cases.intake`.
Never changes a case that is not as its caller saw it, and never writes a change without its line of history."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final

from sqlalchemy import Row, Select, and_, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from federation.heads.scoring import probability_of
from federation.messages import EventFlagged, HeadName
from streams.ports import Entropy, Position, Record
from web.cases.case import Case, Flagged, Outcome, State, opened, with_flag, woken
from web.cases.filters import Filters
from web.cases.priority import priority_of
from web.database.engine import Database
from web.database.tables import case_events, case_feedback, case_history, case_places, case_views, cases
from web.identity.secrets import new_id

PAGE_LENGTH: Final = 50
_WORKED_ON: Final = (State.OPEN.value, State.ASSIGNED.value, State.DECIDED.value)
_COLUMNS: Final = tuple(field.name for field in fields(Case))


@dataclass(frozen=True)
class Line:
    """A line of a case's history. `actor` None: the portal itself."""

    at_ms: int
    actor: str | None
    move: str
    detail: Mapping[str, str] = field(default_factory=dict)


class CaseStore:
    """All cases of a portal."""

    def __init__(self, database: Database, entropy: Entropy) -> None:
        self._database = database
        self._entropy = entropy

    # --- flagged events -----------------------------------------------------------------------------------------
    async def take(self, event: EventFlagged, record: Record, now_ms: int) -> bool:
        """Fold an event into its customer's case, or open one, and note the place in the log; False if it was there already."""
        async with self._database.write() as connection:
            new = await self._fold(connection, event, now_ms)
            await self._keep_place(connection, record)
        return new

    async def pass_over(self, record: Record) -> None:
        """Note the place alone."""
        async with self._database.write() as connection:
            await self._keep_place(connection, record)

    async def _fold(self, connection: AsyncConnection, event: EventFlagged, now_ms: int) -> bool:
        seen = select(case_events.c.case_id).where(case_events.c.head == event.head.value, case_events.c.event_id == event.event_id)
        if (await connection.execute(seen)).first() is not None:
            return False
        flagged = Flagged(probability_of(event.log_odds), event.amount)
        theirs = select(cases).where(
            cases.c.head == event.head.value, cases.c.customer == event.customer, cases.c.state != State.CLOSED.value
        )
        row = (await connection.execute(theirs.with_for_update())).one_or_none()
        if row is None:
            case = opened(new_id(self._entropy), event.head, event.customer, flagged, now_ms)
            await connection.execute(insert(cases).values(_values(case)))
        else:
            before = _case(row)
            case = with_flag(before, flagged)
            await connection.execute(update(cases).where(cases.c.id == case.id).values(_values(case)))
        await connection.execute(insert(case_events).values(_event_values(case.id, event)))
        await _add_line(connection, case, Line(now_ms, None, "flag", {"event": event.event_id}))
        return True

    async def erase(self, customer: str, record: Record) -> None:
        """Delete a customer's cases, with their events, history and what was still to be told, and note the place in the log."""
        async with self._database.write() as connection:
            await connection.execute(delete(cases).where(cases.c.customer == customer))  # The rest goes with them.
            await self._keep_place(connection, record)

    async def _keep_place(self, connection: AsyncConnection, record: Record) -> None:
        place = and_(case_places.c.topic == record.topic, case_places.c.partition == record.partition)
        moved = await connection.execute(update(case_places).where(place).values(next_offset=record.offset + 1))
        if moved.rowcount == 0:
            row = {"topic": record.topic, "partition": record.partition, "next_offset": record.offset + 1}
            await connection.execute(insert(case_places).values(row))

    async def position(self, topic: str, partition: int) -> Position:
        """Where to read flagged events on."""
        place = and_(case_places.c.topic == topic, case_places.c.partition == partition)
        async with self._database.read() as connection:
            found = (await connection.execute(select(case_places.c.next_offset).where(place))).scalar_one_or_none()
        return Position(topic, partition, found or 0)

    # --- looking ------------------------------------------------------------------------------------------------
    async def find(self, case_id: str) -> Case | None:
        """One case."""
        async with self._database.read() as connection:
            row = (await connection.execute(select(cases).where(cases.c.id == case_id))).one_or_none()
        return None if row is None else _case(row)

    async def listed(self, filters: Filters, me: str, now_ms: int, *, length: int = PAGE_LENGTH) -> tuple[Sequence[Case], int]:
        """A page of the cases that match, and how many match in all."""
        matching = _matching(filters, me, now_ms)
        page = matching.order_by(*_order(filters.sort, now_ms)).limit(length).offset((filters.page - 1) * length)
        async with self._database.read() as connection:
            rows = (await connection.execute(page)).all()
            many = (await connection.execute(select(func.count()).select_from(matching.subquery()))).scalar_one()
        return [_case(row) for row in rows], many

    async def events_of(self, case_id: str) -> Sequence[Row[Any]]:
        """The flagged events of a case, the newest first."""
        wanted = select(case_events).where(case_events.c.case_id == case_id).order_by(case_events.c.occurred_at_ms.desc())
        async with self._database.read() as connection:
            return (await connection.execute(wanted)).all()

    async def history_of(self, case_id: str) -> Sequence[Row[Any]]:
        """What happened to a case, the newest first."""
        wanted = select(case_history).where(case_history.c.case_id == case_id).order_by(case_history.c.version.desc())
        async with self._database.read() as connection:
            return (await connection.execute(wanted)).all()

    async def told_of(self, case_id: str) -> Sequence[Row[Any]]:
        """What the local model is told of a case, and when the log took it."""
        wanted = select(case_feedback).where(case_feedback.c.case_id == case_id).order_by(case_feedback.c.event_id)
        async with self._database.read() as connection:
            return (await connection.execute(wanted)).all()

    async def of_customer(self, customer: str, *, most: int = 20) -> Sequence[Case]:
        """A customer's cases of every head, the newest first."""
        wanted = select(cases).where(cases.c.customer == customer).order_by(cases.c.opened_at_ms.desc()).limit(most)
        async with self._database.read() as connection:
            return [_case(row) for row in (await connection.execute(wanted)).all()]

    async def closed_events(self, head: HeadName, *, most: int) -> Sequence[tuple[Case, frozenset[int]]]:
        """The newest closed cases' events: case and active coordinates."""
        wanted = (
            select(cases, case_events.c.active)
            .join(case_events, case_events.c.case_id == cases.c.id)
            .where(cases.c.head == head.value, cases.c.state == State.CLOSED.value)
            .order_by(cases.c.closed_at_ms.desc())
            .limit(most)
        )
        async with self._database.read() as connection:
            return [(_case(row), frozenset(row.active)) for row in (await connection.execute(wanted)).all()]

    async def counts(self, me: str, now_ms: int) -> Mapping[str, int]:
        """What an officer's day begins with."""
        c = cases.c
        parts = {
            "mine": (c.state == State.ASSIGNED.value) & (c.assignee == me),
            "open": c.state == State.OPEN.value,
            "late": c.state.in_(_WORKED_ON) & (c.due_at_ms < now_ms),
            "waiting": c.state == State.DECIDED.value,
            "closed": c.state == State.CLOSED.value,
            "false_positives": (c.state == State.CLOSED.value) & (c.outcome == Outcome.FALSE_POSITIVE.value),
        }
        wanted = select(*(func.count().filter(part).label(name) for name, part in parts.items())).select_from(cases)
        async with self._database.read() as connection:
            return dict((await connection.execute(wanted)).one()._mapping)  # noqa: SLF001 SQLAlchemy's documented name for it.

    # --- changing -----------------------------------------------------------------------------------------------
    async def most_urgent(self, head: HeadName | None, now_ms: int, *, but: Collection[str]) -> Case | None:
        """The open case that comes first, leaving out some."""
        wanted = _matching(Filters(state=State.OPEN.value, head=head), "", now_ms).where(cases.c.id.not_in(but))
        async with self._database.read() as connection:
            row = (await connection.execute(wanted.order_by(*_order("priority", now_ms)).limit(1))).one_or_none()
        return None if row is None else _case(row)

    async def save(self, before: Case, after: Case, line: Line, *, told: Sequence[Mapping[str, Any]] = ()) -> bool:
        """Make `before` into `after`, and queue what is to be told; False, and nothing done, if it is not `before` any more."""
        as_seen = and_(cases.c.id == before.id, cases.c.version == before.version)
        async with self._database.write() as connection:
            done = await connection.execute(update(cases).where(as_seen).values(_values(after)))
            if done.rowcount != 1:
                return False
            await _add_line(connection, after, line)
            if told:
                await connection.execute(insert(case_feedback), list(told))
        return True

    async def tell(self, row: Mapping[str, Any]) -> bool:
        """Queue an answer to a recommendation; False if this one was answered before."""
        try:
            async with self._database.write() as connection:
                await connection.execute(insert(case_feedback).values(row))
        except IntegrityError:
            return False
        return True

    async def wake(self, now_ms: int) -> int:
        """Wake the cases whose time has come; how many."""
        due = select(cases).where(cases.c.state == State.SNOOZED.value, cases.c.snoozed_until_ms <= now_ms)
        async with self._database.read() as connection:
            rows = (await connection.execute(due)).all()
        return sum([await self.save(_case(row), woken(_case(row)), Line(now_ms, None, "wake")) for row in rows])

    # --- saved views --------------------------------------------------------------------------------------------
    async def views(self, me: str) -> Sequence[Row[Any]]:
        """One's own, and those that others share."""
        wanted = select(case_views).where((case_views.c.person_id == me) | case_views.c.shared).order_by(case_views.c.name)
        async with self._database.read() as connection:
            return (await connection.execute(wanted)).all()

    async def add_view(self, me: str, name: str, query: str, *, shared: bool) -> None:
        """Keep one."""
        row = {"id": new_id(self._entropy), "person_id": me, "name": name, "query": query, "shared": shared}
        async with self._database.write() as connection:
            await connection.execute(insert(case_views).values(row))

    async def drop_view(self, me: str, view_id: str) -> None:
        """Forget one of one's own."""
        async with self._database.write() as connection:
            await connection.execute(delete(case_views).where(case_views.c.id == view_id, case_views.c.person_id == me))

    # --- what is to be told -------------------------------------------------------------------------------------
    async def unsent(self, many: int) -> Sequence[Row[Any]]:
        """What the log has not taken yet, the oldest first."""
        wanted = select(case_feedback).where(case_feedback.c.sent_at_ms.is_(None)).order_by(case_feedback.c.occurred_at_ms).limit(many)
        async with self._database.read() as connection:
            return (await connection.execute(wanted)).all()

    async def sent(self, event_id: str, now_ms: int) -> None:
        """The log has it."""
        async with self._database.write() as connection:
            await connection.execute(update(case_feedback).where(case_feedback.c.event_id == event_id).values(sent_at_ms=now_ms))


def _matching(filters: Filters, me: str, now_ms: int) -> Select[Any]:
    c, wanted = cases.c, select(cases)
    if filters.state == "active":
        wanted = wanted.where(c.state.in_(_WORKED_ON))
    elif filters.state != "all":
        wanted = wanted.where(c.state == filters.state)
    if filters.head is not None:
        wanted = wanted.where(c.head == filters.head.value)
    if filters.owner != "anyone":
        wanted = wanted.where(c.assignee == me if filters.owner == "me" else c.assignee.is_(None))
    if filters.late:
        wanted = wanted.where(c.due_at_ms < now_ms, c.state != State.CLOSED.value)
    if filters.amount_min:
        wanted = wanted.where(c.amount >= filters.amount_min)
    if filters.customer:
        wanted = wanted.where(c.customer.startswith(filters.customer, autoescape=True))
    return wanted


def _order(sort: str, now_ms: int) -> tuple[Any, ...]:
    c = cases.c
    first = {
        "priority": priority_of(cases, now_ms).desc(),
        "due": c.due_at_ms.asc(),
        "risk": c.risk.desc(),
        "amount": c.amount.desc(),
        "newest": c.opened_at_ms.desc(),
    }[sort]
    return first, c.opened_at_ms, c.id  # The same order on every page, whatever is equal.


async def _add_line(connection: AsyncConnection, case: Case, line: Line) -> None:
    row = {
        "case_id": case.id,
        "version": case.version,
        "at_ms": line.at_ms,
        "actor": line.actor,
        "move": line.move,
        "detail": dict(line.detail),
    }
    await connection.execute(insert(case_history).values(row))


def _values(case: Case) -> dict[str, Any]:
    return {name: getattr(case, name) for name in _COLUMNS}


def _case(row: Row[Any]) -> Case:
    values = {name: getattr(row, name) for name in _COLUMNS}
    outcome = None if row.outcome is None else Outcome(row.outcome)
    return Case(**values | {"head": HeadName(row.head), "state": State(row.state), "outcome": outcome})


def _event_values(case_id: str, event: EventFlagged) -> dict[str, Any]:
    return {
        "head": event.head.value, "event_id": event.event_id, "case_id": case_id, "occurred_at_ms": event.occurred_at_ms, "amount": event.amount,
        "terminal": event.terminal, "log_odds": event.log_odds, "active": list(event.active), "points": list(event.points),
        "model_version": event.model_version, "epoch": event.epoch, "round": event.round, "layout_digest": event.layout_digest.hex(),
    }  # fmt: skip

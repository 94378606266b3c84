"""Sessions on the server's side: a cookie names one, and everything about it stands in the database.

Called by `web.guard` on every request, and by the log-in.
Never believes the cookie about anything, and never lets a session outlive its idle time, its absolute time or its person's access."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from streams.ports import Clock, Entropy
from web.database.engine import Database
from web.database.tables import people, sessions
from web.identity.person import Person, Status, person_of
from web.identity.secrets import hash_of, new_id, new_token

IDLE_MS: Final = 15 * 60_000
ABSOLUTE_MS: Final = 12 * 3_600_000
HALF_MS: Final = 5 * 60_000
"""How long the second factor may take."""
CONFIRMED_MS: Final = 10 * 60_000
"""How long a person counts as having just shown who they are."""
_NOTE_USE_MS: Final = 10_000  # Not every click is worth a write; a session ends at most so much early.
AGENT_MAX: Final = 200


class Level(StrEnum):
    """How far somebody has got."""

    HALF = "half"  # The password was right; the code is awaited.
    ENROL = "enrol"  # A second factor has to be set up before anything else.
    FULL = "full"


@dataclass(frozen=True)
class Session:
    """One session, and whose it is."""

    id: str
    token_hash: str
    person: Person
    level: Level
    created_at_ms: int
    seen_at_ms: int
    confirmed_at_ms: int
    address: str
    agent: str


async def end_sessions(connection: AsyncConnection, person_id: str, *, except_hash: str = "") -> None:
    """End every session of a person (but one), in the caller's transaction: with the change that ends them, or not at all."""
    await connection.execute(delete(sessions).where(sessions.c.person_id == person_id, sessions.c.token_hash != except_hash))


class Sessions:
    """All sessions of a portal."""

    def __init__(self, database: Database, clock: Clock, entropy: Entropy) -> None:
        self._database = database
        self._clock = clock
        self._entropy = entropy

    async def begin(self, connection: AsyncConnection, person_id: str, level: Level, *, address: str, agent: str) -> str:
        """A new session's token, to be given away once; in the caller's transaction. Whatever has run out is cleared away by the way."""
        now_ms = self._clock.now_ms()
        token = new_token(self._entropy)
        await connection.execute(
            delete(sessions).where((sessions.c.seen_at_ms <= now_ms - IDLE_MS) | (sessions.c.created_at_ms <= now_ms - ABSOLUTE_MS))
        )
        row = {
            "token_hash": hash_of(token), "id": new_id(self._entropy), "person_id": person_id, "level": level.value, "created_at_ms": now_ms,
            "seen_at_ms": now_ms, "confirmed_at_ms": now_ms, "wrong_codes": 0, "address": address[:64], "agent": agent[:AGENT_MAX],
        }  # fmt: skip
        await connection.execute(insert(sessions).values(row))
        return token

    async def find(self, token: str, *, renews: bool) -> Session | None:
        """The session of this token if it is alive and its person active. `renews`: a person did this, so the idle time starts anew."""
        now_ms = self._clock.now_ms()
        async with self._database.read() as connection:
            row = (await connection.execute(select(sessions).where(sessions.c.token_hash == hash_of(token)))).one_or_none()
            if row is None or not _alive(row, now_ms):
                return None
            person = person_of((await connection.execute(select(people).where(people.c.id == row.person_id))).one())
        if person.status is not Status.ACTIVE:
            return None
        session = _session_of(row, person)
        if renews and session.level is not Level.HALF and now_ms - session.seen_at_ms >= _NOTE_USE_MS:
            async with self._database.write() as connection:
                await connection.execute(update(sessions).where(sessions.c.token_hash == session.token_hash).values(seen_at_ms=now_ms))
            session = replace(session, seen_at_ms=now_ms)
        return session

    async def confirm(self, session: Session) -> None:
        """The person has just shown again who they are."""
        async with self._database.write() as connection:
            await connection.execute(
                update(sessions).where(sessions.c.token_hash == session.token_hash).values(confirmed_at_ms=self._clock.now_ms())
            )

    async def of(self, person: Person) -> Sequence[Session]:
        """A person's living sessions, the newest first."""
        query = select(sessions).where(sessions.c.person_id == person.id).order_by(sessions.c.created_at_ms.desc(), sessions.c.id)
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
        return [_session_of(row, person) for row in rows if _alive(row, self._clock.now_ms())]

    async def end(self, person_id: str, session_id: str) -> bool:
        """End one session of a person; whether there was one."""
        async with self._database.write() as connection:
            done = await connection.execute(delete(sessions).where(sessions.c.person_id == person_id, sessions.c.id == session_id))
        return bool(done.rowcount)

    async def end_all(self, person_id: str, *, but: Session | None = None) -> None:
        """End every session of a person, but perhaps one."""
        async with self._database.write() as connection:
            await end_sessions(connection, person_id, except_hash="" if but is None else but.token_hash)


def _alive(row: Row[Any], now_ms: int) -> bool:
    idle_ms = HALF_MS if row.level == Level.HALF.value else IDLE_MS
    return bool(now_ms - row.seen_at_ms < idle_ms and now_ms - row.created_at_ms < ABSOLUTE_MS)


def _session_of(row: Row[Any], person: Person) -> Session:
    return Session(
        row.id, row.token_hash, person, Level(row.level), row.created_at_ms, row.seen_at_ms, row.confirmed_at_ms, row.address, row.agent
    )

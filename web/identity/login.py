"""The way in: password, then code; and the same again before something grave.

Called by the pages of log-in and confirmation.
Never tells why it said no: an unknown address, a wrong password and a disabled account look the same and cost the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, select, update

from federation.messages import ActionKind
from web.database.engine import Database
from web.database.tables import people, sessions
from web.identity.factors import Factors
from web.identity.passwords import LENGTH_MAX, Passwords
from web.identity.person import Status
from web.identity.recorders import Recorder
from web.identity.sessions import Level, Session, Sessions
from web.identity.tries import ACCOUNT, ADDRESS, CODE, Tries

_WRONG_CODES_MAX: Final = 5


@dataclass(frozen=True)
class Visitor:
    """Where a request comes from, for the list of sessions and for the counters."""

    address: str
    agent: str


@dataclass(frozen=True)
class Answer:
    """A new session's token; or none, and how long to wait before another try counts."""

    token: str | None = None
    level: Level | None = None
    wait_ms: int = 0


class Login:
    """Everything that makes sessions."""

    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        factors: Factors,
        sessions_: Sessions,
        tries: Tries,
        recorder: Recorder,
        *,
        code_needed: bool,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._factors = factors
        self._sessions = sessions_
        self._tries = tries
        self._recorder = recorder
        self._code_needed = code_needed

    async def password(self, email: str, password: str, visitor: Visitor) -> Answer:
        """The first step: a session that still waits for the code, or must set one up, or is complete."""
        email = "".join(letter for letter in email.strip().lower()[:254] if letter.isprintable())
        wait_ms = await self._tries.take(("address", visitor.address, ADDRESS), ("account", email, ACCOUNT))
        if wait_ms:
            return Answer(wait_ms=wait_ms)
        async with self._database.read() as connection:
            row = (await connection.execute(select(people).where(people.c.email == email))).one_or_none()
        right = await self._passwords.matches(None if row is None else row.password_hash, password[: LENGTH_MAX + 1])
        if row is None or not right or row.status != Status.ACTIVE.value:
            await self._refused("nobody" if row is None else row.id, "password", visitor)
            return Answer()
        await self._tries.forgive("account", email)
        level = Level.HALF if row.totp_secret is not None else Level.ENROL if self._code_needed else Level.FULL
        if level is not Level.HALF:
            await self._recorder.record(ActionKind.LOGIN, "logged_in", actor=row.id, detail={"address": visitor.address})
        async with self._database.write() as connection:
            token = await self._sessions.begin(connection, row.id, level, address=visitor.address, agent=visitor.agent)
        return Answer(token, level)

    async def code(self, half: Session, code: str, visitor: Visitor) -> Answer:
        """The second step: a one-time or recovery code. After five wrong ones the password is asked for again."""
        wait_ms = await self._tries.take(("code", half.person.id, CODE))
        if wait_ms:
            return Answer(wait_ms=wait_ms)
        # Before the code is spent: an entry may stand for a log-in that failed after all, no log-in is without one.
        await self._recorder.record(ActionKind.LOGIN, "code_given", actor=half.person.id, detail={"address": visitor.address})
        async with self._database.write() as connection:
            if await self._factors.accept(connection, half.person.id, code):
                gone = await connection.execute(delete(sessions).where(sessions.c.token_hash == half.token_hash))
                if gone.rowcount != 1:
                    return Answer()  # Ended while the code was typed: by a disabling, say.
                token = await self._sessions.begin(connection, half.person.id, Level.FULL, address=visitor.address, agent=visitor.agent)
            else:
                token = None
                this = sessions.c.token_hash == half.token_hash
                await connection.execute(update(sessions).where(this).values(wrong_codes=sessions.c.wrong_codes + 1))
                await connection.execute(delete(sessions).where(this, sessions.c.wrong_codes >= _WRONG_CODES_MAX))
        if token is None:
            await self._refused(half.person.id, "code", visitor)
            return Answer()
        await self._tries.forgive("code", half.person.id)
        return Answer(token, Level.FULL)

    async def _refused(self, actor: str, what: str, visitor: Visitor) -> None:
        await self._recorder.note(ActionKind.LOGIN, "login_refused", actor=actor, detail={"what": what, "address": visitor.address})

    async def confirm(self, session: Session, password: str) -> Answer:
        """Again, before something grave; the session stays the same one."""
        wait_ms = await self._tries.take(("account", session.person.email, ACCOUNT))
        if wait_ms:
            return Answer(wait_ms=wait_ms)
        async with self._database.read() as connection:
            known = (await connection.execute(select(people.c.password_hash).where(people.c.id == session.person.id))).scalar_one()
        if not await self._passwords.matches(known, password[: LENGTH_MAX + 1]):
            return Answer()
        await self._tries.forgive("account", session.person.email)
        await self._sessions.confirm(session)
        return Answer(level=session.level)

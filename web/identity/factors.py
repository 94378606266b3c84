"""What people prove themselves with: setting up an authenticator app, recovery codes, a new password.

Called by `web.identity.login` and by the settings pages.
Never takes a code twice: the database decides, in one statement, which of several at once was the first."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Final

from nacl.exceptions import CryptoError
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from streams.ports import Clock, Entropy
from web.database.engine import Database
from web.database.tables import people, recovery_codes, sessions
from web.identity import totp
from web.identity.passwords import Passwords
from web.identity.people import PeopleError
from web.identity.person import Person
from web.identity.secrets import Vault, hash_of
from web.identity.sessions import Level, Session, Sessions, end_sessions

RECOVERY_CODES: Final = 10
_RECOVERY_BYTES: Final = 15  # 120 bits, so that a plain hash is enough (ASVS 6.5.2).


class Factors:
    """Passwords and codes of everybody."""

    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        vault: Vault,
        sessions_: Sessions,
        clock: Clock,
        entropy: Entropy,
        *,
        code_needed: bool,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._vault = vault
        self._sessions = sessions_
        self._clock = clock
        self._entropy = entropy
        self.code_needed = code_needed

    def offer(self, person: Person) -> tuple[bytes, str]:
        """A new secret for an app, and the same sealed, for the form to bring back."""
        secret = self._entropy(totp.SECRET_BYTES)
        return secret, base64.urlsafe_b64encode(self._vault.sealed(person.id.encode() + secret)).decode()

    def offered(self, person: Person, sealed: str) -> bytes:
        """The secret that the form brought back; PeopleError if it was not offered to this person."""
        try:
            opened = self._vault.opened(base64.urlsafe_b64decode(sealed.encode()))
        except (CryptoError, ValueError, binascii.Error):
            opened = b""
        if not opened.startswith(person.id.encode()) or len(opened) != len(person.id) + totp.SECRET_BYTES:
            raise PeopleError("This form is from another time: begin again.")
        return opened[len(person.id) :]

    async def adopt(self, session: Session, secret: bytes, code: str) -> tuple[str, Sequence[str]]:
        """The app is set up once its code is right: the session's new token, and recovery codes to be shown once. Every other session ends."""
        step = totp.step_of(secret, code.replace(" ", ""), self._clock.now_ms())
        if step is None:
            raise PeopleError("The code does not fit. Check that the device's time is right, and enter the code that it shows now.")
        async with self._database.write() as connection:
            await connection.execute(
                update(people).where(people.c.id == session.person.id).values(totp_secret=self._vault.sealed(secret), totp_step=step)
            )
            codes = await self._new_codes(connection, session.person.id)
            token = await self._renewed(connection, session)
        return token, codes

    async def give_up(self, session: Session) -> str:
        """Without the app from now on; PeopleError where one is needed. The session's new token."""
        if self.code_needed:
            raise PeopleError("An authenticator app is needed here; set up a new one instead.")
        async with self._database.write() as connection:
            await _without_app(connection, session.person.id)
            return await self._renewed(connection, session)

    async def reset(self, person_id: str) -> None:
        """An administrator's act, for who has lost app and recovery codes: set up anew at the next log-in, after the password."""
        async with self._database.write() as connection:
            await _without_app(connection, person_id)
            await end_sessions(connection, person_id)

    async def renew_codes(self, person: Person) -> Sequence[str]:
        """New recovery codes, to be shown once; the old ones are worth nothing."""
        async with self._database.write() as connection:
            return await self._new_codes(connection, person.id)

    async def codes_left(self, person: Person) -> int:
        """Recovery codes not used yet."""
        query = select(recovery_codes.c.code_hash).where(recovery_codes.c.person_id == person.id, recovery_codes.c.used_at_ms.is_(None))
        async with self._database.read() as connection:
            return len((await connection.execute(query)).all())

    async def change_password(self, session: Session, chosen: str) -> str:
        """The session's new token; every other session ends. PeopleError if the new password may not be one."""
        problem = self._passwords.problem(chosen, words_about(session.person.email, session.person.name))
        if problem:
            raise PeopleError(problem)
        hashed = await self._passwords.hashed(chosen)
        async with self._database.write() as connection:
            await connection.execute(update(people).where(people.c.id == session.person.id).values(password_hash=hashed))
            return await self._renewed(connection, session)

    async def accept(self, connection: AsyncConnection, person_id: str, code: str) -> bool:
        """Whether this one-time or recovery code is right and unused; it is used now. In the caller's transaction."""
        code = "".join(code.split())
        row = (await connection.execute(select(people.c.totp_secret).where(people.c.id == person_id))).one_or_none()
        if row is None or row.totp_secret is None:
            return False
        step = totp.step_of(self._vault.opened(row.totp_secret), code, self._clock.now_ms())
        if step is not None:
            used = await connection.execute(
                update(people).where(people.c.id == person_id, people.c.totp_step < step).values(totp_step=step)
            )
            return used.rowcount == 1
        used = await connection.execute(
            update(recovery_codes)
            .where(recovery_codes.c.code_hash == _code_hash(person_id, code), recovery_codes.c.used_at_ms.is_(None))
            .values(used_at_ms=self._clock.now_ms())
        )
        return used.rowcount == 1

    async def _new_codes(self, connection: AsyncConnection, person_id: str) -> Sequence[str]:
        codes = [base64.b32encode(self._entropy(_RECOVERY_BYTES)).decode() for _ in range(RECOVERY_CODES)]
        await connection.execute(delete(recovery_codes).where(recovery_codes.c.person_id == person_id))
        await connection.execute(
            insert(recovery_codes), [{"code_hash": _code_hash(person_id, code), "person_id": person_id} for code in codes]
        )
        return ["-".join(code[at : at + 4] for at in range(0, len(code), 4)) for code in codes]

    async def _renewed(self, connection: AsyncConnection, session: Session) -> str:
        """Every session of the person ends, this one too, which goes on under a new token (ASVS 7.2.4, 7.4.3)."""
        gone = await connection.execute(delete(sessions).where(sessions.c.token_hash == session.token_hash))
        if gone.rowcount != 1:
            raise PeopleError("Your session has ended; log in again.")
        await end_sessions(connection, session.person.id)
        return await self._sessions.begin(connection, session.person.id, Level.FULL, address=session.address, agent=session.agent)


async def _without_app(connection: AsyncConnection, person_id: str) -> None:
    await connection.execute(update(people).where(people.c.id == person_id).values(totp_secret=None))
    await connection.execute(delete(recovery_codes).where(recovery_codes.c.person_id == person_id))


def _code_hash(person_id: str, code: str) -> str:
    return hash_of(f"{person_id} {code.replace('-', '').upper()}")


def words_about(email: str, name: str, institution: str = "") -> list[str]:
    """What somebody would guess first."""
    return [word for word in ("riverbank", institution, *email.replace("@", ".").split("."), *name.split()) if word]

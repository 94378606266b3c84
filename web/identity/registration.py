"""How people come to have an account: by an invitation, or by asking and being confirmed.

Called by the pages of registration.
Never tells a stranger which addresses are known: asking is answered the same way, after the same work, whatever there is already."""

from __future__ import annotations

from sqlalchemy import select, update

from web.database.engine import Database
from web.database.tables import people
from web.identity.factors import words_about
from web.identity.invitations import Invitations
from web.identity.passwords import Passwords
from web.identity.people import People, PeopleError, normalised_email
from web.identity.person import Status
from web.identity.roles import Role
from web.identity.sessions import end_sessions
from web.identity.tries import ADDRESS, Tries

_SPENT = "This link has been used, or is too old: ask for a new one."


class Registration:
    """Both ways in; `place` is the institution's name, which makes a poor password."""

    def __init__(
        self, database: Database, passwords: Passwords, people_: People, invitations: Invitations, tries: Tries, place: str
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._people = people_
        self._invitations = invitations
        self._tries = tries
        self._place = place

    async def by_invitation(self, token: str, *, email: str, name: str, password: str) -> None:
        """An active account with the invitation's role; PeopleError says what to do otherwise, and the invitation is still good."""
        email, hashed = await self._hashed(email, name, password)
        async with self._database.write() as connection:
            invitation = await self._invitations.use(connection, token)
            if invitation is None or invitation.person_id is not None:
                raise PeopleError(_SPENT)
            if invitation.email not in (None, email):
                raise PeopleError("This invitation is for another e-mail address.")
            person_id = await self._people.add(
                connection, email=email, name=name, role=invitation.role, status=Status.ACTIVE, password_hash=hashed
            )
            if person_id is None:
                raise PeopleError("This invitation cannot be used with this e-mail address; if you have an account, log in.")

    async def by_request(self, *, email: str, name: str, role: Role, password: str, address: str) -> int:
        """Ask for an account, which an administrator confirms: 0, whether or not the address was known; or milliseconds to wait."""
        wait_ms = await self._tries.take(("registration", address, ADDRESS))
        if wait_ms:
            return wait_ms
        email, hashed = await self._hashed(email, name, password)
        async with self._database.write() as connection:
            await self._people.add(connection, email=email, name=name, role=role, status=Status.PENDING, password_hash=hashed)
        return 0

    async def new_password(self, token: str, password: str) -> None:
        """Replace a forgotten password; the authenticator app is needed as before. PeopleError as above."""
        invitation = await self._invitations.find(token)
        if invitation is None or invitation.person_id is None:
            raise PeopleError(_SPENT)
        person = await self._people.find(invitation.person_id)
        _, hashed = await self._hashed("nobody@nowhere.example" if person is None else person.email, "", password)
        async with self._database.write() as connection:
            used = await self._invitations.use(connection, token)
            if used is None or used.person_id is None:
                raise PeopleError(_SPENT)
            row = (await connection.execute(select(people.c.id).where(people.c.id == used.person_id))).one()
            await connection.execute(update(people).where(people.c.id == row.id).values(password_hash=hashed))
            await end_sessions(connection, row.id)

    async def _hashed(self, email: str, name: str, password: str) -> tuple[str, str]:
        email = normalised_email(email)
        problem = self._passwords.problem(password, words_about(email, name, self._place))
        if problem:
            raise PeopleError(problem)
        return email, await self._passwords.hashed(password)

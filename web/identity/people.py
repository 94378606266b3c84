"""The people of a portal: who they are, what they may, and how they came here.

Called by `web.identity.login`, by the pages and by the API.
Never removes anybody: what somebody did here stays theirs; they are disabled instead."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from streams.ports import Clock, Entropy
from web.database.engine import Database
from web.database.tables import people
from web.identity.person import Person, Profile, Status, person_of
from web.identity.roles import Role
from web.identity.secrets import new_id
from web.identity.sessions import end_sessions

_EMAIL: Final = re.compile(r"^[^\s@\"<>(),;:\\]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,180}[A-Za-z0-9])$")


class PeopleError(Exception):
    """What was asked for cannot be; the sentence is for the person who asked."""


def normalised_email(text: str) -> str:
    """Lower case, without spaces around; PeopleError if it is no address."""
    email = text.strip().lower()
    if not _EMAIL.fullmatch(email) or not email.isprintable():
        raise PeopleError("Enter an e-mail address like name@bank.example.")
    return email


class People:
    """Everybody in the database."""

    def __init__(self, database: Database, clock: Clock, entropy: Entropy) -> None:
        self._database = database
        self._clock = clock
        self._entropy = entropy

    async def add(
        self, connection: AsyncConnection, *, email: str, name: str, role: Role, status: Status, password_hash: str
    ) -> str | None:
        """A new person's id, or None if the address is known already. In the caller's transaction, which also decides that they may be added."""
        person_id = new_id(self._entropy)
        row = {
            "id": person_id, "email": email, "name": name, "role": role.value, "status": status.value, "password_hash": password_hash,
            "totp_step": 0, "job": "", "phone": "", "zone": "UTC", "notify": ["work:in_app"], "created_at_ms": self._clock.now_ms(),
        }  # fmt: skip
        try:
            async with connection.begin_nested():
                await connection.execute(insert(people).values(row))
        except IntegrityError:
            return None
        return person_id

    async def find(self, person_id: str) -> Person | None:
        """By id."""
        async with self._database.read() as connection:
            row = (await connection.execute(select(people).where(people.c.id == person_id))).one_or_none()
        return None if row is None else person_of(row)

    async def everybody(self) -> Sequence[Person]:
        """Who waits for confirmation first, then by name."""
        order = (people.c.status != Status.PENDING.value, func.lower(people.c.name), people.c.id)
        async with self._database.read() as connection:
            rows = (await connection.execute(select(people).order_by(*order))).all()
        return [person_of(row) for row in rows]

    async def save_profile(self, person_id: str, profile: Profile) -> None:
        """Keep what they say of themselves."""
        values = {"name": profile.name, "job": profile.job, "phone": profile.phone, "zone": profile.zone, "notify": list(profile.notify)}
        async with self._database.write() as connection:
            await connection.execute(update(people).where(people.c.id == person_id).values(**values, profiled_at_ms=self._clock.now_ms()))

    async def govern(self, person_id: str, *, by: str, role: Role | None = None, status: Status | None = None) -> Person:
        """Give a role, confirm, disable or enable; every session of theirs ends at once. PeopleError if there is no such person, or it is oneself.

        That one cannot change oneself also keeps a last manager of people here: the other one is `by`, and stays.
        """
        if person_id == by:
            raise PeopleError("Nobody changes their own role or access: ask another administrator.")
        values = {key: value.value for key, value in (("role", role), ("status", status)) if value is not None}
        async with self._database.write() as connection:
            found = (await connection.execute(select(people).where(people.c.id == person_id).with_for_update())).one_or_none()
            if found is None:
                raise PeopleError("There is no such person here.")
            if values:
                await connection.execute(update(people).where(people.c.id == person_id).values(values))
                await end_sessions(connection, person_id)
            row = (await connection.execute(select(people).where(people.c.id == person_id))).one()
        return person_of(row)

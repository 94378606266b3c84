"""Everything about people, opened together.

Made by `web.wiring` and by `riverbank users`, kept in `web.state.Window`.
Never shared between institutions: a portal has a database, and this, of its own."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from streams.ports import Clock, Entropy
from web.database.engine import Database, open_database
from web.identity.factors import Factors
from web.identity.invitations import Invitations
from web.identity.keys import Keys
from web.identity.login import Login
from web.identity.passwords import LENGTH_MIN_ALONE, LENGTH_MIN_WITH_CODE, Passwords
from web.identity.people import People
from web.identity.recorders import Recorder
from web.identity.registration import Registration
from web.identity.secrets import Vault
from web.identity.sessions import Sessions
from web.identity.tries import Tries

CONSOLE = "console"


@dataclass(frozen=True)
class Identity:
    """The services over one database."""

    database: Database
    passwords: Passwords
    people: People
    sessions: Sessions
    factors: Factors
    login: Login
    registration: Registration
    invitations: Invitations
    keys: Keys


def assembled(
    database: Database,
    passwords: Passwords,
    vault: Vault,
    clock: Clock,
    entropy: Entropy,
    recorder: Recorder,
    *,
    place: str,
    code_needed: bool,
) -> Identity:
    """The services over an open database."""
    people, sessions, invitations = (
        People(database, clock, entropy),
        Sessions(database, clock, entropy),
        Invitations(database, clock, entropy),
    )
    tries = Tries(database, clock)
    factors = Factors(database, passwords, vault, sessions, clock, entropy, code_needed=code_needed)
    login = Login(database, passwords, factors, sessions, tries, recorder, code_needed=code_needed)
    registration = Registration(database, passwords, people, invitations, tries, place)
    return Identity(database, passwords, people, sessions, factors, login, registration, invitations, Keys(database, clock, entropy))


@contextlib.asynccontextmanager
async def open_identity(
    dsn: str,
    vault: Vault,
    clock: Clock,
    entropy: Entropy,
    recorder: Recorder,
    *,
    place: str | None,
    code_needed: bool,
    password: str | None = None,
) -> AsyncIterator[Identity]:
    """Identity of an institution's portal, or of the console (None); DatabaseError if its database cannot be used."""
    name = place or CONSOLE
    database = await open_database(dsn, belongs_to=name, password=password)
    passwords = Passwords(LENGTH_MIN_WITH_CODE if code_needed else LENGTH_MIN_ALONE, entropy)
    try:
        yield assembled(database, passwords, vault, clock, entropy, recorder, place=name, code_needed=code_needed)
    finally:
        passwords.close()
        await database.close()

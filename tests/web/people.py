"""A portal's people for tests: a database of their own, cheap hashing, a clock that the test moves.

Used by the tests of the portal and by benchmarks/lookups.py.
Never weaker than production in anything but the cost of a hash."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from nacl.secret import SecretBox

from streams import topology
from streams.memory import MemoryLog
from streams.parties import Parties
from streams.ports import Clock
from web.database.engine import open_database
from web.identity import totp
from web.identity.house import Identity, assembled
from web.identity.login import Visitor
from web.identity.passwords import Passwords
from web.identity.recorders import LogLines, Recorder
from web.identity.roles import Role
from web.identity.secrets import Vault
from web.identity.sessions import Level
from web.state import Window
from web.wiring import make_window

PASSWORD = "seven green otters waltz"  # noqa: S105 A test's.
VISITOR = Visitor("127.0.0.1", "test")


@dataclass
class TestClock:
    """Time as the test says."""

    __test__ = False
    ms: int = 1_795_000_000_000

    def now_ms(self) -> int:
        return self.ms


@contextlib.asynccontextmanager
async def opened(
    dsn: str, clock: Clock, *, place: str = "alder-bank", code_needed: bool = True, recorder: Recorder | None = None
) -> AsyncIterator[Identity]:
    """Identity over the database at `dsn`."""
    database = await open_database(dsn, belongs_to=place)
    passwords = Passwords(8 if code_needed else 15, os.urandom, memory_bytes=8192, passes=1)
    vault = Vault(b"k" * SecretBox.KEY_SIZE, os.urandom)
    try:
        yield assembled(database, passwords, vault, clock, os.urandom, recorder or LogLines(), place=place, code_needed=code_needed)
    finally:
        passwords.close()
        await database.close()


@contextlib.asynccontextmanager
async def people(
    folder: Path, clock: Clock | None = None, *, place: str = "alder-bank", code_needed: bool = True, recorder: Recorder | None = None
) -> AsyncIterator[Identity]:
    """Identity over SQLite in this folder."""
    async with opened(
        f"sqlite:///{folder}/{place}.sqlite3", clock or TestClock(), place=place, code_needed=code_needed, recorder=recorder
    ) as identity:
        yield identity


_numbers = itertools.count(1)


async def somebody(
    identity: Identity, role: Role, *, email: str | None = None, name: str = "Ada Brook", code: bool = True
) -> tuple[str, bytes]:
    """(address, secret of the app) of a new person who has joined by an invitation; without `code` no app is set up."""
    email = email or f"person{next(_numbers)}@alder.example"
    token = await identity.invitations.make(role, by="test")
    await identity.registration.by_invitation(token, email=email, name=name, password=PASSWORD)
    if not code:
        return email, b""
    secret = os.urandom(totp.SECRET_BYTES)
    answer = await identity.login.password(email, PASSWORD, VISITOR)
    session = await identity.sessions.find(answer.token, renews=False)
    now_ms = identity.sessions._clock.now_ms()
    token, _ = await identity.factors.adopt(session, secret, totp.code_at(secret, now_ms // totp.STEP_MS - 1))
    await identity.sessions.end_all(session.person.id)
    return email, secret


async def signed_in(identity: Identity, role: Role, **more: str) -> str:
    """The session token of a new person with this role."""
    email, secret = await somebody(identity, role, **more)
    return await log_in(identity, email, secret)


async def log_in(identity: Identity, email: str, secret: bytes) -> str:
    """Password and code: the session's token."""
    answer = await identity.login.password(email, PASSWORD, VISITOR)
    if answer.level is not Level.HALF:
        return answer.token
    half = await identity.sessions.find(answer.token, renews=False)
    step = identity.sessions._clock.now_ms() // totp.STEP_MS
    for near in (step, step + 1):  # The first may have been used a moment ago.
        done = await identity.login.code(half, totp.code_at(secret, near), VISITOR)
        if done.token is not None:
            return done.token
    raise AssertionError("no code was taken")


def empty_window(
    identity: Identity, clock: Clock, *, origin: str | None = None, recorder: Recorder | None = None, institution: str | None = "alder-bank"
) -> Window:
    """A window over logs that nobody writes to."""
    federation = MemoryLog({row.full_name(): row.partitions for row in topology.FEDERATION_TOPICS})
    own = None
    if institution is not None:
        own = institution, MemoryLog({row.full_name(institution): row.partitions for row in topology.OWN_TOPICS})
    parties = Parties(federation, federation="test", ca_verify_key=bytes(32))
    return make_window(parties, federation, own, clock, identity, recorder=recorder, origin=origin)

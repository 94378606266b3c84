"""One-time links: how a first administrator, and everybody who is asked, gets in, and how a forgotten password is replaced.

Made by `riverbank users invite` and by administrators; used up by `web.identity.registration`.
Never makes an account with a password that somebody else knows (ASVS 6.3.2, 6.4.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from streams.ports import Clock, Entropy
from web.database.engine import Database
from web.database.tables import invitations
from web.identity.roles import Role
from web.identity.secrets import hash_of, new_id, new_token

VALID_MS: Final = 3 * 24 * 3_600_000


@dataclass(frozen=True)
class Invitation:
    """Somebody was asked to join."""

    id: str
    role: Role
    email: str | None
    person_id: str | None
    made_by: str
    made_at_ms: int
    expires_at_ms: int


class Invitations:
    """All open invitations of a portal."""

    def __init__(self, database: Database, clock: Clock, entropy: Entropy) -> None:
        self._database = database
        self._clock = clock
        self._entropy = entropy

    async def make(self, role: Role, *, by: str, email: str | None = None, person_id: str | None = None) -> str:
        """An invitation's token, to be shown once. `email`: only for this address. `person_id`: a new password for somebody who is here."""
        now_ms, token = self._clock.now_ms(), new_token(self._entropy)
        row = {
            "token_hash": hash_of(token), "id": new_id(self._entropy), "role": role.value, "email": email, "person_id": person_id,
            "made_by": by, "made_at_ms": now_ms, "expires_at_ms": now_ms + VALID_MS,
        }  # fmt: skip
        async with self._database.write() as connection:
            await connection.execute(delete(invitations).where(invitations.c.expires_at_ms < now_ms - VALID_MS))
            await connection.execute(insert(invitations).values(row))
        return token

    async def find(self, token: str) -> Invitation | None:
        """The open invitation of this token."""
        async with self._database.read() as connection:
            row = (
                await connection.execute(select(invitations).where(invitations.c.token_hash == hash_of(token), *self._open()))
            ).one_or_none()
        return None if row is None else _invitation(row)

    async def use(self, connection: AsyncConnection, token: str) -> Invitation | None:
        """Use it up, in the caller's transaction; None if somebody has, or it has expired."""
        now_ms = self._clock.now_ms()
        used = await connection.execute(
            update(invitations).where(invitations.c.token_hash == hash_of(token), *self._open()).values(used_at_ms=now_ms)
        )
        if used.rowcount != 1:
            return None
        return _invitation((await connection.execute(select(invitations).where(invitations.c.token_hash == hash_of(token)))).one())

    async def open(self) -> Sequence[Invitation]:
        """Those not used yet, the newest first."""
        async with self._database.read() as connection:
            rows = (await connection.execute(select(invitations).where(*self._open()).order_by(invitations.c.made_at_ms.desc()))).all()
        return [_invitation(row) for row in rows]

    async def withdraw(self, invitation_id: str) -> bool:
        """Take it back; whether there was one."""
        async with self._database.write() as connection:
            done = await connection.execute(delete(invitations).where(invitations.c.id == invitation_id, *self._open()))
        return bool(done.rowcount)

    def _open(self) -> tuple[Any, Any]:
        return invitations.c.used_at_ms.is_(None), invitations.c.expires_at_ms > self._clock.now_ms()


def _invitation(row: Row[Any]) -> Invitation:
    return Invitation(row.id, Role(row.role), row.email, row.person_id, row.made_by, row.made_at_ms, row.expires_at_ms)

"""API keys: how another system of the institution asks, and for what.

Called by `web.guard` for every request with a key, by the pages and `riverbank users key`.
Never kept: only a key's hash is, so a lost key is made anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, insert, select, update

from streams.ports import Clock, Entropy
from web.database.engine import Database
from web.database.tables import api_keys
from web.identity.roles import Scope
from web.identity.secrets import hash_of, new_id, new_token

PREFIX: Final = "rbk_"
"""So that a scanner for leaked secrets knows one when it sees one."""
_REMEMBERED_MS: Final = 500  # A revoked key works no longer than this; a busy system's key is not looked up at every request.
_REMEMBERED_MAX: Final = 1000


@dataclass(frozen=True)
class ApiKey:
    """A key, without the key."""

    id: str
    name: str
    scopes: frozenset[Scope]
    made_by: str
    made_at_ms: int
    expires_at_ms: int | None


class Keys:
    """All API keys of a portal."""

    def __init__(self, database: Database, clock: Clock, entropy: Entropy) -> None:
        self._database = database
        self._clock = clock
        self._entropy = entropy
        self._remembered: dict[str, tuple[int, ApiKey]] = {}

    async def make(self, name: str, scopes: Sequence[Scope], *, by: str, expires_at_ms: int | None = None) -> tuple[str, str]:
        """(id, key) of a new key; the key is to be shown once."""
        key, key_id = PREFIX + new_token(self._entropy), new_id(self._entropy)
        row = {
            "key_hash": hash_of(key), "id": key_id, "name": name, "scopes": sorted(scopes), "made_by": by,
            "made_at_ms": self._clock.now_ms(), "expires_at_ms": expires_at_ms,
        }  # fmt: skip
        async with self._database.write() as connection:
            await connection.execute(insert(api_keys).values(row))
        return key_id, key

    async def find(self, key: str) -> ApiKey | None:
        """The living key."""
        now_ms, hashed = self._clock.now_ms(), hash_of(key)
        at_ms, known = self._remembered.get(hashed, (0, None))
        if known is None or not 0 <= now_ms - at_ms < _REMEMBERED_MS:
            known = await self._look_up(hashed, now_ms)
        return None if known is None or (known.expires_at_ms is not None and known.expires_at_ms <= now_ms) else known

    async def _look_up(self, hashed: str, now_ms: int) -> ApiKey | None:
        async with self._database.read() as connection:
            row = (
                await connection.execute(select(api_keys).where(api_keys.c.key_hash == hashed, api_keys.c.revoked_at_ms.is_(None)))
            ).one_or_none()
        self._remembered.pop(hashed, None)
        if row is None:
            return None
        if len(self._remembered) >= _REMEMBERED_MAX:
            self._remembered.clear()
        known = _key(row)
        self._remembered[hashed] = now_ms, known
        return known

    async def all(self) -> Sequence[ApiKey]:
        """Those not revoked, the newest first."""
        query = select(api_keys).where(api_keys.c.revoked_at_ms.is_(None)).order_by(api_keys.c.made_at_ms.desc(), api_keys.c.id)
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
        return [_key(row) for row in rows]

    async def revoke(self, key_id: str) -> bool:
        """End a key; whether there was one."""
        async with self._database.write() as connection:
            done = await connection.execute(
                update(api_keys)
                .where(api_keys.c.id == key_id, api_keys.c.revoked_at_ms.is_(None))
                .values(revoked_at_ms=self._clock.now_ms())
            )
        self._remembered.clear()
        return bool(done.rowcount)


def _key(row: Row[Any]) -> ApiKey:
    scopes = frozenset(Scope(scope) for scope in row.scopes)
    return ApiKey(row.id, row.name, scopes, row.made_by, row.made_at_ms, row.expires_at_ms)

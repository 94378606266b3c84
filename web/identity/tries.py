"""How often somebody may try: by account, by address, by holder of a code.

Called by `web.identity.login` before anything is compared, for accounts that exist and for those that do not.
Never counts after the fact: a try is taken before the work it allows, so that a hundred at once are a hundred."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, insert, select, update
from sqlalchemy.dialects.postgresql import insert as insert_or_not
from sqlalchemy.ext.asyncio import AsyncConnection

from streams.ports import Clock
from web.database.engine import Database
from web.database.tables import tries
from web.identity.secrets import hash_of

_MINUTE_MS: Final = 60_000
_KEPT_MS: Final = 60 * _MINUTE_MS
_REMEMBERED_MAX: Final = 10_000


@dataclass(frozen=True)
class Allowance:
    """`most` tries in a window; then nothing for `lock_ms` from the last one. From the `slow_from`-th on, each waits twice as long as the one before."""

    most: int
    window_ms: int
    lock_ms: int
    slow_from: int | None = None

    def wait_ms(self, at_ms: list[int], now_ms: int, *, locked: bool) -> int:
        """How long from now until the next try, given the earlier ones, oldest first; 0: at once."""
        if not at_ms:
            return 0
        since = now_ms - at_ms[-1]
        if locked:
            return max(0, self.lock_ms - since)
        if self.slow_from is not None and len(at_ms) >= self.slow_from:
            return max(0, (1000 << (len(at_ms) - self.slow_from)) - since)
        return 0


# PCI DSS 8.3.4: at most ten tries, then half an hour. The second figure keeps one address from locking a whole institution out quickly.
ACCOUNT: Final = Allowance(most=10, window_ms=30 * _MINUTE_MS, lock_ms=30 * _MINUTE_MS, slow_from=4)
ADDRESS: Final = Allowance(most=100, window_ms=10 * _MINUTE_MS, lock_ms=10 * _MINUTE_MS)
CODE: Final = Allowance(most=10, window_ms=30 * _MINUTE_MS, lock_ms=30 * _MINUTE_MS)


@dataclass(frozen=True)
class _State:
    """What some counters say: whose wait is the longest, and how long it is; times of earlier tries where no lock has ended them; which counters there are."""

    waiting: str
    wait_ms: int
    unlocked: dict[str, list[int]]
    known: frozenset[str]


class Tries:
    """The counters, in the database: every process of a portal sees the same."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._until_ms: dict[str, int] = {}

    def _remember(self, subject: str, until_ms: int) -> None:
        """Whoever hammers at a locked door costs no look into the database: a wait is only ever ended by a try, and none is taken meanwhile."""
        if len(self._until_ms) >= _REMEMBERED_MAX:
            self._until_ms.clear()
        self._until_ms[subject] = until_ms

    async def take(self, *asked: tuple[str, str, Allowance]) -> int:
        """Take one try of each (kind, who, allowance): 0, and they are counted; or the milliseconds to wait, and none is."""
        counters = [(hash_of(f"{kind} {who}"), allowance) for kind, who, allowance in asked]
        now_ms = self._clock.now_ms()
        remembered = max((self._until_ms.get(subject, 0) for subject, _ in counters), default=0)
        if remembered > now_ms:
            return remembered - now_ms
        async with self._database.write() as connection:
            await connection.execute(delete(tries).where(tries.c.newest_ms < now_ms - _KEPT_MS))
            if self._database.is_postgresql:  # What is not there cannot be locked.
                rows = [{"subject": subject, "at_ms": [], "newest_ms": now_ms, "locked": False} for subject, _ in counters]
                await connection.execute(insert_or_not(tries).values(rows).on_conflict_do_nothing())
            state = await self._state(connection, counters)
            if state.wait_ms:
                self._remember(state.waiting, now_ms + state.wait_ms)
                return state.wait_ms
            for subject, allowance in counters:
                kept = [at for at in state.unlocked.get(subject, []) if at > now_ms - allowance.window_ms] + [now_ms]
                values = {"at_ms": kept, "newest_ms": now_ms, "locked": len(kept) >= allowance.most}
                if subject in state.known:
                    await connection.execute(update(tries).where(tries.c.subject == subject).values(values))
                else:
                    await connection.execute(insert(tries).values(subject=subject, **values))
            return 0

    async def _state(self, connection: AsyncConnection, counters: Sequence[tuple[str, Allowance]]) -> _State:
        subjects = [subject for subject, _ in counters]
        query = select(tries).where(tries.c.subject.in_(subjects)).order_by(tries.c.subject)  # Always in one order: no deadlock.
        rows = {row.subject: row for row in await connection.execute(query.with_for_update())}
        now_ms = self._clock.now_ms()
        waits = {
            subject: allowance.wait_ms(rows[subject].at_ms, now_ms, locked=rows[subject].locked)
            for subject, allowance in counters
            if subject in rows
        }
        longest = max(waits, key=lambda subject: waits[subject], default="")
        unlocked = {subject: list(row.at_ms) for subject, row in rows.items() if not row.locked}
        return _State(longest, waits.get(longest, 0), unlocked, frozenset(rows))

    async def forgive(self, kind: str, who: str) -> None:
        """The last try was right: forget the wrong ones."""
        async with self._database.write() as connection:
            await connection.execute(delete(tries).where(tries.c.subject == hash_of(f"{kind} {who}")))

"""Who has contributed how much: the budget of every customer, head by head, saved in the same turn as the contribution it pays for.

Asked and written by `study` for each contribution, told by `participation` what else was said in the institution's name.
Never lets a customer spend what he has not: what was about to be said is spent, whatever becomes of it.

A row is what one customer's contributions of one day cost (privacy.accountant.cost); it is dropped when the period is over. Customers
are known by a digest. Contributions in our name that the ledger does not know (the state was lost, or is an old copy) may have been
anybody's: until they are a period old, nobody's budget is known, and nobody contributes."""

from __future__ import annotations

import hashlib
import math
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from federation.messages import HeadName, RoundParameters
from federation.privacy.accountant import affords, cost, noise_multiplier

DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Price:
    """What one contribution costs under a round's parameters, and what a customer may spend in so many days."""

    cost: float
    budget: float
    period_days: int

    @classmethod
    def of(cls, parameters: RoundParameters) -> Price:
        """Of the rounds with these parameters: participations_max contributions of their own kind, or what costs as much."""
        each = cost(noise_multiplier(parameters))
        return cls(each, parameters.participations_max * each, parameters.period_days)


class Ledger:
    """The tables of spendings. Everything but the constructor is called inside a store's turn."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database: Final = database

    def admitted(self, head: HeadName, customers: Sequence[str], price: Price, now_ms: int) -> list[float | None]:
        """What each of these customers will have spent in the period if he contributes; None for one who cannot pay."""
        first = self._day(head, now_ms) - price.period_days
        if self._unknown_day(head) > first and math.isfinite(price.budget):
            return [None] * len(customers)
        # Who was erased within the period has no rows any more, and so may have spent everything: to be erased gives no budget back.
        spent = (
            "SELECT CASE WHEN EXISTS (SELECT 1 FROM erased WHERE customer = ?2 AND day > ?3) THEN 9e999 ELSE total(cost) END "
            "FROM spendings WHERE head = ?1 AND customer = ?2 AND day > ?3"
        )
        rows = (self._database.execute(spent, (head.value, digest_of_customer(customer), first)).fetchone() for customer in customers)
        totals = (float(row[0]) + price.cost for row in rows)
        return [total if affords(price.budget, total) else None for total in totals]

    def enter(self, head: HeadName, round_: int, paying: Mapping[str, float], price: Price, now_ms: int) -> None:
        """These customers' updates are about to be said in this round; `paying`: customer -> what he will have spent, as `admitted` says."""
        day = self._day(head, now_ms)
        self._database.execute("DELETE FROM spendings WHERE head = ? AND day <= ?", (head.value, day - price.period_days))
        self._database.executemany(
            "INSERT INTO spendings VALUES (?1, ?2, ?3, ?4, 1, ?5, ?5) ON CONFLICT DO UPDATE "
            "SET cost = cost + excluded.cost, contributions = contributions + 1, last_round = excluded.last_round",
            [(head.value, digest_of_customer(customer), day, price.cost, round_) for customer in paying],
        )
        self._database.execute(
            "INSERT INTO ledgers VALUES (?, ?, ?, 0, ?) ON CONFLICT DO UPDATE "
            "SET round = max(round, excluded.round), day = excluded.day, spent_most = max(spent_most, excluded.spent_most)",
            (head.value, round_, day, max(paying.values(), default=0.0)),
        )

    def heard(self, head: HeadName, round_: int, now_ms: int) -> bool:
        """The log has a contribution of ours to this round; False if we do not know it, which stays so for a period."""
        row = self._database.execute("SELECT round FROM ledgers WHERE head = ?", (head.value,)).fetchone()
        if row is not None and round_ <= row[0]:
            return True
        day = self._day(head, now_ms)
        self._database.execute(
            "INSERT INTO ledgers VALUES (?, ?, ?, ?, 0.0) ON CONFLICT DO UPDATE SET round = excluded.round, unknown_day = excluded.unknown_day",
            (head.value, round_, day, day),
        )
        return False

    def erase(self, customer: str) -> int:
        """Forget what a customer has spent; how many rows that were. Until a period has passed he can spend nothing (`consents.Consents.erase`)."""
        return self._database.execute("DELETE FROM spendings WHERE customer = ?", (digest_of_customer(customer),)).rowcount

    def spent_most(self, head: HeadName) -> float:
        """The most that any customer has had spent in a period, ever."""
        row = self._database.execute("SELECT spent_most FROM ledgers WHERE head = ?", (head.value,)).fetchone()
        return 0.0 if row is None else float(row[0])

    def _day(self, head: HeadName, now_ms: int) -> int:
        """Today, in days since 1970; a clock that is set back does not bring a day back."""
        row = self._database.execute("SELECT day FROM ledgers WHERE head = ?", (head.value,)).fetchone()
        return max(now_ms // DAY_MS, row[0] if row is not None else 0)

    def _unknown_day(self, head: HeadName) -> float:
        row = self._database.execute("SELECT unknown_day FROM ledgers WHERE head = ?", (head.value,)).fetchone()
        return row[0] if row is not None and row[0] else -math.inf


def digest_of_customer(customer: str) -> bytes:
    """What a customer is called in the ledger, and in the list of the erased: 16 bytes."""
    return hashlib.blake2b(f"spending\n{customer}".encode(), digest_size=16).digest()

"""What an institution remembers of its customers' cards and its terminals: fading counts, one short row per key.

Kept by the institution worker beside its fraud model and saved with it; read by `fraud`.
Never leaves the institution, and never grows beyond its cap: the key longest unused is forgotten."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

DAY_MS: Final = 86_400_000
MONTH_MS: Final = 28 * DAY_MS
KEYS_MAX: Final = 200_000  # Per kind: about 60 MB when full.


class Kind(StrEnum):
    """What a row is about."""

    CUSTOMER = "customer"
    TERMINAL = "terminal"


@dataclass(frozen=True, slots=True)
class Row:
    """One key's memory as plain numbers; `numbers` None: the key was forgotten."""

    kind: Kind
    key: str
    numbers: tuple[float, ...] | None


class Habit(NamedTuple):
    """A customer's payments, each counting 1 when made and 1/e after a day, or after 28 days."""

    at_ms: float = 0.0  # As of when: the last payment.
    payments_day: float = 0.0
    payments_month: float = 0.0
    amount_month: float = 0.0  # Sum of amounts, fading over 28 days.


class Record(NamedTuple):
    """A terminal's payments and what became known of them, fading over 28 days."""

    at_ms: float = 0.0  # As of when: the last payment or label.
    payments: float = 0.0
    labels: float = 0.0
    frauds: float = 0.0


def habit_at(habit: Habit, at_ms: float) -> Habit:
    """The habit faded to a time; an earlier time changes nothing (events may come a little out of order)."""
    if at_ms <= habit.at_ms:
        return habit
    month = math.exp((habit.at_ms - at_ms) / MONTH_MS)
    return Habit(at_ms, habit.payments_day * month**28, habit.payments_month * month, habit.amount_month * month)


def record_at(record: Record, at_ms: float) -> Record:
    """The record faded to a time; an earlier time changes nothing."""
    if at_ms <= record.at_ms:
        return record
    month = math.exp((record.at_ms - at_ms) / MONTH_MS)
    return Record(at_ms, record.payments * month, record.labels * month, record.frauds * month)


class Behaviour:
    """Rows of customers and terminals, least recently used first; O(1) per event."""

    def __init__(self, *, keys_max: int = KEYS_MAX) -> None:
        """Empty; at most `keys_max` customers and as many terminals."""
        self._keys_max = keys_max
        self._customers: dict[str, Habit] = {}
        self._terminals: dict[str, Record] = {}
        self._changed: dict[tuple[Kind, str], None] = {}

    def customer(self, key: str) -> Habit | None:
        """What is remembered of this customer, as of the last payment; None for a new or forgotten one."""
        return self._customers.get(key)

    def terminal(self, key: str) -> Record | None:
        """What is remembered of this terminal; None for a new or forgotten one."""
        return self._terminals.get(key)

    def observe(self, customer: str, terminal: str, amount: float, at_ms: int) -> None:
        """Remember a payment; call it after encoding, or the event would explain itself."""
        at, day, month, total = habit_at(self._customers.pop(customer, Habit(float(at_ms))), at_ms)
        self._customers[customer] = Habit(at, day + 1.0, month + 1.0, total + amount)
        self._changed[Kind.CUSTOMER, customer] = None
        at, payments, labels, frauds = record_at(self._terminals.pop(terminal, Record(float(at_ms))), at_ms)
        self._terminals[terminal] = Record(at, payments + 1.0, labels, frauds)
        self._changed[Kind.TERMINAL, terminal] = None
        if len(self._customers) > self._keys_max:
            self._forget(Kind.CUSTOMER, self._customers)
        if len(self._terminals) > self._keys_max:
            self._forget(Kind.TERMINAL, self._terminals)

    def _forget(self, kind: Kind, rows: dict[str, Habit] | dict[str, Record]) -> None:
        oldest = next(iter(rows))
        del rows[oldest]
        self._changed[kind, oldest] = None

    def label(self, terminal: str, fraud: bool, at_ms: int) -> None:
        """Remember that a payment at this terminal was confirmed or ruled out as fraud at `at_ms`; a forgotten terminal stays so."""
        record = self._terminals.get(terminal)
        if record is not None:
            at, payments, labels, frauds = record_at(record, at_ms)
            self._terminals[terminal] = Record(at, payments, labels + 1.0, frauds + fraud)
            self._changed[Kind.TERMINAL, terminal] = None

    def erase(self, customer: str) -> bool:
        """Forget a customer; whether anything was remembered. Terminals' counts are of everybody who paid there."""
        known = self._customers.pop(customer, None)
        if known is not None:
            self._changed[Kind.CUSTOMER, customer] = None
        return known is not None

    def take_changes(self) -> tuple[Row, ...]:
        """Rows changed since the last call, forgotten keys with None; save them with the model they belong to."""
        rows = []
        for kind, key in self._changed:
            kept = self._customers.get(key) if kind is Kind.CUSTOMER else self._terminals.get(key)
            rows.append(Row(kind, key, kept))
        self._changed.clear()
        return tuple(rows)

    def load(self, rows: Iterable[Row]) -> None:
        """Take saved rows; the order of use is restored from their times. ValueError for a row that is not of its kind."""
        for row in sorted((row for row in rows if row.numbers is not None), key=_time_of):
            numbers = row.numbers or ()
            if len(numbers) != len(Habit._fields) or not all(math.isfinite(number) for number in numbers):
                raise ValueError(f"a saved row of a {row.kind.value} has {len(numbers)} numbers, or one that is not finite")
            if row.kind is Kind.CUSTOMER:
                self._customers[row.key] = Habit(*numbers)
            else:
                self._terminals[row.key] = Record(*numbers)


def _time_of(row: Row) -> float:
    return row.numbers[0] if row.numbers else 0.0

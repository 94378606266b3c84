"""What an institution remembers of its cards and terminals: exponentially fading counts, one short row per key.

Kept by the institution worker beside its fraud model and saved with it; read by `fraud`.
Never leaves the institution, and never grows beyond its cap: the key longest unused is forgotten."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

DAY_MS: Final = 86_400_000
KEYS_MAX: Final = 200_000  # Per kind: about 60 MB of rows each when full.


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


class Cards:
    """Fading count and amount of one customer over 1, 7 and 28 days; `as_of_ms` is the last payment."""

    __slots__ = ("amount_1", "amount_7", "amount_28", "as_of_ms", "count_1", "count_7", "count_28")

    def __init__(self, numbers: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)) -> None:
        self.as_of_ms, self.count_1, self.count_7, self.count_28, self.amount_1, self.amount_7, self.amount_28 = numbers

    def numbers(self) -> tuple[float, ...]:
        """The row to save."""
        return (self.as_of_ms, self.count_1, self.count_7, self.count_28, self.amount_1, self.amount_7, self.amount_28)

    def fade_to(self, at_ms: int) -> None:
        """Let time pass; an earlier time changes nothing (events may come a little out of order)."""
        if at_ms <= self.as_of_ms:
            return
        slow = math.exp((self.as_of_ms - at_ms) / (28 * DAY_MS))
        middle = slow**4
        fast = slow**28
        self.count_1 *= fast
        self.amount_1 *= fast
        self.count_7 *= middle
        self.amount_7 *= middle
        self.count_28 *= slow
        self.amount_28 *= slow
        self.as_of_ms = at_ms

    def add(self, amount: float) -> None:
        """Count a payment at the time last faded to."""
        self.count_1 += 1.0
        self.count_7 += 1.0
        self.count_28 += 1.0
        self.amount_1 += amount
        self.amount_7 += amount
        self.amount_28 += amount


class Till:
    """Fading counts of one terminal: payments over 28 days; labels and frauds among them over 3 and 28 days."""

    __slots__ = ("as_of_ms", "count_28", "frauds_3", "frauds_28", "labels_3", "labels_28")

    def __init__(self, numbers: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)) -> None:
        self.as_of_ms, self.count_28, self.labels_3, self.labels_28, self.frauds_3, self.frauds_28 = numbers

    def numbers(self) -> tuple[float, ...]:
        """The row to save."""
        return (self.as_of_ms, self.count_28, self.labels_3, self.labels_28, self.frauds_3, self.frauds_28)

    def fade_to(self, at_ms: int) -> None:
        """Let time pass; an earlier time changes nothing."""
        if at_ms <= self.as_of_ms:
            return
        slow = math.exp((self.as_of_ms - at_ms) / (28 * DAY_MS))
        fast = math.exp((self.as_of_ms - at_ms) / (3 * DAY_MS))
        self.count_28 *= slow
        self.labels_28 *= slow
        self.frauds_28 *= slow
        self.labels_3 *= fast
        self.frauds_3 *= fast
        self.as_of_ms = at_ms

    def label(self, fraud: bool) -> None:
        """Count a label at the time last faded to."""
        self.labels_3 += 1.0
        self.labels_28 += 1.0
        if fraud:
            self.frauds_3 += 1.0
            self.frauds_28 += 1.0


class Behaviour:
    """Rows of customers and terminals, least recently used first; O(1) per event."""

    def __init__(self, *, keys_max: int = KEYS_MAX) -> None:
        """Empty; at most `keys_max` customers and as many terminals."""
        self._keys_max = keys_max
        self._customers: dict[str, Cards] = {}
        self._terminals: dict[str, Till] = {}
        self._changed: dict[tuple[Kind, str], None] = {}

    def customer(self, key: str) -> Cards | None:
        """What is remembered of this customer."""
        return self._customers.get(key)

    def terminal(self, key: str) -> Till | None:
        """What is remembered of this terminal."""
        return self._terminals.get(key)

    def observe(self, customer: str, terminal: str, amount: float, at_ms: int) -> None:
        """Remember a payment; call it after encoding, or the event would explain itself."""
        cards = self._customers.pop(customer, None) or Cards()
        cards.fade_to(at_ms)
        cards.add(amount)
        self._customers[customer] = cards
        self._changed[Kind.CUSTOMER, customer] = None
        till = self._terminals.pop(terminal, None) or Till()
        till.fade_to(at_ms)
        till.count_28 += 1.0
        self._terminals[terminal] = till
        self._changed[Kind.TERMINAL, terminal] = None
        if len(self._customers) > self._keys_max:
            oldest = next(iter(self._customers))
            del self._customers[oldest]
            self._changed[Kind.CUSTOMER, oldest] = None
        if len(self._terminals) > self._keys_max:
            oldest = next(iter(self._terminals))
            del self._terminals[oldest]
            self._changed[Kind.TERMINAL, oldest] = None

    def label(self, terminal: str, fraud: bool, at_ms: int) -> None:
        """Remember that a payment at this terminal was confirmed or ruled out as fraud at `at_ms`; forgotten terminals stay so."""
        till = self._terminals.get(terminal)
        if till is not None:
            till.fade_to(at_ms)
            till.label(fraud)
            self._changed[Kind.TERMINAL, terminal] = None

    def take_changes(self) -> tuple[Row, ...]:
        """Rows changed since the last call, forgotten keys with None; save them with the model they belong to."""
        rows = []
        for kind, key in self._changed:
            kept: Cards | Till | None = self._customers.get(key) if kind is Kind.CUSTOMER else self._terminals.get(key)
            rows.append(Row(kind, key, None if kept is None else kept.numbers()))
        self._changed.clear()
        return tuple(rows)

    def load(self, rows: Iterable[Row]) -> None:
        """Take saved rows, the last of a key counts; the order of use is restored from their times."""
        for row in sorted(rows, key=lambda row: (row.numbers or (0.0,))[0]):
            if row.numbers is not None and row.kind is Kind.CUSTOMER:
                self._customers[row.key] = Cards(row.numbers)
            elif row.numbers is not None:
                self._terminals[row.key] = Till(row.numbers)

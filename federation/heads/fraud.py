"""Card payments as coordinates: amount, hour, the customer's habit, the terminal's record.

Called by the institution worker, before the payment is remembered in `Behaviour`.
Never uses a label younger than the payment: what is active is fixed when the decision is made."""

from __future__ import annotations

import hashlib
from typing import Final

from federation.errors import require
from federation.heads.behaviour import DAY_MS, Behaviour, habit_at, record_at
from federation.heads.features import FeatureSchema
from federation.heads.head import INTERCEPT, Active, FeatureError, Layout
from federation.messages import CardTransaction, HeadName

HOUR_MS: Final = 3_600_000

QUANTITIES: Final = (
    "amount",
    "amount_to_usual",  # Over the customer's mean of the last 28 days, fading.
    "hour",  # UTC.
    "payments_1_day",
    "hours_since_last",
    "terminal_payments",
    "terminal_frauds",
    "terminal_fraud_rate",
)
"""What `encode` computes, in the order the schema must declare."""

OF_OTHERS: Final = frozenset({"terminal_payments", "terminal_frauds", "terminal_fraud_rate"})
"""Those that other customers' payments make: they score here, and are no part of what a customer contributes (docs/privacy.md)."""


class FraudEncoder:
    """Turns a payment and what is remembered into the coordinates that are 1 for it; what is unknown or usual has none."""

    def __init__(self, schema: FeatureSchema) -> None:
        """Lay out bins, then terminal buckets; Broken unless the schema declares exactly QUANTITIES."""
        require(
            tuple(bins.name for bins in schema.numbers) == QUANTITIES, "the fraud schema declares other quantities than fraud.py computes"
        )
        names = [INTERCEPT]
        self._bins = []  # (first coordinate, bins)
        of_others: set[int] = set()
        for bins in schema.numbers:
            self._bins.append((len(names), bins))
            if bins.name in OF_OTHERS:
                of_others.update(range(len(names), len(names) + len(bins.values)))
            names += [f"{bins.name}={value}" for value in bins.values]
        self._of_others = frozenset(of_others)
        self._bucket_first = len(names)
        self._buckets = int(schema.declared["terminal_buckets"])
        require(self._buckets > 0, "terminals need a bucket")
        names += [f"terminal_bucket={number}" for number in range(self._buckets)]
        self.layout = Layout(schema.head, schema.version, tuple(names), schema.prior)

    @classmethod
    def shipped(cls) -> FraudEncoder:
        """The encoder of schemas/features/fraud.toml."""
        return cls(FeatureSchema.shipped(HeadName.FRAUD))

    def encode(self, payment: CardTransaction, behaviour: Behaviour) -> Active:
        """Ascending coordinates; changes nothing. FeatureError for an amount or a time outside the schema's range."""
        active = []
        for (first, bins), value in zip(self._bins, quantities(payment, behaviour), strict=True):
            if value is not None:
                place = bins.place_of(value)
                if place is not None:
                    active.append(first + place)
        # Terminals of all institutions share the buckets: a terminal found out by one warns the others, through the weights.
        hashed = hashlib.blake2b(payment.terminal.encode(), digest_size=8).digest()
        active.append(self._bucket_first + int.from_bytes(hashed, "little") % self._buckets)
        return tuple(active)

    def contributed(self, active: Active) -> Active:
        """Of the coordinates of a payment, those that its customer's own events have made."""
        return tuple(index for index in active if index not in self._of_others)


def quantities(payment: CardTransaction, behaviour: Behaviour) -> tuple[float | None, ...]:
    """QUANTITIES of one payment; None where nothing is remembered."""
    amount, at_ms = payment.amount, payment.occurred_at_ms
    if at_ms < 0:
        raise FeatureError(f"the payment happened at {at_ms} ms, before 1970")
    habit, record = behaviour.customer(payment.customer), behaviour.terminal(payment.terminal)
    usual = payments_day = hours_since = payments = frauds = fraud_rate = None
    if habit is not None:
        hours_since = max(0.0, (at_ms - habit.at_ms) / HOUR_MS)
        payments_day = habit_at(habit, at_ms).payments_day
        # Sum and count fade alike, so their quotient needs no fading.
        mean = habit.amount_month / habit.payments_month if habit.payments_month else 0.0
        usual = min(amount / mean, 1e9) if mean > 0.0 else None
    if record is not None:
        now = record_at(record, at_ms)
        payments, frauds = now.payments, now.frauds
        fraud_rate = record.frauds / record.labels if record.labels else None
    return (amount, usual, at_ms % DAY_MS / HOUR_MS, payments_day, hours_since, payments, frauds, fraud_rate)

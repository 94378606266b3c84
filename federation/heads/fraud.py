"""Card payments as coordinates: amount, hour, the customer's habits, the terminal's record.

Called by the institution worker, before the payment is remembered in `Behaviour`.
Never uses a label younger than the payment: what is active is fixed when the decision is made."""

from __future__ import annotations

import hashlib
from typing import Final

from federation.errors import require
from federation.heads.behaviour import DAY_MS, Behaviour
from federation.heads.features import Bins, FeatureSchema
from federation.heads.head import INTERCEPT, Active, FeatureError, Layout
from federation.messages import CardTransaction, HeadName

QUANTITIES: Final = (
    "amount",
    "amount_to_usual",
    "hour",
    "payments_1_day",
    "payments_7_days",
    "payments_28_days",
    "spending_1_day",
    "hours_since_last",
    "terminal_payments",
    "terminal_frauds_3_days",
    "terminal_frauds_28_days",
    "terminal_fraud_rate",
)
"""What `encode` computes, in the order the schema must declare."""


class FraudEncoder:
    """Turns a payment and what is remembered into the coordinates that are 1 for it."""

    def __init__(self, schema: FeatureSchema) -> None:
        """Lay out bins, then weekend, then terminal buckets; Broken unless the schema declares exactly QUANTITIES."""
        require(
            tuple(bins.name for bins in schema.numbers) == QUANTITIES, "the fraud schema declares other quantities than fraud.py computes"
        )
        names = [INTERCEPT]
        self._bins: list[tuple[int, Bins]] = []
        for bins in schema.numbers:
            self._bins.append((len(names), bins))
            names += [f"{bins.name}={value}" for value in bins.values]
        self._weekend = len(names)
        names += ["weekend=no", "weekend=yes"]
        self._bucket_first = len(names)
        self._buckets = int(schema.declared["terminal_buckets"])
        names += [f"terminal_bucket={number}" for number in range(self._buckets)]
        self.layout = Layout(schema.head, schema.version, tuple(names))

    @classmethod
    def shipped(cls) -> FraudEncoder:
        """The encoder of schemas/features/fraud.toml."""
        return cls(FeatureSchema.shipped(HeadName.FRAUD))

    def encode(self, payment: CardTransaction, behaviour: Behaviour) -> Active:
        """Ascending coordinates; reads `behaviour` and fades it to the payment's time. FeatureError for an absurd amount or time."""
        active = []
        for (first, bins), value in zip(self._bins, self._quantities(payment, behaviour), strict=True):
            active.append(first + (len(bins.values) - 1 if value is None else bins.bin_of(value)))
        days = payment.occurred_at_ms // DAY_MS
        active.append(self._weekend + ((days + 3) % 7 >= 5))  # 1970-01-01 was a Thursday.
        if self._buckets:
            hashed = hashlib.blake2b(payment.terminal.encode(), digest_size=8).digest()
            active.append(self._bucket_first + int.from_bytes(hashed, "little") % self._buckets)
        return tuple(active)

    @staticmethod
    def _quantities(payment: CardTransaction, behaviour: Behaviour) -> tuple[float | None, ...]:
        amount, at_ms = payment.amount, payment.occurred_at_ms
        if at_ms < 0:
            raise FeatureError(f"the payment happened at {at_ms} ms, before 1970")
        hour = at_ms % DAY_MS / 3_600_000
        cards = behaviour.customer(payment.customer)
        customer: tuple[float | None, ...] = (None,) * 5
        usual = None
        if cards is not None:
            idle_hours = max(0.0, (at_ms - cards.as_of_ms) / 3_600_000)
            cards.fade_to(at_ms)
            if cards.count_28 > 0.5:
                usual = amount * cards.count_28 / max(cards.amount_28, 1e-9)
            customer = (cards.count_1, cards.count_7, cards.count_28, cards.amount_1, idle_hours)
        till = behaviour.terminal(payment.terminal)
        terminal: tuple[float | None, ...] = (None,) * 4
        if till is not None:
            till.fade_to(at_ms)
            terminal = (till.count_28, till.frauds_3, till.frauds_28, till.frauds_28 / till.labels_28 if till.labels_28 > 0 else None)
        return (amount, None if usual is None else min(usual, 1e9), hour, *customer, *terminal)

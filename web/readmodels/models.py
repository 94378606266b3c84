"""The global models of every head, as the aggregator announced them.

Fed by `web.feed` with verified messages of rounds.v1; shown by `riverbank model` and the console.
Never holds a model's numbers: they travel on models.v1, and digests name them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from federation import messages as m

RECENT_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Announced:
    """One version of one head's global model, and where it comes from."""

    head: m.HeadName
    version: int
    epoch: int
    round: int
    published_at_ms: int
    digest: bytes
    base_digest: bytes
    contributors: tuple[str, ...]
    customers: int
    epsilon: float | None
    """What participations_max rounds like this may cost a customer; None without noise."""


class Models:
    """Fold of rounds.v1: the newest `RECENT_MAX` versions of each head, oldest first."""

    def __init__(self) -> None:
        self.heads: dict[m.HeadName, deque[Announced]] = {head: deque(maxlen=RECENT_MAX) for head in m.HeadName}

    def apply(self, message: m.Message) -> None:
        """Fold one message; the first announcement of a round in the log's order is the one that counts."""
        if isinstance(message, m.ModelPublished):
            self._add(message, message.contributors, message.customers)
        elif isinstance(message, m.GroupsMerged):
            names = sorted({name for each in message.sums for name in each.contributors})
            self._add(message, tuple(names), sum(each.customers for each in message.sums))

    def _add(self, message: m.ModelPublished | m.GroupsMerged, contributors: tuple[str, ...], customers: int) -> None:
        known = self.heads[message.head]
        if known and message.round <= known[-1].round:
            return
        known.append(
            Announced(
                head=message.head, version=message.version, epoch=message.epoch, round=message.round, published_at_ms=message.published_at_ms,
                digest=message.model_digest, base_digest=message.base_digest, contributors=contributors, customers=customers,
                epsilon=message.epsilon,
            )
        )  # fmt: skip

    def newest(self, head: m.HeadName) -> Announced | None:
        """The head's model now; None before the first."""
        known = self.heads[head]
        return known[-1] if known else None

    def of(self, head: m.HeadName, version: int) -> Announced | None:
        """One version, the newest announcement of it; None if it is not among those kept."""
        return next((each for each in reversed(self.heads[head]) if each.version == version), None)

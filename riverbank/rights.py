"""What an institution does when a customer uses his rights: over its own topics, whoever of its processes then acts.

Called by `riverbank rights`.
Never changes a process's state itself: what is asked lies in the log, and counts in its order."""

from __future__ import annotations

import time
from collections.abc import Collection

from federation.messages import ConsentsStated, Purpose
from streams.codec import encode
from streams.ports import Log, Outgoing
from streams.topology import CONSENTS


def now_ms() -> int:
    """Milliseconds since 1970 UTC."""
    return time.time_ns() // 1_000_000


async def state_consents(log: Log, institution: str, customer: str, permitted: Collection[Purpose], refused: Collection[Purpose]) -> None:
    """Put a customer's choices, all of them, onto consents.v1; without any, a tombstone: he has said nothing. Raises as the log says."""
    said = ConsentsStated(customer=customer, permitted=tuple(sorted(permitted)), refused=tuple(sorted(refused)), stated_at_ms=now_ms())
    value = encode(said) if permitted or refused else None
    await log.append([Outgoing(CONSENTS.full_name(institution), 0, customer.encode(), value)])

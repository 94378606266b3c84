"""A federation in small: its CA, its signers, its parties' topic and its audit topic in memory.

Used by the audit's tests, in this process and in children.
Never random: keys follow from names, so two processes make the same bytes."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable

from federation import messages as m
from federation.ids import ZERO_DIGEST, digest_of
from federation.secagg.certificates import PartyKeys, certify
from federation.secagg.keys import Secret, sign
from riverbank.verification import CertifiedParties
from streams.codec import encode
from streams.memory import MemoryLog
from streams.ports import Log, Outgoing
from streams.signed import seal_record
from streams.topology import AUDIT, PARTIES

FEDERATION = "delta"
NOW_MS = 1_764_000_000_000


def entry(number: int = 0, **changes: object) -> m.AuditEntry:
    """An entry of north's about a masked update; `number` makes it differ."""
    fields = {
        "entry_id": digest_of(f"exchange {number}".encode()), "at_ms": NOW_MS + number, "actor": "north", "action": "MaskedUpdate",
        "topic": "rounds.v1", "head": "credit", "epoch": 1, "round": 1 + number, "digest": digest_of(f"payload {number}".encode()),
        "size_bytes": 100, "schema_fingerprint": "0123456789abcdef", "software_version": "0.1.0", "outcome": "sent", "accused": "",
    }  # fmt: skip
    return m.AuditEntry(**(fields | changes))  # type: ignore[arg-type]


async def until(condition: Callable[[], bool], within_s: float = 10) -> None:
    """Wait for it; an AssertionError if it does not come."""
    give_up = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < give_up, "waited too long"
        await asyncio.sleep(0.005)


class Town:
    """One federation and its log."""

    def __init__(self) -> None:
        self.log: Log = MemoryLog({AUDIT.full_name(): AUDIT.partitions, PARTIES.full_name(): 1}, now_ms=lambda: NOW_MS)
        self._ca = PartyKeys.from_entropy(self._entropy("ca"))

    @staticmethod
    def _entropy(name: str) -> Callable[[int], bytes]:
        drawn = iter(range(1_000))
        return lambda count: hashlib.shake_256(f"{name} {next(drawn)}".encode()).digest(count)

    @property
    def ca_verify_key(self) -> bytes:
        return self._ca.verify_key

    def registry(self) -> CertifiedParties:
        """An empty registry with the CA pinned."""
        return CertifiedParties(FEDERATION, self._ca.verify_key)

    def keys(self, party: str) -> PartyKeys:
        return PartyKeys.from_entropy(self._entropy(party))

    async def certify(self, party: str, *, keys_of: str | None = None) -> None:
        keys = self.keys(keys_of or party)
        certified = certify(
            self._ca.signing_seed, federation=FEDERATION, party=party, role=m.PartyRole.INSTITUTION,
            verify_key=keys.verify_key, sealing_key=keys.sealing_key,
        )  # fmt: skip
        await self.log.append([Outgoing(PARTIES.full_name(), 0, party.encode(), encode(certified))])

    def sealed(self, message: m.AuditEntry, *, keys_of: str | None = None) -> bytes:
        seed: Secret = self.keys(keys_of or message.actor).signing_seed
        return seal_record(message, sender=message.actor, sign=lambda data: sign(seed, data), federation=FEDERATION, topic=AUDIT)

    async def say(self, *values: bytes | m.AuditEntry | None) -> None:
        sealed = [self.sealed(value) if isinstance(value, m.AuditEntry) else value for value in values]
        await self.log.append([Outgoing(AUDIT.full_name(), 0, ZERO_DIGEST, value) for value in sealed])

"""A federation in small: its CA, its signers, its parties' topic and its audit topic in memory.

Used by the audit's tests, in this process and in children.
Never random: keys follow from names, so two processes make the same bytes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from federation import messages as m
from federation.ids import ZERO_DIGEST, digest_of
from federation.members.keys import PartyKeys
from streams.memory import MemoryLog
from streams.parties import Parties
from streams.ports import Log, Outgoing
from streams.signed import seal_record
from streams.topology import AUDIT, MEMBERS, PARTIES, partitions_of
from tests.credentials import Credentials, keys_of

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
        self.log: Log = MemoryLog(partitions_of((AUDIT, PARTIES, MEMBERS)), now_ms=lambda: NOW_MS)
        self.credentials = Credentials(FEDERATION, ())

    @property
    def ca_verify_key(self) -> bytes:
        return self.credentials.ca_verify_key

    def parties(self) -> Parties:
        """Nobody known yet, the CA pinned."""
        return Parties(self.log, federation=FEDERATION, ca_verify_key=self.ca_verify_key)

    async def certify(self, party: str, *, keys_of: str | None = None, serial: int = 1) -> None:
        await self.credentials.certify(self.log, self.credentials.certificate(party, self.keys(keys_of or party), serial=serial))

    @staticmethod
    def keys(party: str) -> PartyKeys:
        return keys_of(FEDERATION, party)

    def sealed(self, message: m.AuditEntry, *, keys_of: str | None = None) -> bytes:
        keys = self.keys(keys_of or message.actor)
        return seal_record(message, sender=message.actor, sign=keys.sign, federation=FEDERATION, topic=AUDIT)

    async def say(self, *values: bytes | m.AuditEntry | None) -> None:
        sealed = [self.sealed(value) if isinstance(value, m.AuditEntry) else value for value in values]
        await self.log.append([Outgoing(AUDIT.full_name(), 0, ZERO_DIGEST, value) for value in sealed])

"""Who is certified, as this process knows it: the registry, kept up with the federation CA's topic.

Called by everything here that opens a record; started by `wiring`.
Never believes a key that the pinned CA has not signed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from federation.errors import PeerFault
from federation.messages import PartyCertified, PartyRole
from federation.secagg.certificates import Registry
from streams.codec import DecodeError, decode
from streams.ports import Log, LogReader, Position, Record
from streams.signed import Opened, open_record
from streams.telemetry import FAULTS
from streams.topology import PARTIES, Topic

_log: Final = structlog.get_logger(__name__)

_WAIT_MS: Final = 1_000
_BATCH: Final = 500


class Parties:
    """The parties of one federation; `follow` keeps it up, `catch_up` makes sure of what the log holds now."""

    def __init__(self, log: Log, *, federation: str, ca_verify_key: bytes) -> None:
        self._log: Final = log
        self._registry = Registry.of(federation, ca_verify_key)
        self._reader: LogReader | None = None
        self._turn: Final = asyncio.Lock()
        self._next_offset = 0

    @property
    def registry(self) -> Registry:
        """The parties known now."""
        return self._registry

    async def catch_up(self) -> None:
        """Read the parties' topic up to its end as it is now."""
        async with self._turn:
            reader = await self._opened()
            end = (await reader.end_offsets())[PARTIES.full_name(), 0]
            while self._next_offset < end:
                await self._take(await reader.poll(_BATCH, _WAIT_MS))

    async def follow(self) -> None:
        """Keep up until cancelled: a certificate that is renewed counts within a second."""
        while True:
            async with self._turn:
                await self._take(await (await self._opened()).poll(_BATCH, 0))
            await asyncio.sleep(_WAIT_MS / 1000)

    async def open(self, record: Record, topic: Topic) -> Opened:
        """The message in a record, its signature verified, its sender certified for saying it.

        A sender not known yet is looked for in the log once. DecodeError or PeerFault as `streams.signed.open_record`.
        """
        value = record.value or b""
        try:
            return open_record(value, topic=topic, federation=self._registry.federation, verify=self._registry.verify)
        except PeerFault as fault:
            if fault.kind != "unknown_sender":
                raise
        await self.catch_up()
        return open_record(value, topic=topic, federation=self._registry.federation, verify=self._registry.verify)

    def require_role(self, sender: str, role: PartyRole) -> None:
        """PeerFault "wrong_role" unless the CA certified `sender` as that."""
        if self._registry.party(sender).role is not role:
            raise PeerFault("wrong_role", f"only an {role.value} says this", accused=sender)

    async def close(self) -> None:
        """Free the connection."""
        if self._reader is not None:
            await self._reader.close()

    async def _opened(self) -> LogReader:
        if self._reader is None:
            self._reader = await self._log.reader([Position(PARTIES.full_name(), 0, 0)])
        return self._reader

    async def _take(self, records: Sequence[Record]) -> None:
        for record in records:
            try:
                if record.value is not None:
                    message = decode(record.value, PARTIES.carries, PARTIES.bytes_max)
                    if isinstance(message, PartyCertified):
                        self._registry = self._registry.admit(message)
            except (DecodeError, PeerFault) as fault:
                # Only the CA may write here; what it has not signed is counted, and nobody is believed for it.
                FAULTS.labels(kind="bad_certificate").inc()
                _log.warning("certificate refused", offset=record.offset, reason=str(fault))
            self._next_offset = record.offset + 1

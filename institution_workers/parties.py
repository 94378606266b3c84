"""The parties of the federation as the CA certified them, and the opening of signed records against their keys.

Used by `participation` for every record of the federation's topics.
Never takes a key from anybody but the pinned CA."""

from __future__ import annotations

from typing import Final

from federation.errors import PeerFault
from federation.messages import PartyCertified, PartyRole, SignedRecord
from federation.secagg.certificates import Registry
from streams.codec import DecodeError, decode, kind_of
from streams.ports import Log, Position, Record
from streams.signed import Opened, open_envelope, unwrapped
from streams.telemetry import FAULTS
from streams.topology import PARTIES, Topic

_BATCH: Final = 500
_WAIT_MS: Final = 1_000
_KEY_FAULTS: Final = ("unknown_sender", "bad_signature")  # What a certificate that we have not read yet looks like.


class Parties:
    """A registry that reads on in the parties' topic when a sender is not known."""

    def __init__(self, log: Log, *, federation: str, ca_verify_key: bytes) -> None:
        self._log = log
        self._federation = federation
        self.registry = Registry.of(federation, ca_verify_key)
        self._next = 0

    async def catch_up(self) -> bool:
        """Read the topic to its end; whether anything new was certified."""
        before, topic = self.registry, PARTIES.full_name()
        reader = await self._log.reader([Position(topic, 0, self._next)])
        try:
            end = (await reader.end_offsets())[topic, 0]
            while self._next < end:
                records = await reader.poll(_BATCH, _WAIT_MS)
                for record in records:
                    self._admit(record)
                if not records:
                    break  # A slow broker, or compaction took what was there: next time from here again, never past what was not read.
                self._next = records[-1].offset + 1
        finally:
            await reader.close()
        return self.registry is not before

    def _admit(self, record: Record) -> None:
        try:
            certified = decode(record.value or b"", PARTIES.carries, PARTIES.bytes_max)
            if isinstance(certified, PartyCertified):
                self.registry = self.registry.admit(certified)
        except (DecodeError, PeerFault):
            FAULTS.labels("bad_certificate").inc()  # The broker is not trusted: what the CA did not sign is noise.

    async def open(self, record: Record, topic: Topic) -> Opened | DecodeError | PeerFault:
        """The message in a record, its signature verified; or what is wrong with it."""
        envelope = _unwrapped(record, topic)
        return envelope if isinstance(envelope, DecodeError) else await self._verified(envelope, topic)

    async def open_unless(self, passing: tuple[type, ...], record: Record, topic: Topic) -> Opened | DecodeError | PeerFault | None:
        """As `open`; but None, and nothing verified, for a message of these types."""
        envelope = _unwrapped(record, topic)
        if isinstance(envelope, DecodeError):
            return envelope
        return None if kind_of(envelope.payload) in passing else await self._verified(envelope, topic)

    async def _verified(self, envelope: SignedRecord, topic: Topic) -> Opened | DecodeError | PeerFault:
        opened = self._open(envelope, topic)
        if isinstance(opened, PeerFault) and opened.kind in _KEY_FAULTS and await self.catch_up():
            return self._open(envelope, topic)
        return opened

    def _open(self, envelope: SignedRecord, topic: Topic) -> Opened | DecodeError | PeerFault:
        try:
            return open_envelope(envelope, topic=topic, federation=self._federation, verify=self.registry.verify)
        except (DecodeError, PeerFault) as fault:
            return fault

    def aggregator(self) -> PartyCertified | None:
        """The aggregator; None until exactly one is certified."""
        found = [party for party in self.registry.parties.values() if party.role is PartyRole.AGGREGATOR]
        return found[0] if len(found) == 1 else None


def _unwrapped(record: Record, topic: Topic) -> SignedRecord | DecodeError:
    try:
        return unwrapped(record.value or b"", topic)
    except DecodeError as error:
        return error

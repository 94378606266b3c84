"""Who is who, as this process knows it: the directory, kept up with the topics of certificates and of members, and records opened by it.

Made by the wiring of every process that opens signed records; one per process.
Never believes what the pinned CA, or an operator it certified, has not signed, and never lets a broker take back what was known."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final, Protocol

import structlog

from federation.errors import PeerFault
from federation.members.directory import Directory
from federation.messages import AuthorityRotated, MemberStanding, Message, PartyCertified, PartyRole, RefusalReason, SignedRecord
from streams.codec import DecodeError, decode
from streams.courier import key_of
from streams.ports import Log, LogReader, Position, Record
from streams.signed import Opened, open_envelope, unwrapped
from streams.telemetry import FAULTS
from streams.topology import MEMBERS, PARTIES, Topic

_log: Final = structlog.get_logger(__name__)

_WAIT_MS: Final = 1_000
_BATCH: Final = 500
# What a certificate that we have not read yet looks like.
KEY_FAULTS: Final = frozenset({"unknown_sender", "bad_signature"})


class Memory(Protocol):
    """Where a process keeps what it knew of the parties, over restarts."""

    def recall(self) -> Iterable[Record]:
        """Every record kept, certificates before entries."""
        ...

    def keep(self, record: Record) -> None:
        """Keep a record that changed the directory."""
        ...


class Forgetful:
    """The memory of a process that believes the log anew at each start."""

    def recall(self) -> Iterable[Record]:
        """Nothing."""
        return ()

    def keep(self, record: Record) -> None:
        """Not kept."""


class Parties:
    """The parties of one federation, as far as `catch_up` has read. Whoever owns it calls that about once a second."""

    def __init__(self, log: Log, *, federation: str, ca_verify_key: bytes, memory: Memory | None = None) -> None:
        self._log: Final = log
        self._memory: Final[Memory] = memory or Forgetful()
        self._reader: LogReader | None = None
        self._turn: Final = asyncio.Lock()
        self._next = {PARTIES.full_name(): 0, MEMBERS.full_name(): 0}
        self._unverified: list[Record] = []  # Entries that came before their operator's certificate.
        self.directory = Directory.of(federation, ca_verify_key)
        """The parties known now."""
        for record in self._memory.recall():
            self._take(record)

    async def catch_up(self) -> bool:
        """Read both topics to their ends as they are now; whether anything new was said. Raises as the log."""
        async with self._turn:
            before = self.directory
            if self._reader is None:
                self._reader = await self._log.reader([Position(topic, 0, offset) for topic, offset in self._next.items()])
            ends = await self._reader.end_offsets()
            came: list[Record] = []
            while any(self._next[topic] < end for (topic, _), end in ends.items()):
                records = await self._reader.poll(_BATCH, _WAIT_MS)
                if not records:
                    break  # A slow broker, or compaction took what was there: next time from here again, never past what was not read.
                came += records
                self._next |= {record.topic: record.offset + 1 for record in records}
            waiting, self._unverified = self._unverified, []
            # Certificates first: an entry's operator may have been certified in the same batch.
            for record in sorted((*waiting, *came), key=lambda record: record.topic == MEMBERS.full_name()):
                if self._take(record):
                    self._memory.keep(record)
            return self.directory is not before

    async def open(self, record: Record, topic: Topic, *, in_lane: bool = False) -> Opened:
        """The message in a record, its signature verified against a certificate that counted when the log took it.

        `in_lane`: which of its sender's certificates counts is for the lane's own order to say (`federation.rounds.reading`).
        A key that is not known is looked for in the log once. DecodeError or PeerFault as `streams.signed.open_record`.
        """
        at_ms = None if in_lane else record.timestamp_ms
        return await self.open_envelope(unwrapped(record.value or b"", topic), topic, at_ms=at_ms)

    async def open_envelope(self, envelope: SignedRecord, topic: Topic, *, at_ms: int | None) -> Opened:
        """The second half of `open`. `at_ms`: when the log took it; None in a lane."""
        known = self.directory
        try:
            return self._opened(envelope, topic, at_ms)
        except PeerFault as fault:
            if fault.kind not in KEY_FAULTS:
                raise
            await self.catch_up()
            if self.directory is known:  # Not what this catching up brought: another may have brought it while we waited for our turn.
                raise
        return self._opened(envelope, topic, at_ms)

    def opened(self, record: Record, topic: Topic) -> Opened:
        """As `open` outside a lane, by what is known now."""
        return self._opened(unwrapped(record.value or b"", topic), topic, record.timestamp_ms)

    def _opened(self, envelope: SignedRecord, topic: Topic, at_ms: int | None) -> Opened:
        def verify(sender: str, signed_bytes: bytes, signature: bytes) -> int:
            return self.directory.verify(sender, signed_bytes, signature, at_ms=at_ms)

        return open_envelope(envelope, topic=topic, federation=self.directory.federation, verify=verify)

    def require_role(self, sender: str, role: PartyRole) -> None:
        """PeerFault "wrong_role" unless the CA certified `sender` as that."""
        if self.directory.newest(sender).role is not role:
            raise PeerFault("wrong_role", f"only an {role.value} says this", accused=sender)

    def verify_keys(self, party: str) -> tuple[bytes, ...]:
        """Every key that is known now to be certified for a party, the newest first."""
        return self.directory.verify_keys(party)

    def unfit(self, institution: str, now_ms: int) -> str | None:
        """Why nothing is to be done with this institution, by what is known now: a clause that follows its name; None if it is a member."""
        if institution in self.directory.acceptable(now_ms, PartyRole.INSTITUTION):
            return None
        certified = self.directory.certificates.get(institution)
        if certified is not None and certified[-1].role is not PartyRole.INSTITUTION:
            return f"is an {certified[-1].role.value}"
        return self.directory.why_not(institution, now_ms)

    async def close(self) -> None:
        """Free the connection; `catch_up` takes it up again."""
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.close()

    def _take(self, record: Record) -> bool:
        """Whether the record says anything new. What may not be said is counted, and nobody is believed for it."""
        before = self.directory
        try:
            self.directory = self._with(record)
        except (DecodeError, PeerFault) as fault:
            if (
                isinstance(fault, PeerFault)
                and fault.kind in KEY_FAULTS
                and record.topic == MEMBERS.full_name()
                and len(self._unverified) < _BATCH
            ):
                self._unverified.append(record)
                return False
            FAULTS.labels(kind="bad_certificate" if record.topic == PARTIES.full_name() else "bad_standing").inc()
            _log.warning("refused", topic=record.topic, offset=record.offset, reason=str(fault))
        return self.directory is not before

    def _with(self, record: Record) -> Directory:
        if record.value is None:
            return self.directory
        if record.topic == MEMBERS.full_name():
            opened = self.opened(record, MEMBERS)
            _require_own_key(record, MEMBERS, opened.message)
            return self.directory.take(opened.sender, opened.message) if isinstance(opened.message, MemberStanding) else self.directory
        said = decode(record.value, PARTIES.carries, PARTIES.bytes_max)
        _require_own_key(record, PARTIES, said)
        if isinstance(said, PartyCertified):
            return self.directory.admit(said, at_ms=record.timestamp_ms)
        return self.directory.follow(said) if isinstance(said, AuthorityRotated) else self.directory


def _require_own_key(record: Record, topic: Topic, said: Message) -> None:
    """DecodeError for a record under another key than its message has.

    The key is not signed, and memories keep the newest record of each: under another's key, a genuine record would push out, say, a revocation.
    """
    if record.key != key_of(topic, said):
        raise DecodeError(RefusalReason.INVALID, "a record under a key that is not its message's")

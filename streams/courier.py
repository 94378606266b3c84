"""Outgoing records: topic, partition and key of a message, its signature, and the audit entry that goes with it.

Called by the institution worker and the aggregator, which journal what `prepare` returns before they `send` it.
Never sends anything but the bytes it was given: a record that is sent again after a crash is the same record."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from enum import StrEnum

from federation.ids import ZERO_DIGEST, Lane, RoundId, digest_of
from federation.messages import AuditEntry, HeadName, MaskedChunk, Message, SumRequested, VerticalPart
from streams.codec import fingerprint
from streams.ports import Log, Outgoing
from streams.signed import Sign, seal
from streams.telemetry import SENT_BYTES, SOFTWARE_VERSION
from streams.topology import FEDERATION_TOPICS, LANE_TOPICS, Topic, chunk_partition, lane_partition

_TOPIC_OF = {kind: topic for topic in FEDERATION_TOPICS for kind in topic.carries}


def key_of(topic: Topic, message: Message) -> bytes:
    """The record's key: the fields the topic is keyed by, joined with "/"; a digest stands as it is."""
    values = [getattr(message, name) for name in topic.keyed_by.split(", ")]
    if isinstance(values[0], bytes):
        return values[0]
    return "/".join(value.value if isinstance(value, StrEnum) else str(value) for value in values).encode()


def partition_of(topic: Topic, message: Message) -> int:
    """The record's partition: the head's lane, the chunk's owner, else by the key, so that equal keys keep their order."""
    if topic in LANE_TOPICS:
        return lane_partition(HeadName(key_of(topic, message).decode()))
    if isinstance(message, MaskedChunk | SumRequested):
        return chunk_partition(message.head, message.chunk)
    return zlib.crc32(key_of(topic, message)) % topic.partitions


class Courier:
    """Speaks for one party on the federation's topics."""

    def __init__(self, log: Log, *, federation: str, sender: str, sign: Sign) -> None:
        self._log = log
        self._federation = federation
        self._sender = sender
        self._sign = sign

    def prepare(self, messages: Iterable[Message], at_ms: int) -> tuple[Outgoing, ...]:
        """The signed record of each message, in order, then an audit entry for each. Pure: nothing is sent.

        OwnFault as `streams.signed.seal_record`.
        """
        records, entries = [], []
        for message in messages:
            record, digest = self._record(message)
            records.append(record)
            entries.append(self._entry(record, message, digest, at_ms))
        return (*records, *(self._record(entry)[0] for entry in entries))

    def prepare_fault(self, kind: str, accused: str, detail: str, round_id: RoundId | None, at_ms: int) -> tuple[Outgoing, ...]:
        """The audit entry of a fault that this party observed. The same fault of the same round has the same entry_id."""
        head, epoch, number = ("", 0, 0) if round_id is None else (str(round_id.lane), round_id.epoch, round_id.round)
        identity = "\0".join((self._sender, kind, accused, detail, head, str(epoch), str(number)))
        entry = AuditEntry(
            entry_id=digest_of(identity.encode()), at_ms=at_ms, actor=self._sender, action=kind, topic="", head=head, epoch=epoch,
            round=number, digest=ZERO_DIGEST, size_bytes=0, schema_fingerprint="", software_version=SOFTWARE_VERSION, outcome=detail,
            accused=accused,
        )  # fmt: skip
        return (self._record(entry)[0],)

    async def send(self, records: Sequence[Outgoing]) -> None:
        """Append what `prepare` returned, in its order; raises as `Log.append`, and may then be called again with the same."""
        await self._log.append(records)
        for record in records:
            SENT_BYTES.labels(topic=record.topic).inc(len(record.value or b""))

    def _record(self, message: Message) -> tuple[Outgoing, bytes]:
        topic = _TOPIC_OF[type(message)]
        sealed = seal(message, sender=self._sender, sign=self._sign, federation=self._federation, topic=topic)
        return Outgoing(topic.full_name(), partition_of(topic, message), key_of(topic, message), sealed.value), sealed.digest

    def _entry(self, record: Outgoing, message: Message, digest: bytes, at_ms: int) -> AuditEntry:
        value = record.value or b""
        action, head, number = _about(message)
        return AuditEntry(
            entry_id=entry_id(record.topic, value), at_ms=at_ms, actor=self._sender, action=action, topic=record.topic,
            head=head, epoch=getattr(message, "epoch", 0), round=number, digest=digest,
            size_bytes=len(value), schema_fingerprint=fingerprint(type(message)), software_version=SOFTWARE_VERSION, outcome="sent",
            accused="",
        )  # fmt: skip


def _about(message: Message) -> tuple[str, str, int]:
    """(action, head, round) of a message, for the audit; a group is named with its head, a vertical partnership counts as one."""
    if isinstance(message, VerticalPart):
        return message.says, f"vertical/{message.bank}/{message.partner}", message.run
    head = getattr(message, "head", None)
    lane = str(Lane(head, getattr(message, "group", 0))) if isinstance(head, HeadName) else ""
    return type(message).__name__, lane, getattr(message, "round", 0)


def entry_id(topic: str, value: bytes) -> bytes:
    """The audit's name for one exchange: the digest of the topic's name, a zero byte, and the whole record value."""
    return digest_of(topic.encode() + b"\0" + value)

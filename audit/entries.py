"""From a record of the audit topic to a row: of `entries`, or of `refused` with the reason.

Called by audit.writer.
Never drops a record, and never believes one whose signature does not hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from federation.errors import PeerFault
from federation.messages import AuditEntry, RefusalReason
from streams.codec import DecodeError
from streams.ports import Record
from streams.signed import Opened

ENTRY_COLUMNS: Final = (
    "logged_at", "sent_at", "actor", "action", "topic", "head", "epoch", "round", "entry_id", "digest", "size_bytes",
    "schema_fingerprint", "software_version", "outcome", "accused", "record_digest", "log_partition", "log_offset",
)  # fmt: skip
REFUSED_COLUMNS: Final = ("logged_at", "topic", "log_partition", "log_offset", "reason", "accused", "detail", "value")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_AT_MS_END: Final = 4_102_444_800_000  # The year 2100: DateTime64 wraps far beyond it.


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of `entries`, in the order of ENTRY_COLUMNS."""

    row: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """A row of `refused`, in the order of REFUSED_COLUMNS."""

    row: tuple[Any, ...]
    reason: str


def sorted_record(record: Record, opened: Callable[[bytes], Opened]) -> Entry | Refused:
    """The row for one record; `opened` verifies the envelope and raises DecodeError or PeerFault."""
    if record.value is None:
        return _refused(record, RefusalReason.MALFORMED.value, "", "a record without a value")
    try:
        return Entry(_entry_row(record, opened(record.value)))
    except DecodeError as error:
        return _refused(record, error.reason.value, "", error.detail)
    except PeerFault as fault:
        return _refused(record, fault.kind, fault.accused, fault.detail)


def _entry_row(record: Record, said: Opened) -> tuple[Any, ...]:
    entry = said.message
    if not isinstance(entry, AuditEntry):
        raise PeerFault("unknown_schema", f"a {type(entry).__name__} where an AuditEntry belongs", accused=said.sender)
    if not 0 <= entry.at_ms < _AT_MS_END:
        raise PeerFault("invalid", f"at_ms {entry.at_ms} is not a time between 1970 and 2100", accused=said.sender)
    return (
        _time(record.timestamp_ms), _time(entry.at_ms), entry.actor, entry.action, entry.topic, entry.head, entry.epoch, entry.round,
        entry.entry_id, entry.digest, entry.size_bytes, entry.schema_fingerprint, entry.software_version, entry.outcome, entry.accused,
        said.digest, record.partition, record.offset,
    )  # fmt: skip


def _refused(record: Record, reason: str, accused: str, detail: str) -> Refused:
    row = (_time(record.timestamp_ms), record.topic, record.partition, record.offset, reason, accused, detail, record.value or b"")
    return Refused(row, reason)


def _time(at_ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=at_ms)

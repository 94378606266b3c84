"""From a record of an audit topic to the ledger's entry, judged once, and from there to a row: of `entries`, or of `refused`.

Called by audit.writer and audit.index.
Never drops a record, never believes one whose signature does not hold, and never judges an entry of the ledger a second time:
keys change, and what was true when it was written stays written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from audit.ledger import Entry
from federation.errors import PeerFault
from federation.ids import digest_of
from federation.limits import RECORD_BYTES_MAX
from federation.messages import AuditEntry, LoggedRecord, RefusalReason, SignedRecord
from streams.codec import DecodeError, decode
from streams.ports import Record
from streams.signed import Opened
from streams.topology import AUDIT

ENTRY_COLUMNS: Final = (
    "logged_at", "sent_at", "actor", "action", "topic", "head", "epoch", "round", "entry_id", "digest", "size_bytes",
    "schema_fingerprint", "software_version", "outcome", "accused", "record_digest", "sequence", "log_offset",
)  # fmt: skip
REFUSED_COLUMNS: Final = ("logged_at", "topic", "log_offset", "sequence", "reason", "accused", "detail", "value")

_LOGGED_BYTES_MAX: Final = RECORD_BYTES_MAX + 2048
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_AT_MS_END: Final = 4_102_444_800_000  # The year 2100: DateTime64 wraps far beyond it.


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table, in the order of its columns above."""

    table: str
    values: tuple[Any, ...]


def judged(record: Record, opened: Callable[[Record], Opened]) -> LoggedRecord:
    """What the ledger keeps of a record; `opened` verifies the envelope and raises DecodeError or PeerFault."""
    reason = accused = detail = ""
    try:
        _checked(record, opened)
    except DecodeError as error:
        reason, detail = error.reason.value, error.detail
    except PeerFault as fault:
        reason, accused, detail = fault.kind, fault.accused, fault.detail
    return LoggedRecord(
        logged_at_ms=record.timestamp_ms, topic=record.topic, offset=record.offset, reason=reason, accused=accused, detail=detail,
        value=record.value or b"",
    )  # fmt: skip


def _checked(record: Record, opened: Callable[[Record], Opened]) -> None:
    if record.value is None:
        raise DecodeError(RefusalReason.MALFORMED, "a record without a value")
    said = opened(record)
    entry = said.message
    if not isinstance(entry, AuditEntry):
        raise PeerFault("unknown_schema", f"a {type(entry).__name__} where an AuditEntry belongs", accused=said.sender)
    if not 0 <= entry.at_ms < _AT_MS_END:
        raise PeerFault("invalid", f"at_ms {entry.at_ms} is not a time between 1970 and 2100", accused=said.sender)


def logged_of(entry: Entry) -> LoggedRecord:
    """The record in an entry of the ledger; DecodeError if it holds something else."""
    logged = decode(entry.content, (LoggedRecord,), _LOGGED_BYTES_MAX)
    if not isinstance(logged, LoggedRecord):
        raise DecodeError(RefusalReason.UNKNOWN_SCHEMA, f"a {type(logged).__name__} in the ledger")
    return logged


def row_of(entry: Entry) -> Row:
    """The index's row for an entry of the ledger. DecodeError: it holds what no writer puts there."""
    logged = logged_of(entry)
    at = _time(logged.logged_at_ms)
    if logged.reason:
        values = (at, logged.topic, logged.offset, entry.sequence, logged.reason, logged.accused, logged.detail, logged.value)
        return Row("refused", values)
    envelope = decode(logged.value, (SignedRecord,), AUDIT.bytes_max)
    payload = envelope.payload if isinstance(envelope, SignedRecord) else b""
    said = decode(payload, AUDIT.carries, AUDIT.bytes_max)
    if not isinstance(said, AuditEntry):
        raise DecodeError(RefusalReason.UNKNOWN_SCHEMA, f"a {type(said).__name__} where an AuditEntry belongs")
    return Row("entries", (
        at, _time(said.at_ms), said.actor, said.action, said.topic, said.head, said.epoch, said.round,
        said.entry_id, said.digest, said.size_bytes, said.schema_fingerprint, said.software_version, said.outcome, said.accused,
        digest_of(payload), entry.sequence, logged.offset,
    ))  # fmt: skip


def _time(at_ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=at_ms)

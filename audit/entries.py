"""From a record of an audit topic to the ledger's entry, judged once, and from there to a row: of `entries`, `actions` or `refused`.

Called by audit.sources and audit.index.
Never drops a record, never believes one whose signature does not hold, and never judges an entry of the ledger a second time:
keys change, and what was true when it was written stays written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from audit.actions import AT_MS_END, problem_in
from audit.ledger import Entry
from federation.errors import PeerFault
from federation.ids import digest_of
from federation.messages import ActionRecorded, AuditEntry, LoggedRecord, RefusalReason, SignedRecord
from streams.codec import DecodeError, decode, decode_again
from streams.ports import Record
from streams.signed import Opened
from streams.topology import ACTIONS, AUDIT

ENTRY_COLUMNS: Final = (
    "logged_at", "sent_at", "actor", "action", "topic", "head", "epoch", "round", "entry_id", "digest", "size_bytes",
    "schema_fingerprint", "software_version", "outcome", "accused", "record_digest", "sequence", "log_offset",
)  # fmt: skip
ACTION_COLUMNS: Final = (
    "logged_at", "at", "kind", "action", "actor", "subject", "detail", "process", "software_version", "entry_id", "record_digest", "sequence",
    "log_offset",
)  # fmt: skip
REFUSED_COLUMNS: Final = ("logged_at", "topic", "log_offset", "sequence", "reason", "accused", "detail", "value")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table, in the order of its columns above."""

    table: str
    values: tuple[Any, ...]


def judged_exchange(record: Record, opened: Callable[[Record], Opened]) -> LoggedRecord:
    """What the ledger keeps of a record of the federation's; `opened` verifies the envelope and raises DecodeError or PeerFault."""
    return _judged(record, lambda: _check_exchange(record, opened))


def judged_action(record: Record) -> LoggedRecord:
    """What the ledger keeps of a record of an institution's own."""
    return _judged(record, lambda: _check_action(record))


def _judged(record: Record, check: Callable[[], object]) -> LoggedRecord:
    reason = accused = detail = ""
    try:
        check()
    except DecodeError as error:
        reason, detail = error.reason.value, error.detail
    except PeerFault as fault:
        reason, accused, detail = fault.kind, fault.accused, fault.detail
    return LoggedRecord(
        logged_at_ms=record.timestamp_ms, topic=record.topic, offset=record.offset, reason=reason, accused=accused, detail=detail,
        value=record.value or b"",
    )  # fmt: skip


def _require_value(record: Record) -> bytes:
    if record.value is None:
        raise DecodeError(RefusalReason.MALFORMED, "a record without a value")
    return record.value


def _check_exchange(record: Record, opened: Callable[[Record], Opened]) -> None:
    _require_value(record)
    said = opened(record)
    entry = said.message
    if not isinstance(entry, AuditEntry):
        raise PeerFault("unknown_schema", f"a {type(entry).__name__} where an AuditEntry belongs", accused=said.sender)
    if not 0 <= entry.at_ms < AT_MS_END:
        raise PeerFault("invalid", f"at_ms {entry.at_ms} is not a time between 1970 and 2100", accused=said.sender)


def _check_action(record: Record) -> None:
    said = decode(_require_value(record), ACTIONS.carries, ACTIONS.bytes_max)
    problem = problem_in(said) if isinstance(said, ActionRecorded) else "something else"
    if problem is not None:
        raise DecodeError(RefusalReason.INVALID, problem)


def logged_of(entry: Entry) -> LoggedRecord:
    """The record in an entry of the ledger; DecodeError if it holds something else."""
    logged = decode_again(entry.content, (LoggedRecord,))
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
    held = decode_again(logged.value, (SignedRecord, *ACTIONS.carries))
    if isinstance(held, ActionRecorded):
        return Row("actions", (
            at, _time(held.at_ms), held.kind.value, held.action, held.actor, held.subject, dict(held.detail), held.process,
            held.software_version, held.entry_id, digest_of(logged.value), entry.sequence, logged.offset,
        ))  # fmt: skip
    payload = held.payload if isinstance(held, SignedRecord) else b""
    said = decode_again(payload, AUDIT.carries)
    if not isinstance(said, AuditEntry):
        raise DecodeError(RefusalReason.UNKNOWN_SCHEMA, f"a {type(said).__name__} where an AuditEntry belongs")
    return Row("entries", (
        at, _time(said.at_ms), said.actor, said.action, said.topic, said.head, said.epoch, said.round,
        said.entry_id, said.digest, said.size_bytes, said.schema_fingerprint, said.software_version, said.outcome, said.accused,
        digest_of(payload), entry.sequence, logged.offset,
    ))  # fmt: skip


def _time(at_ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=at_ms)

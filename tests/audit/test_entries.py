"""Every record becomes a row: of entries, or of refused with the reason.

Run without an engine.
Never lets a record vanish."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from audit.entries import ENTRY_COLUMNS, REFUSED_COLUMNS, Entry, Refused, sorted_record
from federation import messages as m
from federation.errors import PeerFault
from federation.ids import digest_of
from federation.messages import RefusalReason
from streams.codec import DecodeError
from streams.ports import Record
from streams.signed import Opened


def _entry(**changes: object) -> m.AuditEntry:
    fields = {
        "entry_id": b"i" * 32, "at_ms": 1_764_000_000_123, "actor": "north", "action": "MaskedUpdate", "topic": "rounds.v1",
        "head": "credit", "epoch": 1, "round": 2, "digest": b"d" * 32, "size_bytes": 100, "schema_fingerprint": "f",
        "software_version": "0.1.0", "outcome": "sent", "accused": "",
    }  # fmt: skip
    return m.AuditEntry(**(fields | changes))  # type: ignore[arg-type]


def _record(value: bytes | None = b"envelope") -> Record:
    return Record("audit.v1", 0, 41, None, value, 1_764_000_000_500)


def _opened(message: m.Message) -> Opened:
    return Opened("north", message, b"payload", digest_of(b"payload"))


def test_an_entry_becomes_a_row_with_every_field() -> None:
    """Each column has the field of its name, the log's time and place, and the digest of the signed bytes."""
    taken = sorted_record(_record(), lambda _: _opened(_entry()))

    assert isinstance(taken, Entry)
    row = dict(zip(ENTRY_COLUMNS, taken.row, strict=True))
    expected = {name: getattr(_entry(), name) for name in ENTRY_COLUMNS if hasattr(_entry(), name)}
    assert expected.items() <= row.items()
    assert set(m.AuditEntry.__slots__) - set(expected) == {"at_ms"}
    assert row["sent_at"] == datetime(2025, 11, 24, 16, 0, 0, 123_000, tzinfo=UTC)
    assert row["logged_at"] == datetime(2025, 11, 24, 16, 0, 0, 500_000, tzinfo=UTC)
    assert (row["log_partition"], row["log_offset"], row["record_digest"]) == (0, 41, digest_of(b"payload"))


@pytest.mark.parametrize("error", [DecodeError(RefusalReason.OVERSIZED, "too long"), PeerFault("oversized", "too long", accused="mallory")])
def test_what_cannot_be_opened_is_kept_with_the_reason(error: Exception) -> None:
    """Its bytes, its place, the reason, and the accused if there is one."""

    def refuse(_: bytes) -> Opened:
        raise error

    taken = sorted_record(_record(b"junk"), refuse)

    assert isinstance(taken, Refused)
    row = dict(zip(REFUSED_COLUMNS, taken.row, strict=True))
    assert (row["reason"], taken.reason, row["detail"]) == ("oversized", "oversized", "too long")
    assert (row["topic"], row["log_partition"], row["log_offset"], row["value"]) == ("audit.v1", 0, 41, b"junk")
    assert row["accused"] == ("mallory" if isinstance(error, PeerFault) else "")


@pytest.mark.parametrize(
    ("at_ms", "kept"), [(0, True), (-1, False), (4_102_444_799_999, True), (4_102_444_800_000, False), (2**62, False), (-(2**62), False)]
)
def test_a_time_that_the_table_cannot_hold_is_refused(at_ms: int, *, kept: bool) -> None:
    """Beyond its range the column would wrap to another century."""
    taken = sorted_record(_record(), lambda _: _opened(_entry(at_ms=at_ms)))

    assert isinstance(taken, Entry if kept else Refused)
    assert kept or (isinstance(taken, Refused) and taken.reason == "invalid" and taken.row[5] == "north")


def test_another_message_than_an_entry_is_refused() -> None:
    """Signed and readable, but no entry."""
    taken = sorted_record(_record(), lambda _: _opened(m.EpochClosed(head=m.HeadName.CREDIT, group=0, epoch=1, reason="x")))

    assert isinstance(taken, Refused)
    assert taken.reason == "unknown_schema"


def test_a_record_without_a_value_is_refused() -> None:
    """A tombstone has nothing to open."""
    taken = sorted_record(_record(None), lambda _: _opened(_entry()))

    assert isinstance(taken, Refused)
    assert (taken.reason, taken.row[-1]) == ("malformed", b"")

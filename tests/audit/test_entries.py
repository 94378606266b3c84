"""Every record becomes a row: of entries, or of refused with the reason.

Run without an engine.
Never lets a record vanish."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from audit.entries import ENTRY_COLUMNS, REFUSED_COLUMNS, Row, judged_exchange, row_of
from audit.ledger import Entry
from federation import messages as m
from federation.errors import PeerFault
from federation.ids import digest_of
from federation.messages import RefusalReason
from streams.codec import DecodeError, encode
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
    return Opened("north", message, digest_of(b"payload"), 1)


def _logged(logged: m.LoggedRecord) -> Row:
    """The row of a record that stands in the ledger as entry 7."""
    return row_of(Entry(7, b"l" * 32, encode(logged)))


def test_an_entry_becomes_a_row_with_every_field() -> None:
    """Each column has the field of its name, the log's time and place, and the digest of the signed bytes."""
    payload = encode(_entry())
    envelope = encode(m.SignedRecord(sender="north", payload=payload, signature=bytes(64), body=b""))
    row = _logged(judged_exchange(_record(envelope), lambda _: _opened(_entry())))

    assert row.table == "entries"
    values = dict(zip(ENTRY_COLUMNS, row.values, strict=True))
    expected = {name: getattr(_entry(), name) for name in ENTRY_COLUMNS if hasattr(_entry(), name)}
    assert expected.items() <= values.items()
    assert set(m.AuditEntry.__slots__) - set(expected) == {"at_ms"}
    assert values["sent_at"] == datetime(2025, 11, 24, 16, 0, 0, 123_000, tzinfo=UTC)
    assert values["logged_at"] == datetime(2025, 11, 24, 16, 0, 0, 500_000, tzinfo=UTC)
    assert (values["sequence"], values["log_offset"], values["record_digest"]) == (7, 41, digest_of(payload))


@pytest.mark.parametrize("error", [DecodeError(RefusalReason.OVERSIZED, "too long"), PeerFault("oversized", "too long", accused="mallory")])
def test_what_cannot_be_opened_is_kept_with_the_reason(error: Exception) -> None:
    """Its bytes, its place, the reason, and the accused if there is one."""

    def refuse(_: bytes) -> Opened:
        raise error

    row = _logged(judged_exchange(_record(b"junk"), refuse))

    assert row.table == "refused"
    values = dict(zip(REFUSED_COLUMNS, row.values, strict=True))
    assert (values["reason"], values["detail"]) == ("oversized", "too long")
    assert (values["topic"], values["log_offset"], values["sequence"], values["value"]) == ("audit.v1", 41, 7, b"junk")
    assert values["accused"] == ("mallory" if isinstance(error, PeerFault) else "")


@pytest.mark.parametrize(
    ("at_ms", "kept"), [(0, True), (-1, False), (4_102_444_799_999, True), (4_102_444_800_000, False), (2**62, False), (-(2**62), False)]
)
def test_a_time_that_the_table_cannot_hold_is_refused(at_ms: int, *, kept: bool) -> None:
    """Beyond its range the column would wrap to another century."""
    logged = judged_exchange(_record(), lambda _: _opened(_entry(at_ms=at_ms)))

    assert (logged.reason, logged.accused) == (("", "") if kept else ("invalid", "north"))


def test_another_message_than_an_entry_is_refused() -> None:
    """Signed and readable, but no entry."""
    assert (
        judged_exchange(_record(), lambda _: _opened(m.EpochClosed(head=m.HeadName.CREDIT, group=0, epoch=1, reason="x"))).reason
        == "unknown_schema"
    )


def test_a_record_without_a_value_is_refused() -> None:
    """A tombstone has nothing to open."""
    logged = judged_exchange(_record(None), lambda _: _opened(_entry()))

    assert (logged.reason, logged.value) == ("malformed", b"")


@pytest.mark.parametrize("content", [b"", b"junk", encode(m.SignedRecord(sender="north", payload=b"", signature=bytes(64), body=b""))])
def test_an_entry_of_the_ledger_that_no_writer_made_is_refused(content: bytes) -> None:
    """The index is made of what the writer wrote, and of nothing that merely lies there."""
    with pytest.raises(DecodeError):
        row_of(Entry(0, bytes(32), content))

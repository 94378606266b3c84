from __future__ import annotations

import math
import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.errors import OwnFault
from federation.limits import EVENT_BYTES_MAX
from federation.messages import CardTransaction, HeadName, RefusalReason, Verdict
from federation.secagg.keys import Secret
from institution_workers.customer_keys import CustomerKey
from institution_workers.ingest import Refusal, dead_letter, named_in, opened_letter, read
from streams.codec import encode
from streams.ports import Record
from streams.topology import EVENT_TOPICS, FEEDBACK, INTERACTIONS, OUTCOMES, TRANSACTIONS

TOLERANCE_MS = 60_000
KEY = CustomerKey(bytes(16), Secret(b"\x07" * 32))


def _reason(record, topic=TRANSACTIONS):
    refused = read(record, topic, future_ms=TOLERANCE_MS)
    assert isinstance(refused, Refusal), refused
    return refused.reason


def test_a_good_record_becomes_its_event(scribe):
    """What a source wrote is what the learner gets."""
    event = read(scribe.payment("p1", amount=3.5), TRANSACTIONS, future_ms=TOLERANCE_MS)

    assert isinstance(event, CardTransaction)
    assert (event.event_id, event.amount) == ("p1", 3.5)


def test_each_unreadable_record_has_its_reason(scribe):
    """Malformed, oversized, unknown and non-finite are told apart."""
    good = scribe.payment("p1", amount=42.0).value
    infinite = good.replace(struct.pack("<d", 42.0), struct.pack("<d", math.inf))

    assert _reason(scribe.raw(None, TRANSACTIONS)) is RefusalReason.MALFORMED
    assert _reason(scribe.raw(good + b"\0", TRANSACTIONS)) is RefusalReason.MALFORMED
    assert _reason(scribe.raw(good[:-1], TRANSACTIONS)) is RefusalReason.MALFORMED
    assert _reason(scribe.raw(bytes(EVENT_BYTES_MAX + 1), TRANSACTIONS)) is RefusalReason.OVERSIZED
    assert _reason(scribe.raw(b"\xc3\x01" + bytes(20), TRANSACTIONS)) is RefusalReason.UNKNOWN_SCHEMA
    assert _reason(scribe.raw(scribe.application("a1").value, TRANSACTIONS)) is RefusalReason.UNKNOWN_SCHEMA
    assert _reason(scribe.raw(infinite, TRANSACTIONS)) is RefusalReason.NON_FINITE


@pytest.mark.parametrize(
    "wrong",
    [
        {"event_id": ""},
        {"event_id": "x" * 65},
        {"event_id": "line\nbreak"},
        {"customer": ""},
        {"terminal": "t" * 65},
        {"amount": -0.01},
        {"occurred_at_ms": -1},
    ],
)
def test_each_invalid_payment_is_refused(scribe, wrong):
    """Ids are 1 to 64 printable characters, amounts not negative, times not before 1970."""
    record = scribe.payment(**{"event_id": "p1", **wrong})

    assert _reason(record) is RefusalReason.INVALID


def test_labels_must_fit_their_head(scribe):
    """An outcome of products, a risk verdict on a product, an answer without a product: invalid."""
    assert _reason(scribe.outcome("o1", "p1", head=HeadName.PRODUCTS), OUTCOMES) is RefusalReason.INVALID
    assert _reason(scribe.outcome("o1", ""), OUTCOMES) is RefusalReason.INVALID
    assert _reason(scribe.feedback("f1", "p1", Verdict.ACCEPTED), FEEDBACK) is RefusalReason.INVALID
    assert _reason(scribe.feedback("f1", "p1", Verdict.CONFIRMED, product="credit_card"), FEEDBACK) is RefusalReason.INVALID
    assert _reason(scribe.feedback("f1", "r1", Verdict.DECLINED, head=HeadName.PRODUCTS), FEEDBACK) is RefusalReason.INVALID
    assert _reason(scribe.interaction("i1", "credit_card", segment=""), INTERACTIONS) is RefusalReason.INVALID


def test_the_future_is_measured_from_the_logs_own_time(scribe):
    """Within the tolerance an event is taken, beyond it refused; a replay years later decides the same."""
    arrives_ms = scribe.at_ms + 1000
    just = scribe.payment("p1", occurred_at_ms=arrives_ms + TOLERANCE_MS)
    arrives_ms = scribe.at_ms + 1000
    beyond = scribe.payment("p2", occurred_at_ms=arrives_ms + TOLERANCE_MS + 1)

    assert isinstance(read(just, TRANSACTIONS, future_ms=TOLERANCE_MS), CardTransaction)
    assert _reason(beyond) is RefusalReason.FUTURE_DATED


def test_a_dead_letter_keeps_the_record(scribe):
    """Where it lay, why it was refused, its size and digest, and its bytes up to 64 KiB."""
    value = bytes(range(256)) * 300
    letter = dead_letter(scribe.raw(value, OUTCOMES), Refusal(RefusalReason.OVERSIZED, "too big"), KEY, now_ms=5)

    assert (letter.source_topic, letter.source_partition, letter.source_offset) == ("north-bank.events.outcomes.v1", 0, 0)
    assert (letter.reason, letter.detail, letter.refused_at_ms) == (RefusalReason.OVERSIZED, "too big", 5)
    assert (letter.size_bytes, letter.key_id, opened_letter(letter, KEY)) == (len(value), KEY.id, value[:EVENT_BYTES_MAX])
    assert len(encode(letter)) < 1_000_000


def test_a_dead_letter_says_nothing_without_its_key(scribe):
    """Another key, or another letter's place, does not open it; the same record again gives the same bytes, another record no common ones."""
    record, other = scribe.payment("p1", customer="anna"), scribe.payment("p1", customer="anna")
    letters = [dead_letter(each, Refusal(RefusalReason.DUPLICATE, "again"), KEY, now_ms=5) for each in (record, record, other)]
    stranger = CustomerKey(KEY.id, Secret(bytes(32)))

    assert letters[0] == letters[1]
    assert letters[0].value[:24] != letters[2].value[:24]
    assert b"anna" not in encode(letters[0])
    for letter, key in ((letters[0], stranger), (replace(letters[2], source_offset=0), KEY)):
        with pytest.raises(OwnFault, match="not sealed with this key"):
            opened_letter(letter, key)
    assert named_in(record, TRANSACTIONS) == "anna"
    assert named_in(replace(record, value=b"junk", key=b"ben"), TRANSACTIONS) == "ben"
    assert named_in(replace(record, value=b"junk", key=b"p1"), OUTCOMES) == ""


@given(value=st.binary(max_size=200), topic=st.sampled_from(EVENT_TOPICS))
def test_any_bytes_are_an_event_or_a_refusal(value, topic):
    """Nothing a source writes stops the stream."""
    record = Record(topic.full_name("north-bank"), 0, 0, None, value, 0)

    assert read(record, topic, future_ms=0) is not None

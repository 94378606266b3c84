"""A record of the institution's own topics becomes an event that may be learned from, or a refusal that says why not.

Called by `learner` for every record, in order.
Never drops anything: a refused record goes on, whole, as a DeadLetter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from federation.limits import EVENT_BYTES_MAX, NAME_LENGTH_MAX
from federation.messages import (
    AttributesObserved,
    CardTransaction,
    ConsentsStated,
    CreditApplication,
    DeadLetter,
    ErasureAsked,
    FeedbackGiven,
    HeadName,
    OutcomeObserved,
    ProductInteraction,
    RefusalReason,
    Verdict,
)
from federation.secagg.shredding import digest_under, open_under, seal_under
from institution_workers.customer_keys import CustomerKey
from streams.codec import DecodeError, decode
from streams.ports import Record
from streams.topology import CONSENTS, ERASURES_ASKED, Topic

Event: TypeAlias = CardTransaction | CreditApplication | ProductInteraction | OutcomeObserved | FeedbackGiven

_NAME: Final = f"1 to {NAME_LENGTH_MAX} printable characters"
_LABELS: Final = (Verdict.CONFIRMED, Verdict.FALSE_POSITIVE)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a record is not learned from; `detail` is a sentence for a person."""

    reason: RefusalReason
    detail: str


def read(record: Record, topic: Topic, *, future_ms: int) -> Event | Refusal:
    """The event in `record`, checked as far as one record alone can be.

    An event dated more than `future_ms` after now is refused. "Now" is the time the log received the record: so a replay refuses exactly what the first reading refused.
    """
    if record.value is None:
        return Refusal(RefusalReason.MALFORMED, "the record has no value")
    try:
        event = decode(record.value, topic.carries, topic.bytes_max)
    except DecodeError as error:
        return Refusal(error.reason, error.detail)
    wrong = _wrong_with(event)  # type: ignore[arg-type]  # Own topics carry events only (streams/topology.py).
    if wrong is not None:
        return Refusal(RefusalReason.INVALID, wrong)
    ahead_ms = event.occurred_at_ms - record.timestamp_ms  # type: ignore[union-attr]
    if ahead_ms > future_ms:
        return Refusal(RefusalReason.FUTURE_DATED, f"dated {ahead_ms} ms after the log received it; {future_ms} ms are tolerated")
    return event  # type: ignore[return-value]


def read_statement(record: Record) -> ConsentsStated | Refusal:
    """What a customer says in a record of CONSENTS that is no tombstone."""
    try:
        stated = decode(record.value or b"", CONSENTS.carries, CONSENTS.bytes_max)
    except DecodeError as error:
        return Refusal(error.reason, error.detail)
    if not isinstance(stated, ConsentsStated) or not _is_name(stated.customer):
        return Refusal(RefusalReason.INVALID, f"customer must be {_NAME}")
    if record.key != stated.customer.encode():
        # Compaction keeps the newest record of a key: under another key it would keep an older word of this customer too.
        return Refusal(RefusalReason.INVALID, "the record's key is not the customer")
    if set(stated.permitted) & set(stated.refused):
        return Refusal(RefusalReason.INVALID, "a purpose is both permitted and refused")
    return stated


def read_erasure(record: Record) -> ErasureAsked | Refusal:
    """Who asks to be erased, in a record of ERASURES_ASKED."""
    try:
        asked = decode(record.value or b"", ERASURES_ASKED.carries, ERASURES_ASKED.bytes_max)
    except DecodeError as error:
        return Refusal(error.reason, error.detail)
    if not isinstance(asked, ErasureAsked) or not _is_name(asked.customer) or not _is_name(asked.request_id):
        return Refusal(RefusalReason.INVALID, f"customer and request_id must be {_NAME}")
    return asked


def named_in(record: Record, topic: Topic) -> str:
    """The customer whom a record of this topic names, in its value or, where that cannot be read, by its key; empty if none."""
    try:
        said = decode(record.value or b"", topic.carries, topic.bytes_max)
    except DecodeError:
        return (record.key or b"").decode(errors="replace") if topic.keyed_by == "customer" else ""
    return str(getattr(said, "customer", ""))


def dead_letter(record: Record, refusal: Refusal, key: CustomerKey, *, now_ms: int) -> DeadLetter:
    """The letter that keeps a refused record, sealed with the key of the customer whom it names; the copy is cut at 64 KiB."""
    value = record.value or b""
    return DeadLetter(
        source_topic=record.topic,
        source_partition=record.partition,
        source_offset=record.offset,
        reason=refusal.reason,
        detail=refusal.detail,
        refused_at_ms=now_ms,
        size_bytes=len(value),
        digest=digest_under(key.secret, value),
        key_id=key.id,
        value=seal_under(key.secret, value[:EVENT_BYTES_MAX], _place(record.topic, record.partition, record.offset)),
    )


def opened_letter(letter: DeadLetter, key: CustomerKey) -> bytes:
    """The refused record's value, cut at 64 KiB; OwnFault if this is not its key."""
    return open_under(key.secret, letter.value, _place(letter.source_topic, letter.source_partition, letter.source_offset))


def _place(topic: str, partition: int, offset: int) -> bytes:
    return f"dead letter\n{topic}\n{partition}\n{offset}".encode()


def _is_name(name: str) -> bool:
    return 0 < len(name) <= NAME_LENGTH_MAX and name.isprintable()


def _wrong_with(event: Event) -> str | None:
    """What is wrong with the event's content, as a sentence without any of it; None if nothing is."""
    names = [("event_id", event.event_id), *_names_of(event)]
    for field, name in names:
        if not _is_name(name):
            return f"{field} must be {_NAME}"
    if event.occurred_at_ms < 0:
        return "occurred_at_ms is before 1970"
    if isinstance(event, CardTransaction) and event.amount < 0:
        return "amount is negative"
    if isinstance(event, OutcomeObserved) and event.head is HeadName.PRODUCTS:
        return "outcomes are of fraud or credit; an acquisition is an interaction"
    if isinstance(event, FeedbackGiven):
        about_products = event.head is HeadName.PRODUCTS
        if about_products == (event.verdict in _LABELS) or about_products != (event.product is not None):
            return "the verdict does not fit the head: products are accepted or declined and named, risks are confirmed or false positives"
    return None


def _names_of(event: Event | AttributesObserved) -> list[tuple[str, str]]:
    match event:
        case CardTransaction():
            return [("customer", event.customer), ("terminal", event.terminal)]
        case CreditApplication() | AttributesObserved():
            return [("customer", event.customer)]
        case ProductInteraction():
            segment = [("segment", event.segment)] if event.segment is not None else []
            return [("customer", event.customer), ("product", event.product), *segment]
        case OutcomeObserved():
            return [("subject", event.subject)]
        case FeedbackGiven():
            product = [("product", event.product)] if event.product is not None else []
            return [("subject", event.subject), ("customer", event.customer), *product]

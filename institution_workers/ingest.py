"""A record of the institution's own topics becomes an event that may be learned from, or a refusal that says why not.

Called by `learner` for every record, in order.
Never drops anything: a refused record goes on, whole, as a DeadLetter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from federation.ids import digest_of
from federation.limits import EVENT_BYTES_MAX, NAME_LENGTH_MAX
from federation.messages import (
    AttributesObserved,
    CardTransaction,
    CreditApplication,
    DeadLetter,
    FeedbackGiven,
    HeadName,
    OutcomeObserved,
    ProductInteraction,
    RefusalReason,
    Verdict,
)
from streams.codec import DecodeError, decode
from streams.ports import Record
from streams.topology import Topic

Event: TypeAlias = CardTransaction | CreditApplication | ProductInteraction | OutcomeObserved | FeedbackGiven

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


def dead_letter(record: Record, refusal: Refusal, *, now_ms: int) -> DeadLetter:
    """The letter that keeps a refused record; the digest is of the whole value, the copy is cut at 64 KiB."""
    value = record.value or b""
    return DeadLetter(
        source_topic=record.topic,
        source_partition=record.partition,
        source_offset=record.offset,
        reason=refusal.reason,
        detail=refusal.detail,
        refused_at_ms=now_ms,
        size_bytes=len(value),
        digest=digest_of(value),
        value=value[:EVENT_BYTES_MAX],
    )


def _wrong_with(event: Event) -> str | None:
    """What is wrong with the event's content, as a sentence without any of it; None if nothing is."""
    names = [("event_id", event.event_id), *_names_of(event)]
    for field, name in names:
        if not name or len(name) > NAME_LENGTH_MAX or not name.isprintable():
            return f"{field} must be 1 to {NAME_LENGTH_MAX} printable characters"
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

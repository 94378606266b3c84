"""The party's own events, a turn at a time: people, their features, their labels, saved together with their offsets.

Driven by `worker`.
Never learns a record twice, and never keeps a value that its feature schema refuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from federation.heads.credit import CreditEncoder
from federation.heads.head import FeatureError
from federation.messages import AttributesObserved, CreditApplication, HeadName, OutcomeObserved, RefusalReason
from institution_workers.arrivals import Arrivals
from institution_workers.consents import Consents
from institution_workers.customer_keys import CustomerKeys
from institution_workers.ingest import Refusal, dead_letter, named_in, read
from institution_workers.speaker import Speaker
from institution_workers.storage import Store
from institution_workers.vertical.people import People
from streams.codec import encode
from streams.ports import Clock, Log, Outgoing, Position, Record
from streams.telemetry import DEAD_LETTERS as DEAD_LETTERS_COUNTED
from streams.telemetry import EVENTS_READ
from streams.topology import APPLICATIONS, ATTRIBUTES, CONSENTS, DEAD_LETTERS, OUTCOMES, Cluster, Topic

_BATCH: Final = 2000
_LOG = structlog.get_logger()


class Intake:
    """Applications and outcomes at the bank, attributes at the partner."""

    def __init__(
        self, log: Log, store: Store, people: People, speaker: Speaker, encoder: CreditEncoder, *, name: str, is_bank: bool, clock: Clock,
        future_ms: int, consents: Consents, keys: CustomerKeys,
    ) -> None:  # fmt: skip
        self._log, self._store, self._people, self._speaker, self._encoder = log, store, people, speaker, encoder
        self._name, self._clock, self._future_ms, self._consents, self._keys = name, clock, future_ms, consents, keys
        topics = (CONSENTS, APPLICATIONS, OUTCOMES) if is_bank else (CONSENTS, ATTRIBUTES)
        self._topics: Final[Mapping[str, Topic]] = {topic.full_name(name): topic for topic in topics}
        self._arrivals: Arrivals | None = None

    async def open(self) -> None:
        """Read on where the state ends."""
        await self.close()
        positions = [Position(topic, 0, self._store.next_offset(topic, 0)) for topic in self._topics]
        self._arrivals = await Arrivals.open(self._log, positions)

    async def step(self, wait_ms: int) -> int:
        """One turn; how many records it was over."""
        if self._arrivals is None:
            await self.open()
            return 0
        records = await self._arrivals.take(_BATCH, wait_ms)
        if records:
            self._turn(records)
            await self._speaker.flush()
        return len(records)

    async def close(self) -> None:
        """Stop reading."""
        if self._arrivals is not None:
            arrivals, self._arrivals = self._arrivals, None
            await arrivals.close()

    def _turn(self, records: Sequence[Record]) -> None:
        letters: list[Outgoing] = []
        with self._store.turn():
            for record in records:
                topic = self._topics[record.topic]
                EVENTS_READ.labels(topic.name).inc()
                refusal = self._take(record, topic)
                if refusal is not None:
                    DEAD_LETTERS_COUNTED.labels(topic.name, refusal.reason.value).inc()
                    _LOG.warning("record refused", topic=record.topic, offset=record.offset, reason=refusal.reason.value)
                    if topic is ATTRIBUTES:  # The others' dead letters are the institution worker's to write.
                        letter = dead_letter(record, refusal, self._keys.of(named_in(record, topic)), now_ms=self._clock.now_ms())
                        letters.append(Outgoing(DEAD_LETTERS.full_name(self._name), 0, record.topic.encode(), encode(letter)))
                self._store.set_offset(record.topic, record.partition, record.offset + 1)
            self._store.journal(Cluster.OWN, letters)

    def _take(self, record: Record, topic: Topic) -> Refusal | None:
        if topic is CONSENTS:
            return self._heed(record)
        event: object = read(record, topic, future_ms=self._future_ms)
        if isinstance(event, Refusal):
            return event
        if isinstance(event, OutcomeObserved):
            if event.head is HeadName.CREDIT:
                self._people.label(event.subject, positive=event.positive)
            return None
        if not isinstance(event, CreditApplication | AttributesObserved):
            return None
        try:
            active = self._encoder.encode(event)
        except FeatureError as error:
            return Refusal(RefusalReason.INVALID, str(error))
        consented = self._consents.learns(HeadName.CREDIT, event.customer, consented=event.consented) and self._shares(event.customer)
        self._people.observe(event.customer, event.event_id, event.occurred_at_ms, active, consented=consented)
        return None

    def _heed(self, record: Record) -> Refusal | None:
        """Who refuses is in no list from now on; who permits again, from his next event on."""
        refusal = self._consents.heed(record)
        customer = (record.key or b"").decode(errors="replace")
        if refusal is None and not self._shares(customer):
            self._people.withdraw(customer)
        return refusal

    def _shares(self, customer: str) -> bool:
        return self._consents.shares(HeadName.CREDIT, customer)

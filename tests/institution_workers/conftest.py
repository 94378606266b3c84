"""A bank with events, for the tests of the institution worker.

Collected by pytest.
Never talks to a broker: records are made as if a log had received them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from federation.messages import (
    CardTransaction,
    ConsentsStated,
    CreditApplication,
    FeedbackGiven,
    HeadName,
    InteractionKind,
    OutcomeObserved,
    ProductInteraction,
    Purpose,
    Verdict,
)
from institution_workers.learner import Encoders
from institution_workers.storage import Store
from institution_workers.study import Study, Terms
from streams.codec import encode
from streams.ports import Record
from streams.topology import APPLICATIONS, CONSENTS, FEEDBACK, INTERACTIONS, OUTCOMES, TRANSACTIONS, Topic

BANK = "north-bank"
START_MS = 1_700_000_000_000


@dataclass
class SetClock:
    """A clock that shows what it was set to."""

    at_ms: int = START_MS

    def now_ms(self) -> int:
        return self.at_ms


@dataclass
class Scribe:
    """Writes records as the bank's log would hold them: offsets count up, a second passes before each."""

    at_ms: int = START_MS
    offsets: dict[str, int] = field(default_factory=dict)
    bank: str = BANK

    def raw(self, value: bytes | None, topic: Topic) -> Record:
        name = topic.full_name(self.bank)
        offset = self.offsets.get(name, 0)
        self.offsets[name] = offset + 1
        self.at_ms += 1000
        return Record(name, 0, offset, None, value, self.at_ms)

    def payment(self, event_id: str, **other: object) -> Record:
        usual = {"customer": "anna", "occurred_at_ms": self.at_ms, "consented": True, "terminal": "shop-1", "amount": 42.0}
        return self.raw(encode(CardTransaction(event_id=event_id, **{**usual, **other})), TRANSACTIONS)

    def application(self, event_id: str, **other: object) -> Record:
        usual = {"customer": "anna", "occurred_at_ms": self.at_ms, "consented": True, "numbers": {"amount": 20_000.0}, "categories": {}}
        return self.raw(encode(CreditApplication(event_id=event_id, **{**usual, **other})), APPLICATIONS)

    def consents(self, customer: str = "anna", *, permitted: tuple[Purpose, ...] = (), refused: tuple[Purpose, ...] = ()) -> Record:
        said = ConsentsStated(customer=customer, permitted=permitted, refused=refused, stated_at_ms=self.at_ms)
        return replace(self.raw(encode(said), CONSENTS), key=customer.encode())

    def says_nothing(self, customer: str = "anna") -> Record:
        return replace(self.raw(None, CONSENTS), key=customer.encode())

    def interaction(self, event_id: str, product: str, **other: object) -> Record:
        usual = {"customer": "anna", "occurred_at_ms": self.at_ms, "consented": True, "kind": InteractionKind.ACQUIRED, "segment": None}
        return self.raw(encode(ProductInteraction(event_id=event_id, product=product, **{**usual, **other})), INTERACTIONS)

    def outcome(self, event_id: str, subject: str, *, positive: bool = True, **other: object) -> Record:
        usual = {"head": HeadName.FRAUD, "occurred_at_ms": self.at_ms}
        return self.raw(encode(OutcomeObserved(event_id=event_id, subject=subject, positive=positive, **{**usual, **other})), OUTCOMES)

    def feedback(self, event_id: str, subject: str, verdict: Verdict = Verdict.CONFIRMED, **other: object) -> Record:
        usual = {"head": HeadName.FRAUD, "customer": "anna", "product": None, "occurred_at_ms": self.at_ms}
        return self.raw(encode(FeedbackGiven(event_id=event_id, subject=subject, verdict=verdict, **{**usual, **other})), FEEDBACK)


@pytest.fixture(scope="session")
def encoders() -> Encoders:
    return Encoders.shipped()


@pytest.fixture
def scribe() -> Scribe:
    return Scribe()


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path / "state", BANK)
    yield opened
    opened.close()


@pytest.fixture
def studying(encoders: Encoders, clock: SetClock) -> Callable[..., Study]:
    """Begins to study on a store, as a starting worker does."""

    def begin(store: Store, *, terms: Terms | None = None, heads: tuple[HeadName, ...] = tuple(HeadName), **other: object) -> Study:
        return Study(store, BANK, heads, clock=clock, terms=terms or Terms(), encoders=encoders, **other)

    return begin

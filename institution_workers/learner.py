"""Events in, lessons out: each event is scored when it happens and learned once, when its label comes, as it was then.

Called by `turns` for every record of the institution's own topics, in the order of their arrival.
Never reads a clock or writes a file: time comes with the records, memory is `recall` and `pupil`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from federation.heads import scoring
from federation.heads.behaviour import Behaviour
from federation.heads.credit import CreditEncoder
from federation.heads.fraud import FraudEncoder
from federation.heads.head import Active, FeatureError, Lesson
from federation.heads.prequential import PrequentialAuc, PrequentialHitRate
from federation.heads.products import Catalogue
from federation.messages import (
    CardTransaction,
    CreditApplication,
    ErasureAsked,
    EventFlagged,
    FeedbackGiven,
    HeadName,
    InteractionKind,
    OutcomeObserved,
    ProductInteraction,
    RefusalReason,
    ReviewAsked,
    Verdict,
)
from institution_workers.consents import Consents
from institution_workers.ingest import Event, Refusal, read, read_erasure
from institution_workers.pupil import FEDERATED, LOCAL, Pupil
from institution_workers.recall import Decision, Profile, Recall
from institution_workers.window import Window
from streams.ports import Record
from streams.topology import CONSENTS, ERASURES_ASKED, Topic

FLAG_LOG_ODDS: Final[Mapping[HeadName, float]] = {HeadName.FRAUD: -1.4, HeadName.CREDIT: 0.0}
"""From where on an officer should look at it: one payment in five is fraud, one loan in two is not paid back."""


class Count(StrEnum):
    """What is counted per head, besides what `Pupil` counts."""

    READ = "read"
    DEAD = "dead"
    HELD = "held"  # Labels that came before their event.
    UNCONSENTED = "unconsented"  # Events and labels not learned from because the customer has not consented.
    FORGOTTEN = "forgotten"  # Decisions that gave way before their label came.
    EXHAUSTED = "exhausted"  # Times that a customer was left out of a contribution because his budget is spent.
    WITHHELD = "withheld"  # Times that a customer was left out of a contribution because he refuses to be part of the sums.
    UNSHARED = "unshared"  # Lessons that found no room in the window of the next contribution.


@dataclass(frozen=True)
class Encoders:
    """What turns the events of each head into coordinates."""

    credit: CreditEncoder
    fraud: FraudEncoder
    products: Catalogue

    @classmethod
    def shipped(cls) -> Encoders:
        """Those of schemas/features."""
        return cls(CreditEncoder.shipped(), FraudEncoder.shipped(), Catalogue.shipped())


@dataclass(frozen=True, slots=True)
class Judged:
    """A prediction whose truth has become known, for whoever keeps them one by one (the worker keeps counts)."""

    head: HeadName
    customer: str
    at_ms: int  # When it was made.
    positive: bool
    said: Mapping[str, float] = field(hash=False)  # By FEDERATED and LOCAL: log-odds of a risk, place of the product taken.


class Learner:
    """All heads of one institution. A head without a pupil is not learned: its events are read, counted and left alone."""

    def __init__(
        self,
        pupils: Mapping[HeadName, Pupil],
        encoders: Encoders,
        recall: Recall,
        behaviour: Behaviour,
        window: Window,
        consents: Consents,
        topics: Mapping[str, Topic],
        *,
        future_ms: int,
        judged: Callable[[Judged], None] = lambda _judged: None,
    ) -> None:
        """`topics`: full name -> row, of the topics that records come from; `future_ms` as in `ingest.read`."""
        self.pupils: Final = pupils
        self.counts: dict[str, int] = {}  # "<count>.<head>" and "refused.<topic>.<reason>".
        self._letters: list[tuple[Record, Refusal]] = []
        self._profiles: dict[str, Profile] = {}  # Changed and not yet taken.
        self._erasures: list[ErasureAsked] = []
        self._reviews: list[ReviewAsked] = []
        self._flags: list[EventFlagged] = []
        self._encoders = encoders
        self._recall = recall
        self._behaviour = behaviour
        self._window = window
        self._consents = consents
        self._topics = topics
        self._future_ms = future_ms
        self._judged = judged

    def take(self, record: Record) -> None:
        """Learn from one record, hold it, or refuse it. What is refused comes out of `take_letters`, with the reason."""
        topic = self._topics[record.topic]
        if topic is CONSENTS:
            refusal = self._consents.heed(record)
            if refusal is not None:
                self._refuse(record, refusal, None)
            return
        if topic is ERASURES_ASKED:
            self._hear_erasure(record)
            return
        event = read(record, topic, future_ms=self._future_ms)
        if isinstance(event, Refusal):
            head_of_topic = _HEADS.get(topic.carries[0])
            if head_of_topic is not None:
                self.count(Count.READ, head_of_topic)
            self._refuse(record, event, head_of_topic)
            return
        head = _head_of(event)
        self.count(Count.READ, head)
        if head in self.pupils:
            self._consider(record, event, head)

    def _hear_erasure(self, record: Record) -> None:
        """From this record on nothing of the customer is kept; what was kept before goes at the turn's end."""
        asked = read_erasure(record)
        if isinstance(asked, Refusal):
            self._refuse(record, asked, None)
            return
        self._consents.suppress(asked.customer, record.timestamp_ms)
        self._erasures.append(asked)

    def _consider(self, record: Record, event: Event, head: HeadName) -> None:
        identity = _identity(type(event).__name__, event.event_id)
        if self._recall.seen(identity):
            self._refuse(record, Refusal(RefusalReason.DUPLICATE, "an event with this id was read before"), head)
            return
        try:
            refusal = self._learn(record, event, head)
        except FeatureError as error:
            refusal = Refusal(RefusalReason.INVALID, str(error))
        if refusal is not None:
            self._refuse(record, refusal, head)
        elif not isinstance(event, (OutcomeObserved, FeedbackGiven)):
            self._recall.remember(identity)
            for early in self._recall.release(head, event.event_id):
                self.take_again(early)

    def take_again(self, record: Record) -> None:
        """A held label whose event has come: learn it as if it came now. It was counted as read when it was held."""
        event = read(record, self._topics[record.topic], future_ms=self._future_ms)
        if not isinstance(event, Refusal):
            self._consider(record, event, _head_of(event))

    def _learn(self, record: Record, event: Event, head: HeadName) -> Refusal | None:
        match event:
            case CardTransaction():
                return self._payment(event)
            case CreditApplication():
                return self._application(event)
            case ProductInteraction():
                return self._interaction(event)
            case OutcomeObserved():
                return self._label(record, event, head, positive=event.positive)
            case FeedbackGiven() if head is HeadName.PRODUCTS:
                return self._answer(event)
            case FeedbackGiven():
                return self._label(record, event, head, positive=event.verdict is Verdict.CONFIRMED)

    # --- risks --------------------------------------------------------------------------------------------------
    def _payment(self, event: CardTransaction) -> Refusal | None:
        if self._recall.decision(HeadName.FRAUD, event.event_id) is not None:
            return Refusal(RefusalReason.DUPLICATE, "a payment with this id waits for its label")
        if self._consents.erased(event.customer):
            self._decide(replace(event, customer=""), HeadName.FRAUD, (), "")
            return None
        active = self._encoders.fraud.encode(event, self._behaviour)
        # Counting payments is no lesson: it describes this customer and this terminal, and stays here.
        self._behaviour.observe(event.customer, event.terminal, event.amount, event.occurred_at_ms)
        self._decide(event, HeadName.FRAUD, active, event.terminal)
        return None

    def _application(self, event: CreditApplication) -> Refusal | None:
        if self._recall.decision(HeadName.CREDIT, event.event_id) is not None:
            return Refusal(RefusalReason.DUPLICATE, "an application with this id waits for its label")
        if self._consents.erased(event.customer):
            self._decide(replace(event, customer=""), HeadName.CREDIT, (), "")
            return None
        self._decide(event, HeadName.CREDIT, self._encoders.credit.encode(event), "")
        return None

    def _decide(self, event: CardTransaction | CreditApplication, head: HeadName, active: tuple[int, ...], terminal: str) -> None:
        pupil = self.pupils[head]
        if self._consents.learns(head, event.customer, consented=event.consented):
            said = pupil.log_odds(active)
            scores = (said[FEDERATED], said[LOCAL])
            decision = Decision(head, event.event_id, event.customer, True, active, *scores, event.occurred_at_ms, terminal)
            if max(said.values()) >= FLAG_LOG_ODDS[head]:  # Cheap; what is served lies between the two.
                self._flag(event, pupil, active)
        else:
            # Nothing to learn from is kept; the decision itself is, so that its label is known to belong to somebody.
            self.count(Count.UNCONSENTED, head)
            decision = Decision(head, event.event_id, event.customer, False, (), 0.0, 0.0, event.occurred_at_ms)
        self._recall.wait(decision)
        if not self._consents.decides(event.customer) and self._decides(head, active):
            self._reviews.append(ReviewAsked(head=head, event_id=event.event_id, reason="objection", asked_at_ms=event.occurred_at_ms))

    def _flag(self, event: CardTransaction | CreditApplication, pupil: Pupil, active: Active) -> None:
        """For an officer, if the model that the portal is served finds it risky enough; with the points as they are now."""
        vector, layout = pupil.serving(), pupil.layout
        log_odds = scoring.log_odds_of(layout, vector, active)
        if log_odds < FLAG_LOG_ODDS[pupil.head]:
            return
        amount, terminal = (event.amount, event.terminal) if isinstance(event, CardTransaction) else (_amount_of(event), "")
        self._flags.append(
            EventFlagged(
                head=pupil.head, event_id=event.event_id, customer=event.customer, occurred_at_ms=event.occurred_at_ms, amount=amount,
                terminal=terminal, log_odds=log_odds, active=active, points=tuple(vector[list(active)].tolist()),
                model_version=pupil.basis.version, epoch=pupil.basis.epoch, round=pupil.basis.round, layout_digest=layout.digest,
            )
        )  # fmt: skip

    def _decides(self, head: HeadName, active: Active) -> bool:
        """Whether a score of this head decides about its customer: on every application, and on payments that it would stop."""
        return head is HeadName.CREDIT or max(self.pupils[head].log_odds(active).values()) >= 0.0

    def _label(self, record: Record, event: OutcomeObserved | FeedbackGiven, head: HeadName, *, positive: bool) -> Refusal | None:
        labelled = _identity(f"label {head.value}", event.subject)
        decision = self._recall.decision(head, event.subject)
        if decision is None:
            if self._recall.seen(labelled):
                return Refusal(RefusalReason.DUPLICATE, "its subject was labelled before")
            self.count(Count.HELD, head)
            self._recall.hold(head, event.subject, record)
            return None
        self._recall.settle(decision)
        self._recall.remember(labelled)
        self._recall.remember(_identity(type(event).__name__, event.event_id))
        if not decision.consented or not self._consents.learns(head, decision.customer, consented=True):  # He may have withdrawn since.
            self.count(Count.UNCONSENTED, head)
            return None
        pupil = self.pupils[head]
        said = {FEDERATED: decision.federated, LOCAL: decision.local}
        for kind, score in said.items():
            measure = pupil.quality[kind]
            if isinstance(measure, PrequentialAuc):
                measure.add(score, positive)
        self._judged(Judged(head, decision.customer, decision.at_ms, positive, said))
        pupil.note_losses(decision.federated, decision.local, positive)
        self._teach(head, decision.customer, (decision.active, positive))
        pupil.count_example()
        if decision.terminal:
            self._behaviour.label(decision.terminal, positive, event.occurred_at_ms)
        return None

    # --- products -----------------------------------------------------------------------------------------------
    def _interaction(self, event: ProductInteraction) -> Refusal | None:
        if self._consents.erased(event.customer):
            self.count(Count.UNCONSENTED, HeadName.PRODUCTS)
            return None
        catalogue = self._encoders.products
        consented = self._consents.learns(HeadName.PRODUCTS, event.customer, consented=event.consented)
        profile = replace(self._recall.profile(event.customer), consented=event.consented)
        catalogue.encode(profile.held, event.product)  # An unknown product is refused before anything changes.
        if event.segment is not None:
            profile = replace(profile, segment=event.segment)
        if not consented:
            self.count(Count.UNCONSENTED, HeadName.PRODUCTS)
        match event.kind:
            case InteractionKind.ACQUIRED if event.product not in profile.held:
                if consented:
                    self._acquisition(event, profile.held)
                self._keep(_with(profile, held=event.product), event.occurred_at_ms)
            case InteractionKind.DECLINED:
                if consented:
                    self._declined(event.customer, profile.held, event.product)
                self._keep(_with(profile, dismissed=event.product), event.occurred_at_ms)
            case InteractionKind.CANCELLED:
                self._keep(replace(profile, held=_without(profile.held, event.product)), event.occurred_at_ms)
            case _:
                self._keep(profile, event.occurred_at_ms)
        return None

    def _answer(self, event: FeedbackGiven) -> Refusal | None:
        product = event.product or ""
        answered = _identity("answer", f"{event.subject}\n{product}")
        if self._recall.seen(answered):
            return Refusal(RefusalReason.DUPLICATE, "this recommendation was answered before")
        if self._consents.erased(event.customer):
            self.count(Count.UNCONSENTED, HeadName.PRODUCTS)
            return None
        profile = self._recall.profile(event.customer)
        lesson = self._encoders.products.encode(profile.held, product)
        accepted = event.verdict is Verdict.ACCEPTED
        if not self._consents.learns(HeadName.PRODUCTS, event.customer, consented=profile.consented):
            self.count(Count.UNCONSENTED, HeadName.PRODUCTS)
        elif accepted:
            # The acquisition itself follows as an interaction and is measured there.
            self._teach(HeadName.PRODUCTS, event.customer, (lesson, True))
            self.pupils[HeadName.PRODUCTS].count_example()
        else:
            self._declined(event.customer, profile.held, product)
        if not accepted:
            self._keep(_with(profile, dismissed=product), event.occurred_at_ms)
        self._recall.remember(answered)
        self._recall.remember(_identity(type(event).__name__, event.event_id))
        return None

    def _acquisition(self, event: ProductInteraction, held: tuple[str, ...]) -> None:
        pupil = self.pupils[HeadName.PRODUCTS]
        said = self._places(held, event.product)
        for kind, place in said.items():
            measure = pupil.quality[kind]
            if isinstance(measure, PrequentialHitRate):
                measure.add(place)
        self._judged(Judged(HeadName.PRODUCTS, event.customer, event.occurred_at_ms, positive=True, said=said))
        for active, positive in self._encoders.products.lessons(event.event_id, held, event.product):
            pupil.note_losses(pupil.federated.log_odds(active), pupil.local.log_odds(active), positive)
            self._teach(HeadName.PRODUCTS, event.customer, (active, positive))
        pupil.count_example()

    def _declined(self, customer: str, held: tuple[str, ...], product: str) -> None:
        self._teach(HeadName.PRODUCTS, customer, (self._encoders.products.encode(held, product), False))
        self.pupils[HeadName.PRODUCTS].count_example()

    def _keep(self, profile: Profile, at_ms: int) -> None:
        before = self._recall.profile(profile.customer)
        if profile == before and before.updated_at_ms:
            return
        kept = replace(profile, updated_at_ms=max(at_ms, before.updated_at_ms))
        self._recall.set_profile(kept)
        if (kept.held, kept.dismissed) != (before.held, before.dismissed) or not before.updated_at_ms:
            self._profiles[kept.customer] = kept

    def _teach(self, head: HeadName, customer: str, lesson: Lesson) -> None:
        """Both models learn it now; the federation hears of it with whatever else this customer teaches until the next contribution."""
        self.pupils[head].teach(*lesson)
        active, positive = lesson
        own = self._encoders.fraud.contributed(active) if head is HeadName.FRAUD else active
        if not self._window.add(head, customer, (own, positive)):
            self.count(Count.UNSHARED, head)

    # --- what is said, without learning -------------------------------------------------------------------------
    def say(self, event: CardTransaction | CreditApplication | ProductInteraction) -> dict[str, float]:
        """What the models say of an event now, as `Judged.said`; nothing is learned or remembered. FeatureError as the encoders say."""
        match event:
            case CardTransaction():
                return self.pupils[HeadName.FRAUD].log_odds(self._encoders.fraud.encode(event, self._behaviour))
            case CreditApplication():
                return self.pupils[HeadName.CREDIT].log_odds(self._encoders.credit.encode(event))
            case ProductInteraction():
                return self._places(self._recall.profile(event.customer).held, event.product)

    def _places(self, held: tuple[str, ...], product: str) -> dict[str, float]:
        pupil, catalogue = self.pupils[HeadName.PRODUCTS], self._encoders.products
        return {kind: catalogue.place_of(vector, held, product) for kind, vector in pupil.models().items()}

    # --- what came of it ----------------------------------------------------------------------------------------
    def take_letters(self) -> list[tuple[Record, Refusal]]:
        """Records refused since the last call."""
        taken, self._letters = self._letters, []
        return taken

    def take_flags(self) -> list[EventFlagged]:
        """Events since the last call that an officer should look at."""
        taken, self._flags = self._flags, []
        return taken

    def take_reviews(self) -> list[ReviewAsked]:
        """Decisions since the last call that a person has to make."""
        taken, self._reviews = self._reviews, []
        return taken

    def take_erasures(self) -> list[ErasureAsked]:
        """Erasures asked for since the last call."""
        taken, self._erasures = self._erasures, []
        return taken

    def take_profiles(self) -> list[Profile]:
        """Profiles whose products changed since the last call, each once, as they are now."""
        taken, self._profiles = self._profiles, {}
        return list(taken.values())

    # --- refusals and counts ------------------------------------------------------------------------------------
    def refuse_overdue(self, now_ms: int) -> None:
        """Labels held too long, or beyond the room for them: their event never came."""
        for record in self._recall.overdue(now_ms):
            event = read(record, self._topics[record.topic], future_ms=self._future_ms)
            head = None if isinstance(event, Refusal) else _head_of(event)
            self._refuse(record, Refusal(RefusalReason.UNKNOWN_SUBJECT, "no event with the id of its subject came"), head)

    def _refuse(self, record: Record, refusal: Refusal, head: HeadName | None) -> None:
        self._letters.append((record, refusal))
        name = f"refused.{self._topics[record.topic].name}.{refusal.reason.value}"
        self.counts[name] = self.counts.get(name, 0) + 1
        if head is not None:
            self.count(Count.DEAD, head)

    def count(self, what: Count, head: HeadName, many: int = 1) -> None:
        """Add to a counter of a head."""
        name = f"{what.value}.{head.value}"
        self.counts[name] = self.counts.get(name, 0) + many


_HEADS: Final[Mapping[type, HeadName]] = {
    CardTransaction: HeadName.FRAUD,
    CreditApplication: HeadName.CREDIT,
    ProductInteraction: HeadName.PRODUCTS,
}


def _amount_of(application: CreditApplication) -> float:
    """What is asked for, as far as the application tells."""
    return max(0.0, application.numbers.get("amount", application.numbers.get("credit_limit", 0.0)))


def _head_of(event: Event) -> HeadName:
    return event.head if isinstance(event, (OutcomeObserved, FeedbackGiven)) else _HEADS[type(event)]


def _identity(kind: str, name: str) -> bytes:
    """What is remembered of an id: 16 bytes, so that customers' events cannot be listed from them."""
    return hashlib.blake2b(f"{kind}\n{name}".encode(), digest_size=16).digest()


def _with(profile: Profile, *, held: str | None = None, dismissed: str | None = None) -> Profile:
    """The profile with a product taken (and no longer dismissed), or dismissed."""
    if held is not None:
        return replace(profile, held=tuple(sorted({*profile.held, held})), dismissed=_without(profile.dismissed, held))
    return replace(profile, dismissed=tuple(sorted({*profile.dismissed, *([dismissed] if dismissed is not None else [])})))


def _without(products: tuple[str, ...], product: str) -> tuple[str, ...]:
    return tuple(other for other in products if other != product)

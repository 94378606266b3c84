"""The institution's own topics, a turn at a time: records learned, and saved together with their offsets and what is to be said.

Called by `worker` with each batch; owns the learner and its memory.
Never learns a record twice: a turn that was not saved is read again, one that was saved is never read again."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from audit.actions import action_of
from federation.heads.behaviour import Behaviour
from federation.messages import (
    ActionKind,
    CustomerProfile,
    ErasureAsked,
    ErasureCertified,
    HeadName,
    Message,
    ReadTo,
    RoundParameters,
    ServingModel,
)
from federation.privacy.accountant import epsilon_of
from institution_workers.consents import Consents
from institution_workers.customer_keys import CustomerKeys
from institution_workers.erasure import Memories, certificate
from institution_workers.ingest import Refusal, dead_letter, named_in
from institution_workers.learner import Count, Encoders, Judged, Learner
from institution_workers.ledger import Ledger, Price
from institution_workers.preparation import Prepared, prepare
from institution_workers.pupil import Pupil
from institution_workers.recall import Recall
from institution_workers.saving import load_behaviour, load_pupils, save_behaviour, save_pupil
from institution_workers.storage import Store
from institution_workers.window import Window
from streams.codec import encode
from streams.courier import key_of
from streams.ports import Clock, Entropy, Outgoing, Position, Record
from streams.settings import USUAL_LEARNING_RATES, USUAL_PURPOSES, PurposesSettings
from streams.telemetry import DEAD_LETTERS as DEAD_LETTERS_COUNTED
from streams.telemetry import EVENTS_LEARNED, EVENTS_READ
from streams.topology import (
    ACTIONS,
    DEAD_LETTERS,
    ERASURES_CERTIFIED,
    FLAGS,
    LEARNING_TOPICS,
    PROFILES,
    REVIEWS,
    SERVING_MODELS,
    Cluster,
    Topic,
)

_WORKER: Final = "worker"  # As whom it stands in the institution's own audit.


@dataclass(frozen=True, slots=True)
class Terms:
    """What an operator may set about learning (streams.settings.InstitutionSettings)."""

    learning_rates: Mapping[HeadName, float] = field(default_factory=lambda: dict(USUAL_LEARNING_RATES))
    future_ms: int = 300_000
    waiting_max: int = 200_000
    serve_ms: int = 2_000  # How old the portal's model may be when there is a newer one.
    purposes: PurposesSettings = USUAL_PURPOSES


@dataclass(frozen=True, slots=True)
class Contribution:
    """A contribution ready to be masked, and who pays for it. All but its values stays here."""

    made: Prepared
    paying: Mapping[str, float]  # Customer -> what he will have spent in the period.
    exhausted: int  # Customers left out because they cannot pay.
    withheld: int  # Customers left out because they refuse to be part of the sums.
    price: Price
    delta: float


class Study:
    """Everything one institution learns from its own events."""

    def __init__(
        self,
        store: Store,
        institution: str,
        heads: Iterable[HeadName],
        *,
        clock: Clock,
        terms: Terms = Terms(),
        encoders: Encoders | None = None,
        judged: Callable[[Judged], None] = lambda _judged: None,
        reach: Callable[[str], None] = lambda _point: None,
        seal: Callable[[ServingModel], bytes] = encode,
        certify: Callable[[ErasureCertified], bytes] = encode,
        entropy: Entropy = os.urandom,
    ) -> None:
        """Take up what the store holds.

        `seal` signs a model for the portal; one that is only encoded is refused there. `certify` signs certificates
        of erasures; `entropy` draws customers' keys.

        `judged` is told each prediction once its truth is known (an evaluation keeps them). `reach` is told each labelled point, so
        that tests can crash there.
        """
        encoders = encoders or Encoders.shipped()
        self._store = store
        self._institution = institution
        self._clock = clock
        self._serve_ms = terms.serve_ms
        self._reach = reach
        self._seal = seal
        self._certify = certify
        self._recall = Recall(store.database, waiting_max=terms.waiting_max)
        self._behaviour: Behaviour = load_behaviour(store)
        self.window: Final = Window(store.database)
        self.ledger: Final = Ledger(store.database)
        self._consents = Consents(store.database, terms.purposes)
        self._keys = CustomerKeys(store.database, entropy)
        self._memories = Memories(store, self._recall, self.window, self._behaviour, self._consents, self.ledger, self._keys)
        self._epsilons: dict[HeadName, float] = {}
        self._topics = {topic.full_name(institution): topic for topic in LEARNING_TOPICS}
        pupils = load_pupils(store, heads, encoders, learning_rates=terms.learning_rates)
        self.learner: Final = Learner(
            pupils,
            encoders,
            self._recall,
            self._behaviour,
            self.window,
            self._consents,
            self._topics,
            future_ms=terms.future_ms,
            judged=judged,
        )
        self.learner.counts = store.counters()
        self._served: dict[HeadName, tuple[int, int]] = {}  # Head -> (events learned, version) of the model last served.
        self._served_ms = 0

    @property
    def pupils(self) -> dict[HeadName, Pupil]:
        """The heads learned."""
        return dict(self.learner.pupils)

    def positions(self) -> Sequence[Position]:
        """Where to read on: the institution's own offsets, events before labels."""
        return [
            Position(name, partition, self._store.next_offset(name, partition))
            for topic in LEARNING_TOPICS
            for name in (topic.full_name(self._institution),)
            for partition in range(topic.partitions)
        ]

    def turn(self, records: Sequence[Record]) -> None:
        """Learn a batch and save: afterwards all of it happened, or, after a crash, none of it. An empty batch is housekeeping."""
        now_ms = self._clock.now_ms()
        learned_before = {head: pupil.learned for head, pupil in self.learner.pupils.items()}
        counts_before = dict(self.learner.counts)
        with self._store.turn():
            for record in records:
                self.learner.take(record)
            # The log's own time, so that a backlog does not make a label look overdue whose event is just being read.
            self.learner.refuse_overdue(records[-1].timestamp_ms if records else now_ms)
            self._reach("learned")
            self._store.journal(Cluster.OWN, self._to_say(now_ms))
            self._keep_places(records)
            self.window.flush()
            forgotten = self._recall.flush()
            for head, count in forgotten.items():
                self.learner.count(Count.FORGOTTEN, head, count)
            erasures = self.learner.take_erasures()
            for asked in erasures:
                self._store.journal(Cluster.OWN, self._erase(asked, now_ms))
            save_behaviour(self._store, self._behaviour)
            for head, pupil in self.learner.pupils.items():
                if pupil.learned != learned_before[head]:
                    save_pupil(self._store, pupil)
            self._store.set_counters(self.learner.counts)
            self._reach("written")
        self._reach("saved")
        if erasures:
            self._store.erase_traces()
        self._measure(records, learned_before, counts_before)

    # --- rounds -------------------------------------------------------------------------------------------------
    def contribution(self, head: HeadName, parameters: RoundParameters, *, honest_survivors: int, entropy: Entropy) -> Contribution:
        """What the customers active since the last contribution teach, if they can pay for it; OwnFault as `prepare` says.

        Called, as `said`, inside a turn of the store.
        """
        active, price = self.window.lessons(head), Price.of(parameters)
        lessons = [(customer, own) for customer, own in active if self._consents.shares(head, customer)]
        spent = self.ledger.admitted(head, [customer for customer, _ in lessons], price, self._clock.now_ms())
        paying = {customer: total for (customer, _), total in zip(lessons, spent, strict=True) if total is not None}
        updates = self.learner.pupils[head].updates(own for customer, own in lessons if customer in paying)
        made = prepare(updates, parameters, honest_survivors=honest_survivors, entropy=entropy)
        return Contribution(made, paying, len(lessons) - len(paying), len(active) - len(lessons), price, parameters.delta)

    def said(self, head: HeadName, contribution: Contribution, *, epoch: int, round_: int) -> None:
        """Note that a contribution is about to be said: its customers have paid, and no lesson of before will be said again."""
        pupil = self.learner.pupils[head]
        self.ledger.enter(head, round_, contribution.paying, contribution.price, self._clock.now_ms())
        self._epsilons[head] = epsilon_of(self.ledger.spent_most(head), contribution.delta)
        place = {"head": head.value, "epoch": str(epoch), "round": str(round_)}
        spent = {
            "customers": str(len(contribution.paying)),
            "epsilon_most": f"{self._epsilons[head]:.6g}",
            "delta": f"{contribution.delta:g}",
        }
        self.note(ActionKind.PRIVACY, "spent", place | spent, key=f"spent {head.value} {epoch} {round_}")
        self.window.clear(head)
        if contribution.exhausted:
            self.learner.count(Count.EXHAUSTED, head, contribution.exhausted)
        if contribution.withheld:
            self.learner.count(Count.WITHHELD, head, contribution.withheld)
        pupil.contribute(epoch, round_)
        pupil.clipped += contribution.made.customers.clipped

    def note(self, kind: ActionKind, action: str, detail: Mapping[str, str], *, key: str) -> None:
        """Put an entry of ours into the institution's own audit, with the turn it belongs to; the same key is the same entry."""
        entry = action_of(
            kind, action, actor=_WORKER, subject="", detail=detail, key=key, process=_WORKER, at_ms=self._clock.now_ms()
        )  # fmt: skip
        self._store.journal(Cluster.OWN, [Outgoing(ACTIONS.full_name(self._institution), 0, key_of(ACTIONS, entry), encode(entry))])

    def epsilon_spent(self, head: HeadName) -> float | None:
        """What the rounds have cost the customer whom they cost most; None before the first contribution since the start, or without noise."""
        epsilon = self._epsilons.get(head, math.inf)
        return epsilon if math.isfinite(epsilon) else None

    def waiting(self, head: HeadName) -> int:
        """How many decisions of this head wait for their label."""
        return self._recall.waiting(head)

    def serve(self, head: HeadName, now_ms: int) -> Outgoing:
        """The record that gives the portal the current model of a head; to be journaled."""
        pupil = self.learner.pupils[head]
        self._served[head] = (pupil.learned, pupil.basis.version)
        model = ServingModel(
            head=head,
            version=pupil.basis.version,
            epoch=pupil.basis.epoch,
            round=pupil.basis.round,
            layout_digest=pupil.layout.digest,
            vector=pupil.serving().astype("<f8").tobytes(),
            events_learned=pupil.learned,
            saved_at_ms=now_ms,
        )
        return Outgoing(SERVING_MODELS.full_name(self._institution), 0, head.value.encode(), self._seal(model))

    def _erase(self, asked: ErasureAsked, now_ms: int) -> list[Outgoing]:
        """Erase a customer; tombstones, at which the portal forgets his profile and his cases, and the certificate."""
        places = self._memories.erase(asked.customer, now_ms)
        read_to = [ReadTo(topic=place.topic, partition=place.partition, offset=place.offset) for place in self.positions()]
        certified = certificate(asked, self._institution, places, read_to, now_ms=now_ms)
        return [
            Outgoing(PROFILES.full_name(self._institution), 0, asked.customer.encode(), None),
            Outgoing(FLAGS.full_name(self._institution), 0, asked.customer.encode(), None),
            Outgoing(ERASURES_CERTIFIED.full_name(self._institution), 0, asked.request_id.encode(), self._certify(certified)),
        ]

    def _letter(self, record: Record, refusal: Refusal, now_ms: int) -> Outgoing:
        customer = named_in(record, self._topics[record.topic])
        key = self._keys.of(customer, kept=not customer or not self._consents.erased(customer))
        return self._outgoing(DEAD_LETTERS, record.topic, dead_letter(record, refusal, key, now_ms=now_ms))

    def _measure(self, records: Sequence[Record], learned: Mapping[HeadName, int], counts: Mapping[str, int]) -> None:
        for name, many in Counter(record.topic.removeprefix(f"{self._institution}.") for record in records).items():
            EVENTS_READ.labels(name).inc(many)
        for head, before in learned.items():
            EVENTS_LEARNED.labels(head.value).inc(self.learner.pupils[head].learned - before)
        for name, now in self.learner.counts.items():
            if name.startswith("refused.") and now != counts.get(name, 0):
                topic, _, reason = name.removeprefix("refused.").rpartition(".")
                DEAD_LETTERS_COUNTED.labels(topic, reason).inc(now - counts.get(name, 0))

    def _keep_places(self, records: Sequence[Record]) -> None:
        places = {(record.topic, record.partition): record.offset + 1 for record in records}
        for (topic, partition), next_offset in places.items():
            self._store.set_offset(topic, partition, next_offset)

    def _to_say(self, now_ms: int) -> list[Outgoing]:
        """Letters, flagged events, profiles and due models of this turn."""
        said = [self._letter(record, refusal, now_ms) for record, refusal in self.learner.take_letters()]
        said += [self._outgoing(FLAGS, flag.customer, flag) for flag in self.learner.take_flags()]
        said += [self._outgoing(REVIEWS, review.event_id, review) for review in self.learner.take_reviews()]
        for profile in self.learner.take_profiles():
            message = CustomerProfile(
                customer=profile.customer, held=profile.held, dismissed=profile.dismissed, updated_at_ms=profile.updated_at_ms
            )
            said.append(self._outgoing(PROFILES, profile.customer, message))
        if now_ms - self._served_ms >= self._serve_ms:
            self._served_ms = now_ms
            said += [
                self.serve(head, now_ms)
                for head, pupil in self.learner.pupils.items()
                if self._served.get(head) != (pupil.learned, pupil.basis.version)
            ]
        return said

    def _outgoing(self, topic: Topic, key: str, message: Message) -> Outgoing:
        return Outgoing(topic.full_name(self._institution), 0, key.encode(), encode(message))

from __future__ import annotations

import pytest

from federation.messages import (
    CardTransaction,
    CustomerProfile,
    DeadLetter,
    HeadName,
    InteractionKind,
    ProductInteraction,
    RefusalReason,
    ServingModel,
    Verdict,
)
from institution_workers import recall
from institution_workers.study import Terms
from streams.codec import decode
from streams.topology import TRANSACTIONS, Cluster

FRAUD, CREDIT, PRODUCTS = HeadName.FRAUD, HeadName.CREDIT, HeadName.PRODUCTS


def _said(store, kind):
    found = []
    for _, record in store.unsaid(Cluster.OWN, 10_000):
        message = decode(record.value, (CustomerProfile, DeadLetter, ServingModel), 1_000_000)
        if isinstance(message, kind):
            found.append(message)
    return found


def _letters(store):
    return [(letter.reason, letter.source_offset) for letter in _said(store, DeadLetter)]


# --- risks --------------------------------------------------------------------------------------------------------
def test_a_payment_teaches_when_its_label_comes(store, studying, scribe):
    """Before the label nothing is learned; after it both models have learned once."""
    study = studying(store)
    study.turn([scribe.payment("p1")])
    assert (study.waiting(FRAUD), study.pupils[FRAUD].learned) == (1, 0)
    study.turn([scribe.outcome("o1", "p1")])

    pupil = study.pupils[FRAUD]
    assert (study.waiting(FRAUD), pupil.learned) == (0, 1)
    assert pupil.federated.to_vector().any()
    assert pupil.local.to_vector().any()
    assert (pupil.quality["federated"].scored, pupil.quality["local"].scored) == (1, 1)


def test_a_label_teaches_the_features_as_they_were(store, studying, scribe):
    """What happened between the decision and its label does not change what the label teaches."""
    study = studying(store)
    study.turn([scribe.payment("p1")])
    decision = study._recall.decision(FRAUD, "p1")
    study.turn([scribe.payment(f"q{n}", amount=500.0) for n in range(20)])
    study.turn([scribe.outcome("o1", "p1")])

    touched = study.pupils[FRAUD].local.to_vector().nonzero()[0].tolist()
    assert touched == [0, *decision.active]


def test_feedback_teaches_both_ways(store, studying, scribe):
    """An officer's confirmation raises the score of the like, a false positive lowers it."""
    study = studying(store)
    study.turn([scribe.payment("p1"), scribe.payment("p2", customer="ben", terminal="shop-2")])
    actives = {subject: study._recall.decision(FRAUD, subject).active for subject in ("p1", "p2")}
    before = study.pupils[FRAUD].federated.predict(actives["p1"])
    study.turn([scribe.feedback("f1", "p1", Verdict.CONFIRMED)])
    confirmed = study.pupils[FRAUD].federated.predict(actives["p1"])
    study.turn([scribe.feedback("f2", "p2", Verdict.FALSE_POSITIVE)])

    assert confirmed > before
    assert study.pupils[FRAUD].federated.predict(actives["p2"]) < confirmed
    assert study.pupils[FRAUD].learned == 2


def test_a_subject_is_learned_once_whoever_labels_it(store, studying, scribe):
    """Feedback and then the outcome, or a re-sent outcome: the second is a duplicate and teaches nothing."""
    study = studying(store)
    study.turn([scribe.payment("p1"), scribe.feedback("f1", "p1")])
    before = study.pupils[FRAUD].local.to_vector()
    study.turn([scribe.outcome("o1", "p1", positive=False), scribe.feedback("f1", "p1")])

    assert (study.pupils[FRAUD].local.to_vector() == before).all()
    assert _letters(store) == [(RefusalReason.DUPLICATE, 0), (RefusalReason.DUPLICATE, 1)]


def test_a_payment_read_twice_is_a_duplicate(store, studying, scribe):
    """Before and after its label, and after a restart."""
    study = studying(store)
    study.turn([scribe.payment("p1"), scribe.payment("p1")])
    study.turn([scribe.outcome("o1", "p1")])
    again = studying(store)
    again.turn([scribe.payment("p1"), scribe.outcome("o1", "p1")])

    assert [reason for reason, _ in _letters(store)] == [RefusalReason.DUPLICATE] * 3
    assert (again.pupils[FRAUD].learned, again.waiting(FRAUD)) == (1, 0)


def test_an_old_duplicate_that_still_waits_is_noticed(store, studying, scribe, monkeypatch):
    """Outside the window of ids seen, a decision that still waits is not overwritten."""
    monkeypatch.setattr(recall, "SEEN_MAX", 2)
    study = studying(store)
    study.turn([scribe.payment("p1")])
    study.turn([scribe.payment(f"q{n}") for n in range(5)])
    assert store.database.execute("SELECT count(*) FROM seen").fetchone()[0] == 2
    study.turn([scribe.payment("p1")])

    assert [reason for reason, _ in _letters(store)] == [RefusalReason.DUPLICATE]
    assert study.waiting(FRAUD) == 6


def test_what_fell_out_of_the_window_is_learned_as_new(store, studying, scribe, monkeypatch):
    """An id older than the window is not known any more, though its label's is: the limit is stated, and it stops nobody."""
    monkeypatch.setattr(recall, "SEEN_MAX", 4)
    study = studying(store)
    study.turn([scribe.payment("p1"), scribe.payment("q1"), scribe.payment("q2")])
    study.turn([scribe.outcome("o1", "p1")])
    study.turn([scribe.payment("p1")])
    study.turn([scribe.outcome("o2", "p1")])

    assert study.pupils[FRAUD].learned == 2


def test_a_label_before_its_event_is_held(store, studying, scribe):
    """It is learned when the event comes, also after a restart; nothing is refused."""
    studying(store).turn([scribe.outcome("o1", "p1"), scribe.outcome("o2", "a1", head=CREDIT, positive=False)])
    study = studying(store)
    study.turn([scribe.payment("p1"), scribe.application("a1")])

    assert (study.pupils[FRAUD].learned, study.pupils[CREDIT].learned) == (1, 1)
    assert _letters(store) == []
    assert study.learner.counts["held.fraud"] == 1


def test_a_label_whose_event_never_comes_is_a_dead_letter(store, studying, scribe):
    """After the holding time, in the log's time, its reason is the unknown subject."""
    study = studying(store)
    study.turn([scribe.outcome("o1", "nobody")])
    scribe.at_ms += recall.EARLY_MS - 1000
    study.turn([scribe.payment("p1")])
    assert _letters(store) == []
    scribe.at_ms += 1000
    study.turn([scribe.payment("p2")])

    assert _letters(store) == [(RefusalReason.UNKNOWN_SUBJECT, 0)]
    assert study.learner.counts["refused.events.outcomes.v1.unknown_subject"] == 1


def test_a_label_is_overdue_without_any_further_record(store, studying, scribe, clock):
    """When the topics are silent, the clock decides."""
    study = studying(store)
    study.turn([scribe.outcome("o1", "nobody")])
    clock.at_ms = scribe.at_ms + recall.EARLY_MS + 1
    study.turn([])

    assert _letters(store) == [(RefusalReason.UNKNOWN_SUBJECT, 0)]


def test_early_labels_beyond_the_room_are_dead_letters(store, studying, scribe, monkeypatch):
    """The oldest give way, and are kept as dead letters."""
    monkeypatch.setattr(recall, "EARLY_MAX", 2)
    study = studying(store)
    study.turn([scribe.outcome(f"o{n}", f"p{n}") for n in range(5)])

    assert _letters(store) == [(RefusalReason.UNKNOWN_SUBJECT, n) for n in range(3)]


def test_a_refused_label_may_come_again(store, studying, scribe, clock):
    """A dead letter that is sent once more after its event is learned from."""
    study = studying(store)
    study.turn([scribe.outcome("o1", "p1")])
    clock.at_ms = scribe.at_ms + recall.EARLY_MS + 1
    study.turn([])
    study.turn([scribe.payment("p1"), scribe.outcome("o1", "p1")])

    assert study.pupils[FRAUD].learned == 1


def test_bad_features_change_nothing(store, studying, scribe):
    """An unknown feature or an absurd amount is invalid; the id stays free for a corrected event."""
    study = studying(store)
    study.turn([scribe.application("a1", numbers={"shoe_size": 43.0}), scribe.payment("p1", amount=1e12)])
    study.turn([scribe.application("a1"), scribe.payment("p1")])

    assert [reason for reason, _ in _letters(store)] == [RefusalReason.INVALID] * 2
    assert (study.waiting(CREDIT), study.waiting(FRAUD)) == (1, 1)


def test_the_oldest_decisions_give_way(store, studying, scribe):
    """Beyond waiting_max the oldest are forgotten and counted; the newest can still be labelled."""
    study = studying(store, terms=Terms(waiting_max=3))
    study.turn([scribe.payment(f"p{n}") for n in range(5)])
    study.turn([scribe.outcome("o4", "p4"), scribe.outcome("o0", "p0")])

    assert study.learner.counts["forgotten.fraud"] == 2
    assert (study.waiting(FRAUD), study.pupils[FRAUD].learned) == (2, 1)


def test_a_head_that_is_not_learned_is_left_alone(store, studying, scribe):
    """An institution without credit reads past applications."""
    study = studying(store, heads=(FRAUD,))
    study.turn([scribe.application("a1"), scribe.payment("p1")])

    assert study.learner.counts == {"read.credit": 1, "read.fraud": 1}
    assert _letters(store) == []


# --- consent ------------------------------------------------------------------------------------------------------
def test_without_consent_nothing_is_learned(store, studying, scribe):
    """Neither from the payment's label nor from the application's, and neither reaches a terminal's record."""
    study = studying(store)
    study.turn([scribe.payment("p1", consented=False), scribe.application("a1", consented=False)])
    study.turn([scribe.outcome("o1", "p1"), scribe.feedback("f1", "a1", Verdict.FALSE_POSITIVE, head=CREDIT)])

    assert not any(pupil.federated.to_vector().any() or pupil.local.to_vector().any() for pupil in study.pupils.values())
    assert not any(study.window.lessons(head) for head in study.pupils)
    assert study.pupils[FRAUD].quality["local"].scored == 0
    assert study._behaviour.terminal("shop-1").labels == 0
    assert (study.learner.counts["unconsented.fraud"], study.learner.counts["unconsented.credit"]) == (2, 2)
    assert _letters(store) == []


def test_without_consent_products_are_kept_but_not_learned(store, studying, scribe):
    """The profile serves the customer; the models do not see it. Consent given later counts from then on."""
    study = studying(store)
    study.turn([scribe.interaction("i1", "credit_card", consented=False)])
    study.turn([scribe.feedback("f1", "r1", Verdict.ACCEPTED, head=PRODUCTS, product="funds")])
    study.turn([scribe.interaction("i2", "savings_account", kind=InteractionKind.DECLINED, consented=False)])
    assert not study.pupils[PRODUCTS].federated.to_vector().any()
    study.turn([scribe.interaction("i3", "mortgage")])

    assert study.pupils[PRODUCTS].learned == 1
    assert _said(store, CustomerProfile)[-1].held == ("credit_card", "mortgage")


# --- products -----------------------------------------------------------------------------------------------------
def test_an_acquisition_is_ranked_then_learned(store, studying, scribe, encoders):
    """The hit rate counts the place before learning; afterwards the pair held-taken scores higher."""
    study = studying(store)
    study.turn([scribe.interaction("i1", "current_account")])
    before = encoders.products.place_of(study.pupils[PRODUCTS].federated.to_vector(), ("current_account",), "credit_card")
    study.turn([scribe.interaction("i2", "credit_card")])
    after = encoders.products.place_of(study.pupils[PRODUCTS].federated.to_vector(), ("current_account",), "credit_card")

    assert after < before
    assert study.pupils[PRODUCTS].quality["federated"].scored == 2
    assert study.pupils[PRODUCTS].learned == 2


def test_what_is_held_already_is_no_acquisition(store, studying, scribe):
    """A source that repeats its holdings teaches nothing."""
    study = studying(store)
    study.turn([scribe.interaction("i1", "credit_card"), scribe.interaction("i2", "credit_card")])

    assert study.pupils[PRODUCTS].learned == 1
    assert len(_said(store, CustomerProfile)) == 1


def test_answers_teach_and_a_decline_is_remembered(store, studying, scribe, encoders):
    """Accepted is a positive lesson, declined a negative one and no longer offered; a second answer is a duplicate."""
    study = studying(store)
    answer = {"head": PRODUCTS}
    study.turn([scribe.feedback("f1", "r1", Verdict.ACCEPTED, product="funds", **answer)])
    study.turn([scribe.feedback("f2", "r2", Verdict.DECLINED, product="mortgage", **answer)])
    study.turn([scribe.feedback("f3", "r2", Verdict.ACCEPTED, product="mortgage", **answer)])
    vector = study.pupils[PRODUCTS].local.to_vector()

    assert vector[encoders.products.encode((), "funds")[0]] > 0 > vector[encoders.products.encode((), "mortgage")[0]]
    assert _said(store, CustomerProfile)[-1].dismissed == ("mortgage",)
    assert study.pupils[PRODUCTS].learned == 2
    assert [reason for reason, _ in _letters(store)] == [RefusalReason.DUPLICATE]


def test_a_profile_follows_what_the_customer_does(store, studying, scribe):
    """Taken, declined, given up, taken after all: the profile says what holds, with the time of the change."""
    study = studying(store)
    kinds = InteractionKind
    study.turn([scribe.interaction("i1", "funds", kind=kinds.DECLINED), scribe.interaction("i2", "credit_card")])
    study.turn(
        [scribe.interaction("i3", "credit_card", kind=kinds.CANCELLED), scribe.interaction("i4", "savings_account", kind=kinds.VIEWED)]
    )
    last = scribe.interaction("i5", "funds")
    study.turn([last])
    profiles = [(profile.held, profile.dismissed) for profile in _said(store, CustomerProfile)]

    assert profiles == [(("credit_card",), ("funds",)), ((), ("funds",)), (("funds",), ())]
    assert _said(store, CustomerProfile)[-1].updated_at_ms == last.timestamp_ms - 1000


def test_an_unknown_product_is_invalid(store, studying, scribe):
    """The catalogue is the schema; a product outside it changes nothing."""
    study = studying(store)
    study.turn(
        [scribe.interaction("i1", "moon_shares"), scribe.feedback("f1", "r1", Verdict.DECLINED, head=PRODUCTS, product="moon_shares")]
    )

    assert [reason for reason, _ in _letters(store)] == [RefusalReason.INVALID] * 2
    assert _said(store, CustomerProfile) == []


# --- serving ------------------------------------------------------------------------------------------------------
def test_the_portal_gets_a_model_at_once_and_after_learning(store, studying, scribe, clock):
    """At start every head's model is served; later only what has changed, and not more often than agreed."""
    study = studying(store, terms=Terms(serve_ms=2000))
    study.turn([])
    assert [model.head for model in _said(store, ServingModel)] == [CREDIT, FRAUD, PRODUCTS]
    study.turn([scribe.payment("p1"), scribe.outcome("o1", "p1")])
    assert len(_said(store, ServingModel)) == 3
    clock.at_ms += 2000
    study.turn([])
    study.turn([])

    served = _said(store, ServingModel)
    assert [model.head for model in served[3:]] == [FRAUD]
    assert served[3].events_learned == 1
    assert served[3].layout_digest == study.pupils[FRAUD].layout.digest


@pytest.mark.parametrize("reason", list(RefusalReason))
def test_every_reason_is_counted_by_topic(store, studying, scribe, clock, reason):
    """Each reason for refusal leaves one dead letter and one count, and the stream goes on."""
    study = studying(store)
    bad = {
        RefusalReason.MALFORMED: lambda: [scribe.raw(scribe.payment("x").value[:-2], _topic(study))],
        RefusalReason.OVERSIZED: lambda: [scribe.raw(bytes(70_000), _topic(study))],
        RefusalReason.UNKNOWN_SCHEMA: lambda: [scribe.raw(scribe.application("x").value, _topic(study))],
        RefusalReason.NON_FINITE: lambda: [scribe.raw(_infinite(scribe.payment("x").value), _topic(study))],
        RefusalReason.INVALID: lambda: [scribe.payment("p", amount=-1.0)],
        RefusalReason.FUTURE_DATED: lambda: [scribe.payment("p", occurred_at_ms=scribe.at_ms + 10**9)],
        RefusalReason.DUPLICATE: lambda: [scribe.payment("p"), scribe.payment("p")],
        RefusalReason.UNKNOWN_SUBJECT: lambda: [scribe.outcome("o", "nobody")],
    }[reason]()
    study.turn([*bad, scribe.payment("good")])
    clock.at_ms = scribe.at_ms + recall.EARLY_MS + 1
    study.turn([])

    assert [letter.reason for letter in _said(store, DeadLetter)] == [reason]
    assert [name.split(".")[-1] for name in study.learner.counts if name.startswith("refused.")] == [reason.value]
    assert study.learner.counts["dead.fraud"] == 1
    assert study._recall.decision(FRAUD, "good") is not None


def _topic(_study):
    return TRANSACTIONS


def _infinite(value):
    return value[:-8] + b"\x00\x00\x00\x00\x00\x00\xf0\x7f"


# --- what is said, without learning ---------------------------------------------------------------------------------
def test_saying_teaches_nothing(studying, store, scribe):
    """What a model is asked about an event is what it then says when the event comes; asking leaves no trace."""
    judged = []
    study = studying(store, judged=judged.append)
    study.turn([scribe.payment("p1"), scribe.outcome("o1", "p1")])
    record = scribe.payment("p2")
    asked = decode(record.value, (CardTransaction,), 1_000_000)
    before, again = study.learner.say(asked), study.learner.say(asked)
    study.turn([record, scribe.outcome("o2", "p2")])

    assert before == again == judged[-1].said
    assert study.learner.say(asked) != before


def test_places_are_said_by_what_is_held(studying, store, scribe):
    """Of a product, the place among what this customer does not hold."""
    judged = []
    study = studying(store, judged=judged.append)
    study.turn([scribe.interaction("i1", "current_account"), scribe.interaction("i2", "credit_card")])
    record = scribe.interaction("i3", "mortgage")
    before = study.learner.say(decode(record.value, (ProductInteraction,), 1_000_000))
    study.turn([record])

    assert before == judged[-1].said
    assert set(before) == {"federated", "local"}

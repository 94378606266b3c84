"""What customers permit and refuse: what is learned, what is shared, and that a replay in other turns decides the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from federation.messages import ConsentsStated, HeadName, Purpose, ReviewAsked, RoundParameters
from institution_workers.storage import Store
from institution_workers.study import Terms
from streams.codec import decode, encode
from streams.settings import PurposeSettings, PurposesSettings
from streams.topology import CONSENTS, REVIEWS, Cluster
from tests.institution_workers.conftest import BANK, Scribe

FRAUD, PRODUCTS = HeadName.FRAUD, HeadName.PRODUCTS


def contributors(study, store):
    """(whose updates a contribution made now is of, how many were left out for refusing)."""
    layout = study.pupils[FRAUD].layout
    parameters = RoundParameters(
        dimension=len(layout), layout_digest=layout.digest, clip_norm=10.0, clip_quanta=1 << 16, count_quanta=1 << 14, noise_sigma=0.0,
        participations_max=1, period_days=365, delta=1e-6, chunk_length=50,
    )  # fmt: skip
    with store.turn():
        made = study.contribution(FRAUD, parameters, honest_survivors=2, entropy=lambda count: b"\x07" * count)
    return sorted(made.paying), made.withheld, made.made.values


def labelled(scribe, name, customer="anna", **other):
    return [scribe.payment(name, customer=customer, **other), scribe.outcome(f"o-{name}", name)]


def test_who_refuses_learning_teaches_nothing_until_he_permits_it(store, studying, scribe):
    """From the record of his refusal on, whatever his events say; from the record of his permission on, again."""
    study = studying(store)
    study.turn([scribe.consents(refused=(Purpose.LEARNING,)), *labelled(scribe, "p1"), scribe.interaction("i1", "mortgage")])
    refused = {head: pupil.learned for head, pupil in study.pupils.items()}
    study.turn([scribe.consents(permitted=(Purpose.LEARNING,)), *labelled(scribe, "p2"), scribe.interaction("i2", "securities")])

    assert (refused[FRAUD], refused[PRODUCTS]) == (0, 0)
    assert study.learner.counts["unconsented.fraud"] == 2
    assert (study.pupils[FRAUD].learned, study.pupils[PRODUCTS].learned) == (1, 1)


def test_a_withdrawal_counts_for_events_whose_label_is_still_to_come(store, studying, scribe):
    """Consent at the time of the event is not enough: at the time of learning it must still be there."""
    study = studying(store)
    study.turn([scribe.payment("p1"), scribe.payment("p2", customer="ben"), scribe.consents(refused=(Purpose.LEARNING,))])
    study.turn([scribe.outcome("o1", "p1"), scribe.outcome("o2", "p2")])

    assert study.pupils[FRAUD].learned == 1


def test_who_refuses_the_federation_is_learned_from_at_home_only(store, studying, scribe):
    """The next contribution is, bit for bit, one that he was never part of; the bank's own model knows him."""
    study = studying(store)
    study.turn([*labelled(scribe, "p1"), *labelled(scribe, "p2", customer="ben", terminal="shop-9")])
    assert contributors(study, store)[:2] == (["anna", "ben"], 0)
    study.turn([scribe.consents(refused=(Purpose.FEDERATION,))])
    paying, withheld, values = contributors(study, store)
    alone = Store.open(store._folder.parent / "alone", BANK)
    without = studying(alone)
    without.turn(labelled(scribe, "p2", customer="ben", terminal="shop-9"))

    assert (paying, withheld) == (["ben"], 1)
    assert np.array_equal(values, contributors(without, alone)[2])
    assert study.pupils[FRAUD].learned == 2
    alone.close()


def test_what_may_no_longer_be_learned_is_not_shared_either(store, studying, scribe):
    """A lesson that waits for the next contribution stays at home once its customer withdraws his consent to learning."""
    study = studying(store)
    study.turn([*labelled(scribe, "p1"), scribe.consents(refused=(Purpose.LEARNING,))])

    assert contributors(study, store)[:2] == ([], 1)


def test_a_statement_survives_a_restart_and_a_tombstone_unsays_it(store, studying, scribe):
    """What he refused holds for a worker that starts anew, until he has said nothing."""
    studying(store).turn([scribe.consents(refused=(Purpose.LEARNING,))])
    study = studying(store)
    study.turn(labelled(scribe, "p1"))
    assert study.pupils[FRAUD].learned == 0
    study.turn([scribe.says_nothing(), *labelled(scribe, "p2")])

    assert study.pupils[FRAUD].learned == 1


def test_the_newest_statement_is_the_whole_truth(store, studying, scribe):
    """A purpose that it does not name falls back to what the settings say."""
    study = studying(store)
    study.turn([scribe.consents(refused=(Purpose.LEARNING, Purpose.FEDERATION)), scribe.consents(refused=(Purpose.FEDERATION,))])
    study.turn(labelled(scribe, "p1"))

    assert study.pupils[FRAUD].learned == 1
    assert contributors(study, store)[:2] == ([], 1)


def ground(basis, unstated):
    return PurposeSettings(basis=basis, unstated=unstated)


@pytest.mark.parametrize(
    ("fraud", "consented", "refused", "learned"),
    [
        (None, False, False, 0),
        (ground("legitimate_interest", True), False, False, 1),
        (ground("legitimate_interest", True), True, True, 0),
        (ground("legal_obligation", True), False, True, 1),
        (ground("consent", False), True, False, 0),
    ],
)
def test_a_head_may_rest_on_another_ground(store, studying, scribe, fraud, consented, refused, learned):
    """Fraud detection as a legitimate interest needs no consent and ends with an objection; an obligation by law does not end."""
    purposes = PurposesSettings(heads={} if fraud is None else {FRAUD: fraud})
    study = studying(store, terms=Terms(purposes=purposes))
    if refused:
        study.turn([scribe.consents(refused=(Purpose.LEARNING,))])
    study.turn(labelled(scribe, "p1", consented=consented))

    assert study.pupils[FRAUD].learned == learned


def test_silence_is_no_consent():
    """A purpose on the ground of consent cannot be permitted by who has said nothing."""
    with pytest.raises(ValidationError, match="silence is none"):
        PurposesSettings(recommendations=ground("consent", True))
    assert not PurposesSettings(recommendations=ground("consent", False)).recommendations.permits(None)


def test_a_statement_that_cannot_be_is_a_dead_letter(store, studying, scribe):
    """Contradictions, and records under another customer's key (which compaction would keep beside his own), change nothing."""
    both = scribe.consents(permitted=(Purpose.LEARNING,), refused=(Purpose.LEARNING,))
    said = ConsentsStated(customer="anna", permitted=(), refused=(Purpose.LEARNING,), stated_at_ms=1)
    study = studying(store)
    study.turn([both, scribe.raw(encode(said), CONSENTS), scribe.raw(b"nonsense", CONSENTS), *labelled(scribe, "p1")])

    assert study.learner.counts["refused.consents.v1.invalid"] == 2
    assert sum(count for name, count in study.learner.counts.items() if name.startswith("refused.consents.v1")) == 3
    assert study.pupils[FRAUD].learned == 1


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_replay_in_other_turns_decides_the_same(tmp_path_factory, studying, data):
    """However the log is cut into turns, with restarts between them: the same models, counts and lessons, bit for bit."""
    scribe, records = Scribe(), []
    purposes = st.sets(st.sampled_from([Purpose.LEARNING, Purpose.FEDERATION]))
    for n in range(data.draw(st.integers(1, 12))):
        customer = data.draw(st.sampled_from(["anna", "ben"]))
        kind = data.draw(st.sampled_from(["pays", "pays", "refuses", "unsays"]))
        if kind == "pays":
            records += labelled(scribe, f"p{n}", customer=customer)
        elif kind == "refuses":
            records.append(scribe.consents(customer, refused=tuple(sorted(data.draw(purposes)))))
        else:
            records.append(scribe.says_nothing(customer))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(records)), max_size=4)))
    found = []
    for places in ((), cuts):
        store = Store.open(tmp_path_factory.mktemp("replay"), BANK)
        for start, end in zip((0, *places), (*places, len(records)), strict=True):
            study = studying(store, heads=(FRAUD,))
            study.turn(records[start:end])
        found.append((study.pupils[FRAUD].local.to_vector().tobytes(), study.learner.counts, contributors(study, store)[2].tobytes()))
        store.close()

    assert found[0] == found[1]


def reviews(store):
    topic = REVIEWS.full_name(BANK)
    records = [record for _, record in store.unsaid(Cluster.OWN, 1000) if record.topic == topic]
    return [(said.head, said.event_id, said.reason) for record in records for said in [decode(record.value, (ReviewAsked,), 10**5)]]


def test_about_who_objects_to_automated_decisions_a_person_decides(store, studying, scribe):
    """Every application of his goes to the queue, a payment if it would be stopped; he is learned from as before. The record names no customer."""
    study = studying(store)
    study.turn([scribe.application("a0"), scribe.consents(refused=(Purpose.AUTOMATED_DECISIONS,)), scribe.application("a1")])
    study.turn([scribe.application("a2", customer="ben"), scribe.payment("p1"), scribe.outcome("o1", "p1")])
    harmless = reviews(store)
    frauds = [record for n in range(200) for record in labelled(scribe, f"f{n}", customer=f"c{n}")]
    study.turn(frauds)
    study.turn([scribe.payment("p2"), scribe.payment("p3", customer="ben")])

    assert harmless == [(HeadName.CREDIT, "a1", "objection")]
    assert reviews(store) == [*harmless, (FRAUD, "p2", "objection")]
    assert study.pupils[FRAUD].learned == 201
    assert not [
        record for _, record in store.unsaid(Cluster.OWN, 1000) if record.topic == REVIEWS.full_name(BANK) and b"anna" in record.value
    ]

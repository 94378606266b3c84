"""What the worker flags for officers: what the served model finds risky, with points that add up to its score."""

from __future__ import annotations

import pytest

from federation.heads import scoring
from federation.messages import EventFlagged, HeadName
from institution_workers.study import Study
from streams.codec import decode
from streams.topology import FLAGS, Cluster
from tests.institution_workers.conftest import BANK


def flags_of(store) -> list[EventFlagged]:
    said = [record for _, record in store.unsaid(Cluster.OWN, 1000)]
    return [decode(record.value, FLAGS.carries, FLAGS.bytes_max) for record in said if record.topic == FLAGS.full_name(BANK)]


def taught(study: Study, scribe) -> None:
    """Payments at shop-9 at night are fraud, those at shop-1 are not."""
    records = []
    for number in range(60):
        bad = number % 2 == 0
        records.append(
            scribe.payment(f"e-{number}", customer=f"c-{number}", terminal="shop-9" if bad else "shop-1", amount=900.0 if bad else 20.0)
        )
        records.append(scribe.outcome(f"o-{number}", f"e-{number}", positive=bad))
    study.turn(records)


def test_a_risky_payment_is_flagged_with_points_that_add_up(store, studying, scribe):
    """The record names the payment, the model and each point; the usual payment is nobody's work."""
    study = studying(store)
    taught(study, scribe)
    before = {flag.event_id for flag in flags_of(store)}
    study.turn(
        [scribe.payment("risky", customer="zoe", terminal="shop-9", amount=900.0), scribe.payment("usual", customer="yan", amount=20.0)]
    )
    (flag,) = [flag for flag in flags_of(store) if flag.event_id not in before]
    layout = study.pupils[HeadName.FRAUD].layout

    assert (flag.event_id, flag.customer, flag.amount, flag.terminal, flag.head) == ("risky", "zoe", 900.0, "shop-9", HeadName.FRAUD)
    assert flag.layout_digest == layout.digest
    assert scoring.probability_of(flag.log_odds) > 0.2
    assert flag.log_odds - sum(flag.points) == pytest.approx(layout.prior, abs=5.0)  # Prior and the learned intercept.


def test_who_does_not_consent_is_not_flagged(store, studying, scribe):
    """What may not be scored is not shown to anybody either."""
    study = studying(store)
    taught(study, scribe)
    study.turn([scribe.payment("risky", customer="zoe", terminal="shop-9", amount=900.0, consented=False)])

    assert "risky" not in {flag.event_id for flag in flags_of(store)}

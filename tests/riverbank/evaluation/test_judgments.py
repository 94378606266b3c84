"""Measures against their definitions, spelt out pair by pair."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.messages import HeadName
from riverbank.evaluation.judgments import Judgments, average_precision, log_loss, placed, roc_auc

SCORED = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=40).filter(
    lambda rows: 0 < sum(positive for _, positive in rows) < len(rows)
)


def _columns(rows):
    return np.array([score for score, _ in rows], dtype=np.float64), np.array([positive for _, positive in rows])


@settings(derandomize=True, max_examples=60)
@given(SCORED)
def test_auc_is_the_share_of_pairs_in_order(rows):
    """Every positive against every negative, ties a half."""
    pairs = [(a > b) + (a == b) / 2 for a, x in rows if x for b, y in rows if not y]

    assert roc_auc(*_columns(rows)) == pytest.approx(sum(pairs) / len(pairs))


@settings(derandomize=True, max_examples=60)
@given(SCORED)
def test_average_precision_steps_down_the_thresholds(rows):
    """The precision at each distinct score, weighted by the positives found there."""
    positives, total = sum(positive for _, positive in rows), 0.0
    for threshold in {score for score, _ in rows}:
        flagged = [positive for score, positive in rows if score >= threshold]
        total += sum(flagged) / len(flagged) * sum(positive for score, positive in rows if score == threshold)

    assert average_precision(*_columns(rows)) == pytest.approx(total / positives)


def test_log_loss_is_in_nats():
    """Even odds cost ln 2; certainty of what happened costs nothing."""
    assert log_loss(np.zeros(4), np.array([True, False, True, False])) == pytest.approx(math.log(2))
    assert log_loss(np.array([800.0, -800.0]), np.array([True, False])) == 0.0


def test_places_give_hit_rates_and_gains():
    """First place gains 1, third a half, a place beyond the list nothing."""
    quality = placed(np.array([1.0, 3.0, 7.0, 20.0]))

    assert quality == {"hr3": 0.5, "ndcg5": pytest.approx(1.5 / 4), "ndcg10": pytest.approx((1.5 + 1 / 3) / 4)}


def test_the_earliest_tenth_is_left_out():
    """By the time of the prediction, in whatever order the labels came."""
    judgments = Judgments()
    for at_ms in reversed(range(100)):
        judgments.add(at_ms, {"x": -5.0 if at_ms < 10 else float(at_ms % 2)}, positive=at_ms < 10 or at_ms % 2 == 1)

    assert judgments.rows("x").quality(HeadName.FRAUD) == {
        "rows": 90,
        "positive": 45,
        "auc": 1.0,
        "ap": 1.0,
        "log_loss": pytest.approx(0.5032, abs=1e-4),
    }


def test_a_handful_of_labels_ranks_nothing():
    """With four positives no AUC is given, rather than a lucky one."""
    judgments = Judgments()
    for at_ms in range(40):
        judgments.add(at_ms, {"x": float(at_ms)}, positive=at_ms >= 36)

    assert judgments.rows("x").quality(HeadName.CREDIT)["auc"] is None
    assert Judgments().rows("x").quality(HeadName.PRODUCTS)["hr3"] is None

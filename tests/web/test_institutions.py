"""Stories about the institutions' read model."""

from __future__ import annotations

from dataclasses import replace

from federation import messages as m
from web.readmodels.institutions import SILENT_AFTER_MS, Institutions

STATUS = m.InstitutionStatus(
    institution="a", head=m.HeadName.FRAUD, at_ms=1_000, round=4, model_version=3, events_read=90, events_learned=80, dead_letters=1, waiting_for_label=9,
    lag_records=0, lag_ms=0, scored=100, quality_federated=0.8, quality_local=0.7, bytes_sent=1, updates_clipped=0,
)  # fmt: skip


def test_quality_counts_by_scored_predictions():
    """An institution with three times the predictions weighs three times as much."""
    institutions = Institutions()
    institutions.apply(STATUS)
    institutions.apply(replace(STATUS, institution="b", scored=300, quality_federated=0.6, quality_local=0.5))

    federated, local = institutions.mean_quality(m.HeadName.FRAUD)
    assert (round(federated or 0, 6), round(local or 0, 6)) == (0.65, 0.55)


def test_an_undefined_quality_is_left_out():
    """Minus one means not yet defined and must not pull the mean down."""
    institutions = Institutions()
    institutions.apply(replace(STATUS, quality_federated=-1.0, quality_local=-1.0))

    assert institutions.mean_quality(m.HeadName.FRAUD) == (None, None)


def test_lag_has_three_states():
    """Up to date is ok, missing rounds or reading late is behind, no status is silent."""
    institutions = Institutions()

    assert institutions.state_of(STATUS, round_newest=5, now_ms=1_500) == "ok"
    assert institutions.state_of(STATUS, round_newest=6, now_ms=1_500) == "behind"
    assert institutions.state_of(replace(STATUS, lag_ms=SILENT_AFTER_MS + 1), round_newest=4, now_ms=1_500) == "behind"
    assert institutions.state_of(STATUS, round_newest=4, now_ms=1_001 + SILENT_AFTER_MS) == "silent"

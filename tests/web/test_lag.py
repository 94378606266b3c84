"""Stories about lag: a state, since when, and why; never one number's verdict."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation import messages as m
from web.readmodels.lag import SILENT_MIN_MS, WINDOW_SAMPLES, Lags, LagSample, LagState, judged

STATUS = m.InstitutionStatus(
    institution="a", head=m.HeadName.FRAUD, at_ms=1_000, round=4, model_version=3, events_read=90, events_learned=80, dead_letters=1, waiting_for_label=9,
    lag_records=0, lag_ms=0, scored=100, quality_federated=0.8, quality_local=0.7, bytes_sent=1, updates_clipped=0,
)  # fmt: skip


def window(*reports: tuple[int, int, int]) -> list[LagSample]:
    """(read, left, age of the oldest left in seconds), three seconds apart."""
    return [LagSample(3_000 * index, read, left, 1_000 * age) for index, (read, left, age) in enumerate(reports)]


@pytest.mark.parametrize(
    ("reports", "state"),
    [
        (((10, 5, 1), (20, 0, 0), (30, 9, 1)), LagState.OK),  # It was at the end once.
        (((10, 5, 1), (20, 9, 2), (30, 7, 2)), LagState.OK),  # It catches up now and then.
        (((10, 5, 1), (20, 5, 1), (30, 5, 1)), LagState.OK),  # As fast as records come.
        (((90, 50, 2), (90, 50, 2), (90, 50, 3)), LagState.OK),  # So too, though the rounded counts do not move.
        (((10, 5, 1), (20, 9, 2), (30, 14, 3)), LagState.WARN),  # It reads, and falls behind.
        (((90, 50, 2), (90, 60, 3), (90, 70, 4)), LagState.WARN),  # So too: the oldest unread is not the same all the time.
        (((10, 5, 1), (10, 5, 4), (10, 5, 7)), LagState.ERR),  # Nothing comes, and it does not read what is there.
        (((10, 5, 1), (10, 9, 4), (10, 14, 7)), LagState.ERR),
        (((10, 0, 1), (10, 0, 4), (10, 0, 7)), LagState.ERR),  # Fewer than ten are told as none; their age is told all the same.
        (((10, 900_000, 90_000),), LagState.OK),  # One report is no window: a start with a backlog is no alarm.
    ],
)
def test_a_window_is_judged_by_progress(reports: tuple[tuple[int, int, int], ...], state: LagState):
    """However large the number: progress is what counts."""
    samples = window(*reports)

    assert judged(samples, samples[-1].at_ms).state is state


def test_silence_is_an_error_even_with_nothing_left_to_read():
    """Who says nothing may have died at the end of its topics."""
    samples = window((10, 0, 0), (20, 0, 0))

    assert judged(samples, 3_000 + SILENT_MIN_MS).state is LagState.OK
    assert judged(samples, 3_001 + SILENT_MIN_MS).state is LagState.ERR


@settings(derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 50)), min_size=2, max_size=WINDOW_SAMPLES))
def test_a_reader_that_shrinks_what_is_left_is_never_blamed(steps: list[tuple[int, int]]):
    """Whatever came before: one shrinking step within the window is progress."""
    read, left, reports = 0, 10_000, []
    for more, less in steps:
        read, left = read + more, left - less
        reports.append((read, left, 60))

    samples = window(*reports)

    assert judged(samples, samples[-1].at_ms).state is LagState.OK


def test_since_when_is_when_the_state_began():
    """The window moves on; the beginning of the trouble stays."""
    lags = Lags()
    for second in range(60):
        read, left = (second, 0) if second < 20 else (20, second - 19)
        lags.apply(replace(STATUS, at_ms=1_000 * second, events_read=read, lag_records=left, lag_ms=1_000 * left))

    verdict = lags.verdict("a", m.HeadName.FRAUD, 60_000)
    assert (verdict.state, verdict.since_ms) == (LagState.ERR, 20_000)
    assert "40 records" in verdict.why


def test_reports_that_come_faster_are_thinned_out():
    """Ten a second: the window still lasts some seconds, and the newest is the newest."""
    lags = Lags()
    for tenth in range(200):
        lags.apply(replace(STATUS, at_ms=100 * tenth, events_read=7, lag_records=5, lag_ms=100 * tenth // 1000 * 1000))

    assert lags.verdict("a", m.HeadName.FRAUD, 20_000).state is LagState.ERR
    assert lags.newest("a", m.HeadName.FRAUD).at_ms == 19_900


def test_an_older_report_changes_nothing():
    """A record delivered again is no news."""
    lags = Lags()
    lags.apply(replace(STATUS, at_ms=2_000, lag_records=1))
    lags.apply(replace(STATUS, at_ms=1_000, lag_records=7))

    assert lags.newest("a", m.HeadName.FRAUD).lag_records == 1

"""How far each institution is behind its own topics, and whether that is a worry: a state, not a threshold.

Fed by `web.feed` with verified InstitutionStatus messages; shown by `riverbank lag` and the console.
Never judges by one number: the rules look at a window of samples, as Burrow's do (github.com/linkedin/Burrow/wiki/Consumer-Lag-Evaluation-Rules)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final

from federation import messages as m

WINDOW_SAMPLES: Final = 10  # Burrow's default.
SILENT_MIN_MS: Final = 10_000
SPACING_MS: Final = 900  # Reports may come much faster; a window of a second would judge noise.
SPAN_MIN_MS: Final = 5_000
ROUNDING_MS: Final = 2_000


class LagState(StrEnum):
    """What an operator has to do about it."""

    OK = "ok"
    WARN = "warn"  # It reads, and falls further behind all the same.
    ERR = "err"  # It does not read, or says nothing.


@dataclass(frozen=True, slots=True)
class LagSample:
    """One report: how much was read until then, and what was left."""

    at_ms: int
    read: int
    lag_records: int
    lag_ms: int


@dataclass(frozen=True, slots=True)
class LagVerdict:
    """A state, since when, and why in a sentence."""

    state: LagState
    since_ms: int
    why: str


def judged(window: Sequence[LagSample], now_ms: int) -> LagVerdict:
    """The state of a reader by its newest samples, oldest first, at least one.

    ERR silent: no report for longer than the window lasts (and SILENT_MIN_MS). OK: nothing left to read at any time in the window, or what is left
    shrank, or stays as it is. ERR stalled: nothing was read. WARN: it reads, and what is left grew and never shrank.
    """
    first, last = window[0], window[-1]
    span_ms = last.at_ms - first.at_ms
    if now_ms - last.at_ms > max(SILENT_MIN_MS, span_ms):
        return LagVerdict(LagState.ERR, last.at_ms, "says nothing any more: is its worker running, does it reach the federation's broker?")
    if span_ms < SPAN_MIN_MS or any(sample.lag_records == 0 and sample.lag_ms == 0 for sample in window):
        return LagVerdict(LagState.OK, first.at_ms, "")
    if any(after.lag_records < before.lag_records for before, after in pairwise(window)):
        return LagVerdict(LagState.OK, first.at_ms, "")
    # What the federation is told is rounded, to two digits and to seconds: a slow reader's count may not move for minutes. But the oldest
    # record it has not read grows older by the second only while it reads nothing.
    if last.read == first.read and last.lag_ms - first.lag_ms >= span_ms - ROUNDING_MS:
        return LagVerdict(LagState.ERR, first.at_ms, f"has read nothing for {span_ms // 1000} s, with {last.lag_records:,} records to read")
    if last.lag_records == first.lag_records:
        return LagVerdict(LagState.OK, first.at_ms, "")  # As fast as what comes.
    return LagVerdict(LagState.WARN, first.at_ms, f"reads more slowly than records come: {last.lag_records:,} left")


class Lags:
    """Fold of status.v1: a window of samples for each (institution, head), and since when its state holds."""

    def __init__(self) -> None:
        self._newest: dict[tuple[str, m.HeadName], LagSample] = {}
        self._windows: dict[tuple[str, m.HeadName], deque[LagSample]] = {}
        self._since: dict[tuple[str, m.HeadName], LagVerdict] = {}

    def apply(self, status: m.InstitutionStatus) -> None:
        """Take a report; one that is not newer than the last is passed over."""
        key = status.institution, status.head
        sample = LagSample(status.at_ms, status.events_read, status.lag_records, status.lag_ms)
        if key in self._newest and sample.at_ms <= self._newest[key].at_ms:
            return
        self._newest[key] = sample
        window = self._windows.setdefault(key, deque(maxlen=WINDOW_SAMPLES))
        if window and sample.at_ms - window[-1].at_ms < SPACING_MS:
            return
        window.append(sample)
        verdict, before = judged(window, sample.at_ms), self._since.get(key)
        if before is None or before.state is not verdict.state:
            self._since[key] = verdict

    def keys(self) -> list[tuple[str, m.HeadName]]:
        """Whoever reported, sorted."""
        return sorted(self._newest)

    def newest(self, institution: str, head: m.HeadName) -> LagSample:
        """The last report; KeyError for one never heard of."""
        return self._newest[institution, head]

    def verdict(self, institution: str, head: m.HeadName, now_ms: int) -> LagVerdict:
        """The state now, `since_ms` from when it began; KeyError as above."""
        key = institution, head
        now = judged(self._windows[key], now_ms - max(0, self._newest[key].at_ms - self._windows[key][-1].at_ms))
        began = self._since[key]
        return LagVerdict(now.state, began.since_ms, now.why) if began.state is now.state else now

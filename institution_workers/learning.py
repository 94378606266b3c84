"""The institution's own cluster: its events are taken as they arrived, learned in turns, and what comes of it is said.

Driven by `worker`, a step at a time; the portal reads what it says.
Never holds the event loop for long: a turn takes no more records than were last learned in TURN_SECONDS."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from federation.messages import HeadName
from institution_workers.arrivals import Arrivals
from institution_workers.speaker import Speaker
from institution_workers.study import Study
from streams.ports import Clock, Log
from streams.telemetry import LAG_RECORDS, LAG_SECONDS
from streams.topology import APPLICATIONS, EVENT_TOPICS, FEEDBACK, INTERACTIONS, OUTCOMES, TRANSACTIONS, Topic

TURN_SECONDS: Final = 0.06  # A round's message waits at most this long for the loop (hazards: a blocked loop loses its broker).
HOUSEKEEPING_MS: Final = 500
_RECORDS_MIN: Final = 32


class Learning:
    """Reads, learns, speaks. Each step is one turn; a step that raised is repeated after `open`."""

    def __init__(
        self, log: Log, study: Study, speaker: Speaker, *, institution: str, clock: Clock, monotonic: Callable[[], float], records_max: int
    ) -> None:
        self._log: Final = log
        self._study: Final = study
        self._speaker: Final = speaker
        self._institution = institution
        self._clock = clock
        self._monotonic = monotonic
        self._records_max = records_max
        self._records = min(_RECORDS_MIN, records_max)
        self._arrivals: Arrivals | None = None
        self._kept_house_ms = 0

    async def open(self) -> None:
        """Say what the last turn before a stop or crash left unsaid, then start to read where the state ends."""
        await self.close()
        await self._speaker.flush()
        self._arrivals = await Arrivals.open(self._log, self._study.positions())

    async def step(self, wait_ms: int) -> int:
        """One turn, if anything came within `wait_ms` or is due; how many records it took."""
        if self._arrivals is None:
            await self.open()
            return 0
        records = await self._arrivals.take(self._records, wait_ms)
        await asyncio.sleep(0)  # What was read ahead comes without waiting: let the others in before the turn, and after it.
        house_due = self._clock.now_ms() - self._kept_house_ms >= HOUSEKEEPING_MS
        if house_due:
            self._kept_house_ms = self._clock.now_ms()
            await self._arrivals.refresh_ends()
            self._show_lag()
        if records or house_due:
            began = self._monotonic()
            self._study.turn(records)
            self._set_pace(len(records), self._monotonic() - began)
            await self._speaker.flush()
        await asyncio.sleep(0)
        return len(records)

    async def close(self) -> None:
        """Stop reading."""
        if self._arrivals is not None:
            arrivals, self._arrivals = self._arrivals, None
            await arrivals.close()

    def lag(self, head: HeadName, now_ms: int) -> tuple[int, int]:
        """(records behind, age of the oldest of them in ms) over the topics that teach this head."""
        if self._arrivals is None:
            return 0, 0
        lags = [self._arrivals.lag(topic.full_name(self._institution), now_ms) for topic in _TAUGHT_BY[head]]
        return sum(records for records, _ in lags), max(age_ms for _, age_ms in lags)

    def _set_pace(self, records: int, seconds: float) -> None:
        # Only a full turn tells how long a full turn takes; at most doubled, so that one lucky turn does not lead to a long one.
        if records == self._records:
            fitting = int(records * TURN_SECONDS / max(seconds, 1e-6))
            self._records = min(max(_RECORDS_MIN, min(fitting, 2 * records)), self._records_max)

    def _show_lag(self) -> None:
        now_ms = self._clock.now_ms()
        for topic in EVENT_TOPICS:
            records, age_ms = self._arrivals.lag(topic.full_name(self._institution), now_ms) if self._arrivals else (0, 0)
            LAG_RECORDS.labels(topic.name).set(records)
            LAG_SECONDS.labels(topic.name).set(age_ms / 1000)


_TAUGHT_BY: Final[Mapping[HeadName, tuple[Topic, ...]]] = {
    HeadName.FRAUD: (TRANSACTIONS, OUTCOMES, FEEDBACK),
    HeadName.CREDIT: (APPLICATIONS, OUTCOMES, FEEDBACK),
    HeadName.PRODUCTS: (INTERACTIONS, FEEDBACK),
}

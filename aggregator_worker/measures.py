"""A lane's metrics: the phase it is in, how long rounds take, what becomes of contributions.

Called by `lane` after every step.
Never changes what it looks at."""

from __future__ import annotations

from typing import Final

from federation.ids import Lane
from federation.messages import MaskedUpdate, ModelPublished, RoundAbandoned
from federation.rounds.effects import Event, Received
from federation.rounds.phases import RoundPhase
from federation.rounds.transcript import Transcript
from streams.telemetry import CONTRIBUTIONS, ROUND_NUMBER, ROUND_SECONDS, ROUND_STATE


class Measures:
    """Of one lane; several groups of a head share their head's series."""

    def __init__(self, lane: Lane) -> None:
        self._head: Final = lane.head.value

    def note(self, before: Transcript, after: Transcript, event: Event) -> None:
        """What changed with this event."""
        phase = after.round.phase if after.round else RoundPhase.IDLE
        for each in RoundPhase:
            ROUND_STATE.labels(head=self._head, state=each.name.lower()).set(each is phase)
        ROUND_NUMBER.labels(head=self._head).set(after.round_next - 1)
        if not isinstance(event, Received):
            return
        message = event.message
        if isinstance(message, MaskedUpdate):
            # An update that the transcript did not take is late, a stranger's, or wrong.
            CONTRIBUTIONS.labels(head=self._head, result="refused" if after is before else "taken").inc()
        elif before.round is not None and after.round is None:
            if isinstance(message, ModelPublished):
                self._ended("published", message.published_at_ms - before.round.opened.opened_at_ms)
                CONTRIBUTIONS.labels(head=self._head, result="summed").inc(len(message.contributors))
            elif isinstance(message, RoundAbandoned):
                self._ended("abandoned", message.abandoned_at_ms - before.round.opened.opened_at_ms)

    def _ended(self, outcome: str, lasted_ms: int) -> None:
        ROUND_SECONDS.labels(head=self._head, outcome=outcome).observe(max(0, lasted_ms) / 1000)

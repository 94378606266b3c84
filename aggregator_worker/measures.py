"""A head's metrics: the phase its lanes are in, how long rounds take, what becomes of contributions.

Called by `head_shell` after every step.
Never changes what it looks at."""

from __future__ import annotations

from typing import Final

from federation.messages import GroupsMerged, HeadName, MaskedUpdate, MergeAbandoned, ModelPublished, RoundAbandoned, SumOpened
from federation.rounds.effects import Event, Received
from federation.rounds.head_coordinator_state import HeadCoordinatorState
from federation.rounds.head_transcript import LaneKey, lane_key
from federation.rounds.phases import RoundPhase
from federation.rounds.transcript import LaneMessage, Transcript
from streams.telemetry import CONTRIBUTIONS, DROPOUTS, MODEL_PUBLISHED, ROUND_NUMBER, ROUND_SECONDS, ROUND_STATE


class Measures:
    """Of one head; its groups have series of their own, named as their lanes are."""

    def __init__(self, head: HeadName) -> None:
        self._head: Final = head.value

    def note(self, before: HeadCoordinatorState, after: HeadCoordinatorState, event: Event) -> None:
        """What changed with this event."""
        for lane in after.lanes.values():
            phase = lane.transcript.round.phase if lane.transcript.round else RoundPhase.IDLE
            for each in RoundPhase:
                ROUND_STATE.labels(head=str(lane.transcript.lane), state=each.name.lower()).set(each is phase)
        ROUND_NUMBER.labels(head=self._head).set(after.head.round_next - 1)
        if not isinstance(event, Received):
            return
        message = event.message
        if isinstance(message, LaneMessage) and lane_key(message) in before.lanes:
            self._note_lane(before, after, lane_key(message), message)
        elif before.head.gathering is not None and after.head.gathering is None:
            if isinstance(message, GroupsMerged):
                self._ended(self._head, "published", message.published_at_ms - before.head.opened_at_ms)
                self._published(message.published_at_ms)
            elif isinstance(message, MergeAbandoned):
                self._ended(self._head, "abandoned", message.abandoned_at_ms - before.head.opened_at_ms)

    def _note_lane(self, before: HeadCoordinatorState, after: HeadCoordinatorState, key: LaneKey, message: LaneMessage) -> None:
        was = before.lanes[key].transcript
        known = after.lanes[key].transcript if key in after.lanes else was
        if isinstance(message, MaskedUpdate):
            # An update that the transcript did not take is late, a stranger's, or wrong.
            CONTRIBUTIONS.labels(head=self._head, result="refused" if known is was else "taken").inc()
        elif was.round is not None and known.round is None:
            lane, opened_ms = str(was.lane), was.round.opened.opened_at_ms
            if isinstance(message, ModelPublished):
                self._ended(lane, "published", message.published_at_ms - opened_ms)
                self._published(message.published_at_ms)
                self._dropped(was, len(message.contributors))
                CONTRIBUTIONS.labels(head=self._head, result="summed").inc(len(message.contributors))
            elif isinstance(message, SumOpened):
                self._ended(lane, "summed", message.opened_at_ms - opened_ms)
                self._dropped(was, len(message.contributors))
                CONTRIBUTIONS.labels(head=self._head, result="summed").inc(len(message.contributors))
            elif isinstance(message, RoundAbandoned):
                self._ended(lane, "abandoned", message.abandoned_at_ms - opened_ms)

    def _published(self, at_ms: int) -> None:
        MODEL_PUBLISHED.labels(head=self._head).set(at_ms / 1000)

    def _dropped(self, known: Transcript, contributors: int) -> None:
        ready = known.current.peers if known.current else ()
        DROPOUTS.labels(head=self._head).inc(max(0, len(ready) - contributors))

    def _ended(self, lane: str, outcome: str, lasted_ms: int) -> None:
        ROUND_SECONDS.labels(head=lane, outcome=outcome).observe(max(0, lasted_ms) / 1000)

"""What officers do with cases: into the audit first, then into the database, then told to the local model.

Called by the pages and by the API with the id of who acts.
Never acts unrecorded, and never gives one case to two people: the database compares before it sets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from federation.messages import ActionKind, HeadName, Verdict
from streams.ports import Clock
from web.cases import case as moves
from web.cases.case import VERDICTS, Case, CaseError, Move, Outcome, State, Step
from web.cases.feedback import Feedback
from web.cases.store import CaseStore, Line
from web.identity.recorders import Recorder

_CHANGED: Final = "The case has changed since you looked at it. Look again."


@dataclass(frozen=True)
class Decision:
    """What an officer decides, and why."""

    outcome: Outcome
    reason: str
    note: str


class Desk:
    """One institution's officers at work. `four_eyes_from`: the amount from which a second officer has to agree."""

    def __init__(self, store: CaseStore, recorder: Recorder, feedback: Feedback, clock: Clock, *, four_eyes_from: float) -> None:
        self.store: Final = store
        self.four_eyes_from: Final = four_eyes_from
        self._recorder = recorder
        self._feedback = feedback
        self._clock = clock
        self._picking = asyncio.Lock()
        self._being_taken: set[str] = set()

    async def take_next(self, by: str, head: HeadName | None = None) -> Case | None:
        """The most urgent case that nobody has, now theirs; None if there is none. AuditUnavailable: nothing was taken."""
        while True:
            async with self._picking:
                found = await self.store.most_urgent(head, self._clock.now_ms(), but=self._being_taken)
                if found is None:
                    return None
                # Nobody else here picks it while the audit is asked: one of the two would have an entry for nothing.
                self._being_taken.add(found.id)
            try:
                return await self.claim(found, by)
            except CaseError:  # It changed, or another portal of the institution was faster.
                continue
            finally:
                self._being_taken.discard(found.id)

    async def claim(self, case: Case, by: str) -> Case:
        """Take this one."""
        return await self._change(case, by, Move.CLAIM, lambda seen: moves.claimed(seen, by))

    async def assign(self, case: Case, by: str, to: str) -> Case:
        """Give it to somebody, oneself included."""
        return await self._change(case, by, Move.ASSIGN, lambda seen: moves.assigned(seen, to), {"to": to})

    async def release(self, case: Case, by: str) -> Case:
        """Give it back to the queue."""
        return await self._change(case, by, Move.RELEASE, moves.released)

    async def snooze(self, case: Case, by: str, hours: int, why: str) -> Case:
        """Put it away for some hours."""
        now_ms = self._clock.now_ms()
        until_ms = now_ms + hours * moves.HOUR_MS
        return await self._change(
            case, by, Move.SNOOZE, lambda seen: moves.snoozed(seen, until_ms, why, now_ms), {"until_ms": str(until_ms)}, why
        )

    async def step(self, case: Case, by: str, what: Step, note: str) -> Case:
        """Write down that the data were validated, the transaction reviewed, or the client contacted."""
        return await self._change(case, by, Move.STEP, lambda seen: moves.stepped(seen, by, note), {"step": what.value}, note)

    async def decide(self, case: Case, by: str, decision: Decision) -> Case:
        """Decide; closed at once, and told to the local model, unless a second officer has to agree."""
        now_ms = self._clock.now_ms()
        return await self._change(
            case,
            by,
            Move.DECIDE,
            lambda seen: moves.decided(
                seen, by, decision.outcome, decision.reason, decision.note, four_eyes_from=self.four_eyes_from, now_ms=now_ms
            ),
            {"outcome": decision.outcome.value, "reason": decision.reason},
            decision.note,
        )

    async def approve(self, case: Case, by: str) -> Case:
        """Agree to another's decision."""
        now_ms = self._clock.now_ms()
        detail = {} if case.outcome is None else {"outcome": case.outcome.value}
        return await self._change(case, by, Move.APPROVE, lambda seen: moves.approved(seen, by, now_ms), detail)

    async def send_back(self, case: Case, by: str, why: str) -> Case:
        """Do not agree."""
        return await self._change(case, by, Move.SEND_BACK, lambda seen: moves.sent_back(seen, by, why), note=why)

    async def answer_offer(self, case: Case, by: str, product: str, verdict: Verdict) -> bool:
        """Write down what the client said to a recommended product; False if it was written down before."""
        detail = {"case": case.id, "product": product, "verdict": verdict.value}
        await self._recorder.record(ActionKind.FEEDBACK, "offer_answered", actor=by, detail=detail)
        row = {
            "event_id": f"{case.id}.{product}", "case_id": case.id, "head": HeadName.PRODUCTS.value, "subject": case.id,
            "customer": case.customer, "product": product, "verdict": verdict.value, "occurred_at_ms": self._clock.now_ms(),
        }  # fmt: skip
        new = await self.store.tell(row)
        await self._feedback.send()
        return new

    async def _change(
        self, case: Case, by: str, move: Move, change: Callable[[Case], Case], detail: Mapping[str, str] | None = None, note: str = ""
    ) -> Case:
        """CaseError: it may not be, or the case is not as `case` says any more; AuditUnavailable: nothing was done."""
        after = change(case)  # What may not be is not an entry.
        detail = dict(detail or {})
        kind = ActionKind.DECISION if move in (Move.DECIDE, Move.APPROVE, Move.SEND_BACK) else ActionKind.CASE
        await self._recorder.record(kind, f"case_{move.value}", actor=by, detail={"case": case.id, "version": str(after.version), **detail})
        told = await self._to_tell(after) if after.state is State.CLOSED else []
        # Free text is for officers alone: the audit has none.
        line = Line(self._clock.now_ms(), by, move.value, detail | ({"note": note} if note else {}))
        if not await self.store.save(case, after, line, told=told):
            raise CaseError(_CHANGED)
        if told:
            await self._feedback.send()
        return after

    async def _to_tell(self, case: Case) -> Sequence[Mapping[str, Any]]:
        """One record per flagged event; the same ids whoever closes the case, so that nothing is told twice."""
        verdict = None if case.outcome is None else VERDICTS.get(case.outcome)
        if verdict is None:
            return []
        events = await self.store.events_of(case.id)
        return [
            {
                "event_id": f"{case.id}.{number}", "case_id": case.id, "head": case.head.value, "subject": event.event_id,
                "customer": case.customer, "product": None, "verdict": verdict.value, "occurred_at_ms": self._clock.now_ms(),
            }
            for number, event in enumerate(sorted(events, key=lambda event: event.event_id))
        ]  # fmt: skip

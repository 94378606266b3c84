"""A case's moves: whatever is tried in whatever order, the rules hold."""

from __future__ import annotations

import contextlib

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from federation.messages import HeadName
from web.cases import case as moves
from web.cases.case import HOUR_MS, MOVES, REASONS, Case, CaseError, Flagged, Outcome, State

OFFICERS = st.sampled_from(["ada", "ben", "cai"])
FOUR_EYES_FROM = 1_000.0


class CaseMachine(RuleBasedStateMachine):
    """Three officers try everything; what is refused changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ms = 0
        self.case = moves.opened("c", HeadName.FRAUD, "anna", Flagged(0.4, 300.0), 0)
        self.before: Case | None = None
        self.flags = [Flagged(0.4, 300.0)]

    def _try(self, made) -> bool:
        self.before = self.case
        with contextlib.suppress(CaseError):
            self.case = made(self.case)
            return True
        return False

    @rule(risk=st.floats(0, 1), amount=st.floats(0, 2_000))
    @precondition(lambda self: self.case.state is not State.CLOSED)
    def flag(self, risk, amount):
        self.flags.append(Flagged(risk, amount))
        assert self._try(lambda case: moves.with_flag(case, self.flags[-1]))
        assert self.case.state in (State.OPEN, State.ASSIGNED)

    @rule(by=OFFICERS)
    def claim(self, by):
        done = self._try(lambda case: moves.claimed(case, by))
        assert done == (self.before.state is State.OPEN)

    @rule(to=OFFICERS)
    def assign(self, to):
        self._try(lambda case: moves.assigned(case, to))

    @rule()
    def release(self):
        self._try(moves.released)

    @rule(hours=st.integers(-1, 24 * 8), why=st.sampled_from(["", " ", "waits for papers"]))
    def snooze(self, hours, why):
        done = self._try(lambda case: moves.snoozed(case, self.now_ms + hours * HOUR_MS, why, self.now_ms))
        assert not done or (0 < hours <= 24 * 7 and why.strip())

    @rule(hours=st.integers(1, 200))
    def time_passes(self, hours):
        self.now_ms += hours * HOUR_MS
        if self.case.state is State.SNOOZED and self.case.snoozed_until_ms <= self.now_ms:
            assert self._try(moves.woken)
            assert (self.case.state is State.OPEN) == (self.case.assignee is None)

    @rule(by=OFFICERS, note=st.sampled_from(["", "called"]))
    def step(self, by, note):
        assert self._try(lambda case: moves.stepped(case, by, note)) == (self.before.state is State.ASSIGNED and self.before.assignee == by)

    @rule(by=OFFICERS, outcome=st.sampled_from(Outcome), reason=st.sampled_from(["customer_denies", "customer_confirms", "not_reached"]))
    def decide(self, by, outcome, reason):
        done = self._try(lambda case: moves.decided(case, by, outcome, reason, "seen", four_eyes_from=FOUR_EYES_FROM, now_ms=self.now_ms))
        if done:
            assert self.before.assignee == by
            assert reason in REASONS[HeadName.FRAUD][outcome]
            assert (self.case.state is State.DECIDED) == (self.case.amount >= FOUR_EYES_FROM)

    @rule(by=OFFICERS)
    def approve(self, by):
        if self._try(lambda case: moves.approved(case, by, self.now_ms)):
            assert by != self.before.decided_by

    @rule(by=OFFICERS)
    def send_back(self, by):
        if self._try(lambda case: moves.sent_back(case, by, "look again")):
            assert (self.case.state, self.case.outcome) == (State.ASSIGNED, None)

    @invariant()
    def a_change_is_one_version(self):
        if self.before is not None and self.case is not self.before:
            assert self.case.version == self.before.version + 1
            assert self.before.state is not State.CLOSED

    @invariant()
    def only_decided_cases_have_an_outcome(self):
        assert (self.case.outcome is not None) == (self.case.state in (State.DECIDED, State.CLOSED))
        assert (self.case.closed_at_ms is not None) == (self.case.state is State.CLOSED)

    @invariant()
    def large_amounts_are_closed_by_two(self):
        if self.case.state is State.CLOSED and self.case.amount >= FOUR_EYES_FROM:
            assert self.case.approved_by not in (None, self.case.decided_by)

    @invariant()
    def nobody_has_an_open_case_and_somebody_an_assigned_one(self):
        assert self.case.state is not State.OPEN or self.case.assignee is None
        assert self.case.state not in (State.ASSIGNED, State.DECIDED) or self.case.assignee is not None
        assert (self.case.snoozed_until_ms is not None) == (self.case.state is State.SNOOZED)

    @invariant()
    def the_case_adds_up(self):
        assert self.case.risk == max(flag.risk for flag in self.flags)
        assert abs(self.case.amount - sum(flag.amount for flag in self.flags)) < 1e-6


CaseMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None, derandomize=True)
TestCaseMachine = CaseMachine.TestCase


def test_every_state_is_left_but_closed():
    """And every reason belongs to an outcome of its head."""
    assert {state for state, out in MOVES.items() if not out} == {State.CLOSED}
    assert all(set(of_head) == set(Outcome) for of_head in REASONS.values())

"""A case and what may happen to it: a table of moves, and one function per move.

Called by `web.cases.desk`; tests/web/cases has its state machine.
Never touches a database, a clock or the audit: time and people are arguments, and what may not be is a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from federation.messages import HeadName, Verdict

HOUR_MS: Final = 3_600_000
SLA_MS: Final[Mapping[HeadName, int]] = {HeadName.FRAUD: 2 * HOUR_MS, HeadName.CREDIT: 24 * HOUR_MS}
"""How soon a case should be closed."""
SNOOZE_MS_MAX: Final = 7 * 24 * HOUR_MS
NOTE_LENGTH_MAX: Final = 1_000


class CaseError(Exception):
    """What was asked for may not be done with the case as it is; the sentence says why."""


class State(StrEnum):
    """Where a case stands; what came of it is its outcome."""

    OPEN = "open"
    ASSIGNED = "assigned"
    SNOOZED = "snoozed"
    DECIDED = "decided"  # Waits for a second officer.
    CLOSED = "closed"


class Move(StrEnum):
    """What may happen to a case."""

    FLAG = "flag"  # A further event of the customer was flagged.
    CLAIM = "claim"
    ASSIGN = "assign"
    RELEASE = "release"
    SNOOZE = "snooze"
    WAKE = "wake"
    STEP = "step"
    DECIDE = "decide"
    APPROVE = "approve"
    SEND_BACK = "send_back"


MOVES: Final[Mapping[State, Mapping[Move, frozenset[State]]]] = {
    State.OPEN: {
        Move.FLAG: frozenset({State.OPEN}),
        Move.CLAIM: frozenset({State.ASSIGNED}),
        Move.ASSIGN: frozenset({State.ASSIGNED}),
        Move.SNOOZE: frozenset({State.SNOOZED}),
    },
    State.ASSIGNED: {
        Move.FLAG: frozenset({State.ASSIGNED}),
        Move.ASSIGN: frozenset({State.ASSIGNED}),
        Move.RELEASE: frozenset({State.OPEN}),
        Move.SNOOZE: frozenset({State.SNOOZED}),
        Move.STEP: frozenset({State.ASSIGNED}),
        Move.DECIDE: frozenset({State.DECIDED, State.CLOSED}),
    },
    State.SNOOZED: {
        # What wakes a sleeping case: its time, somebody, or more of the same.
        Move.FLAG: frozenset({State.OPEN, State.ASSIGNED}),
        Move.WAKE: frozenset({State.OPEN, State.ASSIGNED}),
        Move.ASSIGN: frozenset({State.ASSIGNED}),
    },
    State.DECIDED: {
        # A decision that awaits its second officer was made on less than there is now.
        Move.FLAG: frozenset({State.ASSIGNED}),
        Move.APPROVE: frozenset({State.CLOSED}),
        Move.SEND_BACK: frozenset({State.ASSIGNED}),
    },
    State.CLOSED: {},
}


class Outcome(StrEnum):
    """What came of a case."""

    CONFIRMED = "confirmed"
    FALSE_POSITIVE = "false_positive"
    INCONCLUSIVE = "inconclusive"


VERDICTS: Final[Mapping[Outcome, Verdict]] = {Outcome.CONFIRMED: Verdict.CONFIRMED, Outcome.FALSE_POSITIVE: Verdict.FALSE_POSITIVE}
"""What the local model is told. Of an inconclusive case it is told nothing: a guess would be learned as the truth."""

REASONS: Final[Mapping[HeadName, Mapping[Outcome, Mapping[str, str]]]] = {
    HeadName.FRAUD: {
        Outcome.CONFIRMED: {
            "customer_denies": "The customer did not make the payment",
            "card_lost": "The card was lost or stolen",
            "merchant_known": "The terminal is known for fraud",
            "other_confirmed": "Other (see the note)",
        },
        Outcome.FALSE_POSITIVE: {
            "customer_confirms": "The customer made the payment",
            "usual_for_customer": "Usual for this customer",
            "other_false": "Other (see the note)",
        },
        Outcome.INCONCLUSIVE: {"not_reached": "The customer was not reached", "other_open": "Other (see the note)"},
    },
    HeadName.CREDIT: {
        Outcome.CONFIRMED: {
            "cannot_afford": "The customer cannot afford it",
            "documents_false": "Documents are false or missing",
            "other_confirmed": "Other (see the note)",
        },
        Outcome.FALSE_POSITIVE: {
            "income_proven": "Income or security is proven",
            "data_wrong": "The application's data were wrong",
            "other_false": "Other (see the note)",
        },
        Outcome.INCONCLUSIVE: {"withdrawn": "The customer withdrew", "other_open": "Other (see the note)"},
    },
}


class Step(StrEnum):
    """What an officer does on the way to a decision."""

    VALIDATED = "validated"
    REVIEWED = "reviewed"
    CONTACTED = "contacted"


@dataclass(frozen=True, slots=True)
class Flagged:
    """What a flagged event adds to a case."""

    risk: float  # Probability of fraud or default, in [0, 1].
    amount: float  # In the account's currency.


@dataclass(frozen=True, slots=True)
class Case:
    """One customer's flagged events of one head, until somebody has decided on them."""

    id: str
    head: HeadName
    customer: str
    opened_at_ms: int
    due_at_ms: int
    risk: float  # The highest of its events.
    amount: float  # Of all of them together.
    state: State = State.OPEN
    version: int = 0  # Goes up with every change: whoever saw an older one may not change it.
    assignee: str | None = None  # A person's id.
    snoozed_until_ms: int | None = None
    outcome: Outcome | None = None
    reason: str | None = None
    note: str = ""
    decided_by: str | None = None
    decided_at_ms: int | None = None
    approved_by: str | None = None
    closed_at_ms: int | None = None


def opened(case_id: str, head: HeadName, customer: str, flagged: Flagged, now_ms: int) -> Case:
    """A new case about a first event."""
    return Case(case_id, head, customer, now_ms, now_ms + SLA_MS[head], flagged.risk, flagged.amount)


def with_flag(case: Case, flagged: Flagged) -> Case:
    """The case with one more event in it: awake, and undecided if it was not closed yet."""
    to = State.OPEN if case.assignee is None else State.ASSIGNED
    case = _moved(case, Move.FLAG, to, snoozed_until_ms=None, **_UNDECIDED)
    return replace(case, risk=max(case.risk, flagged.risk), amount=case.amount + flagged.amount)


def claimed(case: Case, by: str) -> Case:
    """Taken by somebody who has not been given it."""
    return _moved(case, Move.CLAIM, State.ASSIGNED, assignee=by)


def assigned(case: Case, to: str) -> Case:
    """Given to somebody."""
    if case.assignee == to and case.state is State.ASSIGNED:
        raise CaseError("The case is theirs already.")
    return _moved(case, Move.ASSIGN, State.ASSIGNED, assignee=to, snoozed_until_ms=None)


def released(case: Case) -> Case:
    """Nobody's again."""
    return _moved(case, Move.RELEASE, State.OPEN, assignee=None)


def snoozed(case: Case, until_ms: int, why: str, now_ms: int) -> Case:
    """Put away for a while."""
    _require_text(why, "Say why the case can wait.")
    if not now_ms < until_ms <= now_ms + SNOOZE_MS_MAX:
        raise CaseError(f"A case sleeps for {SNOOZE_MS_MAX // (24 * HOUR_MS)} days at most.")
    return _moved(case, Move.SNOOZE, State.SNOOZED, snoozed_until_ms=until_ms)


def woken(case: Case) -> Case:
    """Back to whoever had it, or to the queue."""
    return _moved(case, Move.WAKE, State.OPEN if case.assignee is None else State.ASSIGNED, snoozed_until_ms=None)


def stepped(case: Case, by: str, note: str) -> Case:
    """Something was done about it."""
    _require_own(case, by)
    if len(note) > NOTE_LENGTH_MAX:
        raise CaseError(f"A note has {NOTE_LENGTH_MAX} characters at most.")
    return _moved(case, Move.STEP, State.ASSIGNED)


def decided(case: Case, by: str, outcome: Outcome, reason: str, note: str, *, four_eyes_from: float, now_ms: int) -> Case:
    """Decided, and closed unless a second officer has to agree: from this amount on, one does."""
    _require_own(case, by)
    if reason not in REASONS[case.head][outcome]:
        raise CaseError("Choose a reason that belongs to the outcome.")
    _require_text(note, "Write a note: what the decision rests on.")
    alone = case.amount < four_eyes_from
    return _moved(
        case, Move.DECIDE, State.CLOSED if alone else State.DECIDED, outcome=outcome, reason=reason, note=note, decided_by=by,
        decided_at_ms=now_ms, closed_at_ms=now_ms if alone else None,
    )  # fmt: skip


def approved(case: Case, by: str, now_ms: int) -> Case:
    """Agreed to by a second officer."""
    if by == case.decided_by:
        raise CaseError("Another officer has to agree: this was your own decision.")
    return _moved(case, Move.APPROVE, State.CLOSED, approved_by=by, closed_at_ms=now_ms)


def sent_back(case: Case, by: str, why: str) -> Case:
    """Not agreed to: undecided again."""
    _require_text(why, "Say why you do not agree.")
    if by == case.decided_by:
        raise CaseError("Another officer has to look at it: this was your own decision.")
    return _moved(case, Move.SEND_BACK, State.ASSIGNED, **_UNDECIDED)


_UNDECIDED: Final[Mapping[str, str | None]] = {"outcome": None, "reason": None, "note": "", "decided_by": None, "decided_at_ms": None}


def _moved(case: Case, move: Move, to: State, **changes: object) -> Case:
    if to not in MOVES[case.state].get(move, ()):
        raise CaseError(f"The case is {case.state.value} now.")
    return replace(case, state=to, version=case.version + 1, **changes)  # type: ignore[arg-type]


def _require_own(case: Case, by: str) -> None:
    if case.state is not State.ASSIGNED or case.assignee != by:
        raise CaseError("Take the case first: only who has it may do this.")


def _require_text(text: str, sentence: str) -> None:
    if not text.strip():
        raise CaseError(sentence)
    if len(text) > NOTE_LENGTH_MAX:
        raise CaseError(f"A note has {NOTE_LENGTH_MAX} characters at most.")

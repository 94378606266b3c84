"""How urgent a case is: risk x amount x urgency, in Python and as the same expression for the database.

Called by `web.cases.store` to sort and by the pages to show.
Never weighs anything that the formula on the page does not name."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Float, Table, case, cast
from sqlalchemy.sql.elements import ColumnElement

URGENCY_MAX: Final = 4.0
AMOUNT_MIN: Final = 1.0
FORMULA: Final = "risk × amount × urgency, where urgency is 1 when a case opens, 2 when it is due, and 4 at most"


def urgency(opened_at_ms: int, due_at_ms: int, now_ms: int) -> float:
    """1 at the opening, 2 when due, and on.

    >>> [urgency(0, 100, now) for now in (0, 50, 100, 900)]
    [1.0, 1.5, 2.0, 4.0]
    """
    return min(URGENCY_MAX, 1.0 + max(0, now_ms - opened_at_ms) / (due_at_ms - opened_at_ms))


def priority(risk: float, amount: float, opened_at_ms: int, due_at_ms: int, now_ms: int) -> float:
    """In the account's currency: what is at stake, and how pressing it is."""
    return risk * max(amount, AMOUNT_MIN) * urgency(opened_at_ms, due_at_ms, now_ms)


def priority_of(table: Table, now_ms: int) -> ColumnElement[Any]:
    """`priority` of each row."""
    c = table.c
    passed = 1.0 + cast(now_ms - c.opened_at_ms, Float) / cast(c.due_at_ms - c.opened_at_ms, Float)
    pressing = case((passed > URGENCY_MAX, URGENCY_MAX), (passed < 1.0, 1.0), else_=passed)
    return c.risk * case((c.amount < AMOUNT_MIN, AMOUNT_MIN), else_=c.amount) * pressing

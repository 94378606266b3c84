"""What was learned since the last contribution, by customer: the lessons that the next one is made of.

Filled by `learner` as labels come, read by `participation` when a round asks, both inside the store's turns.
Never forgets a lesson before it is in a contribution, unless the window is full: then what comes later is not kept for it."""

from __future__ import annotations

import itertools
import sqlite3
from array import array
from collections.abc import Sequence
from typing import Final

from federation.heads.head import Lesson
from federation.messages import HeadName

LESSONS_MAX: Final = 1 << 16  # Per head. Learning so many from the global weights takes about half a second.


class Window:
    """The table of lessons with this turn's on top; `flush` inside a store's turn makes them durable."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database: Final = database
        self._added: list[tuple[str, str, bytes, bool]] = []
        self._held: dict[str, int] = dict(database.execute("SELECT head, count(*) FROM lessons GROUP BY head"))

    def add(self, head: HeadName, customer: str, lesson: Lesson) -> bool:
        """Keep a lesson for the next contribution; False if there is no room.

        The lesson depends on nobody's events but this customer's, and on published models: else others would contribute what he did.
        """
        held = self._held.get(head.value, 0)
        if held >= LESSONS_MAX:
            return False
        self._held[head.value] = held + 1
        active, positive = lesson
        self._added.append((head.value, customer, array("I", active).tobytes(), positive))
        return True

    def flush(self) -> None:
        """Write this turn's lessons."""
        self._database.executemany("INSERT INTO lessons (head, customer, active, positive) VALUES (?, ?, ?, ?)", self._added)
        self._added = []

    def lessons(self, head: HeadName) -> Sequence[tuple[str, Sequence[Lesson]]]:
        """(customer, lessons in the order they came) of everybody who was active; what was flushed, all of it."""
        rows = self._database.execute("SELECT customer, active, positive FROM lessons WHERE head = ? ORDER BY customer, id", (head.value,))
        return [
            (customer, [(tuple(array("I", active)), bool(positive)) for _, active, positive in own])
            for customer, own in itertools.groupby(rows, key=lambda row: str(row[0]))
        ]

    def erase(self, customer: str) -> int:
        """Forget a customer's lessons, after a flush; how many."""
        rows = self._database.execute("DELETE FROM lessons WHERE customer = ?", (customer,)).rowcount
        self._held = dict(self._database.execute("SELECT head, count(*) FROM lessons GROUP BY head"))
        return rows

    def clear(self, head: HeadName) -> None:
        """All lessons of this head are in a contribution."""
        self._database.execute("DELETE FROM lessons WHERE head = ?", (head.value,))
        self._held[head.value] = 0

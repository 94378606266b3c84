"""What the learner remembers of single events: ids seen, decisions waiting for their label, early labels, profiles.

Read and written by `learner` in memory during a turn; `flush` writes the turn's changes to the SQLite tables of `storage`.
Never grows without bound: every table has a limit, and what falls out is counted."""

from __future__ import annotations

import json
import sqlite3
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from federation.heads.head import Active
from federation.limits import EVENT_BYTES_MAX
from federation.messages import FeedbackGiven, HeadName, OutcomeObserved
from streams.codec import decode
from streams.ports import Record

SEEN_MAX: Final = 1 << 20  # Event ids remembered: a second event with an id older than this many events is not noticed.
EARLY_MAX: Final = 10_000  # Labels that came before their event.
EARLY_MS: Final = 60 * 60 * 1000  # How long, in the log's time, an early label is held.


@dataclass(frozen=True, slots=True)
class Decision:
    """An event as it was scored: what its label will teach, whenever it comes."""

    head: HeadName
    subject: str
    customer: str
    consented: bool
    active: Active
    federated: float  # Log-odds of the federated model at decision time.
    local: float  # The same of the local-only model.
    at_ms: int
    terminal: str = ""  # Fraud only: whose history the label belongs to.


@dataclass(frozen=True, slots=True)
class Profile:
    """What one customer holds and has declined, and whether events may be learned from."""

    customer: str
    held: tuple[str, ...] = ()
    dismissed: tuple[str, ...] = ()
    segment: str | None = None
    consented: bool = True
    updated_at_ms: int = 0


class Recall:
    """The tables of remembered events with this turn's changes on top; `flush` inside a store's turn makes them durable."""

    def __init__(self, database: sqlite3.Connection, *, waiting_max: int) -> None:
        """`waiting_max`: decisions per head that may wait for their label; beyond, the oldest are forgotten."""
        self._database: Final = database
        self._waiting_max = waiting_max
        self._seen: dict[bytes, None] = {}
        self._decisions: dict[tuple[str, str], Decision | None] = {}  # None: settled this turn.
        self._profiles: dict[str, Profile] = {}
        self._waiting: dict[str, int] = dict(database.execute("SELECT head, count(*) FROM waiting GROUP BY head"))
        self._sequence = int(database.execute("SELECT coalesce(max(sequence), 0) FROM waiting").fetchone()[0])
        self._early = int(database.execute("SELECT count(*) FROM early").fetchone()[0])

    # --- ids ----------------------------------------------------------------------------------------------------
    def seen(self, digest: bytes) -> bool:
        """Whether this id is among the last SEEN_MAX."""
        if digest in self._seen:
            return True
        return self._database.execute("SELECT 1 FROM seen WHERE digest = ?", (digest,)).fetchone() is not None

    def remember(self, digest: bytes) -> None:
        """Keep an id among the last SEEN_MAX."""
        self._seen[digest] = None

    # --- decisions waiting for their label ----------------------------------------------------------------------
    def wait(self, decision: Decision) -> None:
        """Keep a decision until its label comes."""
        self._decisions[decision.head.value, decision.subject] = decision
        self._waiting[decision.head.value] = self._waiting.get(decision.head.value, 0) + 1

    def decision(self, head: HeadName, subject: str) -> Decision | None:
        """The decision that waits for this subject's label, if any does."""
        key = (head.value, subject)
        if key in self._decisions:
            return self._decisions[key]
        row = self._database.execute(
            "SELECT customer, consented, active, federated, local, at_ms, terminal FROM waiting WHERE head = ? AND subject = ?", key
        ).fetchone()
        if row is None:
            return None
        customer, consented, active, federated, local, at_ms, terminal = row
        return Decision(head, subject, customer, bool(consented), tuple(array("I", active)), federated, local, at_ms, terminal)

    def settle(self, decision: Decision) -> None:
        """Its label has come."""
        self._decisions[decision.head.value, decision.subject] = None
        self._waiting[decision.head.value] -= 1

    def waiting(self, head: HeadName) -> int:
        """How many decisions of this head wait."""
        return self._waiting.get(head.value, 0)

    # --- labels that came before their event --------------------------------------------------------------------
    def hold(self, head: HeadName, subject: str, record: Record) -> None:
        """Keep the record of a label whose event has not been read."""
        self._database.execute(
            "INSERT INTO early (head, subject, held_ms, topic, partition, log_offset, key, value) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (head.value, subject, record.timestamp_ms, record.topic, record.partition, record.offset, record.key, record.value),
        )
        self._early += 1

    def release(self, head: HeadName, subject: str) -> Sequence[Record]:
        """Take out the labels held for this subject, in the order they came."""
        if not self._early:
            return ()
        return self._take_early("head = ? AND subject = ?", (head.value, subject))

    def overdue(self, now_ms: int) -> Sequence[Record]:
        """Take out the labels held for longer than EARLY_MS, and the oldest beyond EARLY_MAX."""
        if not self._early:
            return ()
        aged = self._take_early("held_ms < ?", (now_ms - EARLY_MS,))
        surplus = self._early - EARLY_MAX
        if surplus <= 0:
            return aged
        return (*aged, *self._take_early("id IN (SELECT id FROM early ORDER BY id LIMIT ?)", (surplus,)))

    def _take_early(self, which: str, parameters: tuple[str | int, ...]) -> Sequence[Record]:
        rows = self._database.execute(
            f"SELECT id, topic, partition, log_offset, key, value, held_ms FROM early WHERE {which} ORDER BY id",  # noqa: S608 - ours.
            parameters,
        ).fetchall()
        self._database.executemany("DELETE FROM early WHERE id = ?", [(row[0],) for row in rows])
        self._early -= len(rows)
        return [Record(topic, partition, offset, key, value, held_ms) for _, topic, partition, offset, key, value, held_ms in rows]

    # --- profiles -----------------------------------------------------------------------------------------------
    def profile(self, customer: str) -> Profile:
        """What is known of a customer; an empty profile for a new one."""
        if customer in self._profiles:
            return self._profiles[customer]
        row = self._database.execute(
            "SELECT held, dismissed, segment, consented, updated_at_ms FROM profiles WHERE customer = ?", (customer,)
        ).fetchone()
        if row is None:
            return Profile(customer)
        return Profile(customer, tuple(json.loads(row[0])), tuple(json.loads(row[1])), row[2], bool(row[3]), row[4])

    def set_profile(self, profile: Profile) -> None:
        """Keep a profile."""
        self._profiles[profile.customer] = profile

    # --- erasure ------------------------------------------------------------------------------------------------
    def erase(self, customer: str) -> dict[str, int]:
        """Forget a customer's decisions, early feedback and profile, after a flush; how many rows of which table."""
        execute = self._database.execute
        of_him = [number for number, value in execute("SELECT id, value FROM early") if _customer_of(value) == customer]
        self._database.executemany("DELETE FROM early WHERE id = ?", [(number,) for number in of_him])
        self._early -= len(of_him)
        decisions = execute("DELETE FROM waiting WHERE customer = ?", (customer,)).rowcount
        self._waiting = dict.fromkeys(self._waiting, 0) | dict(execute("SELECT head, count(*) FROM waiting GROUP BY head"))
        profiles = execute("DELETE FROM profiles WHERE customer = ?", (customer,)).rowcount
        return {"early": len(of_him), "waiting": decisions, "profiles": profiles}

    # --- the turn's end -----------------------------------------------------------------------------------------
    def flush(self) -> dict[HeadName, int]:
        """Write this turn's changes; returns how many waiting decisions of which head were forgotten for want of room."""
        many = self._database.executemany
        if self._seen:
            many("INSERT OR IGNORE INTO seen (digest) VALUES (?)", [(digest,) for digest in self._seen])
            self._database.execute("DELETE FROM seen WHERE id <= (SELECT max(id) FROM seen) - ?", (SEEN_MAX,))
        settled = [key for key, decision in self._decisions.items() if decision is None]
        many("DELETE FROM waiting WHERE head = ? AND subject = ?", settled)
        many("INSERT INTO waiting VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", [self._row(d) for d in self._decisions.values() if d is not None])
        forgotten = {HeadName(head): surplus for head in self._waiting if (surplus := self._make_room(head))}
        many(
            "INSERT OR REPLACE INTO profiles VALUES (?, ?, ?, ?, ?, ?)",
            [
                (p.customer, json.dumps(p.held), json.dumps(p.dismissed), p.segment, p.consented, p.updated_at_ms)
                for p in self._profiles.values()
            ],
        )
        self._seen, self._decisions, self._profiles = {}, {}, {}
        return forgotten

    def _row(self, d: Decision) -> tuple[str | int | float | bytes, ...]:
        self._sequence += 1
        active = array("I", d.active).tobytes()
        return (d.head.value, d.subject, self._sequence, d.customer, d.consented, active, d.federated, d.local, d.at_ms, d.terminal)

    def _make_room(self, head: str) -> int:
        surplus = self._waiting[head] - self._waiting_max
        if surplus <= 0:
            return 0
        self._database.execute(
            "DELETE FROM waiting WHERE head = ?1 AND sequence <= (SELECT sequence FROM waiting WHERE head = ?1 ORDER BY sequence LIMIT 1 OFFSET ?2)",
            (head, surplus - 1),
        )
        self._waiting[head] = self._waiting_max
        return surplus


def _customer_of(value: bytes) -> str | None:
    """Of an early label: feedback names its customer, an outcome does not."""
    label = decode(value, (FeedbackGiven, OutcomeObserved), EVENT_BYTES_MAX)
    return label.customer if isinstance(label, FeedbackGiven) else None

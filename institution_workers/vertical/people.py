"""The people one party knows: features, labels, who is shared with the other party and in which row.

Written by `intake` and the desks, always inside a turn of the store; read by both desks and by `scores`.
Never lists anybody who has not consented, nor the padding of a hidden list."""

from __future__ import annotations

import sqlite3
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from federation.heads.head import Active
from federation.messages import OverlapPolicy, VerticalVerb

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS vertical_people (
  person TEXT PRIMARY KEY, event_id TEXT NOT NULL, at_ms INTEGER NOT NULL, consented INTEGER NOT NULL, active BLOB NOT NULL, label INTEGER,
  asked INTEGER NOT NULL DEFAULT 0, taught INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX IF NOT EXISTS vertical_events ON vertical_people (event_id);
CREATE TABLE IF NOT EXISTS vertical_runs (
  run INTEGER PRIMARY KEY, policy TEXT NOT NULL, at_ms INTEGER NOT NULL, shared INTEGER
) STRICT;
CREATE TABLE IF NOT EXISTS vertical_rows (
  run INTEGER NOT NULL, place INTEGER NOT NULL, person TEXT NOT NULL, bit INTEGER, PRIMARY KEY (run, place)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS vertical_places ON vertical_rows (person, run);
CREATE TABLE IF NOT EXISTS vertical_asked (
  request_id TEXT PRIMARY KEY, verb TEXT NOT NULL, run INTEGER NOT NULL, person TEXT NOT NULL, deadline_ms INTEGER NOT NULL
) STRICT;
"""


def normalised(name: str) -> str:
    """The one spelling of a name by which both parties know a person: NFKC, case folded, without blanks around it."""
    return unicodedata.normalize("NFKC", name).strip().casefold()


@dataclass(frozen=True, slots=True)
class Placed:
    """A shared person whose label is known."""

    run: int
    place: int
    person: str
    active: Active
    label: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request that waits: for a run, or a prediction for the partner's answer to the question of this number."""

    request_id: str
    number: int
    person: str
    deadline_ms: int


class People:
    """The tables, in a connection that others own."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        database.executescript(_SCHEMA)

    # --- who they are -------------------------------------------------------------------------------------------
    def observe(self, name: str, event_id: str, at_ms: int, active: Active, *, consented: bool) -> None:
        """The newest observation of a person counts; an older one is passed over."""
        self._database.execute(
            "INSERT INTO vertical_people (person, event_id, at_ms, consented, active) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (person) DO UPDATE SET event_id = excluded.event_id, at_ms = excluded.at_ms, consented = excluded.consented, "
            "active = excluded.active, label = NULL, taught = 0 "
            "WHERE excluded.at_ms >= at_ms AND excluded.event_id <> event_id",
            (normalised(name), event_id, at_ms, consented, np.array(active, dtype="<i4").tobytes()),
        )

    def withdraw(self, name: str) -> None:
        """A person is in no list, and no training, any more."""
        self._database.execute("UPDATE vertical_people SET consented = 0 WHERE person = ?", (normalised(name),))

    def label(self, event_id: str, *, positive: bool) -> bool:
        """Whether the label was of somebody's newest event; the first one counts."""
        done = self._database.execute(
            "UPDATE vertical_people SET label = ? WHERE event_id = ? AND label IS NULL", (int(positive), event_id)
        )
        return done.rowcount > 0

    def listed(self, *, fresh: bool = False, labelled: bool = False) -> tuple[str, ...]:
        """Who may be named in an intersection; `fresh`: only those asked about in none yet; `labelled`: only those with a label."""
        rows = self._database.execute(
            "SELECT person FROM vertical_people WHERE consented AND (label IS NOT NULL OR NOT ?) AND NOT (? AND asked > 0) ORDER BY person",
            (labelled, fresh),
        )
        return tuple(person for (person,) in rows)

    def actives(self, people: Iterable[str]) -> list[Active]:
        """Each person's coordinates; none of those who are unknown here, padding, or have withdrawn consent."""
        found = []
        for person in people:
            row = self._database.execute("SELECT active FROM vertical_people WHERE person = ? AND consented", (person,)).fetchone()
            found.append(_active(row[0]) if row else ())
        return found

    def labels(self, people: Iterable[str]) -> list[int]:
        """Each person's label; 0 where none is known."""
        found = []
        for person in people:
            row = self._database.execute("SELECT label FROM vertical_people WHERE person = ?", (person,)).fetchone()
            found.append(int(row[0] or 0) if row else 0)
        return found

    # --- who is shared ------------------------------------------------------------------------------------------
    def begin(self, run: int, policy: OverlapPolicy | None, at_ms: int) -> None:
        """Remember that a run began: an intersection with its policy, or a training (None)."""
        self._database.execute("INSERT OR REPLACE INTO vertical_runs VALUES (?, ?, ?, NULL)", (run, policy or "", at_ms))

    def begun_since(self, at_ms: int, *, training: bool) -> int:
        """How many intersections, or trainings, began since then."""
        row = self._database.execute(
            "SELECT count(*) FROM vertical_runs WHERE (policy = '') = ? AND at_ms > ?", (training, at_ms)
        ).fetchone()
        return int(row[0])

    def align(self, run: int, shared: int, names: Sequence[str], bits: bytes) -> None:
        """The rows of an intersection."""
        self._database.execute("UPDATE vertical_runs SET shared = ? WHERE run = ?", (shared, run))
        self._database.executemany(
            "INSERT OR REPLACE INTO vertical_rows VALUES (?, ?, ?, ?)",
            ((run, place, name, bits[place] if bits else None) for place, name in enumerate(names)),
        )

    def policy_of(self, run: int) -> OverlapPolicy | None:
        """What a run's intersection showed; None if there was none."""
        row = self._database.execute("SELECT policy FROM vertical_runs WHERE run = ? AND shared IS NOT NULL", (run,)).fetchone()
        return OverlapPolicy(row[0]) if row else None

    def rows_of(self, run: int) -> tuple[tuple[str, ...], bytes]:
        """(person of each row, its bit) of one run; the bits are empty unless it is hidden."""
        rows = self._database.execute("SELECT person, bit FROM vertical_rows WHERE run = ? ORDER BY place", (run,)).fetchall()
        bits = bytes(bit for _, bit in rows if bit is not None)
        return tuple(person for person, _ in rows), bits

    def person_at(self, run: int, place: int) -> str | None:
        """Who is in a row of a shown alignment."""
        row = self._database.execute(
            "SELECT person FROM vertical_rows JOIN vertical_runs USING (run) WHERE run = ? AND place = ? AND policy = 'shown'", (run, place)
        ).fetchone()
        return None if row is None else str(row[0])

    def place_of(self, person: str) -> tuple[int, int] | None:
        """(run, place) of the newest shown row of a person."""
        row = self._database.execute(
            "SELECT run, place FROM vertical_rows JOIN vertical_runs USING (run) WHERE person = ? AND policy = 'shown' ORDER BY run DESC LIMIT 1",
            (person,),
        ).fetchone()
        return None if row is None else (int(row[0]), int(row[1]))

    def newest_hidden(self) -> int:
        """The newest run with a hidden outcome; 0 if there is none."""
        row = self._database.execute("SELECT max(run) FROM vertical_runs WHERE policy = 'hidden' AND shared IS NOT NULL").fetchone()
        return int(row[0] or 0)

    def teachable(self, *, fresh: bool) -> list[Placed]:
        """Shared people with a label, each in its newest row; `fresh`: only those no training has used."""
        rows = self._database.execute(
            "SELECT r.run, r.place, r.person, p.active, p.label FROM vertical_rows AS r JOIN vertical_people AS p USING (person) "
            "WHERE p.consented AND p.label IS NOT NULL AND NOT (? AND p.taught > 0) AND r.run = (SELECT max(run) FROM vertical_rows AS other "
            "JOIN vertical_runs USING (run) WHERE other.person = r.person AND policy = 'shown') ORDER BY r.run, r.place",
            (fresh,),
        )
        return [Placed(run, place, person, _active(active), label) for run, place, person, active, label in rows]

    def asked(self, people: Iterable[str], run: int) -> None:
        """The bank has asked about these."""
        self._database.executemany("UPDATE vertical_people SET asked = ? WHERE person = ?", ((run, person) for person in people))

    def taught(self, people: Iterable[str], run: int) -> None:
        """A training has used these."""
        self._database.executemany("UPDATE vertical_people SET taught = ? WHERE person = ?", ((run, person) for person in people))

    def undone(self, run: int) -> None:
        """The run was abandoned: nobody was asked about, nobody has taught anything."""
        self._database.execute("UPDATE vertical_people SET asked = 0 WHERE asked = ?", (run,))
        self._database.execute("UPDATE vertical_people SET taught = 0 WHERE taught = ?", (run,))

    def counts(self) -> tuple[int, int]:
        """(people who may be listed, people in a shown alignment)."""
        listed = self._database.execute("SELECT count(*) FROM vertical_people WHERE consented").fetchone()[0]
        shared = self._database.execute(
            "SELECT count(DISTINCT person) FROM vertical_rows JOIN vertical_runs USING (run) WHERE policy = 'shown'"
        ).fetchone()[0]
        return int(listed), int(shared)

    # --- requests that wait -------------------------------------------------------------------------------------
    def waits(self, verb: VerticalVerb, waiting: Waiting) -> None:
        """Remember it."""
        self._database.execute(
            "INSERT OR REPLACE INTO vertical_asked VALUES (?, ?, ?, ?, ?)",
            (waiting.request_id, verb.value, waiting.number, waiting.person, waiting.deadline_ms),
        )

    def awaiting(self, *, predictions: bool) -> list[Waiting]:
        """The requests that wait for an answer of the partner, or for a run."""
        rows = self._database.execute(
            "SELECT request_id, run, person, deadline_ms FROM vertical_asked WHERE (verb = 'predict') = ? ORDER BY run", (predictions,)
        )
        return [Waiting(*row) for row in rows]

    def answered(self, request_id: str) -> None:
        """It waits no longer."""
        self._database.execute("DELETE FROM vertical_asked WHERE request_id = ?", (request_id,))


def _active(body: bytes) -> Active:
    return tuple(np.frombuffer(body, dtype="<i4").tolist())

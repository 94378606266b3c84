"""One institution's state on disk: a SQLite file that changes by whole turns, so a crash anywhere leaves the turn before it.

Opened by `wiring`; written by `turns` (learning) and `participation` (rounds), read by both at start.
Never holds two writers: a second process on the same folder is refused."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

from audit.checkpoints import Checkpoint
from federation.errors import OwnFault
from streams.ports import Outgoing, Record
from streams.topology import Cluster

DATABASE: Final = "institution.sqlite"
LOCK: Final = "institution.lock"
STATE_VERSION: Final = 2

_SCHEMA: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE offsets (
  topic TEXT NOT NULL, partition INTEGER NOT NULL, next_offset INTEGER NOT NULL, PRIMARY KEY (topic, partition)
) STRICT, WITHOUT ROWID;
CREATE TABLE models (head TEXT NOT NULL, kind TEXT NOT NULL, vector BLOB NOT NULL, PRIMARY KEY (head, kind)) STRICT;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE prequential (head TEXT NOT NULL, kind TEXT NOT NULL, state BLOB NOT NULL, PRIMARY KEY (head, kind)) STRICT;
CREATE TABLE participants (lane TEXT PRIMARY KEY, state BLOB NOT NULL) STRICT;
CREATE TABLE journal (
  id INTEGER PRIMARY KEY AUTOINCREMENT, cluster TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL, key BLOB, value BLOB
) STRICT;
CREATE TABLE seen (id INTEGER PRIMARY KEY AUTOINCREMENT, digest BLOB NOT NULL UNIQUE) STRICT;
CREATE TABLE waiting (
  head TEXT NOT NULL, subject TEXT NOT NULL, sequence INTEGER NOT NULL, customer TEXT NOT NULL, consented INTEGER NOT NULL,
  active BLOB NOT NULL, federated REAL NOT NULL, local REAL NOT NULL, at_ms INTEGER NOT NULL, terminal TEXT NOT NULL,
  PRIMARY KEY (head, subject)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX waiting_in_order ON waiting (head, sequence);
CREATE TABLE early (
  id INTEGER PRIMARY KEY AUTOINCREMENT, head TEXT NOT NULL, subject TEXT NOT NULL, held_ms INTEGER NOT NULL,
  topic TEXT NOT NULL, partition INTEGER NOT NULL, log_offset INTEGER NOT NULL, key BLOB, value BLOB NOT NULL
) STRICT;
CREATE INDEX early_by_subject ON early (head, subject);
CREATE TABLE lessons (
  id INTEGER PRIMARY KEY AUTOINCREMENT, head TEXT NOT NULL, customer TEXT NOT NULL, active BLOB NOT NULL, positive INTEGER NOT NULL
) STRICT;
CREATE INDEX lessons_by_head ON lessons (head);
CREATE TABLE spendings (
  head TEXT NOT NULL, customer BLOB NOT NULL, day INTEGER NOT NULL, cost REAL NOT NULL,
  contributions INTEGER NOT NULL, first_round INTEGER NOT NULL, last_round INTEGER NOT NULL, PRIMARY KEY (head, customer, day)
) STRICT, WITHOUT ROWID;
CREATE INDEX spendings_by_day ON spendings (head, day);
CREATE TABLE ledgers (
  head TEXT PRIMARY KEY, round INTEGER NOT NULL, day INTEGER NOT NULL, unknown_day INTEGER NOT NULL, spent_most REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE behaviour (kind TEXT NOT NULL, key TEXT NOT NULL, numbers BLOB NOT NULL, PRIMARY KEY (kind, key)) STRICT, WITHOUT ROWID;
CREATE TABLE party_records (
  topic TEXT NOT NULL, key BLOB NOT NULL, log_offset INTEGER NOT NULL, timestamp_ms INTEGER NOT NULL, value BLOB NOT NULL,
  PRIMARY KEY (topic, key)
) STRICT;
CREATE TABLE consents (
  customer TEXT NOT NULL, purpose TEXT NOT NULL, permitted INTEGER NOT NULL, PRIMARY KEY (customer, purpose)
) STRICT, WITHOUT ROWID;
CREATE TABLE witnessed (origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE customer_keys (customer TEXT PRIMARY KEY, id BLOB NOT NULL UNIQUE, key BLOB NOT NULL) STRICT;
CREATE TABLE erased (customer BLOB PRIMARY KEY, day INTEGER NOT NULL, returned INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID;
CREATE TABLE profiles (
  customer TEXT PRIMARY KEY, held TEXT NOT NULL, dismissed TEXT NOT NULL, segment TEXT, consented INTEGER NOT NULL,
  updated_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""


class StateUnusable(OwnFault):
    """The state folder cannot be used as it is; the message says why and what to do, in one sentence."""


class Store:
    """The open state of one institution. Every change happens inside `turn()` and is durable when that returns."""

    def __init__(self, database: sqlite3.Connection, lock: int, folder: Path) -> None:
        self.database: Final = database
        self._lock = lock
        self._folder = folder

    @classmethod
    def open(cls, folder: Path, institution: str) -> Self:
        """Open or create the state of `institution` in `folder`; StateUnusable when it is in use, damaged, foreign or of a newer version."""
        lock = _take_lock(folder)
        try:
            return cls(_connect(folder / DATABASE, institution), lock, folder)
        except BaseException:
            os.close(lock)
            raise

    def close(self) -> None:
        """Free the file and the folder; what was committed stays."""
        self.database.close()
        os.close(self._lock)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """All writes inside become durable together, or none of them; an exception rolls back and is passed on."""
        execute = self.database.execute
        try:
            execute("BEGIN IMMEDIATE")
            try:
                yield
                execute("COMMIT")
            except BaseException:
                if self.database.in_transaction:
                    execute("ROLLBACK")
                raise
        except sqlite3.OperationalError as error:
            raise StateUnusable(
                f"the state in {self._folder} cannot be written ({error}): make room or repair the disk, then start again"
            ) from error
        except sqlite3.DatabaseError as error:
            raise _damaged(self._folder / DATABASE, error) from error

    def erase_traces(self) -> None:
        """Call after a commit that removed secrets: moves the write-ahead log into the file and cuts it, so no old page survives in it."""
        self.database.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    # --- offsets ------------------------------------------------------------------------------------------------
    def next_offset(self, topic: str, partition: int) -> int:
        """Offset of the next record to read; 0 for a partition never read."""
        row = self.database.execute("SELECT next_offset FROM offsets WHERE topic = ? AND partition = ?", (topic, partition)).fetchone()
        return 0 if row is None else int(row[0])

    def set_offset(self, topic: str, partition: int, next_offset: int) -> None:
        """Everything before `next_offset` is in the state."""
        self.database.execute("INSERT OR REPLACE INTO offsets VALUES (?, ?, ?)", (topic, partition, next_offset))

    # --- blobs --------------------------------------------------------------------------------------------------
    def model(self, head: str, kind: str) -> bytes | None:
        """A saved vector, float64 little-endian; None if never saved."""
        return self._blob("SELECT vector FROM models WHERE head = ? AND kind = ?", head, kind)

    def set_model(self, head: str, kind: str, vector: bytes | None) -> None:
        """Save a vector, or forget it (None)."""
        if vector is None:
            self.database.execute("DELETE FROM models WHERE head = ? AND kind = ?", (head, kind))
        else:
            self.database.execute("INSERT OR REPLACE INTO models VALUES (?, ?, ?)", (head, kind, vector))

    def prequential(self, head: str, kind: str) -> bytes | None:
        """Saved counts of a prequential measure; None if never saved."""
        return self._blob("SELECT state FROM prequential WHERE head = ? AND kind = ?", head, kind)

    def set_prequential(self, head: str, kind: str, state: bytes) -> None:
        """Save the counts of a prequential measure."""
        self.database.execute("INSERT OR REPLACE INTO prequential VALUES (?, ?, ?)", (head, kind, state))

    def participant(self, lane: str) -> bytes | None:
        """The saved state of a lane's participant, secrets included; None if never saved."""
        return self._blob("SELECT state FROM participants WHERE lane = ?", lane)

    def set_participant(self, lane: str, state: bytes) -> None:
        """Save a participant; the older state's bytes are overwritten (secure_delete)."""
        self.database.execute("INSERT OR REPLACE INTO participants VALUES (?, ?)", (lane, state))

    def _blob(self, query: str, *of: str) -> bytes | None:
        row = self.database.execute(query, of).fetchone()
        return None if row is None else bytes(row[0])

    # --- counters -----------------------------------------------------------------------------------------------
    def counters(self) -> dict[str, int]:
        """Every counter by name."""
        return dict(self.database.execute("SELECT name, value FROM counters ORDER BY name"))

    def set_counters(self, values: Mapping[str, int]) -> None:
        """Save the counters (absolute values) that differ from what is saved: an idle turn writes nothing."""
        saved = self.counters()
        changed = [(name, value) for name, value in values.items() if saved.get(name) != value]
        self.database.executemany("INSERT OR REPLACE INTO counters VALUES (?, ?)", changed)

    # --- who is who -----------------------------------------------------------------------------------------------
    def party_records(self, topic: str) -> Sequence[Record]:
        """The records kept of one topic, in the order of their offsets."""
        rows = self.database.execute(
            "SELECT key, log_offset, timestamp_ms, value FROM party_records WHERE topic = ? ORDER BY log_offset", (topic,)
        )
        return [Record(topic, 0, int(offset), key, value, int(at_ms)) for key, offset, at_ms, value in rows]

    def set_party_record(self, record: Record) -> None:
        """Keep the record, in place of an earlier one with its key."""
        row = (record.topic, record.key or b"", record.offset, record.timestamp_ms, record.value)
        self.database.execute("INSERT OR REPLACE INTO party_records VALUES (?, ?, ?, ?, ?)", row)

    # --- the audit, as its witness ----------------------------------------------------------------------------------
    def witnessed(self, origin: str) -> Checkpoint | None:
        """The checkpoint of this log that was cosigned last."""
        row = self.database.execute("SELECT size, root FROM witnessed WHERE origin = ?", (origin,)).fetchone()
        return None if row is None else Checkpoint(origin, int(row[0]), bytes(row[1]))

    def set_witnessed(self, checkpoint: Checkpoint) -> None:
        """It is about to be cosigned."""
        row = (checkpoint.origin, checkpoint.size, checkpoint.root)
        self.database.execute("INSERT OR REPLACE INTO witnessed VALUES (?, ?, ?)", row)

    # --- journal ------------------------------------------------------------------------------------------------
    def journal(self, cluster: Cluster, records: Iterable[Outgoing]) -> None:
        """Keep the exact bytes about to be said; they are sent after the commit and re-sent unchanged after a crash."""
        self.database.executemany(
            "INSERT INTO journal (cluster, topic, partition, key, value) VALUES (?, ?, ?, ?, ?)",
            ((cluster.value, r.topic, r.partition, r.key, r.value) for r in records),
        )

    def unjournal(self, cluster: Cluster, key: bytes) -> int:
        """Forget what is journaled under a key and not said yet, for it shall not be said; how many records."""
        return self.database.execute("DELETE FROM journal WHERE cluster = ? AND key = ?", (cluster.value, key)).rowcount

    def unsaid(self, cluster: Cluster, records_max: int) -> Sequence[tuple[int, Outgoing]]:
        """Journaled records and their numbers, oldest first."""
        rows = self.database.execute(
            "SELECT id, topic, partition, key, value FROM journal WHERE cluster = ? ORDER BY id LIMIT ?",
            (cluster.value, records_max),
        )
        return [(int(number), Outgoing(topic, partition, key, value)) for number, topic, partition, key, value in rows]

    def forget_said(self, cluster: Cluster, through: int) -> None:
        """The log acknowledged every record up to number `through`."""
        self.database.execute("DELETE FROM journal WHERE cluster = ? AND id <= ?", (cluster.value, through))


def _take_lock(folder: Path) -> int:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise StateUnusable(f"another institution worker is using {folder}: one process per state folder") from error
    return lock


def _connect(path: Path, institution: str) -> sqlite3.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # Round keys lie here: nobody else may read it.
    database = sqlite3.connect(path, isolation_level=None, cached_statements=256)
    try:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON", "temp_store = MEMORY", "cache_size = -65536"):
            database.execute(f"PRAGMA {pragma}")
        _check_whole(database)
        _settle(database, path, institution)
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # What a killed process had erased and not yet cut.
    except sqlite3.DatabaseError as error:
        database.close()
        raise _damaged(path, error) from error
    except BaseException:
        database.close()
        raise
    return database


def _check_whole(database: sqlite3.Connection) -> None:
    verdict = database.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)


def _settle(database: sqlite3.Connection, path: Path, institution: str) -> None:
    """Create the tables of an empty file; otherwise check whose state and which version it is."""
    if database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
        database.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        rows = (("institution", institution), ("version", str(STATE_VERSION)))
        database.execute("BEGIN IMMEDIATE")
        database.executemany("INSERT INTO meta VALUES (?, ?)", rows)
        database.execute("COMMIT")
    meta = dict(database.execute("SELECT name, value FROM meta"))
    if meta.get("version") != str(STATE_VERSION):
        raise StateUnusable(f"{path} has state version {meta.get('version')}, this worker reads version {STATE_VERSION}")
    if meta.get("institution") != institution:
        raise StateUnusable(f"{path} is the state of {meta.get('institution')}, not of {institution}: check state_dir")


def _damaged(path: Path, error: Exception) -> StateUnusable:
    return StateUnusable(
        f"the state in {path} is damaged ({error}): restore it from a backup, or move it away to start afresh from the logs and rejoin at the next epoch"
    )

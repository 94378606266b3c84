from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import stat
from pathlib import Path

import pytest

from institution_workers.storage import DATABASE, StateUnusable, Store
from streams.ports import Outgoing
from streams.topology import Cluster

SECRET = bytes(range(64, 128)) * 8


def test_what_a_turn_wrote_survives_and_belongs_together(tmp_path):
    """State, offsets and outgoing records of one turn are there after reopening."""
    store = Store.open(tmp_path, "north-bank")
    with store.turn():
        store.set_offset("events", 0, 7)
        store.set_model("fraud", "local", b"12345678")
        store.journal(Cluster.OWN, [Outgoing("letters", 0, b"k", b"v")])
        store.set_counters({"read.fraud": 3})
    store.close()

    store = Store.open(tmp_path, "north-bank")

    assert store.next_offset("events", 0) == 7
    assert store.model("fraud", "local") == b"12345678"
    assert store.unsaid(Cluster.OWN, 10) == [(1, Outgoing("letters", 0, b"k", b"v"))]
    assert store.counters() == {"read.fraud": 3}
    store.close()


def test_a_turn_that_fails_leaves_nothing(store):
    """An exception in a turn takes back everything the turn wrote."""

    def fail():
        with store.turn():
            store.set_offset("events", 0, 7)
            store.journal(Cluster.OWN, [Outgoing("letters", 0, None, None)])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert store.next_offset("events", 0) == 0
    assert store.unsaid(Cluster.OWN, 10) == []


def _write_and_die(folder: Path) -> None:
    store = Store.open(folder, "north-bank")
    with store.turn():
        store.set_offset("events", 0, 1)
    with store.turn():
        store.set_offset("events", 0, 2)
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_leaves_the_turn_before(tmp_path):
    """SIGKILL inside a turn: the last committed turn is what a restart finds, and the lock is free."""
    child = multiprocessing.get_context("spawn").Process(target=_write_and_die, args=(tmp_path,))
    child.start()
    child.join(30)

    assert child.exitcode == -signal.SIGKILL
    store = Store.open(tmp_path, "north-bank")
    assert store.next_offset("events", 0) == 1
    store.close()


def test_a_second_process_is_refused(tmp_path):
    """One state folder, one worker; the sentence says which folder."""
    first = Store.open(tmp_path, "north-bank")

    with pytest.raises(StateUnusable, match=f"another institution worker is using {tmp_path}"):
        Store.open(tmp_path, "north-bank")
    first.close()
    Store.open(tmp_path, "north-bank").close()


@pytest.mark.parametrize("content", [b"this is not a database, but it is long enough to look like a page" * 99, b"SQLite format 3\0torn"])
def test_a_file_that_is_no_database_is_one_sentence(tmp_path, content):
    """A foreign or torn file is named, and nothing is overwritten."""
    (tmp_path / DATABASE).write_bytes(content)

    with pytest.raises(StateUnusable, match="is damaged"):
        Store.open(tmp_path, "north-bank")
    assert (tmp_path / DATABASE).read_bytes() == content


def test_a_torn_page_is_found_at_start(tmp_path):
    """Pages overwritten in the middle of the file are noticed before anything is learned on top of them."""
    store = Store.open(tmp_path, "north-bank")
    with store.turn():
        store.set_counters({f"name.{number:06d}": number for number in range(5000)})
    store.close()
    path = tmp_path / DATABASE
    whole = bytearray(path.read_bytes())
    middle = len(whole) // 2
    whole[middle : middle + 8192] = os.urandom(8192)
    path.write_bytes(whole)

    with pytest.raises(StateUnusable, match="is damaged"):
        Store.open(tmp_path, "north-bank")


def test_another_institutions_state_is_refused(tmp_path):
    """A wrong state_dir does not mix two banks."""
    Store.open(tmp_path, "north-bank").close()

    with pytest.raises(StateUnusable, match="is the state of north-bank, not of south-bank"):
        Store.open(tmp_path, "south-bank")


def test_a_newer_state_is_refused(tmp_path):
    """A downgrade does not read what it does not know."""
    store = Store.open(tmp_path, "north-bank")
    with store.turn():
        store.database.execute("UPDATE meta SET value = '99' WHERE name = 'version'")
    store.close()

    with pytest.raises(StateUnusable, match="state version 99"):
        Store.open(tmp_path, "north-bank")


def test_what_was_said_is_forgotten_in_order(store):
    """What the log has is not sent again; what it does not have is kept, in order, and so is the other cluster's."""
    with store.turn():
        store.journal(Cluster.OWN, [Outgoing("t", 0, None, bytes([n])) for n in range(3)])
        store.journal(Cluster.FEDERATION, [Outgoing("r", 0, None, b"x")])
    with store.turn():
        store.forget_said(Cluster.OWN, 2)

    assert store.unsaid(Cluster.OWN, 10) == [(3, Outgoing("t", 0, None, b"\x02"))]
    assert len(store.unsaid(Cluster.FEDERATION, 10)) == 1


def test_erased_secrets_are_nowhere_on_disk(tmp_path):
    """A participant's old state survives neither in the file nor in the write-ahead log."""
    store = Store.open(tmp_path, "north-bank")
    with store.turn():
        store.set_participant("fraud", SECRET * 20)
    assert _on_disk(tmp_path)
    with store.turn():
        store.set_participant("fraud", b"nothing secret")
    store.erase_traces()

    assert not _on_disk(tmp_path)
    store.close()


def _on_disk(folder: Path) -> bool:
    return any(SECRET[:32] in path.read_bytes() for path in folder.iterdir())


def test_only_the_owner_can_read_the_state(tmp_path):
    """Round keys lie there: mode 0600, in a folder of mode 0700."""
    folder = tmp_path / "state"
    Store.open(folder, "north-bank").close()

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / DATABASE).stat().st_mode) == 0o600


def test_the_database_waits_for_the_disk(store):
    """A commit is on disk when it returns, and freed pages are overwritten."""
    pragmas = {name: store.database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("synchronous", "journal_mode", "secure_delete")}

    assert pragmas == {"synchronous": 2, "journal_mode": "wal", "secure_delete": 1}


def test_a_full_disk_is_one_sentence(store):
    """No room: the turn is refused with what to do, and nothing of it stays."""
    pages = store.database.execute("PRAGMA page_count").fetchone()[0]
    store.database.execute(f"PRAGMA max_page_count = {pages + 2}")

    with pytest.raises(StateUnusable, match="make room"), store.turn():
        store.set_model("fraud", "local", bytes(1 << 20))
    assert store.model("fraud", "local") is None
    assert isinstance(store.database, sqlite3.Connection)

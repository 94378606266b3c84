"""A backup is made while the process writes, and comes back byte for byte on an empty machine; never over a history that is there."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from audit.ledger import Ledger, verified_root
from institution_workers.storage import DATABASE, Store
from riverbank.backup import MANIFEST, BackupError, backup, restore

WEIGHTS = bytes(range(256)) * 400


def dump(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as connection:
        return list(connection.iterdump())


def test_an_institution_s_state_comes_back_as_it_was(tmp_path: Path):
    """Models, offsets and what it said: row by row, though the worker has the database open; and the worker takes it."""
    store = Store.open(tmp_path / "state", "north-bank")
    try:
        with store.turn():
            store.set_model("fraud", "federated", WEIGHTS)
            store.set_offset("events.v1", 0, 812)
        backup(tmp_path / "state", tmp_path / "copy")
        before = dump(tmp_path / "state" / DATABASE)
    finally:
        store.close()
    restore(tmp_path / "copy", tmp_path / "elsewhere")

    assert dump(tmp_path / "elsewhere" / DATABASE) == before
    restored = Store.open(tmp_path / "elsewhere", "north-bank")
    try:
        assert (restored.model("fraud", "federated"), restored.next_offset("events.v1", 0)) == (WEIGHTS, 812)
    finally:
        restored.close()


def test_the_audit_s_root_is_the_same_and_the_ledger_goes_on(tmp_path: Path):
    """Every entry of the copy verifies; what is appended to it and to the original gives one root again."""
    with_ledger = Ledger.open(tmp_path / "ledger")
    with_ledger.append([f"entry {number}".encode() for number in range(500)])
    backup(tmp_path / "ledger", tmp_path / "copy")
    restore(tmp_path / "copy", tmp_path / "elsewhere")
    assert verified_root(tmp_path / "elsewhere") == verified_root(tmp_path / "ledger")

    other = Ledger.open(tmp_path / "elsewhere")
    for each in (with_ledger, other):
        each.append([b"one more"])
        each.close()
    assert verified_root(tmp_path / "elsewhere") == verified_root(tmp_path / "ledger")


def test_nothing_is_written_over(tmp_path: Path):
    """Neither an earlier backup nor a state that is there."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "file").write_text("one")
    backup(tmp_path / "state", tmp_path / "copy")

    with pytest.raises(BackupError, match="never written over"):
        backup(tmp_path / "state", tmp_path / "copy")
    with pytest.raises(BackupError, match="not empty"):
        restore(tmp_path / "copy", tmp_path / "state")


def test_a_damaged_backup_is_refused_before_anything_is_written(tmp_path: Path):
    """A changed byte, a missing file, no manifest."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "file").write_text("one")
    backup(tmp_path / "state", tmp_path / "copy")
    (tmp_path / "copy" / "file").write_text("two")

    with pytest.raises(BackupError, match="not what was backed up"):
        restore(tmp_path / "copy", tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere").exists()
    (tmp_path / "copy" / MANIFEST).unlink()
    with pytest.raises(BackupError, match="no backup"):
        restore(tmp_path / "copy", tmp_path / "elsewhere")

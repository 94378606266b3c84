"""A copy of what a process keeps on disk, made while it runs or not, and its way back onto an empty machine.

Called by `riverbank backup` and `riverbank restore`.
Never writes over state that is there: two histories of one party would use a mask twice, or spend a customer's budget twice."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from riverbank.configuration import Process

MANIFEST: Final = "manifest.json"
_SQLITE: Final = b"SQLite format 3\0"
_PLACES: Final = (("institution", "state_dir"), ("vertical", "state_dir"), ("web", "state_dir"), ("audit", "ledger_dir"))


class BackupError(Exception):
    """The copy cannot be made or used; the sentence says why."""


def place_of(process: Process) -> Path:
    """The directory with everything that this process must not lose. BackupError for one that keeps nothing the log has not."""
    for section, setting in _PLACES:
        if hasattr(process, section):
            place: Path = getattr(getattr(process, section), setting)
            return place
    raise BackupError("this process keeps nothing that the federation's log does not have: the log is its backup")


def backup(place: Path, out: Path) -> int:
    """Copy the directory `place` to the new directory `out` with a manifest of SHA-256; how many files.

    A database is copied by SQLite's own means, as of one moment, while its process writes. A file that only grows is copied as far as it
    had grown. BackupError: there is nothing, or `out` exists.
    """
    if not place.is_dir():
        raise BackupError(f"there is nothing in {place}")
    try:
        out.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        raise BackupError(f"{out} exists: a backup is never written over") from None
    digests = {}
    for path in _files(place):
        target = out / path.relative_to(place)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _copy(path, target)
        digests[str(path.relative_to(place))] = _digest(target)
    if not digests:
        raise BackupError(f"there is nothing in {place}")
    (out / MANIFEST).write_text(json.dumps(digests, indent=1, sort_keys=True))
    return len(digests)


def restore(source: Path, place: Path) -> int:
    """Put a backup back as `place`, which must be absent or empty; how many files. BackupError: it is not, or a file is not what the manifest says."""
    try:
        digests: dict[str, str] = json.loads((source / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise BackupError(f"{source} is no backup: {error}") from error
    if place.exists() and any(place.iterdir()):
        raise BackupError(f"{place} is not empty: a party has one history, and this one is left as it is")
    for name, digest in digests.items():
        if not (source / name).is_file() or _digest(source / name) != digest:
            raise BackupError(f"{source / name} is not what was backed up")
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in digests:
        target = place / name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _private(target, (source / name).read_bytes())
    return len(digests)


def _files(place: Path) -> Iterator[Path]:
    for path in sorted(place.rglob("*")):
        # A database's journal goes with the database, and is in its copy.
        if path.is_file() and not path.name.endswith(("-wal", "-shm", "-journal")):
            yield path


def _copy(path: Path, target: Path) -> None:
    with path.open("rb") as file:
        is_database = file.read(len(_SQLITE)) == _SQLITE
    if is_database:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as source, closing(sqlite3.connect(target)) as copy:
            source.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")
    else:
        shutil.copyfile(path, target)
        target.chmod(0o600)


def _private(target: Path, content: bytes) -> None:
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(handle)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

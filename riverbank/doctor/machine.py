"""What the doctor sees on this machine: packages, permissions of files and folders, room on disks, the clock.

Called by `riverbank.doctor.examination`.
Never opens a connection."""

from __future__ import annotations

import ctypes
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from pydantic import BaseModel

from riverbank.doctor.findings import Finding, Level
from streams.settings import SettingsError, read_private_file

ROOM_WANTED: Final = 1 << 30  # Bytes. Less is a warning,
ROOM_NEEDED: Final = 100 << 20  # and less than this is wrong: SQLite and the audit must not fail in the middle.
_PUBLIC_FILES: Final = frozenset({"port_file", "cert_file", "ca_file"})  # Settings that name files without a secret.


def packages() -> Iterator[Finding]:
    """Whether what is installed is what Riverbank asks for."""
    wrong = 0
    for text in requires("riverbank") or ():
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        repair = f"install the locked packages: pip install --require-hashes -r requirements.lock ({requirement} is asked for)"
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            wrong += 1
            yield Finding("packages", Level.WRONG, requirement.name, "not installed", repair)
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            wrong += 1
            yield Finding("packages", Level.WRONG, requirement.name, f"version {installed}", repair)
    if not wrong:
        yield Finding("packages", Level.GOOD, f"riverbank {version('riverbank')}", "every package is of a version it was made for")


def files(settings: BaseModel) -> Iterator[Finding]:
    """Whether files with secrets are there and private, and folders private and writable; settings name both (*_file, *_dir)."""
    for name, path in _paths(settings):
        if name.endswith("_file") and name.rpartition(".")[2] not in _PUBLIC_FILES:
            yield private_file(name, path)
        elif name.endswith("_dir"):
            yield from _folder(name, path)


def _paths(settings: BaseModel, prefix: str = "") -> Iterator[tuple[str, Path]]:
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            yield from _paths(value, f"{prefix}{name}.")
        elif isinstance(value, Path):
            yield prefix + name, value


def private_file(name: str, path: Path) -> Finding:
    """One file that only its owner may read; `name` is the setting's."""
    try:
        read_private_file(path)
    except SettingsError as error:
        repair = f"chmod 600 {path}" if path.exists() else f"put the file there, or name another one in {name}"
        return Finding("permissions", Level.WRONG, f"{name} {path}", str(error).removeprefix(f"{path}: "), repair)
    return Finding("permissions", Level.GOOD, f"{name} {path}", "only its owner may read it")


def _folder(name: str, path: Path) -> Iterator[Finding]:
    subject = f"{name} {path}"
    there = next(each for each in (path, *path.absolute().parents) if each.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        yield Finding(
            "permissions", Level.WRONG, subject, f"{there} cannot be written to", f"give {there} to the user who runs this process"
        )
    elif there == path and stat.S_IMODE(path.stat().st_mode) & 0o077:
        yield Finding("permissions", Level.WARNING, subject, "others may look into it", f"chmod 700 {path}")
    else:
        yield Finding(
            "permissions", Level.GOOD, subject, "only its owner may write to it" if there == path else "will be made at the start"
        )
    yield room(subject, shutil.disk_usage(there).free)


def room(subject: str, free: int) -> Finding:
    """`free` bytes on the disk of a folder."""
    found = f"{free >> 20:,} MiB free"
    if free >= ROOM_WANTED:
        return Finding("disk", Level.GOOD, subject, found)
    level = Level.WARNING if free >= ROOM_NEEDED else Level.WRONG
    return Finding("disk", level, subject, found, f"free at least {ROOM_WANTED >> 20:,} MiB there, or move the folder to a larger disk")


class _Timex(ctypes.Structure):
    """struct timex of adjtimex(2), as far as it is read here; the kernel fills more than these."""

    _fields_ = (
        ("modes", ctypes.c_uint), ("offset", ctypes.c_long), ("freq", ctypes.c_long), ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long), ("status", ctypes.c_int), ("rest", ctypes.c_byte * 512),
    )  # fmt: skip


_NOT_SYNCHRONISED: Final = 0x40  # STA_UNSYNC


def clock() -> Finding:
    """Whether the kernel's clock is kept by a time service (adjtimex(2), reading only)."""
    timex = _Timex()
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    if state < 0:
        return Finding(
            "clock",
            Level.WARNING,
            "this machine",
            f"cannot be asked: {os.strerror(ctypes.get_errno())}",
            "make sure that NTP keeps the clock",
        )
    if timex.status & _NOT_SYNCHRONISED:
        repair = "start a time service (chrony, systemd-timesyncd): deadlines are absolute times, and a late clock misses them"
        return Finding("clock", Level.WARNING, "this machine", "no time service keeps the clock", repair)
    return Finding("clock", Level.GOOD, "this machine", f"kept by a time service, to {timex.maxerror / 1000:.0f} ms")


def machine(settings: BaseModel) -> Iterable[Finding]:
    """All of it for one process."""
    return (*packages(), *files(settings), clock())

"""Debian's PostgreSQL for tests: a cluster of its own below a temporary folder, reached by a socket in it.

Used by the stories of identity, which hold for it as for SQLite.
Never touches a cluster that is there already, and never listens on the network."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_numbers = itertools.count(1)


def binaries() -> Path | None:
    """Where Debian puts the newest PostgreSQL's programs; None if it is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


@dataclass
class Postgres:
    """A running cluster."""

    programs: Path
    folder: Path
    user: list[str] = field(default_factory=list)

    def run(self, program: str, *arguments: str) -> None:
        subprocess.run([*self.user, str(self.programs / program), *arguments], check=True, capture_output=True, cwd=self.folder, timeout=60)

    def new_database(self) -> str:
        """The DSN of an empty database."""
        name = f"portal_{next(_numbers)}"
        self.run("createdb", "-h", str(self.folder), "-U", "riverbank", name)
        return f"postgresql://riverbank@/{name}?host={self.folder}"


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """A cluster, for as long as the context lasts. PostgreSQL refuses to be root, so then it is `postgres`."""
    programs = binaries()
    assert programs is not None
    folder = Path(tempfile.mkdtemp(prefix="riverbank-pg-"))
    user: list[str] = []
    if os.geteuid() == 0:
        os.chown(folder, pwd.getpwnam("postgres").pw_uid, -1)
        user = ["runuser", "-u", "postgres", "--"]
    cluster = Postgres(programs, folder, user)
    data = str(folder / "data")
    try:
        cluster.run("initdb", "-D", data, "-U", "riverbank", "--auth=trust", "--no-sync", "-E", "UTF8")
        options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
        cluster.run("pg_ctl", "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield cluster
        finally:
            cluster.run("pg_ctl", "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)

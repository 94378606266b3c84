"""Kafka's jars, pinned by SHA-256 in jars.lock, fetched once and kept outside the checkout.

Called by riverbank.embedded.kafka.
Never hands out a jar whose bytes are not the pinned ones, and never leaves a half-written file under a jar's name."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
from jgo.maven import MavenContext

_log = structlog.get_logger(__name__)
_LOCK: Final = Path(__file__).with_name("jars.lock")
_DOWNLOADS_AT_ONCE: Final = 8
_TIMEOUT_S: Final = 30


class JarsError(Exception):
    """The jars are not there and cannot be fetched; one sentence."""


@dataclass(frozen=True, slots=True)
class Jar:
    """One line of jars.lock."""

    sha256: str
    group: str
    artifact: str
    version: str

    @property
    def file_name(self) -> str:
        """The name in the cache."""
        return f"{self.artifact}-{self.version}.jar"


def cache_directory() -> Path:
    """Where things fetched once are kept: RIVERBANK_CACHE, else riverbank/ in the user's cache directory."""
    if chosen := os.environ.get("RIVERBANK_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "riverbank"


def pinned_jars() -> tuple[Jar, ...]:
    """Every jar of the class path, in the order of jars.lock."""
    rows = (line.split() for line in _LOCK.read_text().splitlines())
    return tuple(Jar(sha256, *coordinates.split(":")) for sha256, coordinates in rows)


def fetch_jars(cache: Path, jars: Sequence[Jar] | None = None, context: MavenContext | None = None) -> tuple[Path, ...]:
    """The class path, in the order of the lock; what is missing is downloaded first (44 MB, 46 files in all).

    `context` says where from; without one it is the public repository. Another process that fetches at the same time
    waits for this one. Raises JarsError.
    """
    jars = pinned_jars() if jars is None else jars
    folder = cache / "jars"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / ".lock"):
            missing = [jar for jar in jars if not (folder / jar.file_name).exists()]
            if missing:
                _log.info("fetching Kafka", files=len(missing), into=str(folder))
                _download(missing, folder, context)
    except OSError as error:  # Includes every network error of the downloader.
        raise JarsError(f"Kafka's jars are not in {folder} and cannot be fetched, is this machine offline? ({error})") from error
    return tuple(folder / jar.file_name for jar in jars)


def _download(jars: Sequence[Jar], folder: Path, context: MavenContext | None) -> None:
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetching-") as staging:
        context = context or MavenContext(timeout=_TIMEOUT_S, local_repos=[])
        context.repo_cache = Path(staging)

        def one(jar: Jar) -> None:
            try:
                path = context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()
            except RuntimeError as error:  # What the downloader says when the repository has no such file.
                raise JarsError(f"Kafka's jar {jar.file_name} cannot be fetched: {error}") from error
            if hashlib.sha256(path.read_bytes()).hexdigest() != jar.sha256:
                raise JarsError(f"Kafka's jar {jar.file_name} is not the pinned one: its SHA-256 differs from jars.lock")
            path.replace(folder / jar.file_name)

        with ThreadPoolExecutor(_DOWNLOADS_AT_ONCE) as pool:
            list(pool.map(one, jars))


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # Released when the file closes, also by a kill.
        yield

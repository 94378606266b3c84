"""Child processes that cannot outlive us: started with a death signal, restarted when they die, stopped in reverse order.

Called by the demo, the embedded broker and the crash tests.
Never starts a shell, and never leaves a child behind, not even when this process is killed with SIGKILL (Linux)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

import structlog

LOG_TAIL_LINES: Final = 12
STOP_GRACE_S: Final = 10.0
_POLL_S: Final = 0.05

# Runs between fork and the program, in a fresh interpreter: Python code between fork and exec is not safe in a process with threads.
# The parent may have died before prctl took effect, hence the second look at its id.
_LAUNCHER: Final = """
import os, signal, sys
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(sys.argv[1]):
        os._exit(1)
os.execvp(sys.argv[2], sys.argv[2:])
"""

_log = structlog.get_logger(__name__)


class ChildError(Exception):
    """A child could not be started, or dies again and again; the sentence names its log file."""


def log_tail(log: Path, lines_max: int = LOG_TAIL_LINES) -> str:
    """The last lines of a log file; empty if there is none yet."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 16_384))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines_max:])
    except FileNotFoundError:
        return ""


def spawn(argv: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> subprocess.Popen[bytes]:
    """Start `argv` in its own process group with stdout and stderr appended to `log`; raises ChildError.

    On Linux the child is killed as soon as the THREAD that called this ends, so call it from a thread that lives as
    long as the process: the event loop's, never a pool's. `env` replaces the environment. A terminal's Ctrl-C reaches
    the caller only.
    """
    if shutil.which(argv[0]) is None:
        raise ChildError(f"cannot start {argv[0]}: there is no such program")
    log.parent.mkdir(parents=True, exist_ok=True)
    launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid())]
    with _appended(log) as output:
        try:
            return subprocess.Popen(
                [*launcher, *argv], stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env, cwd=cwd, process_group=0
            )
        except OSError as error:
            raise ChildError(f"cannot start {argv[0]}: {error}") from error


def _appended(log: Path) -> IO[bytes]:
    try:
        return log.open("ab")
    except OSError as error:
        raise ChildError(f"cannot write the log {log}: {error}") from error


async def exited(process: subprocess.Popen[bytes]) -> int:
    """The exit code, once there is one; whatever the child left behind in its process group is killed then."""
    while True:
        if process.returncode is not None:
            return process.returncode
        if process.poll() is not None:
            _kill_group(process)
        else:
            await asyncio.sleep(_POLL_S)


async def stop_process(process: subprocess.Popen[bytes], grace_s: float = STOP_GRACE_S) -> int:
    """SIGTERM, up to `grace_s` seconds, then SIGKILL to its whole process group; the exit code."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(exited(process), grace_s)
    return await kill_process(process)


async def kill_process(process: subprocess.Popen[bytes]) -> int:
    """SIGKILL to the child and its process group; the exit code."""
    if process.returncode is None:  # Once reaped, the number may belong to a stranger.
        _kill_group(process)
    return await exited(process)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):  # The whole group is gone already, which is what we want.
        os.killpg(process.pid, signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class Patience:
    """When a death is one too many: `failures_max` runs in a row, each shorter than `steady_s` seconds."""

    failures_max: int = 5
    steady_s: float = 20.0
    pause_first_s: float = 0.25
    pause_max_s: float = 5.0

    def pause_s(self, failures: int) -> float:
        """How long to wait before the next start, after this many failures in a row."""
        return float(min(self.pause_max_s, self.pause_first_s * 2 ** max(0, failures - 1)))


@dataclass(slots=True)
class _Child:
    name: str
    argv: tuple[str, ...]
    log: Path
    env: Mapping[str, str] | None
    layer: int
    may_end: bool
    process: subprocess.Popen[bytes]
    restarts: int = 0
    watch: asyncio.Task[None] | None = None


@dataclass(slots=True)
class Supervisor:
    """Starts named children, restarts one that died, gives up on one that cannot live, stops all in reverse order."""

    patience: Patience = field(default_factory=Patience)
    grace_s: float = STOP_GRACE_S
    _children: dict[str, _Child] = field(default_factory=dict)
    _lost: asyncio.Queue[ChildError] = field(default_factory=asyncio.Queue)

    def start(self, name: str, argv: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None, layer: int | None = None, may_end: bool = False,
    ) -> None:  # fmt: skip
        """Start a child and keep it alive; children of one `layer` stop together, a later layer before an earlier one.

        Without a layer the child gets one of its own, after all that exist. `may_end`: exit code 0 is its end, not a death.
        Raises ChildError.
        """
        if name in self._children:
            raise ChildError(f"there is already a child named {name}")
        if layer is None:
            layer = 1 + max((child.layer for child in self._children.values()), default=-1)
        child = _Child(name, tuple(argv), log, env, layer, may_end, spawn(argv, log=log, env=env))
        self._children[name] = child
        child.watch = asyncio.get_running_loop().create_task(self._keep_alive(child), name=f"keep {name} alive")

    def pids(self) -> dict[str, int]:
        """Name -> process id of every child, in the order of starting."""
        return {child.name: child.process.pid for child in self._children.values()}

    def restarts(self) -> dict[str, int]:
        """Name -> how often the child was started again."""
        return {child.name: child.restarts for child in self._children.values()}

    async def lost(self) -> ChildError:
        """Wait until a child is given up; the sentence to show."""
        return await self._lost.get()

    async def stop(self) -> None:
        """Stop every child, the last layer first; nothing is restarted any more."""
        for child in self._children.values():
            if child.watch is not None:
                child.watch.cancel()
        await asyncio.gather(*(child.watch for child in self._children.values() if child.watch), return_exceptions=True)
        for layer in sorted({child.layer for child in self._children.values()}, reverse=True):
            together = [child for child in self._children.values() if child.layer == layer]
            await asyncio.gather(*(stop_process(child.process, self.grace_s) for child in together))
        self._children.clear()

    async def _keep_alive(self, child: _Child) -> None:
        failures = 0
        while True:
            started = time.monotonic()
            code = await exited(child.process)
            if child.may_end and code == 0:
                return
            failures = 1 if time.monotonic() - started >= self.patience.steady_s else failures + 1
            _log.warning("child died", child=child.name, exit_code=code, failures=failures, log=str(child.log))
            if failures >= self.patience.failures_max:
                self._lost.put_nowait(
                    ChildError(f"{child.name} died {failures} times in a row (exit code {code}), see {child.log}:\n{log_tail(child.log)}")
                )
                return
            await asyncio.sleep(self.patience.pause_s(failures))
            try:
                child.process = spawn(child.argv, log=child.log, env=child.env)
            except ChildError as error:
                self._lost.put_nowait(error)
                return
            child.restarts += 1

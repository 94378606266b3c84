"""Children die with their parent, come back when they die alone, and stop in order.

Run with real processes.
Never waits longer than a few seconds for any of them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from riverbank import processes
from riverbank.processes import ChildError, Patience, Supervisor, exited, kill_process, log_tail, spawn, stop_process

_SLEEP = [sys.executable, "-S", "-c", "import time; print('up', flush=True); time.sleep(60)"]
_DEAF = [
    sys.executable, "-S", "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)",
]  # fmt: skip
_HASTY = Patience(failures_max=3, steady_s=5.0, pause_first_s=0.01, pause_max_s=0.05)


async def _until(condition: object, within_s: float = 5.0) -> None:
    give_up = time.monotonic() + within_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < give_up, "waited too long"
        await asyncio.sleep(0.02)


def _gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def test_output_is_kept_in_the_log(tmp_path: Path) -> None:
    """Standard output and error land in the log, after what stood there already."""
    log = tmp_path / "deep" / "child.log"
    log.parent.mkdir()
    log.write_text("before\n")

    code = await exited(spawn([sys.executable, "-c", "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"], log=log))

    assert code == 3
    assert set(log.read_text().split()) == {"before", "out", "err"}


def test_a_missing_program_is_one_sentence(tmp_path: Path) -> None:
    """Nothing is started, and the sentence names the program."""
    with pytest.raises(ChildError, match="cannot start no-such-program: there is no such program"):
        spawn(["no-such-program"], log=tmp_path / "log")


def test_an_unwritable_log_is_one_sentence(tmp_path: Path) -> None:
    """A log that cannot be written stops the start."""
    with pytest.raises(ChildError, match="cannot write the log"):
        spawn(_SLEEP, log=tmp_path)


async def test_ctrl_c_of_the_terminal_reaches_the_parent_only(tmp_path: Path) -> None:
    """Every child leads a process group of its own."""
    child = spawn(_SLEEP, log=tmp_path / "log")

    assert os.getpgid(child.pid) == child.pid != os.getpgid(0)
    await kill_process(child)


@pytest.mark.skipif(sys.platform != "linux", reason="needs prctl")
async def test_children_and_their_children_die_with_a_killed_parent(tmp_path: Path) -> None:
    """SIGKILL to the parent: nobody is left, two generations down."""
    generation = (
        "import sys, time; from pathlib import Path; from riverbank.processes import spawn\n"
        "here = Path(sys.argv[1]); depth = int(sys.argv[2])\n"
        "argv = [sys.executable, '-c', sys.argv[3], str(here), str(depth - 1), sys.argv[3]] if depth else ['sleep', '60']\n"
        "child = spawn(argv, log=here / f'log{depth}')\n"
        "(here / f'pid{depth}').write_text(str(child.pid))\n"
        "time.sleep(60)\n"
    )
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", generation, str(tmp_path), "1", generation)
    try:
        await _until(lambda: (tmp_path / "pid0").exists() and (tmp_path / "pid0").read_text(), 10)
        descendants = [int((tmp_path / name).read_text()) for name in ("pid1", "pid0")]
        assert not any(map(_gone, descendants))
    finally:
        parent.kill()
        await parent.wait()

    await _until(lambda: all(map(_gone, descendants)), 3)


@pytest.mark.skipif(sys.platform != "linux", reason="needs prctl")
def test_a_parent_that_died_before_the_signal_was_set_is_noticed() -> None:
    """The launcher refuses to run the program of a parent that is not there any more."""
    said = subprocess.run([sys.executable, "-I", "-S", "-c", processes._LAUNCHER, "1", "echo", "orphan"], capture_output=True, check=False)

    assert (said.returncode, said.stdout) == (1, b"")


async def test_a_polite_child_is_asked_and_a_deaf_one_is_killed(tmp_path: Path) -> None:
    """SIGTERM first; after the grace period SIGKILL."""
    polite, deaf = spawn(_SLEEP, log=tmp_path / "polite"), spawn(_DEAF, log=tmp_path / "deaf")
    await _until(lambda: "up" in log_tail(tmp_path / "deaf") and "up" in log_tail(tmp_path / "polite"))

    assert await stop_process(polite, 5) == -signal.SIGTERM
    assert await stop_process(deaf, 0.2) == -signal.SIGKILL
    assert await stop_process(deaf) == -signal.SIGKILL, "stopping twice is harmless"


async def test_what_a_child_leaves_behind_goes_with_it(tmp_path: Path) -> None:
    """A grandchild in the group does not survive its parent's end."""
    script = "import subprocess; print(subprocess.Popen(['sleep', '60']).pid, flush=True)"
    await exited(spawn([sys.executable, "-c", script], log=tmp_path / "log"))

    await _until(lambda: _gone(int(log_tail(tmp_path / "log"))))


async def test_a_killed_child_comes_back(tmp_path: Path) -> None:
    """A new process under the old name, counted as a restart."""
    supervisor = Supervisor(Patience(pause_first_s=0.01))
    supervisor.start("worker", _SLEEP, log=tmp_path / "log")
    first = supervisor.pids()["worker"]

    os.kill(first, signal.SIGKILL)
    await _until(lambda: supervisor.restarts()["worker"] == 1)

    assert supervisor.pids()["worker"] != first
    await supervisor.stop()
    assert supervisor.pids() == {}


async def test_a_child_that_cannot_live_is_given_up_with_its_last_words(tmp_path: Path) -> None:
    """After so many short lives in a row the error names the log and quotes it; the others live on."""
    supervisor = Supervisor(_HASTY)
    supervisor.start("steady", _SLEEP, log=tmp_path / "steady")
    supervisor.start("doomed", [sys.executable, "-S", "-c", "raise SystemExit('no money left')"], log=tmp_path / "doomed.log")

    error = str(await asyncio.wait_for(supervisor.lost(), 5))

    assert "doomed died 3 times in a row (exit code 1)" in error
    assert str(tmp_path / "doomed.log") in error
    assert error.endswith("no money left")
    assert supervisor.restarts() == {"steady": 0, "doomed": 2}
    await supervisor.stop()


async def test_a_program_that_vanished_is_given_up(tmp_path: Path) -> None:
    """A restart that cannot start is reported, not lost in a task."""
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\nsleep 60\n")
    program.chmod(0o755)
    supervisor = Supervisor(_HASTY)
    supervisor.start("worker", [str(program)], log=tmp_path / "log")

    program.unlink()
    os.kill(supervisor.pids()["worker"], signal.SIGKILL)

    assert "there is no such program" in str(await asyncio.wait_for(supervisor.lost(), 5))
    await supervisor.stop()


async def test_the_last_started_stops_first_and_a_layer_stops_together(tmp_path: Path) -> None:
    """Reverse order between layers, at once inside one; a waiting restart does not come back."""
    say = (
        "import os, signal, sys, time\n"
        "def bye(*_):\n"
        " os.write(1, f'asked {sys.argv[1]}\\n'.encode()); time.sleep(float(sys.argv[2]))\n"
        " os.write(1, f'gone {sys.argv[1]}\\n'.encode()); sys.exit()\n"
        "signal.signal(signal.SIGTERM, bye); print('up', flush=True); time.sleep(60)\n"
    )
    log = tmp_path / "log"
    supervisor = Supervisor(Patience(pause_first_s=30, pause_max_s=30))
    supervisor.start("broker", [sys.executable, "-S", "-c", say, "broker", "0"], log=log)
    supervisor.start("one", [sys.executable, "-S", "-c", say, "one", "0.3"], log=log, layer=1)
    supervisor.start("two", [sys.executable, "-S", "-c", say, "two", "0.3"], log=log, layer=1)
    supervisor.start("dead", ["false"], log=log)
    await _until(lambda: log_tail(log).count("up") == 3)

    await supervisor.stop()

    words = [line.split() for line in log.read_text().splitlines() if line != "up"]
    assert sorted(words[:2]) == [["asked", "one"], ["asked", "two"]]
    assert sorted(words[2:4]) == [["gone", "one"], ["gone", "two"]]
    assert words[4:] == [["asked", "broker"], ["gone", "broker"]]


async def test_names_are_unique(tmp_path: Path) -> None:
    """Two children of one name would hide each other."""
    supervisor = Supervisor()
    supervisor.start("worker", _SLEEP, log=tmp_path / "log")

    with pytest.raises(ChildError, match="already a child named worker"):
        supervisor.start("worker", _SLEEP, log=tmp_path / "log")
    await supervisor.stop()


def test_pauses_grow_and_end() -> None:
    """Doubling from the first pause up to the longest."""
    patience = Patience(pause_first_s=0.25, pause_max_s=1.0)

    assert [patience.pause_s(failures) for failures in (1, 2, 3, 4)] == [0.25, 0.5, 1.0, 1.0]


def test_the_tail_of_a_missing_log_is_empty(tmp_path: Path) -> None:
    """No log yet, no lines."""
    assert log_tail(tmp_path / "none") == ""

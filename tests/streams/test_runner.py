"""A process stops when it is told to, says in one sentence why it cannot go on, and never hangs."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from streams.runner import EXIT_BROKEN, EXIT_FAILED, EXIT_STOPPED

PROGRAM = """
import asyncio, sys, time, threading
from federation.errors import Broken, OwnFault
from streams.ports import LogRefused, LogUnavailable
from streams.runner import run_until_signalled
from streams.settings import SettingsError
from streams.telemetry import configure_logging

configure_logging("info")

async def work():
    print("started", flush=True)
    {body}

sys.exit(run_until_signalled(work(), grace_s=0.5))
"""
WAIT = "try:\n        await asyncio.sleep(60)\n    finally:\n        "


def start(body: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.replace("{body}", body)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    return process


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=20)
    return process.returncode, out, err


def test_work_that_ends_by_itself():
    """Exit code 0, nothing said."""
    assert ended(start("pass")) == (EXIT_STOPPED, "", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_work_clean_up(number: signal.Signals):
    """Its finally blocks run, may wait, and the exit code is 0."""
    process = start(WAIT + "await asyncio.sleep(0.1); print('cleaned')")
    process.send_signal(number)

    code, out, err = ended(process)

    assert (code, out) == (EXIT_STOPPED, "cleaned\n")
    assert f'"signal": "{number.name}"' in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "error",
    [
        "LogUnavailable('no broker at x:1')",
        "LogRefused('no topic t')",
        "SettingsError(['a.b: missing'])",
        "OwnFault('no')",
        "OSError('port')",
    ],
)
def test_what_an_operator_can_mend_is_one_sentence(error: str):
    """No traceback, exit code 1."""
    code, _, err = ended(start(f"raise {error}"))

    assert code == EXIT_FAILED
    assert len(err.splitlines()) == 1
    assert err.startswith("riverbank: ")
    assert "Traceback" not in err


@pytest.mark.parametrize("error", ["Broken('the sum is not the sum')", "KeyError('what')"])
def test_a_fault_of_ours_leaves_its_traceback(error: str):
    """In the log, as one line; exit code 70."""
    code, _, err = ended(start(f"raise {error}"))

    assert code == EXIT_BROKEN
    assert len(err.splitlines()) == 1
    assert "Traceback" in err


@pytest.mark.parametrize(
    "hang",
    [
        WAIT + "await asyncio.sleep(60)",  # It waits for something that never comes.
        WAIT + "time.sleep(60)",  # It blocks the loop.
        "await asyncio.to_thread(time.sleep, 60)",  # A thread that cannot be cancelled.
    ],
)
def test_whatever_hangs_is_killed(hang: str):
    """After its grace, whether the loop runs or not."""
    process = start(hang)
    time.sleep(0.1)
    started = time.monotonic()
    process.terminate()

    assert ended(process)[0] == -signal.SIGALRM
    assert time.monotonic() - started < 5


def test_a_second_signal_does_not_wait():
    """Whoever presses twice means it."""
    process = start(WAIT + "print('stopping', flush=True); await asyncio.sleep(60)")
    process.terminate()
    assert process.stdout is not None
    assert process.stdout.readline() == "stopping\n"
    process.terminate()

    assert ended(process)[0] == -signal.SIGTERM

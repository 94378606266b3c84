"""A process that may hold keys leaves no dump of its memory."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

# Asked of the kernel after `riverbank --version` has run in this process; 3 is PR_GET_DUMPABLE.
ASKED = """
import ctypes, resource, sys
from riverbank.cli import main
sys.argv = ["riverbank", "--version"]
try:
    main()
except SystemExit:
    pass
print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
"""
CRASHES = """
import os, signal
from riverbank.core_dumps import forbid_core_dumps
forbid_core_dumps()
os.kill(os.getpid(), signal.SIGSEGV)
"""


def generous() -> None:
    """What an operator's shell may have set."""
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))


def started(script: str, cwd: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=cwd, preexec_fn=generous)  # noqa: PLW1509 One thread.


@pytest.mark.skipif(sys.platform != "linux", reason="needs prctl")
def test_every_command_forbids_them_before_it_does_anything(tmp_path: Path):
    """Both locks are on in a process that has gone through the command line's entry point."""
    with started(ASKED, tmp_path) as process:
        said, _ = process.communicate(timeout=60)

    assert said.splitlines()[-1] == "(0, 0) 0"


def test_a_crash_leaves_no_core(tmp_path: Path):
    """Of a process that a fault has killed, the kernel says whether it dumped core."""
    with started(CRASHES, tmp_path) as process:
        _, status = os.waitpid(process.pid, 0)

    assert os.WTERMSIG(status) == signal.SIGSEGV
    assert not os.WCOREDUMP(status)
    assert list(tmp_path.iterdir()) == []

"""What a checkpoint covers is on the disk, whatever ends the writer: a kill at any moment, or a disk with no room left.

Run with the ledger's and the checkpoints' own code in a process that really dies.
Never simulates the crash."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from audit.signing import last_signed, open_ledger, verified_ledger

# Appends batches and signs after each, and says on stdout which size is signed, for as long as it lives.
_WRITING = """
import asyncio, resource, signal, sys
from pathlib import Path
from audit.signing import open_ledger
from tests.audit.test_witness import Town

async def main():
    directory = Path(sys.argv[1])
    town = Town(directory.parent)
    await town.credentials.publish(town.log)
    await town.parties.catch_up()
    ledger = open_ledger(directory)
    if int(sys.argv[2]):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
    checkpoints = town.checkpoints(directory)
    while True:
        ledger.append([b"x" * 700] * 9)
        await checkpoints.sign(ledger)
        print(ledger.size, flush=True)

asyncio.run(main())
"""


def _started(directory: Path, room: int) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", _WRITING, str(directory), str(room)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _intact(directory: Path, signed: int) -> None:
    """It opens, everything signed is there, and it goes on."""
    last = last_signed(directory)
    assert last is not None
    assert last[1].size >= signed > 0
    ledger = open_ledger(directory)
    assert ledger.size >= last[1].size
    ledger.append([b"afterwards"])
    ledger.close()
    entries, _, covered = verified_ledger(directory)
    assert (covered, entries > covered) == (last[1].size, True)


@pytest.mark.parametrize("seed", range(3))
def test_a_kill_at_any_moment_loses_nothing_that_was_signed(tmp_path: Path, seed: int):
    with _started(tmp_path / "ledger", 0) as writing:
        assert writing.stdout is not None
        signed = int(writing.stdout.readline())
        time.sleep(random.Random(seed).uniform(0, 0.1))
        writing.kill()
        said, _ = writing.communicate(timeout=30)
    signed = max([signed, *(int(line) for line in said.splitlines() if line)])

    assert writing.returncode == -signal.SIGKILL
    _intact(tmp_path / "ledger", signed)


def test_a_full_disk_ends_the_writer_and_loses_nothing_that_was_signed(tmp_path: Path):
    """No file may grow beyond 100,000 bytes: an append fails in the middle of a batch, half of it written."""
    with _started(tmp_path / "ledger", 100_000) as writing:
        said, why = writing.communicate(timeout=60)

    assert writing.returncode == 1
    assert "OSError: [Errno 27] File too large" in why
    _intact(tmp_path / "ledger", int(said.splitlines()[-1]))

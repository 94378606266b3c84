"""How long a refused log-in takes for an address that is known and for one that is not, in turn, with the hash of production: prints JSON.

Run by benchmarks/run.py, or as `python benchmarks/login_times.py [--pairs 40]`.
Never over HTTP: the difference would drown in the network's."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

from streams.telemetry import configure_logging
from web.identity.house import Identity, open_identity
from web.identity.login import Visitor
from web.identity.recorders import LogLines
from web.identity.roles import Role
from web.identity.secrets import open_vault
from web.wiring import SystemClock

KNOWN, UNKNOWN = "person{}@bank.example", "stranger{}@bank.example"


async def refused_ms(identity: Identity, email: str, number: int) -> tuple[float, float]:
    """Milliseconds of wall time and of processor time until the answer; each from an address of its own, so that nobody has to wait."""
    wall, processor = time.perf_counter(), time.process_time()
    answer = await identity.login.password(email, "not the password", Visitor(f"10.0.{number // 250}.{number % 250}", "bench"))
    assert answer.token is None
    assert answer.wait_ms == 0
    return 1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - processor)


async def measured(pairs: int, folder: Path) -> dict[str, object]:
    """The medians of both kinds, and their ratio."""
    vault = open_vault(folder / "vault.key", os.urandom)
    dsn = f"sqlite:///{folder}/portal.sqlite3"
    async with open_identity(dsn, vault, SystemClock(), os.urandom, LogLines(), place="bench", code_needed=True) as identity:
        for number in range(pairs // 3 + 1):
            token = await identity.invitations.make(Role.OFFICER, by="bench")
            await identity.registration.by_invitation(token, email=KNOWN.format(number), name="P", password="seven green otters waltz")  # noqa: S106 A benchmark's.
        times: dict[str, list[tuple[float, float]]] = {KNOWN: [], UNKNOWN: []}
        for number in range(pairs):
            for kind in (KNOWN, UNKNOWN) if number % 2 else (UNKNOWN, KNOWN):
                times[kind].append(await refused_ms(identity, kind.format(number // 3), number))
    wall = {kind: statistics.median(each for each, _ in found) for kind, found in times.items()}
    processor = {kind: statistics.median(each for _, each in found) for kind, found in times.items()}
    return {
        "pairs": pairs,
        "known_ms": round(wall[KNOWN], 2),
        "unknown_ms": round(wall[UNKNOWN], 2),
        "known_processor_ms": round(processor[KNOWN], 2),
        "unknown_processor_ms": round(processor[UNKNOWN], 2),
        "difference_percent": round(100 * (processor[KNOWN] / processor[UNKNOWN] - 1), 2),
    }


def main(pairs: int) -> dict[str, object]:
    """The figures."""
    configure_logging("warning")
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(measured(pairs, Path(folder)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=200)
    print(json.dumps(main(parser.parse_args().pairs)))

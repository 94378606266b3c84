"""Seconds per round through a real Kafka and the real aggregator process, with scripted institutions: prints JSON.

Run as `python benchmarks/kafka_round.py [--institutions 32] [--dimension 100000] [--rounds 8] [--workers 1] [--flower-python PATH]`;
with Flower, two rounds of its SecAgg+ follow, in one process of its own and without a broker.
Never a measure of institutions: all of them share this one process, whose own seconds are told apart."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.secagg import Flower
from federation import messages as m
from riverbank.embedded.kafka import EmbeddedKafka
from tests.aggregator_worker.cast import Cast
from tests.aggregator_worker.troupe import Troupe

FLOWER_ROUNDS = 2
ENDING = {m.SurvivorsNamed: m.MaskedUpdate, m.ModelPublished: m.SharesRevealed}


async def measured(institutions: int, dimension: int, rounds: int, workers: int) -> dict[str, object]:
    """One federation from nothing to `rounds` models; the first one warms up."""
    names = tuple(f"bank-{number:03}" for number in range(institutions))
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        async with EmbeddedKafka(directory / "kafka") as kafka:
            troupe = Troupe(kafka.bootstrap, directory, names, dimension=dimension)
            await troupe.prepare(round_ms=100, masked_wait_ms=120_000, unmask_wait_ms=120_000, epoch_wait_ms=60_000)
            own_s: list[float] = []
            troupe.cast.aside = own_s.append
            begun = time.monotonic()
            for _ in range(workers):
                await troupe.start().ready()
            ready_s = time.monotonic() - begun
            try:
                await troupe.cast.play(lambda cast: len(cast.said(m.EpochReady)) > 0, within_s=300)
                setup_s, before = time.monotonic() - begun - ready_s, sum(own_s)
                await troupe.cast.play(lambda cast: len(cast.published) > rounds, within_s=600)
                peaks = [psutil.Process(worker.process.pid).memory_info().rss / 1e6 for worker in troupe.workers]
                await troupe.check()
            finally:
                await troupe.close()
            seconds = rounds_s(troupe.cast)[1:]
            after_updates, after_shares = (_reaction_s(troupe.cast, kind) for kind in ENDING)
            return {
                "institutions": institutions, "dimension": dimension, "workers": workers, "rounds": len(seconds),
                "masked_megabytes_per_round": round(institutions * 4 * (dimension + 1) / 1e6, 1),
                "aggregator_ready_s": round(ready_s, 2), "epoch_setup_s": round(setup_s, 2),
                "round_s": {"median": round(statistics.median(seconds), 3), "min": round(min(seconds), 3), "max": round(max(seconds), 3)},
                "last_update_to_survivors_s": round(statistics.median(after_updates), 3),
                "last_share_to_model_s": round(statistics.median(after_shares), 3),
                "institutions_own_s_per_round": round((sum(own_s) - before) / (len(seconds) + 1), 3),
                "aggregator_rss_mb": [round(peak) for peak in peaks],
                "python": platform.python_version(), "cores": psutil.cpu_count(),
            }  # fmt: skip


def rounds_s(cast: Cast) -> list[float]:
    """From a round's opening to its model, by the broker's clock."""
    opened_ms, found = 0, []
    for received, at_ms in zip(cast.heard, cast.heard_at_ms, strict=True):
        if isinstance(received.message, m.RoundOpened):
            opened_ms = at_ms
        elif isinstance(received.message, m.ModelPublished):
            found.append((at_ms - opened_ms) / 1000)
    return found


def _reaction_s(cast: Cast, decision: type[m.Message]) -> list[float]:
    """From the last record a decision waits for to the decision."""
    last_ms, found = 0, []
    for received, at_ms in zip(cast.heard, cast.heard_at_ms, strict=True):
        if isinstance(received.message, ENDING[decision]):
            last_ms = at_ms
        elif isinstance(received.message, decision):
            found.append((at_ms - last_ms) / 1000)
    return found[1:]


def flower_rounds(python: str, institutions: int, dimension: int) -> dict[str, object]:
    """Seconds of Flower's rounds with as many clients: of the clock, and of its process."""
    flower, clock_s, processor_s = Flower(python, institutions, dimension, 0, FLOWER_ROUNDS), [], []
    try:
        for _ in range(FLOWER_ROUNDS):
            begun = time.monotonic()
            row = flower.round()
            clock_s.append(round(time.monotonic() - begun, 2))
            processor_s.append(round((institutions * row["client_ms"] + row["aggregator_ms"]) / 1000, 2))
    finally:
        flower.close()
    return {"round_s": clock_s, "processor_s": processor_s}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--institutions", type=int, default=32)
    parser.add_argument("--dimension", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--flower-python", default=os.environ.get("FLOWER_PYTHON"))
    asked = vars(parser.parse_args())
    flower_python = asked.pop("flower_python")
    found = asyncio.run(measured(**asked))
    found["flower"] = flower_rounds(flower_python, asked["institutions"], asked["dimension"]) if flower_python else None
    print(json.dumps(found, indent=1))

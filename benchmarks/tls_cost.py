"""What mutual TLS and access lists cost: ingest and rounds with them against without, in one run: prints JSON.

Run by benchmarks/run.py, or as `python benchmarks/tls_cost.py [--payments 5000] [--repeats 3] [--rounds 6]`.
Never a measure of a tuned broker: it is the embedded one, whose JVM has only its first compiler."""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.kafka_round import rounds_s
from benchmarks.learning import Life, learned, life
from riverbank.embedded.kafka import EmbeddedKafka
from streams.access import Principal
from streams.cluster_plan import Wanted
from streams.codec import encode
from streams.kafka import KafkaLog
from streams.kafka_admin import provision_topics
from streams.ports import Outgoing
from streams.topology import OUTCOMES, OWN_TOPICS, TRANSACTIONS, Role
from tests.aggregator_worker.troupe import Troupe
from tests.pki import Pki
from tests.streams.secured import Secured

BATCH = 500
Figures = dict[str, list[float]]


class Side:
    """One broker: with certificates or without."""

    def __init__(self, kafka: EmbeddedKafka, secured: Secured | None) -> None:
        self.kafka, self.secured = kafka, secured
        self.figures: Figures = {}

    def log(self, principal: Principal) -> KafkaLog:
        """As one principal."""
        return KafkaLog(self.kafka.bootstrap, tls=self.secured and self.secured.pki.tls(principal))

    @contextmanager
    def measured(self, what: str, *pids: int) -> Iterator[None]:
        """Seconds by the clock, of the broker's processor time, and of that of this process and `pids`."""
        others = [psutil.Process(), *map(psutil.Process, pids)]
        begun, broker, own = time.perf_counter(), _spent([psutil.Process(self.kafka.pid)]), _spent(others)
        yield
        for name, value in (
            ("wall", time.perf_counter() - begun),
            ("broker", _spent([psutil.Process(self.kafka.pid)]) - broker),
            ("clients", _spent(others) - own),
        ):
            self.figures.setdefault(f"{what}_{name}_s", []).append(value)


def _spent(processes: list[psutil.Process]) -> float:
    times = [process.cpu_times() for process in processes]
    return sum(each.user + each.system for each in times)


async def ingest(side: Side, events: Life, bank: str) -> None:
    """A source writes so many payments and labels; the institution's worker reads and learns them."""
    if side.secured is None:
        await provision_topics(side.kafka.bootstrap, OWN_TOPICS, bank)
    else:
        await side.secured.apply(Wanted.own(bank))
    topics = (TRANSACTIONS.full_name(bank), OUTCOMES.full_name(bank))
    records = [Outgoing(topic, 0, None, encode(message)) for pair in events for topic, message in zip(topics, pair, strict=True)]
    source, worker = side.log(Principal(bank, Role.SOURCE)), side.log(Principal(bank, Role.INSTITUTION))
    with side.measured("write"):
        for at in range(0, len(records), BATCH):
            await source.append(records[at : at + BATCH])
    with side.measured("learn"):
        await learned(worker, bank, len(events))
    await source.close()
    await worker.close()


async def rounds(side: Side, directory: Path, institutions: int, dimension: int, count: int) -> None:
    """Scripted institutions and a real aggregator process; the first round warms up."""
    names = tuple(f"bank-{number:02}" for number in range(institutions))
    troupe = Troupe(side.kafka.bootstrap, directory, names, dimension=dimension, secured=side.secured)
    await troupe.prepare(round_ms=100, masked_wait_ms=120_000, unmask_wait_ms=120_000, epoch_wait_ms=60_000)
    worker = troupe.start()
    await worker.ready()
    try:
        await troupe.cast.play(lambda cast: len(cast.published) > 1, within_s=300)
        with side.measured("rounds", worker.process.pid):
            await troupe.cast.play(lambda cast: len(cast.published) > 1 + count, within_s=600)
        side.figures["round_s"] = rounds_s(troupe.cast)[1:]
    finally:
        await troupe.close()


async def main(payments: int, repeats: int, institutions: int, dimension: int, count: int) -> dict[str, object]:
    """Both sides in turn, on brokers that run side by side."""
    events = life(payments)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        pki = Pki(directory / "pki")
        plain, secured = EmbeddedKafka(directory / "plain"), EmbeddedKafka(directory / "secured", tls=pki.broker())
        starts: Figures = {}
        for label, kafka in (("plain", plain), ("tls", secured)):
            begun = time.perf_counter()
            await kafka.start()
            starts[label] = [time.perf_counter() - begun, _spent([psutil.Process(kafka.pid)])]
        sides = {"plain": Side(plain, None), "tls": Side(secured, Secured(secured, pki))}
        try:
            for number in range(repeats + 1):
                if number == 1:  # What came before warmed up.
                    for side in sides.values():
                        side.figures.clear()
                for side in sides.values():
                    await ingest(side, events, f"bank-{number}")
            for label, side in sides.items():
                (directory / label).mkdir(exist_ok=True)
                await rounds(side, directory / label, institutions, dimension, count)
        finally:
            await plain.stop()
            await secured.stop()
    return {
        "records": 2 * payments, "repeats": repeats, "institutions": institutions, "dimension": dimension, "rounds": count,
        "start_wall_s": {label: round(found[0], 2) for label, found in starts.items()},
        "start_processor_s": {label: round(found[1], 2) for label, found in starts.items()},
    } | {
        label: {what: {"min": round(min(found), 3), "median": round(statistics.median(found), 3)} for what, found in side.figures.items()}
        for label, side in sides.items()
    }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--payments", type=int, default=5_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--institutions", type=int, default=8)
    parser.add_argument("--dimension", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=6, dest="count")
    print(json.dumps(asyncio.run(main(**vars(parser.parse_args()))), indent=1))

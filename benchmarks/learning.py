"""How fast one institution learns from its own log, beside bare River on the same examples: prints JSON.

Run by benchmarks/run.py, or as `python benchmarks/learning.py [--payments 10000]`.
Never a broker: the log is in memory, the worker's SQLite file on disk, as in a real worker."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from river.linear_model import LogisticRegression
from river.optim import SGD

from federation.heads.behaviour import Behaviour
from federation.messages import CardTransaction, HeadName, OutcomeObserved
from institution_workers.learner import Encoders
from institution_workers.learning import Learning
from institution_workers.speaker import Speaker
from institution_workers.storage import Store
from institution_workers.study import Study
from streams.codec import encode
from streams.memory import MemoryLog
from streams.ports import Log, Outgoing
from streams.settings import USUAL_LEARNING_RATES
from streams.topology import OUTCOMES, OWN_TOPICS, TRANSACTIONS, Cluster, partitions_of
from web.wiring import SystemClock

BANK = "north-bank"
START_MS = 1_700_000_000_000
Life = list[tuple[CardTransaction, OutcomeObserved]]


def life(payments: int) -> Life:
    """Payments ten seconds apart of 500 customers at 200 terminals, each with its label, 2 of 100 positive."""
    draw, found = random.Random(7), []
    for number in range(payments):
        at_ms = START_MS + 10_000 * number
        payment = CardTransaction(
            event_id=f"p{number}", customer=f"c{draw.randrange(500)}", occurred_at_ms=at_ms, consented=True,
            terminal=f"t{draw.randrange(200)}", amount=round(draw.lognormvariate(3, 1), 2),
        )  # fmt: skip
        label = OutcomeObserved(
            event_id=f"o{number}", head=HeadName.FRAUD, subject=payment.event_id, occurred_at_ms=at_ms, positive=draw.random() < 0.02
        )
        found.append((payment, label))
    return found


async def filled(events: Life) -> MemoryLog:
    """The institution's log with these events in it."""
    times = itertools.count(START_MS, 5_000)  # Two records per payment.
    log = MemoryLog(partitions_of(OWN_TOPICS, BANK), now_ms=lambda: next(times))
    for payment, label in events:
        await log.append([Outgoing(TRANSACTIONS.full_name(BANK), 0, None, encode(payment))])
        await log.append([Outgoing(OUTCOMES.full_name(BANK), 0, None, encode(label))])
    return log


@dataclass(frozen=True)
class Spent:
    """Seconds by the clock, and of processor time, since `begun`."""

    wall_s: float
    processor_s: float

    @classmethod
    def now(cls) -> Spent:
        """The two clocks."""
        return cls(time.perf_counter(), time.process_time())

    def since(self, begun: Spent) -> Spent:
        """The time between two readings."""
        return Spent(self.wall_s - begun.wall_s, self.processor_s - begun.processor_s)


async def ours(events: Life) -> Spent:
    """A worker on a log in memory."""
    return await learned(await filled(events), BANK, len(events))


async def learned(log: Log, bank: str, payments: int) -> Spent:
    """A worker's time from the first record in its log to the commit after the last of so many payments."""
    with tempfile.TemporaryDirectory() as name:
        store, clock = Store.open(Path(name), bank), SystemClock()
        try:
            study = Study(store, bank, [HeadName.FRAUD], clock=clock)
            speaker = Speaker(store, Cluster.OWN, log)
            learning = Learning(log, study, speaker, institution=bank, clock=clock, monotonic=time.monotonic, records_max=2000)
            await learning.open()
            begun = Spent.now()
            while study.pupils[HeadName.FRAUD].learned < payments:
                await learning.step(100)
            spent = Spent.now().since(begun)
            await learning.close()
            return spent
        finally:
            store.close()


def examples(events: Life) -> list[tuple[dict[int, float], bool]]:
    """What the models are taught: the coordinates of each payment as it was when it happened."""
    encoder, behaviour, found = Encoders.shipped().fraud, Behaviour(), []
    for payment, label in events:
        active = encoder.encode(payment, behaviour)
        behaviour.observe(payment.customer, payment.terminal, payment.amount, payment.occurred_at_ms)
        behaviour.label(payment.terminal, label.positive, label.occurred_at_ms)
        found.append((dict.fromkeys((0, *active), 1.0), label.positive))
    return found


def bare(taught: list[tuple[dict[int, float], bool]]) -> Spent:
    """River alone: one prediction and one step per example, on dicts made beforehand."""
    model = LogisticRegression(optimizer=SGD(USUAL_LEARNING_RATES[HeadName.FRAUD]))
    begun = Spent.now()
    for coordinates, positive in taught:
        model.predict_proba_one(coordinates)  # type: ignore[no-untyped-call]
        model.learn_one(coordinates, positive)
    return Spent.now().since(begun)


def rates(count: int, spent: list[Spent]) -> dict[str, int]:
    """Per second by the clock and per second of processor time: best and median."""
    found = {"": [each.wall_s for each in spent], "processor_": [each.processor_s for each in spent]}
    best = {f"{clock}best": round(count / min(seconds)) for clock, seconds in found.items()}
    return best | {f"{clock}median": round(count / statistics.median(seconds)) for clock, seconds in found.items()}


def main(payments: int, repeats: int) -> dict[str, object]:
    """Both, in turn."""
    events = life(payments)
    taught = examples(events)
    ours_spent, bare_spent = [], []
    for _ in range(repeats):
        ours_spent.append(asyncio.run(ours(events)))
        bare_spent.append(bare(taught))
    return {
        "payments": payments, "repeats": repeats, "records_per_s": rates(2 * payments, ours_spent),
        "labelled_per_s": rates(payments, ours_spent), "bare_river_labelled_per_s": rates(payments, bare_spent),
    }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--payments", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    print(json.dumps(main(**vars(parser.parse_args()))))

"""How much memory one institution's learning holds as events go by: prints JSON.

Run by benchmarks/run.py, or as `python benchmarks/memory.py [--records 1000000]`.
Never a broker: generated records are made as the log would hold them, a turn at a time; the worker's SQLite file lies on disk."""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil

from federation.messages import HeadName
from institution_workers.storage import DATABASE, Store
from institution_workers.study import Study
from riverbank.generator.sources import sources
from riverbank.generator.world import World
from streams.codec import encode
from streams.ports import Record
from streams.topology import Cluster
from web.wiring import SystemClock

BANK = "north-bank"
TURN_RECORDS = 2_000
READINGS = 10
EVERYTHING = 1 << 62


def records(world: World) -> Iterator[Record]:
    """Everybody's payments and their outcomes, as one institution's log holds them; without an end."""
    offsets: Counter[str] = Counter()
    for arrival in sources(world)[HeadName.FRAUD](Counter()):
        topic = arrival.topic.full_name(BANK)
        yield Record(topic, 0, offsets[topic], arrival.key, encode(arrival.message), arrival.at_ms)
        offsets[topic] += 1


def main(count: int, customers: int) -> dict[str, object]:
    """Learn `count` records, and read the process's resident memory ten times on the way."""
    stream, process, read_every = records(World(seed=1, customers=customers)), psutil.Process(), count // READINGS
    readings = []
    with tempfile.TemporaryDirectory() as name:
        store = Store.open(Path(name), BANK)
        study = Study(store, BANK, [HeadName.FRAUD], clock=SystemClock())
        for taken in range(0, count, TURN_RECORDS):
            study.turn(list(itertools.islice(stream, TURN_RECORDS)))
            with store.turn():
                store.forget_said(Cluster.OWN, EVERYTHING)  # As if the log had taken it.
            if (taken + TURN_RECORDS) % read_every < TURN_RECORDS:
                readings.append(round(process.memory_info().rss / 2**20, 1))
        learned, refused = (
            study.pupils[HeadName.FRAUD].learned,
            sum(n for key, n in study.learner.counts.items() if key.startswith("refused.")),
        )
        assert not refused, f"{refused} records were refused"
        store.close()
        state_mb = round((Path(name) / DATABASE).stat().st_size / 2**20, 1)
    return {"records": count, "customers": customers, "learned": learned, "resident_mb": readings, "state_mb": state_mb}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", dest="count", type=int, default=1_000_000)
    parser.add_argument("--customers", type=int, default=1_000)
    print(json.dumps(main(**vars(parser.parse_args()))))

"""What one secure-aggregation round costs its parties in processor time: prints JSON lines, one per cell.

Run by benchmarks/run.py, or as `python benchmarks/secagg.py [--dimension 100000] [--flower-python PATH]`; with Flower, its rounds alternate with ours.
Never crosses a network or a disk: both cores, codec, signatures and sealing, one party after the other on one core."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from federation import messages as m
from federation.ids import digest_of
from federation.limits import CHUNK_LENGTH_MAX, ROUNDS_PER_EPOCH_MAX
from federation.rounds.effects import Effect, Event, PrepareContribution, Publish, Received, RingVector
from federation.secagg.keys import sign
from federation.secagg.quantize import encode_contribution
from streams.signed import open_record, seal_record
from streams.topology import CHUNKS, ROUNDS
from tests.aggregator_worker.cast import Parties
from tests.sim.table import AGGREGATOR, FEDERATION, LAYOUT, Table

EPOCH_ROUNDS = 32
FLOWER_SECONDS_MAX = 75.0  # No further Flower round of a cell is begun after that: one of 50 members takes half a minute and more.
DROPOUTS = (0.0, 0.3)
SPOKEN_IN_A_ROUND = (m.MaskedUpdate, m.MaskedChunk, m.SurvivorsAcked, m.SharesRevealed)
FLOWER = Path(__file__).with_name("flower_secagg.py")


class TimedTable(Table):
    """A table whose records are sealed by their sender and opened by every reader, with the seconds and bytes of each party."""

    def __init__(self, members: int, dimension: int) -> None:
        names = [f"bank-{number:03}" for number in range(members)]
        terms = m.RoundParameters(
            dimension=dimension, layout_digest=LAYOUT, clip_norm=0.5, scale=32_768.0, noise_sigma=0.0, examples_max=50,
            chunk_length=CHUNK_LENGTH_MAX,
        )  # fmt: skip
        assert EPOCH_ROUNDS <= ROUNDS_PER_EPOCH_MAX
        self.parties = Parties(FEDERATION, names)
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.sent_bytes: Counter[str] = Counter()
        self.values: dict[bytes, bytes] = {}
        self._busy = False
        super().__init__(
            names, dimension=dimension, parameters=terms, rounds_per_epoch=EPOCH_ROUNDS, renewal_wait_ms=10**9, masked_wait_ms=3_000
        )
        self.total = np.random.Generator(np.random.PCG64(1)).integers(-50_000, 50_000, dimension + 1)
        self.total[-1] = 50 * terms.count_quanta
        self.no_noise = np.zeros(dimension + 1, dtype=np.int64)
        self.contribute = self._encoded
        self.dead: frozenset[str] = frozenset()
        self.silent = lambda sender, message: sender in self.dead and isinstance(message, SPOKEN_IN_A_ROUND)

    def _encoded(self, _name: str, wanted: PrepareContribution) -> RingVector:
        return encode_contribution(self.total, self.no_noise, wanted.parameters)

    @contextmanager
    def _turn(self, party: str) -> Iterator[None]:
        """Processor seconds of the outermost turn only: a turn may cause another of the same party."""
        if self._busy:
            yield
            return
        self._busy, begun = True, time.process_time()
        try:
            yield
        finally:
            self.seconds[party] += time.process_time() - begun
            self._busy = False

    def _seal(self, sender: str, message: m.Message) -> bytes:
        seed, topic = self.parties.keys[sender].signing_seed, CHUNKS if isinstance(message, m.MaskedChunk) else ROUNDS
        value = seal_record(message, sender=sender, sign=partial(sign, seed), federation=FEDERATION, topic=topic)
        self.sent_bytes[sender] += len(value)
        return value

    def _open(self, value: bytes, *, chunk: bool = False) -> m.Message:
        topic = CHUNKS if chunk else ROUNDS
        return open_record(value, topic=topic, federation=FEDERATION, verify=self.parties.registry.verify).message

    def say(self, sender: str, message: m.Message) -> Received:
        """As the table's, with the record that would have been sent."""
        value = self._seal(sender, message)
        received = super().say(sender, message)
        self.values[received.digest] = value
        return received

    def tell_coordinator(self, event: Event) -> None:
        """As the table's, timed; the record is opened first."""
        with self._turn(AGGREGATOR):
            if isinstance(event, Received):
                self._open(self.values[event.digest])
            super().tell_coordinator(event)

    def tell(self, name: str, event: Event) -> None:
        """As the table's, timed; the record is opened first."""
        with self._turn(name):
            if isinstance(event, Received):
                self._open(self.values[event.digest])
            super().tell(name, event)

    def _perform_for_member(self, name: str, effect: Effect) -> None:
        if isinstance(effect, Publish) and isinstance(effect.message, m.MaskedChunk):
            self.values[digest_of(effect.message.body)] = self._seal(name, effect.message)
        super()._perform_for_member(name, effect)

    def opened_chunk(self, digest: bytes, accused: str) -> RingVector:
        """As the table's, out of its record."""
        self._open(self.values[digest], chunk=True)
        return super().opened_chunk(digest, accused)

    def lap(self) -> dict[str, float]:
        """Since the last lap: mean milliseconds and bytes of the members alive, milliseconds of the aggregator."""
        alive = [name for name in self.names if name not in self.dead]
        found = {
            "client_ms": 1000 * statistics.mean(self.seconds[name] for name in alive),
            "aggregator_ms": 1000 * self.seconds[AGGREGATOR],
            "up_bytes": statistics.mean(self.sent_bytes[name] for name in alive),
        }
        self.seconds.clear()
        self.sent_bytes.clear()
        self.chunks.clear()
        self.contributions.clear()
        return found

    def set_up(self) -> dict[str, float]:
        """Agree on an epoch's keys."""
        self.until(m.RoundOpened, steps_max=100_000)
        return self.lap()

    def round(self, dead: int) -> dict[str, float]:
        """One round in which `dead` members fall silent after the epoch's set-up; AssertionError unless it made a model."""
        self.dead, before = frozenset(self.names[:dead]), len(self.said(m.ModelPublished))
        self.until(m.ModelPublished, m.RoundAbandoned, steps_max=100_000)
        self.deliver()
        published = [received.message for received in self.said(m.ModelPublished)][before:]
        assert len(published) == 1
        assert isinstance(published[0], m.ModelPublished)
        assert len(published[0].contributors) == len(self.names) - dead
        return self.lap()


class Flower:
    """Flower's SecAgg+ in its own interpreter; one round each time it is asked."""

    def __init__(self, python: str, members: int, dimension: int, dead: int, rounds: int) -> None:
        argv = [python, str(FLOWER), str(members), str(dimension), str(dead), str(rounds)]
        usual = {"FLWR_TELEMETRY_ENABLED": "0", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **usual})

    def round(self) -> dict[str, float]:
        """The next round's row."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write("\n")
        self._child.stdin.flush()
        for line in self._child.stdout:
            if line.startswith("{"):
                row: dict[str, float] = json.loads(line)
                return row
        raise RuntimeError("Flower's process ended early")

    def close(self) -> None:
        """End the process."""
        self._child.terminate()
        self._child.communicate()


def summary(rows: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Min and median of each column."""
    return {
        key: {"min": round(min(v), 3), "median": round(statistics.median(v), 3)} for key in rows[0] for v in [[row[key] for row in rows]]
    }


def cell(members: int, dimension: int, dropout: float, repeats: int, flower_python: str | None) -> dict[str, object]:
    """One row of the table: rounds of both systems, one after the other in turn."""
    dead = int(members * dropout)
    warm_up = 0 if members >= 50 else 1  # A first round costs Flower some milliseconds of imports: nothing beside its seconds here.
    flower = Flower(flower_python, members, dimension, dead, warm_up + repeats) if flower_python else None
    set_ups, ours, theirs = [], [], []
    spent_s = 0.0
    try:
        for _ in range(warm_up + repeats):
            table = TimedTable(members, dimension)
            set_ups.append(table.set_up())
            table.round(0)  # Warms caches up, and makes sure that the dropouts come in the middle of an epoch.
            ours.append(table.round(dead))
            if flower is not None and spent_s < FLOWER_SECONDS_MAX:
                begun = time.monotonic()
                theirs.append(flower.round())
                spent_s += time.monotonic() - begun
    finally:
        if flower is not None:
            flower.close()
    return {
        "members": members, "dimension": dimension, "dropped": dead, "repeats": repeats, "epoch_rounds": EPOCH_ROUNDS,
        "set_up": summary(set_ups[warm_up:]), "round": summary(ours[warm_up:]),
        "flower_round": summary(theirs[warm_up:]) if theirs else None, "flower_repeats": len(theirs[warm_up:]),
    }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dimension", type=int, default=100_000)
    parser.add_argument("--members", type=int, nargs="+", default=[5, 20, 50])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--flower-python", default=os.environ.get("FLOWER_PYTHON"))
    options = parser.parse_args()
    for count in options.members:
        for share in DROPOUTS:
            print(json.dumps(cell(count, options.dimension, share, options.repeats, options.flower_python)), flush=True)

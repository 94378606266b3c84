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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from aggregator_worker.chunk_sums import ChunkSums, opener
from federation import messages as m
from federation.limits import CHUNK_LENGTH_MAX, ROUNDS_PER_EPOCH_MAX
from federation.rounds.effects import ChunksSummed, Effect, Event, PrepareContribution, Publish, Received, RingVector, SumChunks
from federation.rounds.phases import AGGREGATOR_ALONE_READS
from federation.secagg.keys import Secret, sign, signing_public, verify
from federation.secagg.quantize import encode_contribution
from streams.codec import kind_of
from streams.signed import Opened, open_envelope, seal_record, unwrapped
from streams.topology import CHUNKS, ROUNDS, Topic
from tests.credentials import Credentials
from tests.sim.table import AGGREGATOR, FEDERATION, Table, parameters

EPOCH_ROUNDS = 32
FLOWER_SECONDS_MAX = 75.0  # No further Flower round of a cell is begun after that: one of 50 members takes half a minute and more.
FLOWER_MEMBERS_MAX = 50  # One round of 200 takes it many minutes.
DROPOUTS = (0.0, 0.3)
SAMPLE_MAX = 25  # Members whose time is taken.
SPOKEN_IN_A_ROUND = (m.MaskedUpdate, m.MaskedChunk, m.SurvivorsAcked, m.SharesRevealed)
FLOWER = Path(__file__).with_name("flower_secagg.py")


def sample_of(names: Sequence[str]) -> frozenset[str]:
    """Whose time is taken: evenly spread. The others only take part; they do not open what they know already."""
    return frozenset(names[:: -(-len(names) // SAMPLE_MAX)])


class Stopwatch:
    """Processor seconds by party and by what is done; what runs inside a nested part is counted there alone."""

    def __init__(self) -> None:
        self.seconds: defaultdict[tuple[str, str], float] = defaultdict(float)
        self._running: list[tuple[str, str]] = []
        self._since = 0.0

    @contextmanager
    def part(self, party: str, what: str) -> Iterator[None]:
        """Time what is done inside."""
        self._switch()
        self._running.append((party, what))
        try:
            yield
        finally:
            self._switch()
            self._running.pop()

    def _switch(self) -> None:
        now = time.process_time()
        if self._running:
            self.seconds[self._running[-1]] += now - self._since
        self._since = now


class TimedTable(Table):
    """A table whose records are sealed by their sender and opened by every reader, with the seconds and bytes of each party.

    Chunks are added as they arrive by the aggregator's own `ChunkSums`. What a table does for its own memory is nobody's.
    """

    def __init__(self, members: int, dimension: int) -> None:
        names = [f"bank-{number:03}" for number in range(members)]
        terms = parameters(dimension, clip_norm=0.5, clip_quanta=16_384, count_quanta=327, chunk_length=CHUNK_LENGTH_MAX)
        assert EPOCH_ROUNDS <= ROUNDS_PER_EPOCH_MAX
        self.parties = Credentials(FEDERATION, names)
        self.watch = Stopwatch()
        self.sent_bytes: Counter[str] = Counter()
        self.values: dict[bytes, bytes] = {}
        self.unread_chunks: list[bytes] = []
        super().__init__(
            names, dimension=dimension, parameters=terms, rounds_per_epoch=EPOCH_ROUNDS, renewal_wait_ms=10**9, masked_wait_ms=3_000
        )
        self.sums = ChunkSums(opener(lambda: (self.sealing_secret,)))
        self.total = np.random.Generator(np.random.PCG64(1)).integers(-50_000, 50_000, dimension + 1)
        self.total[-1] = 50 * terms.count_quanta
        self.no_noise = np.zeros(dimension + 1, dtype=np.int64)
        self.contribute = self._encoded
        self.dead: frozenset[str] = frozenset()
        self.sample = sample_of(names)
        self.silent = lambda sender, message: sender in self.dead and isinstance(message, SPOKEN_IN_A_ROUND)

    def _encoded(self, name: str, wanted: PrepareContribution) -> RingVector:
        with self.watch.part(name, "quantising"):
            return encode_contribution(self.total, self.no_noise, wanted.parameters)

    def _sealed(self, sender: str, message: m.Message, topic: Topic) -> bytes:
        """The record's value."""

        def signed(statement: bytes) -> bytes:
            with self.watch.part(sender, "signatures"):
                return self.parties.keys[sender].sign(statement)

        with self.watch.part(sender, "encoding"):
            value = seal_record(message, sender=sender, sign=signed, federation=FEDERATION, topic=topic)
        self.sent_bytes[sender] += len(value)
        return value

    def _opened(self, reader: str, value: bytes, topic: Topic) -> Opened | None:
        def verified(sender: str, statement: bytes, signature: bytes) -> int:
            with self.watch.part(reader, "signatures"):
                return self.parties.directory.verify(sender, statement, signature)

        with self.watch.part(reader, "encoding"):
            envelope = unwrapped(value, topic)
            if reader != AGGREGATOR and kind_of(envelope.payload) in AGGREGATOR_ALONE_READS:
                return None
            return open_envelope(envelope, topic=topic, federation=FEDERATION, verify=verified)

    def say(self, sender: str, message: m.Message) -> Received:
        """As the table's, with the record that would have been sent."""
        value = self._sealed(sender, message, ROUNDS)
        with self.watch.part("nobody", "table"):
            received = super().say(sender, message)
        self.values[received.digest] = value
        return received

    def tell_coordinator(self, event: Event) -> None:
        """As the table's, timed; the record is opened first."""
        if isinstance(event, Received):
            self._opened(AGGREGATOR, self.values[event.digest], ROUNDS)
        with self.watch.part(AGGREGATOR, "protocol"):
            super().tell_coordinator(event)

    def tell(self, name: str, event: Event) -> None:
        """As the table's, timed; the record is opened first."""
        if isinstance(event, Received) and name in self.sample:
            self._opened(name, self.values[event.digest], ROUNDS)
        with self.watch.part(name, "protocol"):
            super().tell(name, event)

    def _perform_for_member(self, name: str, effect: Effect) -> None:
        if isinstance(effect, Publish) and isinstance(effect.message, m.MaskedChunk):
            value = self._sealed(name, effect.message, CHUNKS)
            if not self.silent(name, effect.message):
                self.unread_chunks.append(value)
            return
        super()._perform_for_member(name, effect)

    def deliver_all(self) -> None:
        """As processes read a log: each party all that is there, one after the other; the aggregator first, and the chunks before."""
        chunks, self.unread_chunks = self.unread_chunks, []
        for value in chunks:
            opened = self._opened(AGGREGATOR, value, CHUNKS)
            assert opened is not None
            assert isinstance(opened.message, m.MaskedChunk)
            with self.watch.part(AGGREGATOR, "adding"):
                self.sums.arrive(opened.message, opened.digest, 0)
        records = list(self.unread)
        self.unread.clear()
        for tell in (self.tell_coordinator, *(partial(self.tell, name) for name in self.names)):
            for received in records:
                tell(received)

    def go_on(self, until: type[m.Message]) -> None:
        """Until one more message of that type lies in the log, and everybody has read it; AssertionError if none comes."""
        before = len(self.said(until))
        for _ in range(1_000):
            due = len(self.said(until)) > before
            if self.unread:
                self.deliver_all()
            else:
                self.tick()
            if due:
                return
        raise AssertionError(f"no {until.__name__} came")

    def summed(self, asked: SumChunks) -> ChunksSummed:
        """The answer of the aggregator's chunk workers, who have added as the chunks arrived."""
        round_id, length, total = asked.round_id, asked.parameters.chunk_length, asked.parameters.dimension + 1
        bodies = []
        with self.watch.part(AGGREGATOR, "adding"):
            for chunk, start in enumerate(range(0, total, length)):
                request = m.SumRequested(
                    head=round_id.lane.head, group=round_id.lane.group, epoch=round_id.epoch, round=round_id.round, chunk=chunk,
                    length=min(length, total - start), survivors_digest=asked.survivors_digest, opened_at_ms=0,
                    terms=tuple(m.SumTerm(institution=name, chunk_digest=digests[chunk]) for name, digests in asked.chunk_digests),
                )  # fmt: skip
                answer = self.sums.request(request)
                assert isinstance(answer, m.ChunkSummed)
                bodies.append(answer.body)
            return ChunksSummed(round_id, asked.survivors_digest, np.frombuffer(b"".join(bodies), dtype="<u4"))

    def lap(self) -> dict[str, float]:
        """Since the last lap: mean milliseconds and bytes of the sample, milliseconds of the aggregator; and what they went to."""
        found: dict[str, float] = defaultdict(float)
        for (party, what), seconds in self.watch.seconds.items():
            side, shared = ("aggregator", 1) if party == AGGREGATOR else ("client", len(self.sample))
            if party == AGGREGATOR or party in self.sample:
                for key in (f"{side}_ms", f"{side}_{what}_ms"):
                    found[key] += 1000 * seconds / shared
        found["up_bytes"] = statistics.mean(self.sent_bytes[name] for name in self.sample)
        self.watch.seconds.clear()
        self.sent_bytes.clear()
        self.contributions.clear()
        return dict(found)

    def set_up(self) -> dict[str, float]:
        """Agree on an epoch's keys."""
        self.go_on(until=m.EpochReady)
        return self.lap()

    def round(self, dead: int) -> dict[str, float]:
        """One round in which `dead` members fall silent after the epoch's set-up; AssertionError unless it made a model."""
        self.dead, before = frozenset(self.names[:dead]), len(self.said(m.ModelPublished))
        self.sample = sample_of(self.names[dead:])
        self.go_on(until=m.ModelPublished)
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
    """One row of the table: an epoch's set-up once, then rounds of both systems in turn."""
    dead = int(members * dropout)
    with_flower = flower_python is not None and members <= FLOWER_MEMBERS_MAX
    # Both get a first round that does not count: it imports, and warms caches up. It costs a large Flower cohort too long.
    flower_warm_up = with_flower and members < 50
    flower = Flower(str(flower_python), members, dimension, dead, flower_warm_up + repeats) if with_flower else None
    ours: list[dict[str, float]] = []
    theirs: list[dict[str, float]] = []
    spent_s = 0.0
    try:
        table = TimedTable(members, dimension)
        set_up = table.set_up()
        table.round(0)
        if flower is not None and flower_warm_up:
            flower.round()
        for _ in range(repeats):
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
        "timed_members": len(table.sample), "ed25519_verify_us": round(verify_us(), 1),
        "set_up": summary([set_up]), "round": summary(ours),
        "flower_round": summary(theirs) if theirs else None, "flower_repeats": len(theirs),
    }  # fmt: skip


def verify_us() -> float:
    """Microseconds of one Ed25519 verification by libsodium, the best of many: how fast the machine is just now."""
    seed, statement, best_s = Secret(bytes(32)), bytes(200), 1.0
    key, signature = signing_public(seed), sign(seed, statement)
    for _ in range(200):
        begun = time.process_time()
        verify(key, statement, signature, accused="nobody")
        best_s = min(best_s, time.process_time() - begun)
    return 1e6 * best_s


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dimension", type=int, default=100_000)
    parser.add_argument("--members", type=int, nargs="+", default=[5, 20, 50, 200])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--flower-python", default=os.environ.get("FLOWER_PYTHON"))
    options = parser.parse_args()
    for count in options.members:
        for share in DROPOUTS:
            print(json.dumps(cell(count, options.dimension, share, options.repeats, options.flower_python)), flush=True)

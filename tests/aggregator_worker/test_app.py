"""The Faust door on a real broker, in processes of its own (one Faust app per process)."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from riverbank.embedded.kafka import EmbeddedKafka
from streams.kafka import KafkaLog
from streams.kafka_admin import provision_topics
from streams.ports import Outgoing
from streams.topology import ROUNDS

pytestmark = [pytest.mark.broker, pytest.mark.asyncio(loop_scope="session")]
CHILD = Path(__file__).with_name("faust_child.py")


class Child:
    """One door's process, its lines collected."""

    def __init__(self, bootstrap: str, group: str, topics: str, mode: str = "plain") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", str(CHILD), bootstrap, group, topics, mode],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[dict[str, object]] = []
        self._reading = asyncio.create_task(asyncio.to_thread(self._read))

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(json.loads(line))

    async def until(self, condition: Callable[[list[dict[str, object]]], bool], within_s: float = 30.0) -> None:
        end = time.monotonic() + within_s
        while not condition(self.lines):
            assert time.monotonic() < end, (self.lines, self.process.poll())
            await asyncio.sleep(0.02)

    def handled(self) -> list[str]:
        return [str(line["handled"]) for line in self.lines if "handled" in line]

    async def ended(self, number: int | None = None) -> tuple[int, str]:
        if number is not None:
            self.process.send_signal(number)
        code = await asyncio.to_thread(self.process.wait, 20)
        await self._reading
        assert self.process.stderr is not None
        with self.process.stderr, self.process.stdout:  # type: ignore[union-attr]
            return code, self.process.stderr.read()

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(5)


@pytest_asyncio.fixture(loop_scope="session")
async def children() -> AsyncIterator[list[Child]]:
    started: list[Child] = []
    yield started
    for child in started:
        child.kill()


def has(key: str) -> Callable[[list[dict[str, object]]], bool]:
    return lambda lines: any(key in line for line in lines)


def handled(count: int) -> Callable[[list[dict[str, object]]], bool]:
    return lambda lines: sum("handled" in line for line in lines) >= count


async def new_topics(broker: EmbeddedKafka, **partitions: int) -> tuple[list[str], str]:
    """Topics of this test alone, and a group name."""
    mark = uuid.uuid4().hex[:8]
    rows = [replace(ROUNDS, name=f"{name}-{mark}", partitions=count) for name, count in partitions.items()]
    await provision_topics(broker.bootstrap, rows)
    return [row.name for row in rows], f"group-{mark}"


async def append(broker: EmbeddedKafka, topic: str, values: list[str], partition: int = 0) -> None:
    log = KafkaLog(broker.bootstrap)
    await log.append([Outgoing(topic, partition, None, value.encode()) for value in values])
    await log.close()


async def test_records_come_in_order_and_sigterm_stops_quietly(broker: EmbeddedKafka, children: list[Child]) -> None:
    """Every record reaches its topic's handler in order with offset and broker time; SIGTERM ends within seconds; no log line."""
    (first, second), group = await new_topics(broker, first=2, second=1)
    await append(broker, first, [str(i) for i in range(50)])
    before_ms = int(time.time() * 1000)
    children.append(child := Child(broker.bootstrap, group, f"{first},{second}"))
    await child.until(has("started"))
    await append(broker, second, ["x"])
    await append(broker, first, ["other"], partition=1)
    await child.until(handled(52))
    asked = time.monotonic()
    code, stderr = await child.ended(signal.SIGTERM)

    assert [value for value in child.handled() if value.isdigit()] == [str(i) for i in range(50)]
    (x,) = [line for line in child.lines if line.get("handled") == "x"]
    assert (x["topic"], x["partition"], x["offset"]) == (second, 0, 0)
    assert abs(int(str(x["timestamp_ms"])) - before_ms) < 60_000
    # A new broker makes its offsets topic at the first group's request, and refuses until then.
    assert (code, [line for line in stderr.splitlines() if "GroupCoordinatorNotAvailable" not in line]) == (0, [])
    assert time.monotonic() - asked < 5


async def test_a_killed_worker_comes_back_to_what_it_had_not_finished(broker: EmbeddedKafka, children: list[Child]) -> None:
    """SIGKILL in the middle of the first records ever: the one in hand is handled again, nothing is skipped, within the session."""
    (topic,), group = await new_topics(broker, only=1)
    await append(broker, topic, [str(i) for i in range(20)])
    children.append(killed := Child(broker.bootstrap, group, topic, "slow"))
    await killed.until(handled(7))
    await killed.ended(signal.SIGKILL)
    started = time.monotonic()
    children.append(successor := Child(broker.bootstrap, group, topic))
    await successor.until(lambda lines: any(line.get("handled") == "19" for line in lines))

    assert time.monotonic() - started < 15
    first = int(successor.handled()[0])
    assert first <= len(killed.handled())
    assert successor.handled() == [str(i) for i in range(first, 20)]
    assert (await successor.ended(signal.SIGTERM))[0] == 0


async def test_a_record_whose_handler_failed_is_not_committed(broker: EmbeddedKafka, children: list[Child]) -> None:
    """The failure is reported, nothing after it is handled, and the next process begins with that very record."""
    (topic,), group = await new_topics(broker, only=1)
    await append(broker, topic, [str(i) for i in range(10)])
    children.append(failing := Child(broker.bootstrap, group, topic, "fail:4"))
    await failing.until(has("failed"))
    code, _ = await failing.ended()
    children.append(successor := Child(broker.bootstrap, group, topic))
    await successor.until(lambda lines: any(line.get("handled") == "9" for line in lines))

    assert code == 1
    assert failing.handled() == ["0", "1", "2", "3"]
    assert successor.handled()[0] == "4"
    assert (await successor.ended(signal.SIGTERM))[0] == 0


async def test_two_workers_share_and_keep_partner_partitions_together(broker: EmbeddedKafka, children: list[Child]) -> None:
    """Two processes of a group share the partitions; the same partition number of partner topics stays with one of them; a kill hands over."""
    (one, two), group = await new_topics(broker, one=4, two=4)
    workers = [Child(broker.bootstrap, group, f"{one},{two}") for _ in range(2)]
    children += workers

    def shared(_: list[dict[str, object]]) -> bool:
        return all(len(assignment(worker)) == 4 for worker in workers)

    def assignment(worker: Child) -> list[list[object]]:
        found = [line["assigned"] for line in worker.lines if "assigned" in line]
        return found[-1] if found else []  # type: ignore[return-value]

    await workers[0].until(shared)
    for worker in workers:
        assert {number for topic, number in assignment(worker) if topic == one} == {n for topic, n in assignment(worker) if topic == two}
    await workers[0].ended(signal.SIGKILL)
    await workers[1].until(lambda _: len(assignment(workers[1])) == 8)
    assert (await workers[1].ended(signal.SIGTERM))[0] == 0

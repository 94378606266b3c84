"""The main job, whole: five institutions on real data, every party a process of its own, two of them killed on the way.

One run of the demo serves all stories of this file. Needs the data sets beside the checkout (RIVERBANK_DATA, else ../shared/data).
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import struct
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from audit import queries
from federation import messages as m
from riverbank.datasets.selection import Selection
from riverbank.embedded.kafka import EmbeddedKafka
from streams import topology
from streams.codec import decode
from streams.kafka import KafkaLog
from streams.ports import Record
from web.feed import positions_of

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("RIVERBANK_DATA", ROOT.parent / "shared" / "data"))
ROUNDS = 20
pytestmark = [
    pytest.mark.stack,
    pytest.mark.shared,
    pytest.mark.skipif(
        not DATA.is_dir() and "CI" not in os.environ, reason=f"the data sets are not in {DATA} (RIVERBANK_DATA names another folder)"
    ),
]


@dataclass
class Played:
    """What one run left behind."""

    exit_code: int
    result: dict[str, Any]
    directory: Path
    left_running: list[str]
    killed: list[str]


def started(directory: Path, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "riverbank", "demo", "--headless", "--json", "--directory", str(directory), *arguments]
    with (directory.parent / "out").open("wb") as out, (directory.parent / "err").open("wb") as err:
        return subprocess.Popen(command, stdout=out, stderr=err)


def child(demo: subprocess.Popen[bytes], name: str) -> psutil.Process | None:
    """The running process of a party, known by its settings file."""
    for process in psutil.Process(demo.pid).children(recursive=True):
        if f"/{name}/settings.toml" in " ".join(process.cmdline()):
            return process
    return None


def kill_when_running(demo: subprocess.Popen[bytes], name: str, after_s: float) -> None:
    """SIGKILL a party so long after now, at the latest when the demo ends."""
    time.sleep(after_s)
    victim = child(demo, name)
    assert victim is not None, f"{name} is not running"
    victim.send_signal(signal.SIGKILL)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    directory = tmp_path_factory.mktemp("five-banks") / "demo"
    victim = Selection(folder=DATA).names()[1]
    demo = started(directory, "--data", str(DATA), "--rounds", str(ROUNDS))
    try:
        wait_for_models(directory, demo)
        kill_when_running(demo, victim, after_s=1)
        kill_when_running(demo, "aggregator", after_s=15)
        code = demo.wait(timeout=300)
    finally:
        demo.kill()
    left = [line for line in map(command_of, psutil.process_iter()) if str(directory) in line]
    return Played(code, json.loads((directory.parent / "out").read_text()), directory, left, [victim, "aggregator"])


def command_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # It ended while we looked.
        return ""


def wait_for_models(directory: Path, demo: subprocess.Popen[bytes]) -> None:
    """Until the console shows a model of every head: the first labels are there.

    Before, sums give no model, and members refuse sums that differ from those by the one who was killed.
    """
    give_up = time.monotonic() + 240
    while not {"credit", "fraud", "products"} <= heads_with_models(directory):
        assert demo.poll() is None, (directory.parent / "err").read_text()
        assert time.monotonic() < give_up, "no model of every head"
        time.sleep(0.3)


def heads_with_models(directory: Path) -> set[str]:
    try:
        port = int((directory / "console" / "port").read_text())
        name, _, value = (directory / "console" / "api-key").read_text().strip().partition(": ")
        asked = urllib.request.Request(f"http://127.0.0.1:{port}/api/v1/rounds", headers={name: value})
        with urllib.request.urlopen(asked, timeout=5) as answer:  # noqa: S310 Our own address.
            return {row["head"] for row in json.load(answer)["rounds"] if row["state"] == "published"}
    except OSError:  # The console is not up yet.
        return set()


def test_it_ends_by_itself_with_every_figure(played: Played):
    """Exit code 0; per head rounds, events, quality of both models, bytes and lookup times."""
    assert played.exit_code == 0
    for head in played.result["heads"].values():
        assert head["rounds"] > 0
        assert head["rounds"] + head["rounds_abandoned"] >= ROUNDS
        assert head["events_learned"] > 0
        assert 0 < head["federated"] <= 1
        assert 0 < head["local_only"] <= 1
        assert head["bytes_per_institution_per_round"] > 0
        assert 0 < head["lookup_p50_ms"] <= head["lookup_p99_ms"]


def test_no_event_is_lost_or_counted_twice(played: Played):
    """Every record fed has been read once, whatever was killed; every labelled event was learned from; nothing became a dead letter."""
    fed = played.result["events_fed"]
    heads = played.result["heads"]

    assert {name: head["events_read"] for name, head in heads.items()} == fed
    assert played.result["dead_letters"] == {}
    assert [heads[name]["events_learned"] for name in ("credit", "fraud", "products")] == [
        fed["credit"] // 2,
        fed["fraud"] // 2,
        fed["products"],
    ]
    assert [head["waiting_for_label"] for head in heads.values()] == [0, 0, 0]


def test_a_kill_costs_at_most_one_round(played: Played):
    """Both victims came back by themselves; beside rounds without labels yet, no head lost more than one round for each kill."""
    restarts = played.result["restarts"]
    lost = {name: rounds_lost(played, m.HeadName(name)) for name in played.result["heads"]}

    assert {name: restarts.get(name) for name in played.killed} == dict.fromkeys(played.killed, 1)
    assert all(count <= len(played.killed) for count in lost.values()), lost


def test_nobody_is_accused(played: Played):
    """Crashes are not misbehaviour: the audit of an honest run knows at most an update that came too late, and refused nothing."""
    found = queries.search(f"chdb://{played.directory}/audit/clickhouse", limit=10_000)

    assert len(found) > ROUNDS * 3 * 20
    assert {entry["action"] for entry in found if entry["accused"]} <= {"late"}
    assert played.result["audit"]["refused"] == 0


def test_nothing_is_left_running(played: Played):
    """No broker, party or portal outlives the demo."""
    assert played.left_running == []


def test_the_whole_stack_is_small(played: Played):
    """All processes together stay below 3 GiB of resident memory."""
    assert played.result["memory_mib_max"] < 3 * 1024


def test_no_byte_of_a_customer_reaches_the_federation(played: Played):
    """Every byte of every federation topic is read: no customer, no event id, no raw feature value, as text or as a number."""
    records = federation_records(played)
    ids, texts, numbers = raw_values()
    everything = b"\0".join(part for record in records for part in (record.key or b"", record.value or b""))

    assert len(records) > ROUNDS * 3 * 20
    assert set(re.findall(rb"c-\d-\d{10}", everything)) & ids == set()
    assert re.findall(rb"(?:tx|loan|take|outcome)-\d", everything) == []
    assert set(re.findall(rb"\d+\.\d+", everything)) & texts == set()
    assert {everything[at : at + 8] for at in range(len(everything) - 7)} & numbers == set()


def test_the_search_would_find_a_customer(played: Played):
    """The same search over an institution's own topics finds them: the search is not blind."""
    name = Selection(folder=DATA).names()[0]
    records = read_all(played, [topology.TRANSACTIONS], name)
    ids, _, numbers = raw_values()
    everything = b"\0".join(record.value or b"" for record in records[:2000])

    assert set(re.findall(rb"c-\d-\d{10}", everything)) & ids
    assert {everything[at : at + 8] for at in range(len(everything) - 7)} & numbers


def rounds_lost(played: Played, head: m.HeadName) -> int:
    """Rounds of a head that were abandoned for another reason than too few labels."""
    lost = 0
    for record in federation_records(played):
        if record.topic == topology.ROUNDS.full_name() and record.value is not None:
            envelope = decode(record.value, (m.SignedRecord,), topology.ROUNDS.bytes_max)
            message = decode(envelope.payload, topology.ROUNDS.carries, topology.ROUNDS.bytes_max)
            lost += (
                isinstance(message, m.RoundAbandoned) and message.head is head and message.reason is not m.AbandonReason.TOO_FEW_CUSTOMERS
            )
    return lost


def raw_values() -> tuple[set[bytes], set[bytes], set[bytes]]:
    """Customers, and raw numbers as text and as the eight bytes that Avro writes, of everything that was fed."""
    ids, values = set(), set()
    for source in Selection(folder=DATA).sources().values():
        for arrival in source(Counter()):
            message = arrival.message
            if not isinstance(message, m.OutcomeObserved):
                ids.add(message.customer.encode())
            if isinstance(message, m.CardTransaction):
                values.add(message.amount)
            if isinstance(message, m.CreditApplication):
                values.update(message.numbers.values())
    # Short texts, shares of two digits and numbers of few bits (4.25, say) stand everywhere by chance; what identifies is longer.
    texts = {text.encode() for text in map(str, values) if len(text) >= 6}
    return ids, texts, {number for value in values if abs(value) > 2 and 0 not in (number := struct.pack("<d", value))[:3]}


_CACHE: dict[tuple[Path, tuple[str, ...], str | None], list[Record]] = {}


def federation_records(played: Played) -> list[Record]:
    return read_all(played, topology.FEDERATION_TOPICS, None)


def read_all(played: Played, rows, institution: str | None) -> list[Record]:
    """Every record of these topics, read from the run's own broker started again over its files."""
    key = (played.directory, tuple(row.name for row in rows), institution)
    if key not in _CACHE:
        _CACHE[key] = asyncio.run(_read(played.directory / "kafka", rows, institution))
    return _CACHE[key]


async def _read(directory: Path, rows, institution: str | None) -> list[Record]:
    async with EmbeddedKafka(directory) as kafka:
        log = KafkaLog(kafka.bootstrap)
        reader = await log.reader(positions_of(rows, institution))
        ends = await reader.end_offsets()
        found: list[Record] = []
        while any(end > 0 for end in ends.values()):
            for record in await reader.poll(5000, 500):
                found.append(record)
                if record.offset + 1 >= ends[record.topic, record.partition]:
                    ends = {**ends, (record.topic, record.partition): 0}
        await reader.close()
        await log.close()
    return found

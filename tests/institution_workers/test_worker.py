from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from federation.errors import OwnFault
from federation.messages import HeadName, InstitutionStatus
from institution_workers import wiring, worker
from institution_workers.storage import StateUnusable, Store
from institution_workers.worker import coarse
from streams.codec import decode
from streams.memory import MemoryLog
from streams.ports import LogUnavailable, Outgoing
from streams.settings import InstitutionProcess, SettingsError
from streams.signed import open_record
from streams.topology import DEAD_LETTERS, FEDERATION_TOPICS, OWN_TOPICS, PROGRESS, STATUS, partitions_of
from tests.credentials import PASSPHRASE, Credentials

BANK, FRAUD = "north-bank", HeadName.FRAUD
CREDENTIALS = Credentials("fed", [BANK])


class Shaky(MemoryLog):
    """A log that can be away, as a broker can."""

    away = False

    async def append(self, records):
        self._answer()
        return await super().append(records)

    async def reader(self, start):
        self._answer()
        reader = await super().reader(start)
        ends = reader.end_offsets

        async def end_offsets():
            self._answer()
            return await ends()

        reader.end_offsets = end_offsets
        return reader

    def _answer(self):
        if self.away:
            raise LogUnavailable("no broker answers at nowhere:1")


@pytest.fixture
def keys(tmp_path):
    passphrase_file = tmp_path / "passphrase"
    passphrase_file.touch(mode=0o600)
    passphrase_file.write_text(PASSPHRASE)
    return CREDENTIALS.write_key_file(tmp_path / "party.key", BANK)


@pytest.fixture
def settings(tmp_path, keys):
    return InstitutionProcess(
        federation={"name": "fed", "bootstrap": "127.0.0.1:1", "ca_verify_key": CREDENTIALS.ca_verify_key.hex()},
        party={"name": BANK, "key_file": keys, "passphrase_file": tmp_path / "passphrase"},
        institution={"bootstrap": "127.0.0.1:1", "state_dir": tmp_path / "state", "status_ms": 50},
    )


@pytest.fixture
def logs():
    def now_ms():
        return time.time_ns() // 1_000_000

    return Shaky(partitions_of(OWN_TOPICS, BANK), now_ms=now_ms), Shaky(partitions_of(FEDERATION_TOPICS), now_ms=now_ms)


class Running:
    """A worker that runs on two logs."""

    def __init__(self, settings, own, federation):
        self.store = Store.open(settings.institution.state_dir, BANK)
        self.worker = wiring.assemble(settings, self.store, own, federation)
        self.task = asyncio.create_task(self.worker.run())
        self.study = self.worker._reporting._study

    async def until(self, condition, seconds=10.0):
        async with asyncio.timeout(seconds):
            while not condition():
                assert not self.task.done(), self.task.result()
                await asyncio.sleep(0.01)

    async def stop(self):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.store.close()


async def _write(own, records):
    await own.append([Outgoing(record.topic, 0, None, record.value) for record in records])


async def test_it_learns_what_comes_and_stops_in_seconds(settings, logs, scribe):
    """Events are learned as they come; cancelled, it ends at once with everything saved."""
    running = Running(settings, *logs)
    await _write(logs[0], [scribe.payment("p1", occurred_at_ms=0), scribe.outcome("o1", "p1"), scribe.payment("p1", occurred_at_ms=0)])
    await running.until(lambda: running.study.pupils[FRAUD].learned == 1)
    await running.until(lambda: bool(logs[0]._stored[DEAD_LETTERS.full_name(BANK), 0].records))
    began = time.monotonic()
    await running.stop()

    assert time.monotonic() - began < 5
    again = Running(settings, *logs)
    assert again.study.pupils[FRAUD].learned == 1
    assert [position.offset for position in again.study.positions() if position.offset] == [2, 1]
    await again.stop()


async def test_it_reports_how_learning_goes(settings, logs, scribe):
    """Status records, signed, one per head, with counts and without a customer."""
    running = Running(settings, *logs)
    await _write(logs[0], [scribe.payment("p1", occurred_at_ms=0), scribe.payment("p2", occurred_at_ms=0), scribe.outcome("o1", "p1")])
    await running.until(lambda: running.study.pupils[FRAUD].learned == 1)
    stored = logs[1]._stored[STATUS.full_name(), 0].records
    seen = len(stored)
    await running.until(lambda: len(stored) >= seen + 6)
    await running.stop()
    opened = [open_record(r.value, topic=STATUS, federation="fed", verify=lambda *_: 1).message for r in stored]
    status = [each for each in opened if each.head is FRAUD][-1]

    assert isinstance(status, InstitutionStatus)
    exact = [decode(r.value, PROGRESS.carries, PROGRESS.bytes_max) for r in logs[0]._stored[PROGRESS.full_name(BANK), 0].records]
    known = [each.status for each in exact if each.status.head is FRAUD][-1]
    assert (known.institution, known.events_read, known.events_learned, known.waiting_for_label, known.scored) == (BANK, 3, 1, 1, 1)
    assert status == coarse(replace(known, at_ms=status.at_ms))
    assert (status.institution, status.events_read, status.events_learned, status.waiting_for_label, status.scored) == (BANK, 0, 0, 0, 0)
    assert (status.lag_records, status.lag_ms, status.dead_letters, status.quality_federated) == (0, 0, 0, -1.0)
    assert b"anna" not in b"".join(record.value for record in stored)


@pytest.mark.parametrize(
    ("exact", "said"), [(0, 0), (9, 0), (10, 10), (99, 90), (110, 110), (119, 110), (1_299, 1_200), (123_456, 120_000), (99_999, 99_000)]
)
def test_the_federation_is_told_counts_to_two_digits(exact, said):
    """Rounded down, and never closer than tens; qualities to two decimals, what is undefined stays so."""
    status = InstitutionStatus(
        institution=BANK, head=FRAUD, at_ms=7, round=3, model_version=2, events_read=exact, events_learned=exact, dead_letters=exact,
        waiting_for_label=exact, lag_records=exact, lag_ms=1_999, scored=exact, quality_federated=0.87654, quality_local=-1.0,
        bytes_sent=12_345, updates_clipped=exact,
    )  # fmt: skip
    told = coarse(status)

    counts = (told.events_read, told.events_learned, told.dead_letters, told.waiting_for_label, told.lag_records, told.scored)
    assert {*counts, told.updates_clipped} == {said}
    assert (told.at_ms, told.round, told.model_version, told.lag_ms, told.bytes_sent) == (7, 3, 2, 1_000, 12_345)
    assert (told.quality_federated, told.quality_local) == (0.88, -1.0)


@pytest.mark.parametrize("which", [0, 1])
async def test_a_broker_that_goes_and_comes_back(settings, logs, scribe, monkeypatch, which):
    """Either broker may go: the rest goes on, and what came meanwhile is learned afterwards."""
    monkeypatch.setattr(worker, "_PAUSE_SECONDS", 0.01)
    running = Running(settings, *logs)
    await _write(logs[0], [scribe.payment("p1", occurred_at_ms=0), scribe.outcome("o1", "p1")])
    await running.until(lambda: running.study.pupils[FRAUD].learned == 1)
    logs[which].away = True
    await asyncio.sleep(0.7)
    assert not running.task.done()
    logs[which].away = False
    await _write(logs[0], [scribe.payment("p2", occurred_at_ms=0), scribe.outcome("o2", "p2")])
    await running.until(lambda: running.study.pupils[FRAUD].learned == 2)
    await running.stop()


async def test_without_the_federation_learning_goes_on(settings, logs, scribe):
    """The federation's broker is away: the institution's own events are learned meanwhile."""
    running = Running(settings, *logs)
    await running.until(lambda: len(logs[1]._stored[STATUS.full_name(), 0].records) > 0)
    logs[1].away = True
    await _write(logs[0], [scribe.payment("p1", occurred_at_ms=0), scribe.outcome("o1", "p1")])
    await running.until(lambda: running.study.pupils[FRAUD].learned == 1)
    await running.stop()


async def test_without_a_broker_it_does_not_start(settings):
    """One sentence with the address."""
    with pytest.raises(LogUnavailable, match=r"127\.0\.0\.1:1"):
        async with asyncio.timeout(20):
            await wiring.run(settings)


async def test_an_error_of_ours_ends_it(settings, logs):
    """A state that cannot be written any more is no absent broker: the worker stops and says so."""
    running = Running(settings, *logs)
    await running.until(lambda: len(logs[1]._stored[STATUS.full_name(), 0].records) > 0)
    running.store.database.execute("PRAGMA query_only = ON")

    with pytest.raises(StateUnusable, match="cannot be written"):
        await running.task
    running.store.close()


async def test_a_key_file_that_others_can_read_is_refused(settings, logs, keys, tmp_path):
    """Keys are for their owner only; a file that is none is refused as well."""
    store = Store.open(tmp_path / "other", BANK)
    keys.chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        wiring.assemble(settings, store, *logs)
    keys.write_bytes(b"no key")
    keys.chmod(0o600)
    with pytest.raises(OwnFault, match=r"party\.key: not a locked file"):
        wiring.assemble(settings, store, *logs)
    store.close()

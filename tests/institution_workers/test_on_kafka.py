from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import sys
import time
from contextlib import closing

import numpy as np
import pytest

from federation.messages import HeadName
from institution_workers.arrivals import Arrivals
from institution_workers.storage import DATABASE, Store
from institution_workers.study import Terms
from streams.kafka import KafkaLog
from streams.kafka_admin import provision_topics
from streams.ports import Outgoing, Position
from streams.topology import DEAD_LETTERS, EVENT_TOPICS, FEDERATION_TOPICS, OWN_TOPICS
from tests.credentials import Credentials

BANK, FRAUD = "north-bank", HeadName.FRAUD
PAYMENTS = 4_000

pytestmark = pytest.mark.broker


async def _feed(log, scribe):
    """Payments, most of them labelled a little later, some twice."""
    draw = random.Random(11)
    records = []
    for n in range(PAYMENTS):
        amount = draw.uniform(1, 300)
        records.append(
            scribe.payment(
                f"p{n}", customer=f"c{n % 97}", terminal=f"t{n % 41}", amount=amount, occurred_at_ms=1_600_000_000_000 + n * 60_000
            )
        )
        if n >= 50:
            records.append(scribe.outcome(f"o{n}", f"p{n - 50}", positive=draw.random() < 0.1))
        if n % 100 == 0:
            records.append(records[-1])
    for at in range(0, len(records), 500):
        await log.append([Outgoing(record.topic, 0, None, record.value) for record in records[at : at + 500]])


async def _started(config):
    run = "import sys; from riverbank.cli import main; sys.argv[0] = 'riverbank'; main()"
    return await asyncio.create_subprocess_exec(sys.executable, "-c", run, "institution", "run", "--config", str(config))


def _read_so_far(folder):
    """Records that the worker's own offsets are past."""
    path = folder / "state" / DATABASE
    if not path.exists():
        return 0
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as database:
        try:
            return database.execute("SELECT coalesce(sum(next_offset), 0) FROM offsets WHERE topic LIKE ?", (f"{BANK}.%",)).fetchone()[0]
        except sqlite3.OperationalError:
            return 0  # The tables are being made.


async def _until(condition, child, seconds=60):
    async with asyncio.timeout(seconds):
        while not condition():
            assert child.returncode is None, "the worker ended by itself"
            await asyncio.sleep(0.005)


@pytest.mark.asyncio(loop_scope="session")
async def test_killed_and_restarted_it_goes_on_from_its_own_offsets(broker, tmp_path, scribe, studying):
    """SIGKILL in the middle, restart, SIGTERM: exit code 0 within five seconds, and the models equal an undisturbed run, bit for bit."""
    await provision_topics(broker.bootstrap, OWN_TOPICS, BANK)
    await provision_topics(broker.bootstrap, FEDERATION_TOPICS)
    log = KafkaLog(broker.bootstrap)
    await _feed(log, scribe)
    ends = await _ends(log)
    config = Credentials("fed", [BANK]).write_institution(tmp_path, BANK, broker.bootstrap, poll_records_max=400)
    for share in (0.2, 0.5):
        child = await _started(config)
        await _until(lambda share=share: _read_so_far(tmp_path) > share * ends, child)
        os.kill(child.pid, signal.SIGKILL)
        await child.wait()
        assert _read_so_far(tmp_path) < ends
    child = await _started(config)
    await _until(lambda: _read_so_far(tmp_path) == ends, child)
    child.terminate()
    began = time.monotonic()
    code = await asyncio.wait_for(child.wait(), 10)

    assert code == 0
    assert time.monotonic() - began < 5
    undisturbed = Store.open(tmp_path / "undisturbed", BANK)
    study = studying(undisturbed, terms=Terms())
    reading = await Arrivals.open(log, study.positions())
    while records := await reading.take(1000, 2000):
        study.turn(records)
    await reading.close()
    letters = await _letters(log)
    await log.close()
    survivor = Store.open(tmp_path / "state", BANK)
    after = studying(survivor)
    for kind in ("federated", "local"):
        expected = getattr(study.pupils[FRAUD], kind).to_vector()
        assert expected.any()
        assert np.array_equal(getattr(after.pupils[FRAUD], kind).to_vector(), expected)
    assert after.pupils[FRAUD].learned == study.pupils[FRAUD].learned == PAYMENTS - 50
    assert after.waiting(FRAUD) == study.waiting(FRAUD) == 50
    assert after.learner.counts == study.learner.counts
    assert len(letters) == after.learner.counts["dead.fraud"]
    survivor.close()
    undisturbed.close()


async def _ends(log):
    reader = await log.reader([Position(topic.full_name(BANK), 0, 0) for topic in EVENT_TOPICS])
    ends = sum((await reader.end_offsets()).values())
    await reader.close()
    return ends


async def _letters(log):
    """Distinct dead letters: those said again after a crash are the same bytes."""
    reader = await log.reader([Position(DEAD_LETTERS.full_name(BANK), 0, 0)])
    values = set()
    while records := await reader.poll(1000, 2000):
        values |= {record.value for record in records}
    await reader.close()
    return values

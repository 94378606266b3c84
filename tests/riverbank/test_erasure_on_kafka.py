"""Erasure of a customer while the bank's worker runs and learns, over a real broker: nothing readable is left, and the certificate says so."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sqlite3
import sys
from contextlib import closing, suppress

import pytest

from federation.errors import OwnFault
from federation.messages import DeadLetter, HeadName, InteractionKind, ProductInteraction
from institution_workers.storage import DATABASE
from riverbank.erasing import erase, unverified, verified
from riverbank.purging import purge, readable_in
from streams.codec import decode, encode
from streams.kafka import KafkaLog
from streams.kafka_admin import provision_topics
from streams.parties import Parties
from streams.ports import Outgoing, Position
from streams.settings import ClusterSettings
from streams.topology import DEAD_LETTERS, FEDERATION_TOPICS, INTERACTIONS, OWN_TOPICS, TRANSACTIONS
from tests.credentials import Credentials
from tests.institution_workers.conftest import Scribe

BANK, FEDERATION = "erasing-bank", "erasing"
LEAVES, STAYS = "leaving-customer-7", "staying-customer-8"

pytestmark = pytest.mark.broker


class Entries:
    """Stands for the audit: what was recorded before it was done."""

    def __init__(self):
        self.recorded = []

    async def record(self, kind, action, **other):
        self.recorded.append((kind.value, action, other["subject"]))


class Feeding:
    """Payments, outcomes, interactions and rubbish of many customers, without end; `left` are no longer customers."""

    def __init__(self, log):
        self.log, self.scribe, self.draw, self.sent, self.left = log, Scribe(bank=BANK), random.Random(5), 0, set()

    def _some(self):
        scribe, draw = self.scribe, self.draw
        customers = [name for name in (LEAVES, STAYS, *(f"other-{n}" for n in range(20))) if name not in self.left]
        for customer in customers:
            self.sent += 1
            payment = f"p{self.sent}"
            yield scribe.payment(payment, customer=customer, terminal=f"t{self.sent % 9}", amount=draw.uniform(1, 300)), customer
            if draw.random() < 0.7:  # The others wait for their label.
                yield scribe.outcome(f"o-{payment}", payment, positive=draw.random() < 0.2), payment
            yield scribe.feedback(f"f-{payment}", f"never-{payment}", customer=customer), customer
        for customer in (LEAVES, STAYS):
            if customer not in self.left:
                yield scribe.payment("p1", customer=customer), customer  # A duplicate: a dead letter.
                kind, product = InteractionKind.ACQUIRED, "securities"
                bought = ProductInteraction(
                    event_id=f"i{self.sent}-{customer}", customer=customer, occurred_at_ms=scribe.at_ms, consented=True, product=product, kind=kind, segment=None
                )  # fmt: skip
                yield scribe.raw(encode(bought), INTERACTIONS), customer
                yield scribe.raw(b"junk", TRANSACTIONS), customer

    async def once(self):
        await self.log.append([Outgoing(record.topic, 0, key.encode(), record.value) for record, key in self._some()])

    async def run(self):
        while True:
            await self.once()
            await asyncio.sleep(0.05)


def opened_state(folder):
    return closing(sqlite3.connect(f"file:{folder / 'state' / DATABASE}?mode=ro", uri=True, timeout=5))


def lessons(folder):
    """Lessons that wait for the next contribution; there are no rounds here."""
    if not (folder / "state" / DATABASE).exists():
        return 0
    with opened_state(folder) as database, suppress(sqlite3.OperationalError):  # The tables are being made.
        return database.execute("SELECT count(*) FROM lessons WHERE head = ?", (HeadName.FRAUD.value,)).fetchone()[0]
    return 0


def holding(folder, customer):
    """The tables of the state, and its files, in which the customer's name lies."""
    name, found = customer.encode(), set()
    with opened_state(folder) as database:
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            rows = database.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608 Its own names.
            if any(name in (cell if isinstance(cell, bytes) else str(cell).encode()) for row in rows for cell in row):
                found.add(table)
    return found, {path.name for path in (folder / "state").iterdir() if name in path.read_bytes()}


async def until(condition, child, seconds=60):
    async with asyncio.timeout(seconds):
        while not condition():
            assert child.returncode is None, "the worker ended by itself"
            await asyncio.sleep(0.05)


async def letters(log):
    reader = await log.reader([Position(DEAD_LETTERS.full_name(BANK), 0, 0)])
    records = [record for _ in range(10) for record in await reader.poll(1000, 300)]
    await reader.close()
    return [decode(record.value, (DeadLetter,), 10**6) for record in records]


@pytest.mark.asyncio(loop_scope="session")
async def test_a_customer_erased_in_a_live_run_is_nowhere_any_more(broker, tmp_path):
    """In no table, no file and no topic; another customer is still there, learning went on, and the certificate holds."""
    await provision_topics(broker.bootstrap, OWN_TOPICS, BANK)
    await provision_topics(broker.bootstrap, FEDERATION_TOPICS)
    credentials, log = Credentials(FEDERATION, [BANK]), KafkaLog(broker.bootstrap)
    await credentials.publish(log)
    parties = Parties(log, federation=FEDERATION, ca_verify_key=credentials.ca_verify_key)
    await parties.catch_up()
    feeding, entries = Feeding(log), Entries()
    await feeding.once()
    config = credentials.write_institution(tmp_path, BANK, broker.bootstrap)
    run = "import sys; from riverbank.cli import main; sys.argv[0] = 'riverbank'; main()"
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", run, "institution", "run", "--config", str(config))
    stream = asyncio.create_task(feeding.run())
    try:
        await until(lambda: lessons(tmp_path) > 50, child)
        assert {"lessons", "waiting", "early", "behaviour", "profiles", "customer_keys"} <= holding(tmp_path, LEAVES)[0]
        feeding.left.add(LEAVES)  # The bank's own systems have nothing more to say of him.
        await asyncio.sleep(0.2)
        await until(lambda: "journal" not in holding(tmp_path, LEAVES)[0], child)
        certificate = await erase(log, parties, entries, BANK, LEAVES, actor="ann", subject="ab" * 32, wait_s=30, entropy=os.urandom)
        before = lessons(tmp_path)
        cluster = ClusterSettings(bootstrap=broker.bootstrap, institutions=(BANK,), replication=1)
        left = await purge(cluster, unverified(certificate), LEAVES, wait_s=60)
        await until(lambda: lessons(tmp_path) > before + 20, child)
    finally:
        stream.cancel()
        child.terminate()
        await child.wait()

    said = verified(certificate, federation=FEDERATION, ca_verify_key=credentials.ca_verify_key, customer=LEAVES)
    assert left == []
    assert holding(tmp_path, LEAVES) == (set(), set())
    assert await readable_in(log, [(topic, BANK) for topic in OWN_TOPICS], STAYS)
    assert {"lessons", "profiles"} <= holding(tmp_path, STAYS)[0]
    assert {place.place: place.items > 0 for place in said.places} == dict.fromkeys(
        ("state: behaviour", "state: customer_keys", "state: early", "state: lessons", "state: profiles", "state: waiting"), True
    ) | dict.fromkeys(("state: consents", "state: journal", "state: spendings"), False)
    assert [entry[1] for entry in entries.recorded] == ["erasure_asked", "erasure_certified"]
    assert len(await letters(log)) >= 4
    with pytest.raises(OwnFault, match="somebody else"):
        verified(certificate, federation=FEDERATION, ca_verify_key=credentials.ca_verify_key, customer=STAYS)
    await parties.close()
    await log.close()
    (tmp_path / "certificate.json").write_text(json.dumps(certificate))
    assert LEAVES not in (tmp_path / "certificate.json").read_text()

"""The command, two processes and a real broker: from events to a joint prediction, with a kill in the middle."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time

import pytest

from federation import messages as m
from riverbank.provisioning.federations import AGGREGATOR, create_federation, write_settings
from streams.codec import encode
from streams.kafka import KafkaLog
from streams.kafka_admin import provision_topics
from streams.passphrases import VARIABLE
from streams.ports import Outgoing, Position
from streams.topology import APPLICATIONS, ATTRIBUTES, FEDERATION_TOPICS, OUTCOMES, OWN_TOPICS, VERTICAL
from tests.institution_workers.vertical.world import BANK_FEATURES, PARTNER_FEATURES

BANK, PARTNER = "vertical-bank", "vertical-partner"
PEOPLE, FIRST_SHARED = 70, 10
RUN = "import sys; from riverbank.cli import main; sys.argv[0] = 'riverbank'; main()"

pytestmark = pytest.mark.broker

NOW_MS = time.time_ns() // 1_000_000


def configured(folder, bootstrap, federation, name, role, peer, features):
    schema = folder / f"{name}.features.toml"
    schema.write_text(features)
    vertical = {
        "role": role, "peer": peer, "bootstrap": bootstrap, "state_dir": str(folder / name / "state"), "features": str(schema), "list_min": 5,
        "rows_min": 5, "passes_max": 2, "status_ms": 200,
    }  # fmt: skip
    return write_settings(folder / f"{name}.toml", federation.settings(name, bootstrap) | {"vertical": vertical})


async def feed(log):
    """Everybody applies at the bank and most are known to the partner; who was late defaults."""
    records = []
    for n in range(PEOPLE):
        late = n % 3
        application = m.CreditApplication(
            event_id=f"a{n}", customer=f"p{n}", occurred_at_ms=1, consented=True, numbers={"limit": float(n % 2)}, categories={}
        )
        outcome = m.OutcomeObserved(
            event_id=f"o{n}", head=m.HeadName.CREDIT, subject=f"a{n}", positive=(late == 2) ^ (n % 7 == 0), occurred_at_ms=2
        )
        seen = m.AttributesObserved(
            event_id=f"s{n}", customer=f"P{n} ", occurred_at_ms=1, consented=True, numbers={"late": float(late)}, categories={}
        )
        records += [
            Outgoing(APPLICATIONS.full_name(BANK), 0, b"", encode(application)),
            Outgoing(OUTCOMES.full_name(BANK), 0, b"", encode(outcome)),
        ]
        if n >= FIRST_SHARED:
            records.append(Outgoing(ATTRIBUTES.full_name(PARTNER), 0, b"", encode(seen)))
    await log.append(records)


async def started(config):
    return await asyncio.create_subprocess_exec(sys.executable, "-c", RUN, "vertical", "run", "--config", str(config))


async def asked(config, *arguments):
    """The answer of `riverbank vertical ...` as JSON."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", RUN, "vertical", *arguments, "--config", str(config), "--json", stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(child.communicate(), 300)
    assert out, err.decode()
    return json.loads(out)


async def training_begun(log, bank):
    """A training under way: it has said its encrypted numbers. Asked again while the bank has not read enough labels yet."""
    reader = await log.reader([Position(VERTICAL.full_name(), number, 0) for number in range(VERTICAL.partitions)])
    training = asyncio.create_task(asked(bank, "train"))
    try:
        async with asyncio.timeout(240):
            while not any(b"NumbersEncrypted" in (record.value or b"") for record in await reader.poll(100, 50)):
                if training.done():
                    (answer,) = training.result()
                    assert not answer["done"]
                    assert " rows, " in answer["detail"]
                    training = asyncio.create_task(asked(bank, "train"))
    finally:
        await reader.close()
    return training


@pytest.mark.asyncio(loop_scope="session")
async def test_two_parties_over_a_real_broker(broker, tmp_path, monkeypatch):
    """3072-bit keys, sealed records, a partner killed with SIGKILL in the middle of a training: the model comes, and both serve."""
    for party in (BANK, PARTNER):
        await provision_topics(broker.bootstrap, OWN_TOPICS, party)
    await provision_topics(broker.bootstrap, FEDERATION_TOPICS)
    federation = create_federation(tmp_path / "keys", name="vertical-fed", institutions=(BANK, PARTNER), entropy=os.urandom, now_ms=NOW_MS)
    monkeypatch.setenv(VARIABLE, federation.passphrase)
    assert AGGREGATOR in federation.key_files
    bank = configured(tmp_path, broker.bootstrap, federation, BANK, "bank", PARTNER, BANK_FEATURES)
    partner = configured(tmp_path, broker.bootstrap, federation, PARTNER, "partner", BANK, PARTNER_FEATURES)
    log = KafkaLog(broker.bootstrap)
    await federation.founded.publish(log, NOW_MS)
    await feed(log)
    children = [await started(bank), await started(partner)]
    try:
        (found,) = await asked(bank, "intersect")
        while found["shared"] < PEOPLE - FIRST_SHARED:  # Until both have read their events.
            (found,) = await asked(bank, "intersect")
        training = await training_begun(log, bank)
        os.kill(children[1].pid, signal.SIGKILL)
        await children[1].wait()
        children[1] = await started(partner)
        (trained,) = await training
        (joint,) = await asked(bank, "predict", "p20")
        said = {row["institution"]: row for row in await asked(bank, "status")}
        children[1].terminate()
        code = await asyncio.wait_for(children[1].wait(), 30)
        (alone,) = await asked(bank, "predict", "p20")
    finally:
        for child in children:
            if child.returncode is None:
                child.kill()
                await child.wait()
        await log.close()

    assert (found["done"], found["shared"]) == (True, PEOPLE - FIRST_SHARED)
    assert trained["done"], trained["detail"]
    assert (joint["done"], joint["degraded"], joint["version"]) == (True, False, trained["version"])
    assert code == 0
    assert (alone["done"], alone["degraded"], alone["detail"]) == (True, True, "the partner did not answer in time")
    assert {row["version"] for row in said.values()} == {trained["version"]}
    assert joint["probability"] != alone["probability"]

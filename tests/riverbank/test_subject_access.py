"""What a customer is given of himself: all of it, nothing of anybody else's, and readable."""

from __future__ import annotations

import base64
import json
import sqlite3

import pytest

from federation.errors import OwnFault
from federation.messages import HeadName, Purpose
from institution_workers.learner import Encoders
from institution_workers.ledger import Price
from institution_workers.storage import DATABASE, Store
from institution_workers.study import Study
from riverbank.subject_access import export, page
from streams.memory import MemoryLog
from streams.ports import Outgoing
from streams.topology import OWN_TOPICS, Cluster, partitions_of
from tests.institution_workers.conftest import BANK, Scribe, SetClock

FRAUD = HeadName.FRAUD


def life(scribe, name):
    return [
        scribe.consents(name, permitted=(Purpose.LEARNING,)),
        scribe.payment(f"p1-{name}", customer=name, amount=12.5),
        scribe.outcome(f"o1-{name}", f"p1-{name}"),
        scribe.payment(f"p2-{name}", customer=name),
        scribe.payment(f"p2-{name}", customer=name),
        scribe.application(f"a1-{name}", customer=name),
        scribe.interaction(f"i1-{name}", "mortgage", customer=name),
    ]


@pytest.fixture
async def bank(tmp_path):
    """A log and the state of a worker that has read it: two customers, one contribution."""
    scribe, clock, log = Scribe(), SetClock(), MemoryLog(partitions_of(OWN_TOPICS, BANK))
    records = [*life(scribe, "anna"), *life(scribe, "<ben>")]
    await log.append([Outgoing(record.topic, 0, record.key, record.value) for record in records])
    store = Store.open(tmp_path / "state", BANK)
    study = Study(store, BANK, tuple(HeadName), clock=clock, encoders=Encoders.shipped())
    study.turn(records)
    with store.turn():
        for round_ in (3, 4):
            study.ledger.enter(FRAUD, round_, {"anna": 0.25}, Price(0.25, 1.0, 10), clock.now_ms())
    await log.append([record for _, record in store.unsaid(Cluster.OWN, 100)])
    yield log, tmp_path / "state"  # The worker runs on: its file is open.
    store.close()


async def test_a_customer_gets_everything_of_his_and_nothing_of_anybody_elses(bank):
    """State, topics, opened dead letters, and the rounds he had a part in; beside a running worker."""
    log, state_dir = bank
    found = json.loads(json.dumps(await export(log, BANK, state_dir, "anna")))
    counts = {name.removeprefix(f"{BANK}."): len(rows) for name, rows in found["topics"].items()}
    letter = found["topics"][f"{BANK}.dead_letters.v1"][0]["says"]

    assert {table: len(rows) for table, rows in found["state"].items() if table != "lessons"} == {
        "consents": 1, "profiles": 1, "waiting": 2, "behaviour": 1
    }  # fmt: skip
    assert counts == {
        "consents.v1": 1, "events.transactions.v1": 3, "events.applications.v1": 1, "events.interactions.v1": 1, "events.outcomes.v1": 0,
        "feedback.v1": 0, "profiles.v1": 1, "dead_letters.v1": 1,
    }  # fmt: skip
    assert "ben" not in json.dumps(found)
    assert b"p2-anna" in base64.b64decode(letter["value"])
    assert letter["reason"] == "duplicate"
    assert [(row["contributions"], row["first_round"], row["last_round"]) for row in found["shared"]["rounds"]] == [(2, 3, 4)]
    assert found["shared"]["rounds"][0]["privacy_cost"] == 0.5
    assert found["state"]["behaviour"][0]["key"] == "anna"
    assert all(": " in feature for row in found["state"]["waiting"] for feature in row["features"] if feature != "intercept: ")


async def test_the_page_says_the_same_and_runs_nothing(bank):
    """A name that looks like a tag is text."""
    log, state_dir = bank
    text = page(await export(log, BANK, state_dir, "<ben>"))

    assert "<ben>" not in text
    assert "p1-&lt;ben&gt;" in text
    assert "<script" not in text


async def test_what_noise_does_not_bound_has_no_cost(bank):
    """An infinite cost is no number that JSON knows: null."""
    log, state_dir = bank
    with sqlite3.connect(state_dir / DATABASE) as database:
        database.execute("UPDATE spendings SET cost = 9e999")
    found = json.dumps(await export(log, BANK, state_dir, "anna"), allow_nan=False)

    assert json.loads(found)["shared"]["rounds"][0]["privacy_cost"] is None


async def test_who_is_unknown_gets_empty_lists(bank):
    """That nothing is held is an answer."""
    log, state_dir = bank
    found = await export(log, BANK, state_dir, "nobody")

    assert not any(rows for part in ("state", "topics") for rows in found[part].values())
    assert found["shared"]["rounds"] == []


async def test_without_the_workers_state_it_says_where_to_run_it(tmp_path):
    """A half of the answer would be a wrong one."""
    with pytest.raises(OwnFault, match="where the institution's worker runs"):
        await export(MemoryLog({}), BANK, tmp_path, "anna")

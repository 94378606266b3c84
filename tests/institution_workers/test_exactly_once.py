from __future__ import annotations

import asyncio
import itertools
import random
from dataclasses import replace

import pytest

from federation.messages import CustomerProfile, DeadLetter, HeadName, InteractionKind, Verdict
from institution_workers.learning import Learning
from institution_workers.speaker import Speaker
from institution_workers.storage import Store
from institution_workers.study import Terms
from streams.codec import decode
from streams.memory import MemoryLog
from streams.ports import Outgoing
from streams.topology import DEAD_LETTERS, OWN_TOPICS, PROFILES, Cluster, partitions_of

BANK = "north-bank"
POINTS = ("learned", "written", "saved", "sent")
TURN = 7
FAR_MS = 10**12


class Crash(BaseException):
    """The process is gone."""


def _life(scribe):
    """A hundred and some records: payments, labels late, early and twice, feedback, products, refused consent, rubbish."""
    draw = random.Random(7)
    records = []
    for n in range(30):
        customer, terminal = f"c{draw.randrange(5)}", f"t{draw.randrange(4)}"
        records.append(scribe.payment(f"p{n}", customer=customer, terminal=terminal, amount=draw.uniform(1, 300), consented=n % 7 != 3))
        if n % 3 == 0:
            records.append(scribe.outcome(f"o{n}", f"p{n + draw.randrange(-6, 3)}", positive=draw.random() < 0.4))
        if n % 4 == 0:
            verdict = draw.choice([Verdict.CONFIRMED, Verdict.FALSE_POSITIVE])
            records.append(scribe.feedback(f"f{n}", f"p{max(0, n - draw.randrange(4))}", verdict))
        if n % 5 == 0:
            records.append(scribe.interaction(f"i{n}", draw.choice(["credit_card", "funds", "mortgage"]), customer=customer))
            records.append(scribe.application(f"a{n}", customer=customer))
        if n % 5 == 2:
            records.append(scribe.outcome(f"ao{n}", f"a{n - 2}", head=HeadName.CREDIT, positive=draw.random() < 0.5))
            records.append(scribe.feedback(f"pf{n}", f"r{n}", Verdict.DECLINED, head=HeadName.PRODUCTS, product="funds", customer=customer))
        if n % 6 == 0:
            records.append(scribe.payment(f"p{n}", customer=customer))
            records.append(scribe.payment(f"bad{n}", amount=-1.0))
        if n % 9 == 0:
            records.append(scribe.interaction(f"x{n}", "credit_card", kind=InteractionKind.CANCELLED, customer=customer))
    return records


@pytest.fixture
def log(scribe):
    """The bank's log with its life in it."""
    times = itertools.count(1_700_000_000_000, 1000)
    made = MemoryLog(partitions_of(OWN_TOPICS, BANK), now_ms=lambda: next(times))
    records = _life(scribe)

    async def fill():
        for record in records:
            await made.append([Outgoing(record.topic, 0, None, record.value)])

    asyncio.run(fill())
    return made


@pytest.fixture
def living(log, studying, clock):
    """Runs a worker's learning on a state folder to the end of the log, or to the crash."""

    async def live(folder, reach):
        store = Store.open(folder, BANK)
        try:
            study = studying(store, terms=Terms(serve_ms=FAR_MS), reach=reach)
            speaker = Speaker(store, Cluster.OWN, log, reach=reach)
            learning = Learning(log, study, speaker, institution=BANK, clock=clock, monotonic=lambda: 0.0, records_max=TURN)
            await learning.open()
            while await learning.step(0):
                pass
        finally:
            store.close()  # An unfinished turn is rolled back, as when the process dies.

    return live


def _state(folder):
    """All tables but the journal, whose sent rows are deleted a turn later, and row numbers, which a rolled back turn may skip."""
    store = Store.open(folder, BANK)
    tables = {
        query: store.database.execute(query).fetchall()
        for query in (
            "SELECT * FROM offsets",
            "SELECT * FROM models",
            "SELECT * FROM counters",
            "SELECT * FROM prequential",
            "SELECT head, subject, customer, consented, active, federated, local, at_ms, terminal FROM waiting ORDER BY 1, 2",
            "SELECT head, subject, held_ms, topic, log_offset, value FROM early ORDER BY 1, 2",
            "SELECT * FROM behaviour",
            "SELECT * FROM profiles",
            "SELECT digest FROM seen ORDER BY 1",
        )
    }
    store.close()
    return tables


async def _said(log):
    """Letters and profiles said; the same bytes said twice count once. (Models are served at every start, as they are then.)"""
    said = {}
    for topic in (DEAD_LETTERS, PROFILES):
        name = topic.full_name(BANK)
        values = [record.value for record in log._stored[name, 0].records]
        said[topic.name] = [_unsealed(value) for value in dict.fromkeys(values)]
    return said


def _unsealed(value):
    """What is sealed is sealed with the keys of one state, which another does not have."""
    message = decode(value, (CustomerProfile, DeadLetter), 1_000_000)
    return replace(message, key_id=b"", digest=bytes(32), value=b"") if isinstance(message, DeadLetter) else message


def _crash_at(point, number):
    seen = itertools.count(1)

    def reach(reached):
        if reached == point and next(seen) == number:
            raise Crash

    return reach


async def _until_done(living, folder, reaches):
    """Restart after every crash; how many there were."""
    crashes = 0
    for reach in reaches:
        try:
            await living(folder, reach)
        except Crash:
            crashes += 1
        else:
            break
    return crashes


@pytest.fixture
def undisturbed(tmp_path, log, living):
    """(state, sayings) of a run that nothing disturbed, on a log of its own."""
    asyncio.run(living(tmp_path / "undisturbed", lambda _point: None))
    state, said = _state(tmp_path / "undisturbed"), asyncio.run(_said(log))
    for topic in (DEAD_LETTERS, PROFILES):
        log._stored[topic.full_name(BANK), 0].records.clear()
    return state, said


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("number", [1, 2, 7])
async def test_a_crash_changes_nothing(tmp_path, log, living, undisturbed, point, number):
    """Crash once at each labelled point, restart from the file: models, counts and sayings equal an undisturbed run, bit for bit."""
    crashes = await _until_done(living, tmp_path / "crashed", [_crash_at(point, number), lambda _point: None])

    assert crashes == 1
    assert _state(tmp_path / "crashed") == undisturbed[0]
    assert await _said(log) == undisturbed[1]


async def test_a_hundred_crashes_change_nothing(tmp_path, log, living, undisturbed):
    """Crash again and again, each time a step further: the same."""
    draw = random.Random(3)
    reaches = [_crash_at(draw.choice(POINTS), draw.randrange(1, 4)) for _ in range(100)]
    crashes = await _until_done(living, tmp_path / "crashed", [*reaches, lambda _point: None])

    assert crashes >= 10
    assert _state(tmp_path / "crashed") == undisturbed[0]
    assert await _said(log) == undisturbed[1]


async def test_what_was_journaled_is_said_again_in_the_same_bytes(tmp_path, log, living):
    """Crash after the log took the records and before the journal knew: the restart says the same bytes first."""
    with pytest.raises(Crash):
        await living(tmp_path / "state", _crash_at("sent", 1))
    before = {topic.name: [r.value for r in log._stored[topic.full_name(BANK), 0].records] for topic in (DEAD_LETTERS, PROFILES)}
    first = next(values for values in before.values() if values)

    def stop(_point):
        raise Crash

    with pytest.raises(Crash):
        await living(tmp_path / "state", stop)
    after = {topic.name: [r.value for r in log._stored[topic.full_name(BANK), 0].records] for topic in (DEAD_LETTERS, PROFILES)}

    assert first + first in after.values()


def test_the_life_covers_what_it_says(undisturbed):
    """The run above learned from every head, refused, held and forgot nothing silently."""
    counters = dict(undisturbed[0]["SELECT * FROM counters"])

    assert {name.split(".")[-1] for name in counters if name.startswith("refused.")} == {"duplicate", "invalid"}
    assert counters["held.fraud"] > 0
    assert counters["unconsented.fraud"] > 0
    assert all(undisturbed[1].values())

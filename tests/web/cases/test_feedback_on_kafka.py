"""From an officer's decision to the local model, over a real Kafka: the worker flags, the portal makes a case, the model is told once."""

from __future__ import annotations

import os
import time

import pytest

from federation.heads.prequential import PrequentialAuc
from federation.messages import HeadName
from institution_workers.learner import Count
from institution_workers.pupil import LOCAL
from institution_workers.storage import Store
from institution_workers.study import Study
from streams.codec import encode
from streams.kafka import KafkaLog
from streams.kafka_admin import provision_topics
from streams.ports import Outgoing, Position
from streams.topology import FEEDBACK, FLAGS, Cluster
from tests.institution_workers.conftest import BANK, Scribe, SetClock
from tests.web.cases.office import office
from web.cases.case import Outcome
from web.cases.desk import Decision, Desk
from web.cases.feedback import Feedback

pytestmark = [pytest.mark.broker, pytest.mark.asyncio(loop_scope="session")]


async def end_of(log: KafkaLog, topic: str) -> Position:
    """Where what is said from now on will stand: other tests speak on the same topics."""
    reader = await log.reader([Position(topic, 0, 0)])
    ends = await reader.end_offsets()
    await reader.close()
    return Position(topic, 0, ends[topic, 0])


async def records_of(log: KafkaLog, since: Position, many: int):
    reader = await log.reader([since])
    found: list = []
    while len(found) < many:
        found += await reader.poll(1_000, 1_000)
    await reader.close()
    return found


async def test_a_false_positive_reaches_the_local_model_once(broker, tmp_path):
    """However often it is sent: one lesson, one label, and the second record is refused as a duplicate."""
    many = 200 if "RIVERBANK_NIGHTLY" in os.environ else 12
    await provision_topics(broker.bootstrap, (FLAGS, FEEDBACK), BANK)
    log, store, scribe = KafkaLog(broker.bootstrap), Store.open(tmp_path / "state", BANK), Scribe()
    study = Study(store, BANK, tuple(HeadName), clock=SetClock())
    for number in range(60):
        bad = number % 2 == 0
        shop, amount = ("shop-9", 900.0) if bad else ("shop-1", 20.0)
        payment = scribe.payment(f"e-{number}", customer=f"c-{number}", terminal=shop, amount=amount)
        study.turn([payment, scribe.outcome(f"o-{number}", f"e-{number}", positive=bad)])
    flags = FLAGS.full_name(BANK)
    flags_from, feedback_from = await end_of(log, flags), await end_of(log, FEEDBACK.full_name(BANK))
    said = [record for _, record in store.unsaid(Cluster.OWN, 10_000) if record.topic == flags]
    risky = [scribe.payment(f"risky-{number}", customer=f"risky-{number}", terminal="shop-9", amount=900.0) for number in range(many)]
    study.turn(risky)
    fresh = [record for _, record in store.unsaid(Cluster.OWN, 10_000) if record.topic == flags][len(said) :]
    await log.append(fresh)
    learned = study.pupils[HeadName.FRAUD].learned

    async with office() as bank:
        feedback = Feedback(bank.store, lambda message: log.append([_outgoing(message)]), bank.clock)
        desk = Desk(bank.store, bank.audit, feedback, bank.clock, four_eyes_from=1e9)
        for record in await records_of(log, flags_from, many):
            await bank.intake.take(record)
        took = []
        while (case := await desk.take_next(bank.officers[0])) is not None:
            began = time.perf_counter()
            await desk.decide(case, bank.officers[0], Decision(Outcome.FALSE_POSITIVE, "customer_confirms", "Asked."))
            took.append(time.perf_counter() - began)
    given = await records_of(log, feedback_from, many)
    study.turn(given)
    study.turn(given)  # As if all had been sent again.
    pupil = study.pupils[HeadName.FRAUD]
    measure = pupil.quality[LOCAL]
    took.sort()
    print(f"decision to acknowledgement: p50 {took[len(took) // 2] * 1e3:.0f} ms, p99 {took[int(len(took) * 0.99)] * 1e3:.0f} ms of {many}")  # noqa: T201 A figure for docs/results.md, with -s.
    store.close()
    await log.close()

    assert (len(fresh), len(given), pupil.learned - learned) == (many, many, many)
    assert study.learner.counts[f"{Count.DEAD.value}.{HeadName.FRAUD.value}"] == many
    assert isinstance(measure, PrequentialAuc)
    assert measure.scored == 60 + many


def _outgoing(message) -> Outgoing:
    return Outgoing(FEEDBACK.full_name(BANK), 0, message.customer.encode(), encode(message))
